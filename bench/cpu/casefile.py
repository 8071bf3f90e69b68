# ===- casefile.py - Cases of the CPU benchmark ---------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Expands cases.json: every set is a product of lengths, heads and types, and a
# case holds the variants of our kernel that are compared inside one run.
#
# ===----------------------------------------------------------------------=== #
"""Cases, their lengths and what a call of them costs."""

import dataclasses
import json
import pathlib
import random

ELEMENT_BYTES = {"f32": 4, "bf16": 2, "f16": 2, "i8": 1, "f8E4M3FN": 1}
# Queries and outputs of quantised caches are f32.
QUERY_TYPE = {"f32": "f32", "bf16": "bf16", "f16": "f16", "i8": "f32", "f8E4M3FN": "f32"}
DEFAULT_VARIANT = {"layout": "pshd", "page_size": 16, "pages": "shuffled"}


@dataclasses.dataclass(frozen=True)
class Lengths:
    """New tokens and tokens in the cache of each sequence."""

    name: str
    mode: str
    q_lens: tuple
    kv_lens: tuple

    @property
    def pairs(self):
        """Visible (query row, key) pairs under the causal mask."""
        return sum(q * (2 * kv - q + 1) // 2 for q, kv in zip(self.q_lens, self.kv_lens))


@dataclasses.dataclass(frozen=True)
class Variant:
    """One form of our kernel inside a case."""

    layout: str
    key_layout: str
    value_layout: str
    page_size: int
    pages: str
    lengths: Lengths


@dataclasses.dataclass(frozen=True)
class Case:
    """One problem that all systems compute."""

    name: str
    set_name: str
    lengths: Lengths
    heads: int
    kv_heads: int
    head_dim: int
    kv_type: str
    variants: tuple
    peers: tuple  # names, None: all

    @property
    def query_type(self):
        return QUERY_TYPE[self.kv_type]

    def kv_bytes(self, lengths):
        """Bytes of K and V that a call cannot avoid reading."""
        row = 2 * self.kv_heads * self.head_dim * ELEMENT_BYTES[self.kv_type]
        return sum(lengths.kv_lens) * row

    def operations(self, lengths):
        """Operations of Q K^T and P V for visible pairs; an FMA is two."""
        return 4 * lengths.pairs * self.heads * self.head_dim


def ragged_lengths(batch, low, high, seed):
    """`batch` lengths evenly spread over [low, high], in random order."""
    lengths = [low + (high - low) * i // (batch - 1) for i in range(batch)]
    random.Random(seed).shuffle(lengths)
    return lengths


def make_lengths(name, entry):
    q_lens, kv_lens = [], []
    for batch, q, kv in entry.get("uniform", []):
        q_lens += [q] * batch
        kv_lens += [kv] * batch
    if "ragged" in entry:
        kv_lens += ragged_lengths(**entry["ragged"])
        q_lens += [1] * entry["ragged"]["batch"]
    return Lengths(name, entry["mode"], tuple(q_lens), tuple(kv_lens))


def expand_set(document, entry):
    """All cases of one set."""
    lengths_of = {name: make_lengths(name, e) for name, e in document["lengths"].items()}
    for name in entry["lengths"]:
        for heads in entry["heads"]:
            for kv_type in entry["types"]:
                variants = []
                for variant in entry["variants"]:
                    full = {**DEFAULT_VARIANT, "lengths": name, **variant}
                    layout = document["layouts"][full["layout"]]
                    variants.append(Variant(full["layout"], layout["key"], layout["value"],
                                            full["page_size"], full["pages"],
                                            lengths_of[full["lengths"]]))
                query_heads, kv_heads = (int(n) for n in heads.split("/"))
                prefix = name if entry["name"] not in ("pages", "layouts") else f"{entry['name']}-{name}"
                yield Case(f"{prefix}/{heads.replace('/', '-')}/{kv_type}", entry["name"],
                           lengths_of[name], query_heads, kv_heads,
                           entry.get("head_dim", document["head_dim"]), kv_type,
                           tuple(variants),
                           None if "peers" not in entry else tuple(entry["peers"]))


def read_cases(path):
    document = json.loads(pathlib.Path(path).read_text())
    return [case for entry in document["sets"] for case in expand_set(document, entry)]
