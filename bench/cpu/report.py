# ===- report.py - Table and picture of measured cases ---------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# The table wants rich, the picture matplotlib; without them there is plain text
# and no picture.
#
# ===----------------------------------------------------------------------=== #
"""What a person reads."""

import math
import sys

ELEMENT_BYTES = {"f32": 4, "bf16": 2, "f16": 2}
TYPES = ("f32", "bf16", "f16", "i8", "f8E4M3FN")
MODES = {"decode": "o", "prefill": "s", "mixed": "^"}
COLOURS = {"ours": "#d62728", "openvino": "#1f77b4", "vllm": "#2ca02c", "ipex": "#9467bd",
           "sdpa": "#7f7f7f", "sdpa-fold": "#4d4d4d", "gather-sdpa": "#bcbd22",
           "flex": "#ff7f0e", "ggml": "#8c564b", "jax": "#17becf"}


def print_rows(title, columns, rows):
    try:
        from rich.console import Console
        from rich.table import Table
    except ImportError:
        print(title)
        for row in [columns] + rows:
            print("  " + "  ".join(str(cell).ljust(12) for cell in row))
        return
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(str, row))
    width = None if sys.stdout.isatty() else 140
    Console(width=width).print(table)


def ratio(value):
    return "-" if value is None else f"{value:.2f}"


def case_row(system, fastest):
    if not system.get("seconds"):
        word = system["status"]
        return [system["name"], word, "", "", "", "", ""]
    seconds = system["seconds"]
    return [system["name"] + ("" if system["paged"] else " *"), f"{seconds['median'] * 1e3:.2f}",
            f"{seconds['best'] * 1e3:.2f}", ratio(system.get("bandwidth_ratio")),
            ratio(system["flops_ratio"]), ratio(seconds["median"] / fastest),
            f"{system['error']:.0e}"]


def print_case(case):
    timed = [s for s in case["systems"] if s.get("seconds")]
    own = [s["seconds"]["median"] for s in timed
           if s["kind"] == "ours" and s["lengths"] == case["lengths"]]
    fastest = min(own, default=math.nan)
    order = sorted(case["systems"], key=lambda s: s["seconds"]["median"] if s.get("seconds")
                   else math.inf)
    print_rows(f"{case['name']}  (via {case['via']}; * not paged)",
               ["system", "median ms", "best ms", "of paged read", "of FMA peak", "x ours", "error"],
               [case_row(s, fastest) for s in order])
    if "ceilings" in case:
        ceilings = case["ceilings"]
        paged = ceilings["paged_read"]
        print(f"  ceilings: FMA {ceilings['fma']['median'] / 1e9:.0f} GFLOP/s "
              f"({ceilings['fma_instructions']}), sequential read "
              f"{ceilings['sequential_read']['median'] / 1e9:.1f} GB/s"
              + (f", dot {ceilings['dot']['median'] / 1e9:.0f} GOP/s" if ceilings.get("dot")
                 else "")
              + (f", paged read {paged['median'] / 1e9:.1f} GB/s" if paged else ""))


def print_checks(checks):
    known = [c for c in checks if c["value"] is not None]
    words = {True: "pass", False: "fail"}
    print_rows("Targets", ["ratio", "value", "target", "", "systems"],
               [[c["name"], f"{c['value']:.3f}", f"{c['relation']} {c['target']:.2f}",
                 words[c["pass"]], c["note"]] for c in known])
    print(f"  {sum(c['pass'] for c in known)} of {len(known)} reached, "
          f"{len(checks) - len(known)} not measured")


def intensity(case):
    """Operations per byte that a call cannot avoid: K, V, queries and out."""
    rows = case["operations"] and case.get("query_tokens", 0) * case["heads"] * case["head_dim"]
    return case["operations"] / (case["kv_bytes"] + 2 * rows * ELEMENT_BYTES[case["query_type"]])


def base_name(system):
    return "ours" if system["kind"] == "ours" else system["name"]


def draw_panel(axes, kv_type, cases):
    peak = max(c["ceilings"]["fma"]["median"] for c in cases) / 1e9
    reads = [("sequential read", "-", max(c["ceilings"]["sequential_read"]["median"]
                                          for c in cases))]
    paged = [c["ceilings"]["paged_read"]["median"] for c in cases if c["ceilings"]["paged_read"]]
    if paged:
        reads.append(("paged read", "--", max(paged)))
    points = [(intensity(c), c, s) for c in cases for s in c["systems"]
              if s.get("seconds") and s["lengths"] == c["lengths"]]
    low, high = min(p[0] for p in points) / 2, max(p[0] for p in points) * 2
    for label, style, rate in reads:
        knee = min(max(peak * 1e9 / rate, low), high)
        roof = [(x, min(peak, x * rate / 1e9)) for x in (low, knee, high)]
        axes.plot(*zip(*roof), "k" + style, linewidth=1, label=label)
    dots = [c["ceilings"]["dot"]["median"] for c in cases if c["ceilings"].get("dot")]
    if dots:
        axes.plot([low, high], [max(dots) / 1e9] * 2, "k:", linewidth=1)
    names = sorted({base_name(s) for _, _, s in points}, key=list(COLOURS).index)
    for x, case, system in points:
        name = base_name(system)
        # Systems of one case stand side by side.
        shifted = x * 1.06 ** (names.index(name) - len(names) / 2)
        axes.plot(shifted, system["gflops"], MODES[case["mode"]], color=COLOURS[name],
                  markersize=7 if name == "ours" else 4, alpha=0.85,
                  fillstyle="full" if system["paged"] else "none",
                  zorder=3 if name == "ours" else 2)
    axes.set(xscale="log", yscale="log", xlabel="operations per byte", title=f"{kv_type} cache")
    axes.grid(True, which="both", alpha=0.2)
    return names


def draw(results, path):
    """The roofline; False without matplotlib or without a figure."""
    try:
        import matplotlib
    except ImportError:
        return False
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "paged_attn"
    import matplotlib.pyplot as plt
    by_type = {}
    for case in results["cases"]:
        if case["set"] not in ("pages", "layouts", "smoke") and case.get("ceilings"):
            by_type.setdefault(case["kv_type"], []).append(case)
    if not by_type:
        return False
    by_type = {key: by_type[key] for key in sorted(by_type, key=TYPES.index)}
    figure, panels = plt.subplots(1, len(by_type), figsize=(4.6 * len(by_type), 5), sharey=True,
                                  squeeze=False, layout="constrained")
    names = set()
    for axes, (kv_type, cases) in zip(panels[0], by_type.items()):
        names |= set(draw_panel(axes, kv_type, cases))
    panels[0][0].set_ylabel("GFLOP/s")
    handles = [plt.Line2D([], [], color=COLOURS[n], marker="o", linestyle="", label=n)
               for n in COLOURS if n in names]
    handles += [plt.Line2D([], [], color="grey", marker=m, linestyle="", label=mode)
                for mode, m in MODES.items()]
    handles += [plt.Line2D([], [], color="k", linestyle=style, label=label) for label, style in
                (("sequential read, f32 FMA peak", "-"), ("paged read", "--"),
                 ("dot product peak of the type", ":"))]
    figure.legend(handles=handles, loc="outside lower center", ncols=8, fontsize="small",
                  frameon=False)
    machine = results["machine"]
    figure.suptitle(f"{machine['cpu']}, {machine['threads']} threads, {machine['date']}; "
                    "hollow: not paged", fontsize="medium")
    figure.savefig(path, metadata={"Date": None} if str(path).endswith(".svg") else None)
    return True
