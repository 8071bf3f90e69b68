#!/usr/bin/env python3
"""What the package adds: import time, and time of a call beyond its kernel.

    python bench/python/overhead.py [--into bench/results/python.json]

The kernel is next to nothing here (one head, one key), so that the time of a call
is checks, the look-up of the kernel and the views of the arrays. Needs an optimised
module (pip install, or a wheel); one of a Debug build is several times slower.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import time

import numpy as np

import paged_attn

ROUNDS, CALLS = 15, 2000


def best_us(function):
    """Fastest of the rounds, microseconds a call."""
    function()
    rounds = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for _ in range(CALLS):
            function()
        rounds.append((time.perf_counter() - begin) / CALLS)
    return round(1e6 * min(rounds), 2)


def import_seconds():
    """Fastest of five fresh interpreters; numpy's own import is in it."""
    code = "import time; t = time.perf_counter(); import paged_attn; print(time.perf_counter() - t)"
    runs = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
        for _ in range(5)
    ]
    return round(min(runs), 3)


def measure():
    q = np.ones((1, 1, 16), np.float32)
    pages = np.ones((1, 16, 1, 16), np.float32)
    table, lens, starts = np.zeros((1, 1), np.int32), np.ones(1, np.int32), np.array([0, 1], np.int32)
    out, slots = np.empty_like(q), np.zeros(1, np.int64)
    lse = np.zeros((1, 1), np.float32)

    def attention(**options):
        return lambda: paged_attn.attention(q, pages, pages, table, lens, starts, **options)

    return {
        "import_seconds": import_seconds(),
        "attention_us": best_us(attention(out=out, num_threads=1)),
        "attention_new_out_us": best_us(attention(num_threads=1)),
        "attention_all_threads_us": best_us(attention(out=out)),
        "append_us": best_us(lambda: paged_attn.append(q, q, pages, pages, slots)),
        "merge_states_us": best_us(lambda: paged_attn.merge_states([q, q], [lse, lse])),
    }


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--into", type=pathlib.Path)
    arguments = parser.parse_args()
    text = json.dumps(measure(), indent=2)
    print(text)
    if arguments.into:
        arguments.into.write_text(text + "\n")


if __name__ == "__main__":
    main()
