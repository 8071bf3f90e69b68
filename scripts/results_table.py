#!/usr/bin/env python3
"""Prints the JSON objects of `paged-attn-run --json` as one table.

    results_table.py NAME... < results.jsonl

One object per line and one name per object. The exit status is 1 when a check
failed or an object is missing.
"""
import json
import sys

COLUMNS = ("function", "mode", "sequences", "tokens", "time [us]", "GB/s", "of read",
           "GFLOP/s", "of FMA", "error", "tolerance", "check")


def percent(ratio):
    return "-" if ratio is None else f"{100 * ratio:.1f}%"


def row(name, result):
    return (
        name, result["mode"], str(result["batch"]), str(result["tokens"]),
        f"{result['time_us']:.0f}", f"{result['gbytes_per_s']:.2f}",
        percent(result["bandwidth_ratio"]), f"{result['gflops_per_s']:.1f}",
        percent(result["flops_ratio"]), f"{result['max_abs_error']:.1e}",
        f"{result['tolerance']:.1e}", result["check"],
    )


def main():
    results = [json.loads(line) for line in sys.stdin if line.strip()]
    names = sys.argv[1:]
    rows = [COLUMNS] + [row(name, result) for name, result in zip(names, results)]
    widths = [max(len(cells[i]) for cells in rows) for i in range(len(COLUMNS))]
    for cells in rows:
        left = [cell.ljust(width) for cell, width in zip(cells[:2], widths[:2])]
        right = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:])]
        print("  ".join(left + right).rstrip())
    passed = all(result["check"] == "pass" for result in results)
    return 0 if passed and len(results) == len(names) else 1


if __name__ == "__main__":
    sys.exit(main())
