# ===- common.py - What all peers share -----------------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# The problem as a peer gets it, and caches in the forms that peers want. Only
# numpy here: peers live in environments of their own.
#
# ===----------------------------------------------------------------------=== #
"""Problems and paged caches for peers."""

import abc
import dataclasses
import importlib.metadata

import numpy as np


class Skip(Exception):
    """The peer is absent or lacks what the case needs; one word or a few."""


@dataclasses.dataclass
class Problem:
    """One case, all arrays float32 with values that the cache type can hold."""

    mode: str
    q_lens: list
    kv_lens: list
    heads: int
    kv_heads: int
    head_dim: int
    kv_type: str
    page_size: int
    pages: str
    threads: int
    query: np.ndarray   # [T, Hq, D]
    keys: np.ndarray    # [sum of kv_lens, Hkv, D]
    values: np.ndarray  # the same

    @property
    def group(self):
        return self.heads // self.kv_heads

    @property
    def scale(self):
        return self.head_dim ** -0.5

    @property
    def q_starts(self):
        return np.concatenate([[0], np.cumsum(self.q_lens)]).astype(np.int32)

    @property
    def kv_starts(self):
        return np.concatenate([[0], np.cumsum(self.kv_lens)]).astype(np.int64)

    @property
    def is_uniform(self):
        return len(set(zip(self.q_lens, self.kv_lens))) == 1

    def runs(self):
        """Neighbouring sequences of equal lengths: (first, past the last)."""
        first = 0
        pairs = list(zip(self.q_lens, self.kv_lens))
        for b in range(1, len(pairs) + 1):
            if b == len(pairs) or pairs[b] != pairs[first]:
                yield first, b
                first = b


class Peer(abc.ABC):
    """What the worker calls. Subclasses keep all they need on `self`."""

    packages = ()  # whose versions are reported

    def versions(self):
        return {name: importlib.metadata.version(name) for name in self.packages}

    @abc.abstractmethod
    def prepare(self, problem):
        """Builds caches and compiles; raises Skip when it cannot."""

    @abc.abstractmethod
    def run(self):
        """One call, finished when it returns."""

    @abc.abstractmethod
    def output(self):
        """The last result as float32 [T, Hq, D]."""


def require_type(problem, *types):
    if problem.kv_type not in types:
        raise Skip(f"no {problem.kv_type}")


def place_pages(problem, page_size):
    """Physical pages of each sequence: a list of int32 arrays, and P."""
    counts = [-(-length // page_size) for length in problem.kv_lens]
    total = sum(counts)
    order = np.arange(total, dtype=np.int32)
    if problem.pages == "shuffled":
        np.random.default_rng(1).shuffle(order)
    return np.split(order, np.cumsum(counts)[:-1]), total


def dense_table(page_lists):
    """[B, N] int32, 0 where a row has fewer pages."""
    table = np.zeros((len(page_lists), max(map(len, page_lists))), np.int32)
    for b, pages in enumerate(page_lists):
        table[b, :len(pages)] = pages
    return table


def csr_table(page_lists):
    """(page_indices, page_indptr), int32."""
    ends = np.cumsum([len(pages) for pages in page_lists])
    return np.concatenate(page_lists), np.concatenate([[0], ends]).astype(np.int32)


def fill_pool(problem, rows, page_lists, num_pages, page_size):
    """`rows` [tokens, Hkv, D] as a pool [P, S, Hkv, D]; unread slots are 0."""
    pool = np.zeros((num_pages, page_size) + rows.shape[1:], np.float32)
    starts = problem.kv_starts
    for b, pages in enumerate(page_lists):
        own = rows[starts[b]:starts[b + 1]]
        whole = len(own) // page_size
        pool[pages[:whole]] = own[:whole * page_size].reshape(whole, page_size, *rows.shape[1:])
        if whole < len(pages):
            pool[pages[whole], :len(own) - whole * page_size] = own[whole * page_size:]
    return pool


def to_bf16_bits(array):
    """Bits of values that bfloat16 holds exactly."""
    return (np.ascontiguousarray(array, np.float32).view(np.uint32) >> 16).astype(np.uint16)


def from_bf16_bits(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)
