# ===- checks.py - What was aimed at and what was reached ------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Ratios derived from the measured cases, each with its target. Only figures of
# one run are compared directly; across cases, shares of the ceilings are.
#
# ===----------------------------------------------------------------------=== #
"""Targets of the CPU kernels."""

DECODE = ("decode-1x32768", "decode-8x4096", "decode-32x1024", "decode-64-ragged")
PREFILL = ("prefill-512", "prefill-2048", "prefill-4096", "prefill-4x512")
CHUNK, MIXED = "chunk-512-on-4096", "mixed-8x2048-1024"
BANDWIDTH = {"f32": 0.90, "bf16": 0.85, "f16": 0.85, "i8": 0.75}
DECODE_GAIN = {"f32": 1.5, "bf16": 2.0, "f16": 2.0, "i8": 4.0}
FLOPS = {"prefill-512": 0.80, "prefill-2048": 0.85, "prefill-4096": 0.85, "prefill-4x512": 0.80}
PREFILL_GAIN = 1.5
SIXTEEN_BIT = 0.97   # of the f32 share
WITHIN = 0.95        # ragged, few sequences, chunks
FLAT = 1.10          # page sizes, shuffled pages
GROUP_FLOPS, GROUP_GAIN = 0.60, 3.0
SIXTEEN, QUANTISED = ("bf16", "f16"), ("i8",)
FLOATS = ("f32",) + SIXTEEN
TYPES = FLOATS + QUANTISED


class Figures:
    """Measured cases by name."""

    def __init__(self, cases):
        self.cases = {case["name"]: case for case in cases}

    def systems(self, name, kind):
        """Right and timed systems of a case that compute its own lengths."""
        case = self.cases.get(name, {"systems": []})
        return [s for s in case["systems"] if s["kind"] == kind and s.get("seconds")
                and s["status"] == "right" and s["lengths"] == case["lengths"]]

    def ours(self, name):
        """Our fastest variant, or None."""
        return min(self.systems(name, "ours"), key=lambda s: s["seconds"]["median"], default=None)

    def peer(self, name):
        """The fastest paged peer, or None."""
        paged = [s for s in self.systems(name, "peer") if s["paged"]]
        return min(paged, key=lambda s: s["seconds"]["median"], default=None)

    def share(self, name, key):
        ours = self.ours(name)
        return (ours.get(key), ours["name"]) if ours else (None, "")

    def quotient(self, name, other, key):
        """Our share of a ceiling in one case over that in another."""
        a, b = self.share(name, key)[0], self.share(other, key)[0]
        return a / b if a and b else None

    def gain(self, name):
        ours, peer = self.ours(name), self.peer(name)
        if not ours or not peer:
            return None, ""
        return (peer["seconds"]["median"] / ours["seconds"]["median"],
                f"{ours['name']} over {peer['name']}")


def entry(name, value, target, note="", at_most=False):
    passed = None if value is None else (value <= target if at_most else value >= target)
    return {"name": name, "value": value, "target": target,
            "relation": "<=" if at_most else ">=", "pass": passed, "note": note}


def case_name(lengths, kv_type, heads="32-8"):
    return f"{lengths}/{heads}/{kv_type}"


def decode_checks(figures):
    for kv_type in TYPES:
        name = case_name("decode-8x4096", kv_type)
        yield entry(f"bandwidth_ratio {name}", *pair(figures.share(name, "bandwidth_ratio"),
                                                     BANDWIDTH[kv_type]))
    for lengths in DECODE:
        for kv_type in TYPES:
            name = case_name(lengths, kv_type)
            yield entry(f"x fastest paged peer {name}",
                        *pair(figures.gain(name), DECODE_GAIN[kv_type]))
    for kv_type in TYPES:
        for what, name, other in (("ragged / even", "decode-64-ragged", "decode-64x2112"),
                                  ("1x32768 / 8x4096", "decode-1x32768", "decode-8x4096")):
            yield entry(f"{what}, bandwidth_ratio, {kv_type}",
                        figures.quotient(case_name(name, kv_type), case_name(other, kv_type),
                                         "bandwidth_ratio"), WITHIN)


def pair(value_and_note, target):
    """(value, note) and a target in the order that `entry` takes."""
    value, note = value_and_note
    return value, target, note


def prefill_checks(figures):
    key = "flops_ratio_best"
    for lengths in PREFILL:
        name = case_name(lengths, "f32")
        yield entry(f"flops_ratio (best) {name}",
                    *pair(figures.share(name, key), FLOPS[lengths]))
        for kv_type in SIXTEEN:
            yield entry(f"{kv_type} / f32, flops_ratio (best), {lengths}",
                        figures.quotient(case_name(lengths, kv_type), name, key), SIXTEEN_BIT)
    for lengths in PREFILL + (CHUNK, MIXED):
        for kv_type in FLOATS:
            name = case_name(lengths, kv_type)
            yield entry(f"x fastest paged peer {name}", *pair(figures.gain(name), PREFILL_GAIN))
    for kv_type in FLOATS:
        yield entry(f"chunked / one-shot, flops_ratio, {kv_type}",
                    figures.quotient(case_name(CHUNK, kv_type),
                                     case_name("prefill-4096", kv_type), "flops_ratio"), WITHIN)


def mixed_checks(figures):
    for kv_type in FLOATS:
        case = figures.cases.get(case_name(MIXED, kv_type), {"systems": []})
        parts = [s["seconds"]["median"] for s in case["systems"] if s.get("seconds")
                 and s["kind"] == "ours" and s["lengths"].startswith("mixed-part")]
        layout = next((s["layout"] for s in case["systems"] if s.get("seconds")
                       and s.get("lengths", "").startswith("mixed-part")), None)
        whole = [s["seconds"]["median"] for s in figures.systems(case_name(MIXED, kv_type), "ours")
                 if s["layout"] == layout]
        value = whole[0] / sum(parts) if whole and len(parts) == 2 else None
        yield entry(f"mixed / sum of its parts, time, {kv_type}", value, 1.0, at_most=True)


def group_checks(figures):
    for kv_type in TYPES:
        name = case_name("decode-8x4096", kv_type, "32-1")
        yield entry(f"flops_ratio {name}",
                    *pair(figures.share(name, "flops_ratio"), GROUP_FLOPS))
        yield entry(f"x fastest paged peer {name}", *pair(figures.gain(name), GROUP_GAIN))


def page_checks(figures):
    for kv_type in ("f32", "bf16"):
        systems = figures.systems(f"pages-{case_name('decode-8x4096', kv_type)}", "ours")
        shuffled = [s for s in systems if s["pages"] == "shuffled"]
        times = [s["seconds"]["median"] for s in shuffled]
        yield entry(f"page sizes 16 to 256, slowest / fastest, {kv_type}",
                    max(times) / min(times) if len(times) > 1 else None, FLAT, at_most=True)
        pairs = [(s, t) for s in shuffled for t in systems
                 if t["pages"] == "identity" and t["page_size"] == s["page_size"]]
        value = pairs[0][0]["seconds"]["median"] / pairs[0][1]["seconds"]["median"] if pairs else None
        yield entry(f"shuffled / consecutive pages, time, {kv_type}", value, FLAT, at_most=True)


def all_checks(cases):
    figures = Figures(cases)
    return [check for make in (decode_checks, prefill_checks, mixed_checks, group_checks,
                               page_checks) for check in make(figures)]
