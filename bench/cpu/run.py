#!/usr/bin/env python3
# ===- run.py - The CPU benchmark ------------------------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Our kernels, this machine's ceilings and the peers, interleaved in one run over
# the cases of cases.json. Writes JSON, prints a table, draws a roofline.
#
# ===----------------------------------------------------------------------=== #
"""Examples:

  run.py --list                                     names of cases and peers
  run.py --case 'decode-8x4096/32-8/*' --quick      some cases, 3 repetitions
  run.py --peer none --case 'pages-*'               our kernel alone
  run.py --via linalg --into bench/results/cpu-linalg-all.json
  run.py --report bench/results/cpu.json            table and picture again
"""

import argparse
import fnmatch
import json
import os
import pathlib
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
EXIT_SKIPPED = 77  # as CTest's SKIP_RETURN_CODE

try:
    import numpy  # noqa: F401
except ImportError:
    print("skipped: no numpy")
    sys.exit(EXIT_SKIPPED)

import casefile  # noqa: E402
import checks  # noqa: E402
import machine  # noqa: E402
import measure  # noqa: E402
import native  # noqa: E402
import report  # noqa: E402
import systems  # noqa: E402
from peers import PEERS  # noqa: E402


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default=HERE / "cases.json", help="the case file")
    parser.add_argument("--case", action="append", metavar="PATTERN",
                        help="only cases whose name matches (default: all but smoke)")
    parser.add_argument("--peer", action="append", metavar="NAME",
                        help="only these peers; none: no peer (default: all)")
    parser.add_argument("--python", action="append", default=[], metavar="[PEER=]PATH",
                        help="interpreter of a peer, or of all peers")
    parser.add_argument("--via", default="vector", help="how our kernel is lowered")
    parser.add_argument("--cpu", default="native", help="CPU that our kernel is compiled for")
    parser.add_argument("--threads", type=int, default=0, help="0: all of the machine")
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="3 repetitions")
    parser.add_argument("--hot", action="store_true", help="do not empty the caches")
    parser.add_argument("--library", help="libpaged_attn_bench.so (default: the newest build)")
    parser.add_argument("--into", metavar="JSON",
                        help="add to this file; cases of the same name are replaced")
    parser.add_argument("--picture", metavar="FILE", help="svg or png (default: beside --into)")
    parser.add_argument("--report", metavar="JSON", help="measure nothing, print this file")
    parser.add_argument("--allow-unsupported", action="store_true",
                        help="cases that our compiler refuses are no failure")
    parser.add_argument("--list", action="store_true")
    return parser.parse_args(arguments)


def select_cases(cases, patterns):
    if patterns is None:
        return [case for case in cases if case.set_name != "smoke"]
    return [case for case in cases if any(fnmatch.fnmatch(case.name, p) for p in patterns)]


def select_peers(names):
    if names is None:
        return tuple(PEERS)
    wanted = tuple(name for name in names if name != "none")
    unknown = [name for name in wanted if name not in PEERS]
    if unknown:
        raise ValueError(f"expected peers among {', '.join(PEERS)}, got {unknown[0]}")
    return wanted


def read_pythons(entries):
    """Interpreters by peer; "" for all others."""
    return dict(entry.split("=", 1) if "=" in entry else ("", entry) for entry in entries)


def merge(path, description, entries):
    """The result file with `entries` in it, and fresh checks."""
    results = {"machine": description, "cases": []}
    if path and path.exists():
        results["cases"] = json.loads(path.read_text())["cases"]
    fresh = {entry["name"] for entry in entries}
    results["cases"] = [c for c in results["cases"] if c["name"] not in fresh] + entries
    results["cases"].sort(key=lambda case: case["name"])
    results["checks"] = checks.all_checks(results["cases"])
    return results


def rounded(value):
    """Five significant digits: more is noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list) else value


def show(results, names, picture):
    for case in results["cases"]:
        if names is None or case["name"] in names:
            report.print_case(case)
    if any(check["value"] is not None for check in results["checks"]):
        report.print_checks(results["checks"])
    if picture and not report.draw(results, picture):
        print("no picture: " + ("nothing was measured" if not results["cases"]
                                else "no matplotlib or no case to draw"))


def picture_of(options, path):
    if options.picture:
        return pathlib.Path(options.picture)
    return path.with_suffix(".svg") if path else None


def measure_all(cases, options, peers):
    threads = options.threads or len(os.sched_getaffinity(0))
    machine.limit_threads(threads)
    description = machine.describe(threads)
    library = native.Library(options.library)
    pool = systems.WorkerPool(read_pythons(options.python), threads)
    how = measure.Options(via=options.via, cpu=options.cpu, threads=threads, peers=peers,
                          hot=options.hot,
                          repetitions=3 if options.quick else options.repetitions)
    entries = []
    path = pathlib.Path(options.into) if options.into else None
    try:
        for number, case in enumerate(cases):
            print(f"[{number + 1}/{len(cases)}] {case.name}", flush=True)
            load = os.getloadavg()[0]
            entries.append({**measure.measure_case(case, library, pool, how), "load": load,
                            "date": description["date"]})
            results = rounded(merge(path, description, entries))
            if path:  # after each case: a long run that is cut short is not lost
                path.write_text(json.dumps(results, indent=1) + "\n")
    finally:
        pool.stop()
    return results, path


def is_wrong(entry, allowed):
    """Our kernel did not run, or gave a wrong result."""
    return any(s["kind"] == "ours" and s["status"] not in allowed for s in entry["systems"])


def main(arguments):
    options = parse_arguments(arguments)
    if options.report:
        path = pathlib.Path(options.report)
        results = json.loads(path.read_text())
        results["checks"] = rounded(checks.all_checks(results["cases"]))
        path.write_text(json.dumps(results, indent=1) + "\n")
        show(results, None, picture_of(options, path))
        return 0
    cases = select_cases(casefile.read_cases(options.cases), options.case)
    peers = select_peers(options.peer)
    if options.list:
        print("\n".join([case.name for case in cases] + [f"peer {name}" for name in PEERS]))
        return 0
    if not cases:
        raise ValueError(f"expected a case that matches, got {options.case}")
    results, path = measure_all(cases, options, peers)
    names = {case.name for case in cases}
    show(results, names, picture_of(options, path))
    allowed = ("right", "unsupported") if options.allow_unsupported else ("right",)
    wrong = [c["name"] for c in results["cases"] if c["name"] in names and is_wrong(c, allowed)]
    for name in wrong:
        print(f"our kernel failed: {name}")
    return 1 if wrong else 0


if __name__ == "__main__":
    # A run that is stopped from outside removes its files and ends its workers.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        sys.exit(main(sys.argv[1:]))
    except (ValueError, FileNotFoundError, KeyError) as why:
        print(f"run.py: {why}", file=sys.stderr)
        sys.exit(2)
