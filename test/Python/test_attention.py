"""Attention against the float64 reference: modes, types, layouts, options."""

import numpy as np
import problems
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import paged_attn

PAGE = 8
EDGES = [0, 1, PAGE - 1, PAGE, PAGE + 1]

# Kernels are compiled once per signature; lengths and pages are drawn anew.
SIGNATURES = {
    "f32": {},
    "f16": dict(dtype="float16"),
    "bf16": dict(dtype="bfloat16"),
    "f32 over bf16": dict(dtype="bfloat16", q_dtype="float32"),
    "multi-head": dict(heads=3, kv_heads=3, dim=16),
    "multi-query": dict(heads=5, kv_heads=1, dim=20),
    "wide values": dict(value_dim=48),
    "one-slot pages": dict(page_size=1, dim=16),
    "odd pages": dict(page_size=5, dim=16),
    "i64": dict(index="int64"),
    "phsd": dict(layout="phsd"),
    "hpsd": dict(layout="hpsd", dtype="bfloat16"),
    "phds": dict(layout="phds"),
    "phds by pairs": dict(layout="phds, pack=2", dtype="bfloat16"),
    "keys transposed": dict(layout=("phds", "phsd")),
    "pcshd": dict(layout="pcshd"),
    "pshcd": dict(layout="pshcd", dtype="bfloat16"),
}


def lengths(draw, most_new):
    kv = st.one_of(st.sampled_from(EDGES), st.integers(0, 5 * PAGE))
    kv_lens = draw(st.lists(kv, min_size=1, max_size=4))
    q_lens = [draw(st.integers(0, min(n, most_new))) for n in kv_lens]
    return kv_lens, q_lens


@st.composite
def batches(draw, most_new=3 * PAGE):
    return (*lengths(draw, most_new), draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 2)))


@pytest.mark.parametrize("name", SIGNATURES)
@given(batch=batches())
@settings(max_examples=12, deadline=None)
def test_signature(name, batch):
    kv_lens, q_lens, seed, padding = batch
    options = SIGNATURES[name]
    problem = problems.make(
        np.random.default_rng(seed), kv_lens, q_lens, padding=padding, **options
    )
    out, lse = paged_attn.attention(
        *problem.arrays, layout=options.get("layout", "pshd"), mode="mixed", return_lse=True
    )
    assert out.dtype == problem.q.dtype
    problem.check(out, lse)


@pytest.mark.parametrize("mode", ["auto", "prefill", "decode", "mixed"])
@given(batch=batches(most_new=6))
@settings(max_examples=12, deadline=None)
def test_mode(mode, batch):
    kv_lens, q_lens, seed, padding = batch
    problem = problems.make(np.random.default_rng(seed), kv_lens, q_lens, padding=padding)
    problem.check(paged_attn.attention(*problem.arrays, mode=mode))


OPTIONS = {
    "not causal": dict(causal=False),
    "window": dict(window=5),
    "window of one": dict(window=1),
    "sink tokens": dict(window=4, sink_tokens=3),
    "chunk": dict(chunk=6),
    "window, not causal": dict(window=3, causal=False),
    "softcap": dict(softcap=1.5),
    "scale": dict(scale=0.3),
    "alibi": dict(alibi_slopes=np.array([0.5, 0.25, 0.1, 0.0], np.float32)),
    "sinks": dict(sinks=np.array([0.5, -1.0, 3.0, 0.0], np.float32)),
    "together": dict(
        softcap=2.0, window=7, scale=0.4, sinks=np.array([0.5, -1.0, 3.0, 0.0], np.float32)
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
@given(batch=batches())
@settings(max_examples=12, deadline=None)
def test_option(name, batch):
    kv_lens, q_lens, seed, padding = batch
    problem = problems.make(np.random.default_rng(seed), kv_lens, q_lens, padding=padding)
    out, lse = paged_attn.attention(
        *problem.arrays, mode="mixed", return_lse=True, **OPTIONS[name]
    )
    if "sinks" in OPTIONS[name]:
        lse = None  # padding rows have no sink in lse
    problem.check(out, lse, **OPTIONS[name])


@given(batch=batches(), heads=st.sampled_from([1, 4]))
@settings(max_examples=10, deadline=None)
def test_bias(batch, heads):
    kv_lens, q_lens, seed, _ = batch
    rng = np.random.default_rng(seed)
    problem = problems.make(rng, kv_lens, q_lens)
    shape = (len(problem.q), heads, max(kv_lens) + 2)
    bias = rng.standard_normal(shape).astype(np.float32)
    bias[rng.random(shape) < 0.2] = -np.inf
    problem.check(paged_attn.attention(*problem.arrays, bias=bias, mode="mixed"), bias=bias)


@given(batch=batches())
@settings(max_examples=10, deadline=None)
def test_csr(batch):
    kv_lens, q_lens, seed, _ = batch
    problem = problems.make(np.random.default_rng(seed), kv_lens, q_lens)
    q, k, v, _, lens, starts = problem.arrays
    problem.check(paged_attn.attention(q, k, v, problem.csr, lens, starts, mode="mixed"))


@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn"])
@pytest.mark.parametrize("shape", ["number", "heads", "slots"])
@given(batch=batches())
@settings(max_examples=5, deadline=None)
def test_quantised_pools(dtype, shape, batch):
    kv_lens, q_lens, seed, _ = batch
    rng = np.random.default_rng(seed)
    problem = problems.make(rng, kv_lens, q_lens, dtype=dtype, q_dtype="float32")
    pages, slots, heads, _ = problem.keys.shape
    sizes = {"number": (), "heads": (heads,), "slots": (pages, slots, heads)}[shape]
    unit = 1 / 64 if dtype == "int8" else 1.0
    k_scale, v_scale = (
        np.asarray(unit * rng.uniform(0.5, 1.0, sizes), np.float32) for _ in range(2)
    )

    def spread(scale):
        return scale[..., None] if scale.ndim else scale

    problem.keys *= spread(k_scale)
    problem.values *= spread(v_scale)
    if shape == "number":
        k_scale, v_scale = float(k_scale), float(v_scale)
    out = paged_attn.attention(*problem.arrays, k_scale=k_scale, v_scale=v_scale, mode="mixed")
    problem.check(out)


@given(batch=batches(), value_dim=st.sampled_from([None, 24]))
@settings(max_examples=8, deadline=None)
def test_latent_values(batch, value_dim):
    kv_lens, q_lens, seed, _ = batch
    problem = problems.make(
        np.random.default_rng(seed), kv_lens, q_lens, value_dim=value_dim, latent=True
    )
    out = paged_attn.attention(*problem.arrays, value_dim=value_dim, mode="mixed")
    problem.check(out)


@given(batch=batches())
@settings(max_examples=8, deadline=None)
def test_query_offsets(batch):
    kv_lens, q_lens, seed, _ = batch
    rng = np.random.default_rng(seed)
    problem = problems.make(rng, kv_lens, q_lens)
    offsets = rng.integers(0, 2 * PAGE, len(kv_lens)).astype(np.int32)
    out = paged_attn.attention(*problem.arrays, query_offsets=offsets, mode="mixed")
    problem.check(out, offsets=offsets)


def test_layer():
    rng = np.random.default_rng(1)
    problem = problems.make(rng, [9, 20], [2, 5], layout="lpshd")
    problem.k_pages[0] = np.nan
    problem.v_pages[0] = np.nan
    problem.check(paged_attn.attention(*problem.arrays, layout="lpshd", layer=1))


def test_combined_heads():
    """JAX's ragged paged attention keeps K and V heads in one dimension."""
    problem = problems.make(np.random.default_rng(2), [9, 20], [2, 5], layout="pshcd")
    pages, slots, heads, _, dim = problem.k_pages.shape
    combined = problem.k_pages.reshape(pages, slots, 2 * heads, dim)
    q, _, _, table, lens, starts = problem.arrays
    problem.check(paged_attn.attention(q, combined, None, table, lens, starts, layout="pshcd"))


def test_uniform_batch_needs_no_starts():
    problem = problems.make(np.random.default_rng(3), [9, 20, 8], [2, 2, 2])
    problem.check(paged_attn.attention(*problem.arrays[:5]))


def test_lengths_of_other_types():
    """Lists, other integer types and strided index arrays are converted."""
    problem = problems.make(np.random.default_rng(4), [9, 20, 8], [2, 1, 3])
    q, k, v, table, lens, starts = problem.arrays
    wide = np.repeat(table, 2, axis=1)
    problem.check(
        paged_attn.attention(q, k, v, wide[:, ::2], lens.tolist(), starts.astype(np.int64))
    )
    problem.check(paged_attn.attention(q, k, v, table.astype(np.int64), lens, starts))


def test_empty_calls():
    problem = problems.make(np.random.default_rng(5), [3, 0], [0, 0])
    out, lse = paged_attn.attention(*problem.arrays, return_lse=True)
    assert out.shape == (0, 4, 32) and lse.shape == (0, 4)


def test_pages_may_lie_anywhere():
    """The same tokens on other pages give the same bits."""
    first = problems.make(np.random.default_rng(6), [30, 17], [3, 9])
    order = np.random.default_rng(7).permutation(len(first.k_pages))
    out = paged_attn.attention(*first.arrays)
    moved = np.empty_like(order)
    moved[order] = np.arange(len(order))
    used = first.page_table < len(order)
    table = first.page_table.copy()
    table[used] = moved[first.page_table[used]]
    other = paged_attn.attention(
        first.q, first.k_pages[order], first.v_pages[order], table, first.kv_lens,
        first.query_starts,
    )  # fmt: skip
    assert out.tobytes() == other.tobytes()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_give_the_same_bits(threads):
    problem = problems.make(np.random.default_rng(8), [40, 33, 25], [8, 20, 1])
    expected = paged_attn.attention(*problem.arrays)
    out = paged_attn.attention(*problem.arrays, num_threads=threads)
    assert out.tobytes() == expected.tobytes()


def test_reference_path():
    problem = problems.make(np.random.default_rng(9), [40, 9], [8, 1])
    problem.check(paged_attn.attention(*problem.arrays, via="reference"))
