#!/usr/bin/env bash
# Configures and builds everything into build/. With clang 22 unless CXX names
# another compiler; ccache is used where it is installed.
#
#   ./scripts/build.sh [TARGET...]
#   PAGED_ATTN_JOBS=8 CXX=g++ CC=gcc PAGED_ATTN_BUILD_DIR=build-gcc ./scripts/build.sh
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

for program in cmake ninja; do
  command -v "$program" >/dev/null ||
    die "expected $program on the path" "run ./scripts/setup.sh first"
done

if [ ! -f "$BUILD_DIR/build.ninja" ]; then
  preset=default
  if [ -z "${CXX:-}" ] && command -v clang++-22 >/dev/null; then
    preset=clang
  fi
  step "build: configuring $BUILD_DIR (preset $preset)"
  run_logged "$BUILD_DIR/logs/configure.log" \
    cmake -S "$ROOT" --preset "$preset" -B "$BUILD_DIR"
fi

step "build: compiling with $JOBS jobs (the first build takes some minutes)"
ninja -C "$BUILD_DIR" -j "$JOBS" "$@" ||
  die "the build failed: the reason stands above"
