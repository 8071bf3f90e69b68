#!/usr/bin/env bash
# Sets up, builds and runs every test: lit, unit, integration, runtime, install,
# Python.
# The last line is `N passed, N failed`; the exit status is 0 when none failed.
#
#   ./scripts/test.sh [CTEST ARGUMENTS...]        for example -R lit
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

"$ROOT/scripts/setup.sh"
"$ROOT/scripts/python_env.sh"
"$ROOT/scripts/build.sh"

# Tests compile what they test.
export PAGED_ATTN_CACHE_DIR=off
step "test: running ctest"
REPORT="$BUILD_DIR/test-report.xml"
rm -f "$REPORT"
status=0
ctest --test-dir "$BUILD_DIR" --output-on-failure --no-tests=error \
  --output-junit "$REPORT" --test-output-size-passed 4000000 \
  --test-output-size-failed 4000000 "$@" || status=$?
if [ ! -f "$REPORT" ]; then
  printf '0 passed, 1 failed\n'
  exit 1
fi
python3 "$ROOT/scripts/count_tests.py" "$REPORT" || status=1
exit "$status"
