#!/usr/bin/env bash
# The main job, from nothing: sets up, builds, writes every level of the ladder
# for one serving step to out/ladder, then runs the step, compares it with the
# float64 oracle and prints time, GB/s, GFLOP/s and error per mode.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

"$ROOT/scripts/setup.sh"
"$ROOT/scripts/build.sh" paged-attn-opt paged-attn-compile paged-attn-run

EXAMPLE="$ROOT/examples/serving_step.mlir"
LADDER="$ROOT/out/ladder"

# emit KIND FILE: one level of the ladder.
emit() {
  "$BIN/paged-attn-compile" "$EXAMPLE" --target=cpu --emit="$1" -o "$LADDER/$2" ||
    die "paged-attn-compile --emit=$1 failed on $EXAMPLE"
  note "$2: $(wc -l <"$LADDER/$2") lines"
}

step "demo: writing the ladder of examples/serving_step.mlir to out/ladder"
mkdir -p "$LADDER"
cp "$EXAMPLE" "$LADDER/0-attention.mlir"
"$BIN/paged-attn-opt" "$EXAMPLE" --paged-attn-select-mode -o "$LADDER/1-mode.mlir"
note "1-mode.mlir: $(wc -l <"$LADDER/1-mode.mlir") lines"
emit tiled 2-tiled.mlir
emit linalg 3-linalg.mlir
emit vector 4-vector.mlir
emit llvm 5-llvm.mlir
emit llvmir 6-serving_step.ll
emit asm 7-serving_step.s
emit header serving_step.h

step "demo: running it on $(nproc) threads, checked against the float64 oracle"
"$BIN/paged-attn-run" "$EXAMPLE" --lens="$ROOT/examples/serving_step.json" --check --bench
