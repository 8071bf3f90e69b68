#!/usr/bin/env python3
"""Counts the instructions of the innermost loops of x86-64 assembly.

Reads AT&T syntax from stdin. A loop is the text between a label and a jump back
to it that holds no other such pair; hot are those that multiply vectors: with at
least 8 vector FMAs or byte dot products. Prints one line for each hot loop and
one for the worst of them (the most of each kind).

  multiply   FMAs and byte dot products on vectors
  load       vectors read from memory, also as operands; not broadcasts
  broadcast  one element to all lanes, from memory
  prefetch   cache lines requested
  spill      vector registers kept on the stack for want of registers
  scalar     arithmetic on one f32
  gather, call
  convert    between types of elements, and shifts that widen bf16
"""
import re
import sys

LEAST = 8
KINDS = [
    "multiply",
    "load",
    "broadcast",
    "prefetch",
    "spill",
    "scalar",
    "gather",
    "call",
    "convert",
]
VECTOR = re.compile(r"%[xyz]mm\d+")
PATTERNS = {
    "multiply": r"vfn?m(add|sub)\d+ps|vpdpbusd",
    "prefetch": r"prefetch",
    "scalar": r"v?\w+ss$",
    "gather": r"v?p?gather",
    "call": r"call",
    "convert": r"vcvt|vpmov[sz]x|vpslld|vpsllw",
}


def classify(line):
    """The kinds that one instruction counts for."""
    mnemonic = line.split()[0]
    kinds = [k for k, p in PATTERNS.items() if re.match(p, mnemonic)]
    operands = line.split("#")[0][len(mnemonic) :].strip()
    memory = "(" in operands
    if "Spill" in line or "Reload" in line:
        return kinds + (["spill"] if VECTOR.search(operands) else [])
    if memory and ("{1to" in operands or mnemonic.startswith("vbroadcast") or mnemonic.startswith("vpbroadcast")):
        kinds.append("broadcast")
    elif memory and VECTOR.search(operands) and not re.search(r"\)\s*$", operands):
        if "scalar" not in kinds and mnemonic not in ("vmovd", "vmovss"):
            kinds.append("load")
    return kinds


def innermost(lines):
    """(first, last) lines of loops that hold no other loop."""
    labels, loops = {}, []
    for number, line in enumerate(lines):
        label = re.match(r"(\.L\w+):", line)
        if label:
            labels[label[1]] = number
        jump = re.match(r"\s+j\w+\s+(\.L\w+)", line)
        if jump and jump[1] in labels:
            loops.append((labels[jump[1]], number))
    return [
        (a, b)
        for a, b in loops
        if not any((c, d) != (a, b) and a <= c and d <= b for c, d in loops)
    ]


def count(lines):
    """Instructions of each kind."""
    result = dict.fromkeys(KINDS, 0)
    for line in lines:
        if re.match(r"\s+[a-z]", line):
            for kind in classify(line.strip()):
                result[kind] += 1
    return result


def show(name, counts):
    text = " ".join(f"{kind}={counts[kind]}" for kind in KINDS)
    if counts["load"]:
        text += " per load:"
        for kind in "multiply", "broadcast", "prefetch", "convert":
            text += f" {kind}={counts[kind] / counts['load']:.2g}"
    print(name + ": " + text)


def main():
    lines = sys.stdin.read().split("\n")
    loops = [count(lines[a : b + 1]) for a, b in innermost(lines)]
    hot = [counts for counts in loops if counts["multiply"] >= LEAST]
    hot.sort(key=lambda counts: [counts[kind] for kind in KINDS])
    for counts in hot:
        show("loop", counts)
    if not hot:
        sys.exit("hot_loops.py: expected a hot loop, got none")
    show("worst", {k: max(counts[k] for counts in hot) for k in KINDS})


if __name__ == "__main__":
    main()
