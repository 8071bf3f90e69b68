"""paged_attn.jax by plain JAX operations against the float64 reference.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed")

import jax.numpy as jnp  # noqa: E402
import paged_attn.jax as paged  # noqa: E402
from canonical import attention, lay_out, make_problem  # noqa: E402

TOLERANCE = 5e-6  #: scores and values of magnitude 1, at most 70 keys (docs/Numerics.md)


@pytest.fixture(autouse=True)
def portable():
    paged.use_native(False)
    yield
    paged.use_native(True)


def run(problem, dims="pshd", pack=1, layer=None, return_lse=True, **options):
    """One call with the pools laid out as `dims` says."""
    layout = dims if pack == 1 else f"{dims}, pack = {pack}"
    layers = {} if layer is None else {"layers": 3, "layer": layer}
    if "c" in dims:
        pools = lay_out(problem.keys, dims, pack, problem.values, **layers), None
    else:
        pools = (
            lay_out(problem.keys, dims, pack, **layers),
            lay_out(problem.values, dims, pack, **layers),
        )
    place = problem.table, problem.kv_lens, problem.starts
    extras = {"alibi_slopes": problem.slopes, "sinks": problem.sinks, "layer": layer}
    options = {"layout": layout, "return_lse": return_lse, **options}
    return jax.jit(lambda *x, **extras: paged.attention(*x, **extras, **options))(
        problem.q, *pools, *place, **extras
    )


def check(got, expected, tolerance=TOLERANCE):
    np.testing.assert_allclose(np.asarray(got[0], np.float32), expected[0], atol=tolerance)
    np.testing.assert_allclose(got[1], expected[1], atol=tolerance)


LENGTHS = {
    "decode": ([1, 1, 1, 1], [1, 4, 5, 17], 0),
    "prefill": ([13], [13], 0),
    "chunk of a prompt": ([7], [33], 0),
    "mixed with empty sequences and padding": ([7, 1, 0, 12, 1, 0], [7, 9, 4, 30, 1, 0], 3),
    "speculation": ([3, 3], [11, 64], 0),
}
OPTIONS = {
    "causal": {},
    "all keys": {"causal": False},
    "window": {"window": 5},
    "window and sink tokens": {"window": 5, "sink_tokens": 2},
    "window, not causal": {"window": 3, "causal": False},
    "chunk": {"chunk": 8},
    "softcap and scale": {"softcap": 3.0, "scale": 0.5},
}


@pytest.mark.parametrize("lengths", LENGTHS)
def test_lengths(lengths):
    q_lens, kv_lens, padding = LENGTHS[lengths]
    problem = make_problem(np.random.default_rng(1), q_lens, kv_lens, padding=padding)
    check(run(problem), attention(problem))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("extras", [False, True], ids=["plain", "alibi and sinks"])
def test_options(options, extras):
    rng = np.random.default_rng(2)
    problem = make_problem(rng, [7, 1, 12], [7, 40, 30], padding=2, slopes=extras, sinks=extras)
    check(run(problem, **OPTIONS[options]), attention(problem, **OPTIONS[options]))


@pytest.mark.parametrize(
    "dims, pack, layer",
    [
        ("phsd", 1, None),
        ("hpsd", 1, None),
        ("phds", 1, None),
        ("phds", 2, None),
        ("pcshd", 1, None),
        ("cpshd", 1, None),
        ("pshcd", 1, None),
        ("lpshd", 1, 1),
        ("pslhd", 1, 2),
    ],
)
def test_layouts(dims, pack, layer):
    problem = make_problem(np.random.default_rng(3), [5, 1], [9, 18])
    check(run(problem, dims, pack, layer), attention(problem))


@pytest.mark.parametrize("dtype, tolerance", [("float16", 2e-3), ("bfloat16", 1.6e-2)])
def test_types(dtype, tolerance):
    problem = make_problem(np.random.default_rng(4), [5, 1], [9, 18], dtype=jnp.dtype(dtype))
    out, lse = run(problem)
    assert out.dtype == dtype and lse.dtype == np.float32
    check((out, lse), attention(problem), tolerance)


def test_groups_and_head_dims():
    problem = make_problem(
        np.random.default_rng(5), [3, 1], [3, 20], heads=6, kv_heads=1, key_dim=8, value_dim=24
    )
    check(run(problem), attention(problem))


def test_csr_table():
    problem = make_problem(np.random.default_rng(6), [4, 1], [4, 21])
    pages = -(-problem.kv_lens // 4)
    indices = np.concatenate([row[:n] for row, n in zip(problem.table, pages)])
    indptr = np.concatenate([[0], np.cumsum(pages)]).astype(np.int32)
    got = paged.attention(
        problem.q,
        problem.keys,
        problem.values,
        (indices, indptr),
        problem.kv_lens,
        problem.starts,
        return_lse=True,
    )
    check(got, attention(problem))


def test_latent_values():
    problem = make_problem(np.random.default_rng(7), [4, 1], [4, 21], kv_heads=1, key_dim=24)
    got = paged.attention(
        problem.q,
        problem.keys,
        None,
        problem.table,
        problem.kv_lens,
        problem.starts,
        value_dim=16,
        return_lse=True,
    )
    problem.values = problem.keys[..., :16]
    check(got, attention(problem))


def test_quantised_pools_with_scales():
    problem = make_problem(np.random.default_rng(8), [4, 1], [4, 21])
    scales = np.array([0.02, 0.03], np.float32)
    stored = [
        np.nan_to_num(np.round(pool / scales[:, None])).astype(np.int8)
        for pool in (problem.keys, problem.values)
    ]
    got = paged.attention(
        problem.q,
        *stored,
        problem.table,
        problem.kv_lens,
        problem.starts,
        k_scale=scales,
        v_scale=np.broadcast_to(scales, problem.keys.shape[:3]),
        return_lse=True,
    )
    problem.keys, problem.values = (pool * scales[:, None] for pool in stored)
    check(got, attention(problem))


def test_bias_and_offsets():
    rng = np.random.default_rng(9)
    problem = make_problem(rng, [4], [21], heads=2, kv_heads=1)
    bias = rng.standard_normal((4, 2, 21)).astype(np.float32)
    cache = problem.table, problem.kv_lens, problem.starts
    out = paged.attention(
        problem.q,
        problem.keys,
        problem.values,
        *cache,
        bias=bias,
        query_offsets=np.array([3], np.int32),
    )
    pages, slots = problem.table[0, np.arange(21) // 4], np.arange(21) % 4
    for row in range(4):
        seen = np.arange(21) <= 3 + row
        for head in range(2):
            s = problem.keys[pages, slots, 0] @ problem.q[row, head] / 4 + bias[row, head]
            weights = np.where(seen, np.exp(s - s[seen].max()), 0)
            expected = weights @ problem.values[pages, slots, 0] / weights.sum()
            np.testing.assert_allclose(out[row, head], expected, atol=TOLERANCE)


def test_scores_of_6e4_are_exact():
    problem = make_problem(np.random.default_rng(10), [1, 1], [40, 7])
    problem.q *= 3e4
    check(run(problem, return_lse=True), attention(problem), tolerance=0.05)


def test_rows_without_a_key_are_zero():
    problem = make_problem(np.random.default_rng(11), [2], [2], sinks=True)
    problem.kv_lens[:] = 0
    out, lse = run(problem)
    assert not np.asarray(out).any()
    np.testing.assert_array_equal(lse, np.broadcast_to(problem.sinks, (2, 4)))


def test_page_order_gives_the_same_bits():
    rng = np.random.default_rng(12)
    problem = make_problem(rng, [9, 1], [31, 12])
    first = run(problem)
    order = rng.permutation(problem.keys.shape[0])
    place = np.argsort(order)
    problem.keys, problem.values = problem.keys[order], problem.values[order]
    good = (problem.table >= 0) & (problem.table < len(order))
    problem.table = np.where(good, place[np.where(good, problem.table, 0)], -1).astype(np.int32)
    second = run(problem)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def dense_loss(q, keys, values, problem, weights, softcap):
    """The same attention of one sequence by plain jax.numpy, for gradients."""
    length = int(problem.kv_lens[0])
    pages, slots = problem.table[0, np.arange(length) // 4], np.arange(length) % 4
    k, v = keys[pages, slots], values[pages, slots]
    group = q.shape[1] // k.shape[1]
    s = jnp.einsum("qhd,jhd->hqj", q, jnp.repeat(k, group, 1), precision="highest") / np.sqrt(
        q.shape[-1]
    )
    s = softcap * jnp.tanh(s / softcap)
    p = jnp.arange(q.shape[0]) + length - q.shape[0]
    s = jnp.where(jnp.arange(length) <= p[:, None], s, -1e30)
    out = jnp.einsum(
        "hqj,jhd->qhd", jax.nn.softmax(s, -1), jnp.repeat(v, group, 1), precision="highest"
    )
    return (out * weights).sum() + jax.nn.logsumexp(s, -1).sum()


def test_gradient_of_prefill():
    rng = np.random.default_rng(13)
    problem = make_problem(rng, [9], [14])
    weights = rng.standard_normal((9, 4, 16)).astype(np.float32)

    def loss(q, keys, values):
        out, lse = paged.attention(
            q,
            keys,
            values,
            problem.table,
            problem.kv_lens,
            problem.starts,
            softcap=5.0,
            return_lse=True,
        )
        return (out * weights).sum() + lse.sum()

    got = jax.jit(jax.grad(loss, (0, 1, 2)))(problem.q, problem.keys, problem.values)
    arrays = problem.q, problem.keys, problem.values
    expected = jax.jit(jax.grad(lambda *x: dense_loss(*x, problem, weights, 5.0), (0, 1, 2)))(
        *arrays
    )
    for one, other in zip(got, expected):
        np.testing.assert_allclose(one, np.nan_to_num(other), atol=2e-5)


def test_vmap_over_queries():
    problem = make_problem(np.random.default_rng(14), [1, 1], [6, 9])
    queries = np.stack([problem.q, 2 * problem.q])
    cache = problem.keys, problem.values, problem.table, problem.kv_lens
    out = jax.jit(jax.vmap(lambda q: paged.attention(q, *cache)))(queries)
    for query, one in zip(queries, out):
        problem.q = query
        np.testing.assert_allclose(one, attention(problem)[0], atol=TOLERANCE)


@pytest.mark.parametrize("dims", ["pshd", "hpsd", "phds", "pcshd", "cpshd", "pshcd"])
def test_append(dims):
    rng = np.random.default_rng(15)
    problem = make_problem(rng, [5, 1], [9, 18])
    new = rng.standard_normal((2, 6, 2, 16)).astype(np.float32)
    pair = {"pair": problem.values} if "c" in dims else {}
    pools = lay_out(problem.keys, dims, **pair), None if pair else lay_out(problem.values, dims)
    positions = [(0, 4), (0, 5), (0, 6), (0, 7), (0, 8), (1, 17)]
    slots = np.array([problem.table[b, j // 4] * 4 + j % 4 for b, j in positions], np.int32)
    for t, slot in enumerate(slots):
        problem.keys[slot // 4, slot % 4], problem.values[slot // 4, slot % 4] = new[:, t]
    pair = {"pair": problem.values} if pair else {}
    expected = lay_out(problem.keys, dims, **pair), None if pair else lay_out(problem.values, dims)
    by_slots = paged.append(*new, *pools, slots, layout=dims)
    lengths = {
        "page_table": problem.table,
        "kv_lens": problem.kv_lens,
        "query_starts": problem.starts,
    }
    by_table = paged.append(*new, *pools, layout=dims, **lengths)
    for got in (by_slots, by_table):
        np.testing.assert_array_equal(got[0], expected[0])
        assert (got[1] is None) == (expected[1] is None)
        if expected[1] is not None:
            np.testing.assert_array_equal(got[1], expected[1])


def test_append_skips_negative_slots():
    pool = np.zeros((3, 4, 2, 16), np.float32)
    new = np.ones((2, 2, 16), np.float32)
    keys, values = paged.append(new, new, pool, pool, np.array([-1, 5], np.int32))
    assert np.asarray(keys).sum() == np.asarray(values).sum() == 32
    assert np.asarray(keys)[1, 1].all()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"layout": "pshx"}, "expected a layout such as"),
        ({"layout": "pshcd"}, "expected no v_pages for a layout with c, got v_pages"),
        ({"layout": "pcshd"}, "expected k_pages of rank 5 for layout 'pcshd', got 4"),
        (
            {"q": np.zeros((2, 4, 8), np.float32)},
            "expected a head dim of 16 in q like k_pages, got 8",
        ),
        (
            {"q": np.zeros((2, 3, 16), np.float32)},
            "expected a number of heads in q that 2 divides, got 3",
        ),
        (
            {"q": np.zeros((2, 4, 16), np.int32)},
            "expected q of float32, float16 or bfloat16, got int32",
        ),
        ({"kv_lens": np.zeros(2, np.float32)}, "expected kv_lens of int32 or int64, got float32"),
        (
            {"page_table": np.zeros((3, 1), np.int32)},
            r"expected page_table of shape \[2, 'N'\], got \[3, 1\]",
        ),
        ({"sinks": np.zeros(3, np.float32)}, r"expected sinks of shape \[4\], got \[3\]"),
        ({"layer": 0}, "expected layer exactly when the layout has l, got pshd"),
    ],
)
def test_errors(change, message):
    call = {
        "q": np.zeros((2, 4, 16), np.float32),
        "k_pages": np.zeros((3, 4, 2, 16), np.float32),
        "v_pages": np.zeros((3, 4, 2, 16), np.float32),
        "page_table": np.zeros((2, 1), np.int32),
        "kv_lens": np.ones(2, np.int32),
    }
    with pytest.raises(ValueError, match=message):
        paged.attention(**{**call, **change})


@pytest.mark.skipif(
    len(jax.devices()) < 4, reason="expected 4 devices: XLA_FLAGS was set to something else"
)
def test_shard_map_over_kv_heads():
    """The loops vary over the mesh as their operands do."""
    shard_map = getattr(jax, "shard_map", None) or pytest.skip("this jax has no jax.shard_map")
    spec = jax.sharding.PartitionSpec
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:2]), ("heads",))
    problem = make_problem(np.random.default_rng(16), [7, 1], [7, 30])
    pool = spec(None, None, "heads")
    step = jax.jit(
        shard_map(
            paged.attention,
            mesh=mesh,
            in_specs=(spec(None, "heads"), pool, pool, spec(), spec(), spec()),
            out_specs=spec(None, "heads"),
        )
    )
    out = step(
        problem.q, problem.keys, problem.values, problem.table, problem.kv_lens, problem.starts
    )
    np.testing.assert_allclose(out, attention(problem)[0], atol=TOLERANCE)
