#!/usr/bin/env bash
# Runs the tests of an optional Python package that is too large for every test
# run, in an environment of its own under the build folder.
#
#   ./scripts/python_extra.sh torch|easydel-0.1|easydel-0.3 [PYTEST ARGUMENTS...]
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

declare -A TESTS=(
  [torch]="test_torch.py test_framework_docs.py"
  [easydel-0.1]="test_easydel_classic.py test_jax_native.py test_framework_docs.py"
  [easydel-0.3]="test_easydel_ragged.py test_jax_native.py test_framework_docs.py"
)
name="${1:-}"
[ -n "${TESTS[$name]:-}" ] || die "expected one of ${!TESTS[*]}, got '${name:-nothing}'"
shift

PACKAGE="$BUILD_DIR/python/paged_attn"
compgen -G "$PACKAGE/_core.*.so" >/dev/null || die "expected the Python package in $PACKAGE: run ./scripts/build.sh"

VENV="$BUILD_DIR/venv-$name"
REQUIREMENTS="$ROOT/test/Python/requirements-$name.txt"
if ! cmp -s "$REQUIREMENTS" "$VENV/requirements.txt"; then
  step "python: making $VENV"
  mkdir -p "$BUILD_DIR/logs"
  LOG="$BUILD_DIR/logs/python-$name.log"
  python3 -m venv --clear "$VENV"
  grep -v -e '--no-deps' "$REQUIREMENTS" >"$VENV/with-dependencies.txt"
  run_logged "$LOG" "$VENV/bin/python" -m pip install --disable-pip-version-check -r "$VENV/with-dependencies.txt"
  sed -n 's/ # --no-deps$//p' "$REQUIREMENTS" >"$VENV/alone.txt"
  if [ -s "$VENV/alone.txt" ]; then
    run_logged "$LOG" "$VENV/bin/python" -m pip install --disable-pip-version-check --no-deps -r "$VENV/alone.txt"
  fi
  cp "$REQUIREMENTS" "$VENV/requirements.txt"
fi

step "python: tests of $name"
cd "$ROOT/test/Python"
read -r -a files <<<"${TESTS[$name]}"
PYTHONPATH="$BUILD_DIR/python:$ROOT/test/Python" PYTHONDONTWRITEBYTECODE=1 \
  "$VENV/bin/python" -m pytest -q -p no:cacheprovider "${files[@]}" "$@"
