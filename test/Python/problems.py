"""Random ragged problems whose unread slots hold NaN."""

import dataclasses

import ml_dtypes
import numpy as np
import reference

DTYPES = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float8_e4m3fn": np.dtype(ml_dtypes.float8_e4m3fn),
    "int8": np.dtype(np.int8),
}


@dataclasses.dataclass
class Problem:
    """Arrays for `paged_attn.attention` and the same for `reference.attention`."""

    q: np.ndarray
    k_pages: np.ndarray
    v_pages: np.ndarray
    page_table: np.ndarray
    kv_lens: np.ndarray
    query_starts: np.ndarray
    keys: np.ndarray  # float64 [P, S, Hkv, D], as stored
    values: np.ndarray
    padding: int = 0

    @property
    def arrays(self):
        return (
            self.q, self.k_pages, self.v_pages, self.page_table, self.kv_lens, self.query_starts,
        )  # fmt: skip

    @property
    def csr(self):
        """The page table as (page_indices, page_indptr)."""
        size = self.keys.shape[1]
        counts = [-(-int(n) // size) for n in self.kv_lens]
        rows = [row[:n] for row, n in zip(self.page_table, counts)]
        indices = np.concatenate([*rows, np.zeros(0, self.page_table.dtype)])
        indptr = np.cumsum([0, *counts]).astype(self.page_table.dtype)
        return indices.astype(self.page_table.dtype), indptr

    def expect(self, **options):
        return reference.attention(
            self.q, self.keys, self.values, self.page_table, self.kv_lens, self.query_starts,
            **options,
        )  # fmt: skip

    def check(self, out, lse=None, **options):
        """Compares a result with the reference."""
        expected, expected_lse = self.expect(**options)
        dtype = out.dtype.name
        bound = reference.tolerance(expected, self.values, self.kv_lens, dtype)
        error = np.abs(np.asarray(out, np.float64) - expected)
        assert not np.isnan(error).any(), "NaN in out"
        assert (error <= bound).all(), f"error {error.max():.3g}"
        empty = expected_lse == -np.inf
        assert (np.asarray(out, np.float64)[empty] == 0).all()
        if lse is not None:
            assert (np.asarray(lse)[empty] == -np.inf).all()
            np.testing.assert_allclose(
                np.asarray(lse)[~empty], expected_lse[~empty], rtol=2e-5, atol=2e-5
            )


def random_values(rng, shape, dtype):
    if dtype == "int8":
        return rng.integers(-127, 128, shape).astype(np.int8)
    return rng.standard_normal(shape).astype(DTYPES[dtype])


def make(
    rng, kv_lens, q_lens, *, heads=4, kv_heads=2, dim=32, value_dim=None, page_size=8,
    dtype="float32", q_dtype=None, layout="pshd", index="int32", padding=0, latent=False,
):  # fmt: skip
    """A problem of the given lengths; pages are shuffled, what no row may read
    holds NaN (in pools) or a page that does not exist (in the table)."""
    value_dim = dim if value_dim is None else value_dim
    k_layout, v_layout = layout if isinstance(layout, tuple) else (layout, layout)
    counts = [-(-n // page_size) for n in kv_lens]
    num_pages = sum(counts) + 3
    order = rng.permutation(num_pages)
    width = max([1, *counts]) + 1
    table = np.full((len(kv_lens), width), 2**31 - 1, index)
    written = np.zeros((num_pages, page_size), bool)
    used = 0
    for b, (length, count) in enumerate(zip(kv_lens, counts)):
        table[b, :count] = order[used : used + count]
        used += count
        for j in range(length):
            written[table[b, j // page_size], j % page_size] = True
    keys = random_values(rng, (num_pages, page_size, kv_heads, dim), dtype)
    values = random_values(rng, (num_pages, page_size, kv_heads, value_dim), dtype)
    if dtype != "int8":
        keys[~written] = np.nan
        values[~written] = np.nan
    if latent:
        values = keys[..., :value_dim]
    one_pool = latent or "c" in reference.split_layout(k_layout)[0]
    starts = np.concatenate([[0], np.cumsum(q_lens)]).astype(index)
    return Problem(
        q=random_values(rng, (int(starts[-1]) + padding, heads, dim), q_dtype or dtype),
        k_pages=reference.write_pool(keys, k_layout, values, layers=2),
        v_pages=None if one_pool else reference.write_pool(values, v_layout, layers=2),
        page_table=table,
        kv_lens=np.array(kv_lens, index),
        query_starts=starts,
        keys=keys.astype(np.float64),
        values=values.astype(np.float64),
        padding=padding,
    )
