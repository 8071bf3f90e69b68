#!/usr/bin/env python3
"""Draws the pictures of the tour.

    PYTHONPATH=build/python python docs/tour/make.py              all, beside this file
    ... make.py --out DIR [page-table ladder roofline]            some, elsewhere
    ... make.py --measure build/bin/paged-attn-run                figures for the roofline anew
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402

import paged_attn  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
FIGURES = HERE.parents[1] / "bench" / "results" / "tour.json"
SPEC = paged_attn.KernelSpec(
    num_heads=8, num_kv_heads=2, head_dim=64, page_size=16, mode="decode", key_type="bf16",
    value_type="bf16",
)  # fmt: skip
LEVELS = ["attention", "tiled", "vector", "llvm"]
# What --measure runs: name in the picture, and flags of paged-attn-run.
RUNS = {
    "decode, 1 new token": "--mode=decode --batch=8 --context=4096 --kv-type=bf16",
    "decode, 4 new tokens": "--mode=decode --batch=8 --context=4096 --kv-type=bf16 --q-len=4",
    "chunked prefill, 128 of 2048": "--mode=prefill --batch=1 --context=2048 --q-len=128",
    "prefill, 1024": "--mode=prefill --batch=1 --context=1024 --q-len=1024",
}
COMMON = "--heads=32 --kv-heads=8 --head-dim=128 --page-size=16 --bench --json"


def serve():
    """A manager in the middle of its work: a shared prompt, a fork, a cached prefix."""
    manager = paged_attn.KVCacheManager(64, 16, 2, 64)

    def step(requests):
        manager.allocate_slots(requests)
        manager.run_pending_work()
        manager.commit(requests)

    prompt = list(range(100))
    first = manager.add_sequence()
    step({first: prompt})
    second = manager.fork(first)
    third = manager.add_matched_sequence(manager.match_prefix([*prompt[:64], 7]))
    other = manager.add_sequence()
    for token in range(40):
        step({first: [200 + token], second: [300 + token], third: [400 + token]})
        step({other: [token, token + 1]})
    return manager, [first, second, third, other]


def draw_page_table(path):
    manager, sequences = serve()
    manager.plot(sequences).figure.savefig(path, dpi=110)


def count_dialects(text):
    """Operations per dialect in the generic or pretty text of a module."""
    ops = re.findall(r"(?<![#!%@.\w])([a-z_]+)\.[a-z_0-9.]+(?=[ (<{]|$)", text, re.M)
    return collections.Counter(dialect for dialect in ops)


def draw_ladder(path):
    kernel = paged_attn.compile(SPEC)
    counts = {level: count_dialects(kernel.inspect(level)) for level in LEVELS}
    totals = collections.Counter()
    for count in counts.values():
        totals += count
    shown = [dialect for dialect, _ in totals.most_common(9)]
    figure, axes = plt.subplots(figsize=(9, 3.2), layout="constrained")
    colors = plt.get_cmap("tab10")
    for row, level in enumerate(LEVELS):
        count, left = counts[level], 0.0
        total = sum(count.values())
        for index, dialect in enumerate([*shown, "others"]):
            if dialect == "others":
                number = total - sum(count[name] for name in shown)
            else:
                number = count[dialect]
            axes.barh(
                row, number / total, left=left, color=colors(index),
                label=dialect if row == 0 else None,
            )  # fmt: skip
            left += number / total
        axes.text(1.01, row, f"{total} ops", va="center", fontsize=9)
    axes.set_yticks(range(len(LEVELS)), LEVELS)
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.12), xlabel="share of the operations", title="one decode kernel, level by level")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    figure.savefig(path, dpi=110)


def draw_roofline(path):
    """Points (flops_ratio / bandwidth_ratio, flops_ratio) under the roof min(x, 1):
    the axis counts operations per byte in units of what the machine balances."""
    figures = json.loads(FIGURES.read_text())
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    points = [(run["flops_ratio"] / run["bandwidth_ratio"], run) for run in figures["runs"]]
    low = min(0.5 * min(x for x, _ in points), 0.1)
    high = max(2 * max(x for x, _ in points), 10)
    axes.loglog([low, 1], [low, 1], "k--", lw=1, label="a paged read of the same pages")
    axes.loglog([1, high], [1, 1], "k", lw=1, label="f32 FMA peak")
    for x, run in points:
        axes.loglog(x, run["flops_ratio"], "o", label=run["name"])
    axes.set(
        xlabel="operations per byte, 1 = where both ceilings meet",
        ylabel="share of the FMA peak",
        title="under the roofs of the machine that ran it",
    )
    axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def measure(tool):
    runs = []
    for name, flags in RUNS.items():
        command = [tool, *flags.split(), *COMMON.split()]
        result = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        runs.append({"name": name, "flags": flags, **{
            key: round(result[key], 3) for key in ("bandwidth_ratio", "flops_ratio")
        }})  # fmt: skip
    figures = {
        "command": f"paged-attn-run FLAGS {COMMON}",
        "note": "ratios to a paged read of the same pages and to the f32 FMA peak, in the same process",
        "runs": runs,
    }
    FIGURES.write_text(json.dumps(figures, indent=2) + "\n")


PICTURES = {"page-table": draw_page_table, "ladder": draw_ladder, "roofline": draw_roofline}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("pictures", nargs="*", help=", ".join(PICTURES))
    parser.add_argument("--out", type=pathlib.Path, default=HERE)
    parser.add_argument("--measure", metavar="TOOL")
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
    for name in arguments.pictures or PICTURES:
        PICTURES[name](arguments.out / f"{name}.png")
        print(arguments.out / f"{name}.png")


if __name__ == "__main__":
    main()
