#!/usr/bin/env python3
# ===- compare.py - Runtime and plain Python side by side -----------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Runs RuntimeBench and vllm_logic.py on this machine, prints the targets of the
# runtime beside what was measured, and stores all figures as JSON with the kind
# of the machine (never its name).
#
# ===----------------------------------------------------------------------=== #
"""usage: compare.py PATH_OF_paged_attn_bench_runtime [RESULT.json] [--repetitions N]"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# name of the benchmark, target in microseconds, key of the Python figure
TARGETS = (
    ("DecodeStepOnly/256/32768", 20.0, "decode_step_256_us"),
    ("MatchPrefix8192/1000", 60.0, "match_prefix_8192_us"),
    ("MillionPages", 50000.0, "million_pages_ms"),
)
MICROSECONDS = {"ns": 1e-3, "us": 1.0, "ms": 1e3, "s": 1e6}


def cpu_model():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def run_bench(program, repetitions):
    output = subprocess.run(
        [program, "--benchmark_format=json", f"--benchmark_repetitions={repetitions}",
         "--benchmark_enable_random_interleaving=true", "--benchmark_min_time=0.2"],
        check=True, capture_output=True, text=True).stdout
    times = {}
    for run in json.loads(output)["benchmarks"]:
        if run["run_type"] != "iteration":
            continue
        entry = times.setdefault(run["run_name"], {"cpu_us": [], "wall_us": []})
        factor = MICROSECONDS[run["time_unit"]]
        entry["cpu_us"].append(run["cpu_time"] * factor)
        entry["wall_us"].append(run["real_time"] * factor)
        for counter in ("label", "quality", "quality_without_cuts", "bytes_per_page"):
            if counter in run:
                entry[counter] = run[counter]
    for entry in times.values():
        for key in ("cpu_us", "wall_us"):
            values = entry.pop(key)
            entry[key] = {"median": statistics.median(values), "best": min(values)}
    return times


def run_python(kind):
    output = subprocess.run([sys.executable, str(HERE / "vllm_logic.py"), "--hash", kind],
                            check=True, capture_output=True, text=True).stdout
    return json.loads(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("result", nargs="?")
    parser.add_argument("--repetitions", type=int, default=5)
    args = parser.parse_args()
    result = {
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(),
                    "load_before": round(os.getloadavg()[0], 1)},
        "note": "cpu_us is CPU time of the thread, wall_us elapsed time, of one iteration",
        "runtime": run_bench(args.program, args.repetitions),
        "python": {kind: run_python(kind) for kind in ("sha256", "builtin")},
    }
    print(f"{'benchmark':<28}{'CPU':>10}{'elapsed':>10}{'target':>10}{'Python':>12}{'ratio':>8}")
    for name, target, key in TARGETS:
        run = result["runtime"][name]
        cpu, wall = run["cpu_us"]["median"], run["wall_us"]["median"]
        python = result["python"]["sha256"][key] * (1e3 if key.endswith("_ms") else 1)
        print(f"{name:<28}{cpu:>10.1f}{wall:>10.1f}{target:>10.0f}{python:>12.1f}{python / wall:>8.1f}")
    print("microseconds; Python with sha256, its elapsed time; ratio of elapsed times")
    if args.result:
        pathlib.Path(args.result).write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
