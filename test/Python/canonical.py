"""Random ragged problems on canonical pools, for the tests of JAX, PyTorch and EasyDeL.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

Pools are built as [page, slot, head, depth] and laid out afterwards; what must not be read
holds NaN, page ids that must not be read are out of range. The answers are those of
reference.py.
"""

import dataclasses
from typing import Optional

import numpy as np
import reference


@dataclasses.dataclass
class Problem:
    """One call: q [T, Hq, Dk], canonical pools [P, S, Hkv, D], tables and lengths."""

    q: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    table: np.ndarray
    kv_lens: np.ndarray
    starts: np.ndarray
    slopes: Optional[np.ndarray] = None
    sinks: Optional[np.ndarray] = None


def make_problem(
    rng,
    q_lens,
    kv_lens,
    *,
    heads=4,
    kv_heads=2,
    key_dim=16,
    value_dim=None,
    page_size=4,
    padding=0,
    slopes=False,
    sinks=False,
    dtype=np.float32,
) -> Problem:
    """A random problem with shuffled pages and poison in all that is not read."""
    value_dim = value_dim or key_dim
    pages_of = [-(-n // page_size) for n in kv_lens]
    num_pages, columns = sum(pages_of) + 2, max(pages_of, default=0) + 1
    keys = np.full((num_pages, page_size, kv_heads, key_dim), np.nan, np.float32)
    values = np.full((num_pages, page_size, kv_heads, value_dim), np.nan, np.float32)
    table = rng.choice([-1, num_pages + 7], (len(kv_lens), columns)).astype(np.int32)
    free = list(rng.permutation(num_pages))
    for b, length in enumerate(kv_lens):
        for column in range(pages_of[b]):
            page = table[b, column] = free.pop()
            used = min(page_size, length - column * page_size)
            keys[page, :used] = rng.standard_normal((used, kv_heads, key_dim))
            values[page, :used] = rng.standard_normal((used, kv_heads, value_dim))
    tokens = sum(q_lens)
    q = rng.standard_normal((tokens + padding, heads, key_dim)).astype(np.float32)
    q[tokens:] = np.nan
    return Problem(
        q.astype(dtype),
        keys.astype(dtype),
        values.astype(dtype),
        table,
        np.asarray(kv_lens, np.int32),
        np.concatenate([[0], np.cumsum(q_lens)]).astype(np.int32),
        (rng.random(heads).astype(np.float32) * 0.5 if slopes else None),
        (rng.standard_normal(heads).astype(np.float32) if sinks else None),
    )


def lay_out(
    canonical: np.ndarray, dims: str, pack: int = 1, pair=None, layers: int = 1, layer: int = 0
) -> np.ndarray:
    """A canonical pool [P, S, Hkv, D] in the order `dims`; with c, `pair` is the value
    pool. Layers other than `layer` hold NaN."""
    pool, order = canonical, "pshd"
    if "c" in dims:
        pool, order = np.stack([canonical, pair]), "c" + order
    if "l" in dims:
        poisoned = np.full((layers, *pool.shape), np.nan, pool.dtype)
        poisoned[layer] = pool
        pool, order = poisoned, "l" + order
    pool = pool.transpose([order.index(letter) for letter in dims])
    if pack == 1:
        return np.ascontiguousarray(pool)
    d = dims.index("d")
    shape = (*pool.shape[:d], pool.shape[d] // pack, pack, *pool.shape[d + 1 :])
    return np.ascontiguousarray(np.moveaxis(pool.reshape(shape), d + 1, -1))


def attention(problem: Problem, **options):
    """The answer in float64: out [T, Hq, Dv], lse [T, Hq]."""
    return reference.attention(
        problem.q,
        problem.keys.astype(np.float64),
        problem.values.astype(np.float64),
        problem.table,
        problem.kv_lens,
        problem.starts,
        alibi_slopes=problem.slopes,
        sinks=problem.sinks,
        **options,
    )
