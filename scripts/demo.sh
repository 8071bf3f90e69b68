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

# run_function NAME: compiles and runs one function of the example on its own
# lengths, checked and measured; one JSON object per line in results.jsonl.
RESULTS="$ROOT/out/results.jsonl"
run_function() {
  local module="$ROOT/out/$1.mlir"
  awk "/^func.func @$1\\(/,/^}/" "$EXAMPLE" |
    "$BIN/paged-attn-opt" --paged-attn-select-mode -o "$module"
  "$BIN/paged-attn-run" "$module" --lens="$ROOT/examples/lengths/$1.json" \
    --check --bench --json >>"$RESULTS" || status=1
}

step "demo: running it on $(nproc) threads, checked against the float64 oracle"
status=0
rm -f "$RESULTS"
for function in decode prefill chunked step; do
  note "@$function"
  run_function "$function"
done
python3 "$ROOT/scripts/results_table.py" decode prefill chunked step <"$RESULTS" || status=1
exit "$status"
