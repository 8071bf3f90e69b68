#!/usr/bin/env bash
# Writes docs/reference/ from the td files: ops and attributes, passes.
#
#   ./scripts/reference_docs.sh            writes the pages
#   ./scripts/reference_docs.sh --check    fails when a page is out of date
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

run_logged "$BUILD_DIR/logs/reference_docs.log" ninja -C "$BUILD_DIR" paged-attn-doc

mkdir -p "$ROOT/docs/reference"
for page in Dialect Transforms Conversion; do
  if [ "${1:-}" != --check ]; then
    cp "$BUILD_DIR/docs/$page.md" "$ROOT/docs/reference/$page.md"
    note "docs/reference/$page.md"
  elif ! cmp -s "$BUILD_DIR/docs/$page.md" "$ROOT/docs/reference/$page.md"; then
    die "docs/reference/$page.md is out of date: run ./scripts/reference_docs.sh"
  fi
done
