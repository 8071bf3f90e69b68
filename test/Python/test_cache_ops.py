"""append and merge_states."""

import numpy as np
import problems
import pytest
import reference
from hypothesis import given, settings
from hypothesis import strategies as st

import paged_attn

LAYOUTS = ["pshd", "phsd", "hpsd", "phds", "phds, pack=2", "pcshd", "pshcd", "lpshd"]


def empty_pools(layout, dtype, pages=5, slots=4, heads=2, dim=8):
    blank = np.full((pages, slots, heads, dim), -1.0)
    pool = reference.write_pool(blank, layout, blank, layers=2).astype(problems.DTYPES[dtype])
    return pool, None if "c" in reference.split_layout(layout)[0] else pool.copy()


def read_both(k_pages, v_pages, layout):
    layer = 1 if "l" in layout else None
    keys = reference.read_pool(k_pages, layout, 0, layer)
    pool = k_pages if v_pages is None else v_pages
    return keys, reference.read_pool(pool, layout, 1, layer)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("layout", LAYOUTS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=6, deadline=None)
def test_append_by_slots(layout, dtype, seed):
    rng = np.random.default_rng(seed)
    k_pages, v_pages = empty_pools(layout, dtype)
    slots = rng.permutation(20)[: rng.integers(0, 12)].astype(np.int64)
    slots[rng.random(len(slots)) < 0.3] = -1
    k, v = rng.standard_normal((2, len(slots), 2, 8)).astype(np.float32)
    layer = 1 if "l" in layout else None
    paged_attn.append(k, v, k_pages, v_pages, slots, layout=layout, layer=layer)
    for pool, tokens in zip(read_both(k_pages, v_pages, layout), (k, v)):
        expected = np.full((20, 2, 8), -1.0)
        stored = tokens.astype(problems.DTYPES[dtype]).astype(np.float64)
        expected[slots[slots >= 0]] = stored[slots >= 0]
        np.testing.assert_array_equal(pool.reshape(20, 2, 8), expected)
    if layer:
        assert (reference.read_pool(k_pages, layout, 0, 0) == -1).all()


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_append_by_page_table(seed):
    rng = np.random.default_rng(seed)
    k_pages, v_pages = empty_pools("pshd", "float32", pages=12)
    lens, new = [4, 0, 9], [3, 0, 5]
    order = rng.permutation(12)
    table = np.full((3, 4), -7, np.int32)  # pages without new tokens may be gone
    table[0, 0], table[2, 1:3] = order[0], order[1:3]
    starts = np.array([0, 3, 3, 8], np.int32)
    k, v = rng.standard_normal((2, 8, 2, 8)).astype(np.float32)
    paged_attn.append(
        k, v, k_pages, v_pages, page_table=table, kv_lens=lens, query_starts=starts
    )
    expected = np.full((12, 4, 2, 8), -1, np.float32)
    for b, (length, count) in enumerate(zip(lens, new)):
        for i in range(count):
            position = length - count + i
            expected[table[b, position // 4], position % 4] = k[starts[b] + i]
    np.testing.assert_array_equal(k_pages, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_merge_is_attention_over_all_keys(dtype):
    """Two parts with no key in common give what one call over both gives."""
    rng = np.random.default_rng(1)
    problem = problems.make(rng, [32, 17], [2, 1], dtype=dtype)
    q, k, v, table, lens, starts = problem.arrays
    head = np.array([16, 16], np.int32)
    first = paged_attn.attention(
        q, k, v, table, head, starts, causal=False, return_lse=True
    )
    rest = paged_attn.attention(
        q, k, v, table[:, 2:], lens - 16, starts, return_lse=True
    )
    out, lse = paged_attn.merge_states(*zip(first, rest))
    assert out.dtype == q.dtype
    expected, expected_lse = problem.expect()
    rounding = reference.ROUNDING[dtype]
    np.testing.assert_allclose(
        out.astype(np.float64), expected, atol=3e-4 + 4 * rounding, rtol=2 * rounding
    )
    np.testing.assert_allclose(lse, expected_lse, atol=1e-4)


def test_empty_parts_add_nothing():
    part = np.full((2, 1, 4), np.nan, np.float32)
    part[0] = 3
    lses = [np.array([[0.5], [-np.inf]], np.float32), np.full((2, 1), -np.inf, np.float32)]
    out, lse = paged_attn.merge_states([part, np.full_like(part, np.nan)], lses)
    np.testing.assert_array_equal(out[0], 3)
    np.testing.assert_array_equal(out[1], 0)
    np.testing.assert_array_equal(lse[:, 0], [0.5, -np.inf])
    assert paged_attn.merge_states([part, part], lses, return_lse=False).shape == (2, 1, 4)
