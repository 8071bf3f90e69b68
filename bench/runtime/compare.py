#!/usr/bin/env python3
# ===- compare.py - Runtime, plain Python and vLLM side by side ------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Runs RuntimeBench, vllm_logic.py and, where the package is, vllm_real.py on this
# machine, prints the targets of the runtime beside what was measured, and stores
# all figures as JSON with the kind of the machine (never its name).
#
# ===----------------------------------------------------------------------=== #
"""usage: compare.py PATH_OF_paged_attn_bench_runtime [RESULT.json] [--repetitions N] [--vllm-python PYTHON]

--parts and --filter measure in several short calls; what RESULT.json holds of other parts stays."""

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


def run_bench(program, repetitions, pattern):
    output = subprocess.run(
        [program, "--benchmark_format=json", f"--benchmark_repetitions={repetitions}",
         f"--benchmark_filter={pattern}", "--benchmark_min_time=0.2"],
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


def run_vllm(python):
    output = subprocess.run([python, str(HERE / "vllm_real.py")], check=True, capture_output=True, text=True,
                            env={**os.environ, "VLLM_LOGGING_LEVEL": "ERROR"}).stdout
    return json.loads(output[output.index("{"):])


def show(result):
    """Prints targets and what of it was measured."""
    python, vllm = result.get("python", {}).get("sha256", {}), result.get("vllm", {})
    print(f"{'benchmark':<28}{'CPU':>10}{'elapsed':>10}{'target':>10}{'Python':>12}{'vLLM':>12}")
    for name, target, key in TARGETS:
        run = result.get("runtime", {}).get(name)
        if not run:
            continue
        scale = 1e3 if key.endswith("_ms") else 1
        columns = [f"{other[key] * scale:.1f}" if key in other else "-" for other in (python, vllm)]
        print(f"{name:<28}{run['cpu_us']['median']:>10.1f}{run['wall_us']['median']:>10.1f}{target:>10.0f}"
              f"{columns[0]:>12}{columns[1]:>12}")
    print("microseconds, elapsed for Python and vLLM; both with sha256")
    if "skipped" in vllm:
        print(f"vLLM skipped: {vllm['skipped']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("result", nargs="?")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--parts", default="runtime,python,vllm")
    parser.add_argument("--filter", default=".", help="benchmarks of the part `runtime`")
    parser.add_argument("--vllm-python", default=sys.executable, help="interpreter that has vLLM")
    args = parser.parse_args()
    path = pathlib.Path(args.result) if args.result else None
    result = json.loads(path.read_text()) if path and path.exists() else {}
    result["machine"] = {"cpu": cpu_model(), "cores": os.cpu_count(), "load_before": round(os.getloadavg()[0], 1)}
    result["note"] = "cpu_us is CPU time of the thread, wall_us elapsed time, of one iteration"
    parts = args.parts.split(",")
    if "runtime" in parts:
        result.setdefault("runtime", {}).update(run_bench(args.program, args.repetitions, args.filter))
    if "python" in parts:
        result["python"] = {kind: run_python(kind) for kind in ("sha256", "builtin")}
    if "vllm" in parts:
        result["vllm"] = run_vllm(args.vllm_python)
    show(result)
    if path:
        path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
