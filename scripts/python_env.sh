#!/usr/bin/env bash
# Makes build/venv, in which the Python package is built and tested, with the
# versions of test/Python/requirements.txt. Goes on without when PyPI cannot be
# reached: the Python package and its tests are then left out.
#
#   ./scripts/python_env.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

VENV="$BUILD_DIR/venv"
REQUIREMENTS="$ROOT/test/Python/requirements.txt"
STAMP="$VENV/requirements.txt"

cmp -s "$REQUIREMENTS" "$STAMP" && exit 0

step "python: making $VENV"
LOG="$BUILD_DIR/logs/python-env.log"
mkdir -p "$BUILD_DIR/logs"
if ! { python3 -m venv --clear "$VENV" &&
  "$VENV/bin/python" -m pip install --disable-pip-version-check -r "$REQUIREMENTS"; } >"$LOG" 2>&1; then
  note "going on without the Python package: $LOG says why"
  rm -rf "$VENV"
  exit 0
fi
cp "$REQUIREMENTS" "$STAMP"
# A build folder from before looks again for Python.
if [ -f "$BUILD_DIR/build.ninja" ]; then
  run_logged "$BUILD_DIR/logs/configure.log" cmake -S "$ROOT" -B "$BUILD_DIR" -U '*Python_*' -U nanobind_DIR
fi
