#!/usr/bin/env python3
# ===- fit_plan_cost.py - Costs of a plan from measured kernels ------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Runs compiled attention over a grid of new tokens and context lengths on one
# thread, and fits the time of one work item,
#
#     t(rows, tokens) = item + tokens * (token + rows * row)
#
# by least squares of relative errors. Costs are in units of `token`, the time of
# one KV token, as PlanCost (Plan.h) wants them. The fourth constant, writing and
# merging a partial state, comes from the benchmark MergePartials.
#
# ===----------------------------------------------------------------------=== #
"""usage: fit_plan_cost.py --samples FILE [--runner PATH_OF_paged-attn-run] [--part I/N]
                        [--bench PATH_OF_paged_attn_bench_runtime] [--result RESULT.json]

With --runner, measures part I of N of the grid and adds it to FILE (one JSON object per line). Without, fits
what FILE holds."""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

HEADS, KV_HEADS, HEAD_DIM, PAGE_SIZE = 32, 8, 128, 16
# (mode, sequences, new tokens, context); at most 64 new tokens are one tile.
GRID = (
    ("decode", 256, 1, 16), ("decode", 64, 1, 64), ("decode", 32, 1, 256), ("decode", 8, 1, 1024), ("decode", 4, 1, 4096),
    ("prefill", 4, 8, 512), ("prefill", 2, 8, 2048), ("prefill", 4, 32, 256), ("prefill", 2, 32, 2048),
    ("prefill", 4, 64, 256), ("prefill", 1, 64, 4096),
)


def measure(runner, mode, batch, rows, tokens):
    """Nanoseconds of one work item."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as lens:
        json.dump({"q_lens": [rows] * batch, "kv_lens": [tokens] * batch}, lens)
        lens.flush()
        output = subprocess.run(
            [runner, f"--mode={mode}", f"--batch={batch}", f"--lens={lens.name}", f"--context={tokens}",
             f"--heads={HEADS}", f"--kv-heads={KV_HEADS}", f"--head-dim={HEAD_DIM}", f"--page-size={PAGE_SIZE}",
             "--threads=1", "--bench", "--json"],
            check=True, capture_output=True, text=True).stdout
    line = next(line for line in output.splitlines() if line.startswith("{"))
    return json.loads(line)["time_us"] * 1e3 / (batch * KV_HEADS)


def solve(matrix, right):
    """Solution of a small linear system (Gauss with pivots)."""
    n = len(right)
    rows = [list(row) + [value] for row, value in zip(matrix, right)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(n):
            if r != i:
                factor = rows[r][i] / rows[i][i]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i])]
    return [rows[i][n] / rows[i][i] for i in range(n)]


def fit(samples):
    """(item, token, row) in nanoseconds: least squares of relative errors, none negative."""
    features = [[1.0 / s["ns"], s["tokens"] / s["ns"], s["tokens"] * s["rows"] / s["ns"]] for s in samples]
    used = [0, 1, 2]
    while True:
        normal = [[sum(f[i] * f[j] for f in features) for j in used] for i in used]
        found = solve(normal, [sum(f[i] for f in features) for i in used])
        if min(found) >= 0:
            break
        used.pop(found.index(min(found)))
    result = [0.0, 0.0, 0.0]
    for index, value in zip(used, found):
        result[index] = value
    return result


def merge_ns(bench):
    """Nanoseconds per row of a partial state that is written and merged."""
    output = subprocess.run([bench, "--benchmark_filter=MergePartials", "--benchmark_format=json"],
                            check=True, capture_output=True, text=True).stdout
    run = json.loads(output)["benchmarks"][0]
    return 1e9 / run["items_per_second"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", required=True)
    parser.add_argument("--runner")
    parser.add_argument("--part", default="0/1")
    parser.add_argument("--bench")
    parser.add_argument("--result")
    args = parser.parse_args()
    path = pathlib.Path(args.samples)
    if args.runner:
        part, parts = map(int, args.part.split("/"))
        with path.open("a") as out:
            for mode, batch, rows, tokens in GRID[part::parts]:
                ns = measure(args.runner, mode, batch, rows, tokens)
                out.write(json.dumps({"mode": mode, "rows": rows, "tokens": tokens, "ns": round(ns, 1)}) + "\n")
                out.flush()
        return 0
    samples = [json.loads(line) for line in path.read_text().splitlines() if line]
    if len(samples) < 4:
        sys.exit(f"expected at least 4 samples in {path}, got {len(samples)}")
    item, token, row = fit(samples)
    unit = token or row
    result = {"perItem": item / unit, "perKVToken": token / unit, "perRowKVToken": row / unit,
              "nsPerKVToken": unit, "samples": samples}
    if args.bench:
        result["perPartialRow"] = merge_ns(args.bench) / unit
    for sample in samples:
        fitted = item + sample["tokens"] * (token + sample["rows"] * row)
        sample["fitted_ratio"] = round(fitted / sample["ns"], 3)
    print(json.dumps(result, indent=2))
    if args.result:
        pathlib.Path(args.result).write_text(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
