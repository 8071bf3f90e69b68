"""paged_attn.jax on CPUs: the compiled kernels inside XLA's programs.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

Against the float64 reference under jit, vmap, scan, shard_map and grad; donation; errors.
"""

import re

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed")

import jax.numpy as jnp  # noqa: E402
import paged_attn.jax as paged  # noqa: E402
from canonical import attention, lay_out, make_problem  # noqa: E402
from jax.sharding import Mesh, PartitionSpec  # noqa: E402

shard_map = getattr(jax, "shard_map", None)
if shard_map is None:
    from jax.experimental.shard_map import shard_map

TOLERANCE = 5e-6


def cache_of(problem):
    return problem.keys, problem.values, problem.table, problem.kv_lens, problem.starts


def check(got, expected, tolerance=TOLERANCE):
    np.testing.assert_allclose(np.asarray(got[0], np.float32), expected[0], atol=tolerance)
    np.testing.assert_allclose(got[1], expected[1], atol=tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"causal": False},
        {"window": 5, "sink_tokens": 2},
        {"chunk": 8},
        {"softcap": 3.0, "scale": 0.5},
    ],
    ids=str,
)
def test_under_jit(options):
    rng = np.random.default_rng(1)
    problem = make_problem(rng, [7, 1, 0, 12], [7, 40, 4, 30], padding=2, slopes=True, sinks=True)
    function = jax.jit(
        lambda q, cache, slopes, sinks: paged.attention(
            q, *cache, alibi_slopes=slopes, sinks=sinks, return_lse=True, **options
        )
    )
    arrays = problem.q, cache_of(problem), problem.slopes, problem.sinks
    assert "paged_attn_attention" in function.lower(*arrays).as_text()
    check(function(*arrays), attention(problem, **options))


@pytest.mark.parametrize("mode", ["auto", "prefill", "decode", "mixed"])
def test_modes(mode):
    problem = make_problem(np.random.default_rng(2), [3, 3], [11, 24])
    function = jax.jit(lambda q, *cache: paged.attention(q, *cache, mode=mode, return_lse=True))
    check(function(problem.q, *cache_of(problem)), attention(problem))


@pytest.mark.parametrize("dims", ["phsd", "hpsd", "phds", "pcshd", "pshcd"])
@pytest.mark.parametrize("dtype, tolerance", [("float32", TOLERANCE), ("bfloat16", 1.6e-2)])
def test_layouts_and_types(dims, dtype, tolerance):
    problem = make_problem(np.random.default_rng(3), [5, 1], [9, 18], dtype=jnp.dtype(dtype))
    if "c" in dims:
        pools = lay_out(problem.keys, dims, 1, problem.values), None
    else:
        pools = lay_out(problem.keys, dims), lay_out(problem.values, dims)
    place = problem.table, problem.kv_lens, problem.starts
    out, lse = jax.jit(lambda *x: paged.attention(*x, layout=dims, return_lse=True))(
        problem.q, *pools, *place
    )
    assert out.dtype == dtype
    check((out, lse), attention(problem), tolerance)


def test_combined_heads():
    """[P, S, 2 * Hkv, D], keys at even and values at odd heads, is the layout pshcd."""
    problem = make_problem(np.random.default_rng(4), [5, 1], [9, 18])
    pool = lay_out(problem.keys, "pshcd", 1, problem.values).reshape(-1, 4, 4, 16)
    place = problem.table, problem.kv_lens, problem.starts
    check(
        paged.attention(problem.q, pool, None, *place, layout="pshcd", return_lse=True),
        attention(problem),
    )
    new = np.ones((6, 2, 16), np.float32)
    keys, values = paged.append(new, new, pool, None, np.arange(6, dtype=np.int32), layout="pshcd")
    assert keys.shape == pool.shape and values is None and np.asarray(keys)[0].all()


def test_vmap():
    problem = make_problem(np.random.default_rng(5), [3, 1], [11, 24])
    queries = np.stack([problem.q, -2 * problem.q])
    out = jax.jit(jax.vmap(lambda q: paged.attention(q, *cache_of(problem))))(queries)
    for query, one in zip(queries, out):
        problem.q = query
        np.testing.assert_allclose(one, attention(problem)[0], atol=TOLERANCE)


def test_vmap_over_pools():
    problems = [make_problem(np.random.default_rng(seed), [3], [11]) for seed in (6, 7)]
    arrays = [np.stack(arrays) for arrays in zip(*((one.q, *cache_of(one)) for one in problems))]
    out = jax.vmap(paged.attention)(*arrays)
    for one, got in zip(problems, out):
        np.testing.assert_allclose(got, attention(one)[0], atol=TOLERANCE)


def test_layers_of_one_pool_under_scan():
    """The layer is a traced number: one program for all layers of a model."""
    problem = make_problem(np.random.default_rng(8), [5, 1], [9, 18])
    pools = [lay_out(pool, "lpshd", layers=3, layer=1) for pool in (problem.keys, problem.values)]
    place = problem.table, problem.kv_lens, problem.starts

    def layers(q, keys, values):
        def one(carry, layer):
            return carry, paged.attention(q, keys, values, *place, layer=layer, layout="lpshd")

        return jax.lax.scan(one, 0, jnp.arange(3))[1]

    out = jax.jit(layers)(problem.q, *(np.nan_to_num(pool) for pool in pools))
    np.testing.assert_allclose(out[1], attention(problem)[0], atol=TOLERANCE)


@pytest.mark.skipif(
    len(jax.devices()) < 4, reason="expected 4 devices: XLA_FLAGS was set to something else"
)
@pytest.mark.parametrize("dims", ["pshd", "hpsd"])
def test_shard_map_over_kv_heads(dims):
    """Each device holds its KV heads of the pools and their query heads."""
    problem = make_problem(np.random.default_rng(9), [7, 1], [7, 30], heads=8, kv_heads=4)
    mesh = Mesh(np.array(jax.devices()[:4]), ("heads",))
    pool_spec = PartitionSpec(*("heads" if letter == "h" else None for letter in dims))
    new = np.random.default_rng(10).standard_normal((8, 4, 16)).astype(np.float32)

    def step(q, new, keys, values, table, lens, starts):
        place = {"page_table": table, "kv_lens": lens, "query_starts": starts}
        keys, values = paged.append(new, new, keys, values, layout=dims, **place)
        return paged.attention(q, keys, values, table, lens, starts, layout=dims), keys

    rows, all_of_it = PartitionSpec(None, "heads"), PartitionSpec()
    sharded = jax.jit(
        shard_map(
            step,
            mesh=mesh,
            in_specs=(rows, rows, pool_spec, pool_spec, all_of_it, all_of_it, all_of_it),
            out_specs=(rows, pool_spec),
        )
    )
    pools = [lay_out(pool, dims) for pool in (problem.keys, problem.values)]
    place = problem.table, problem.kv_lens, problem.starts
    out, keys = sharded(problem.q, new, *pools, *place)
    assert len(out.sharding.device_set) == 4
    for t, (b, j) in enumerate([(0, j) for j in range(7)] + [(1, 29)]):
        page = problem.table[b, j // 4]
        problem.keys[page, j % 4] = problem.values[page, j % 4] = new[t]
    np.testing.assert_allclose(out, attention(problem)[0], atol=TOLERANCE)
    np.testing.assert_array_equal(keys, lay_out(problem.keys, dims))


def test_append_in_place_when_donated():
    pools = [jnp.zeros((5, 4, 2, 16)) for _ in range(2)]
    places = [pool.unsafe_buffer_pointer() for pool in pools]
    new = np.ones((3, 2, 16), np.float32)
    function = jax.jit(
        lambda keys, values, slots: paged.append(new, 2 * new, keys, values, slots),
        donate_argnums=(0, 1),
    )
    for step in range(3):
        pools = function(*pools, np.array([5 * step, -1, 5 * step + 1], np.int32))
        assert [pool.unsafe_buffer_pointer() for pool in pools] == places
    expected = np.zeros((20, 2, 16))
    expected[[0, 1, 5, 6, 10, 11]] = 1
    np.testing.assert_array_equal(np.asarray(pools[0]).reshape(expected.shape), expected)
    np.testing.assert_array_equal(np.asarray(pools[1]).reshape(expected.shape), 2 * expected)


def test_append_leaves_its_argument_alone_when_not_donated():
    pool = jnp.zeros((5, 4, 2, 16))
    new = np.ones((1, 2, 16), np.float32)
    keys, _ = jax.jit(lambda pool: paged.append(new, new, pool, pool, np.array([3], np.int32)))(
        pool
    )
    assert not np.asarray(pool).any() and np.asarray(keys).sum() == 32


def test_gradient_is_that_of_the_plain_operations():
    problem = make_problem(np.random.default_rng(11), [9], [14])
    place = problem.table, problem.kv_lens, problem.starts

    def loss(q, keys, values):
        out, lse = paged.attention(q, keys, values, *place, softcap=5.0, return_lse=True)
        return (out**2).sum() + lse.sum()

    arrays = problem.q, problem.keys, problem.values
    native = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
    assert "paged_attn_attention" in native.lower(*arrays).as_text()
    paged.use_native(False)
    try:
        plain = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))(*arrays)
    finally:
        paged.use_native(True)
    for one, other in zip(jax.tree.leaves(native(*arrays)), jax.tree.leaves(plain)):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=2e-5)


def test_lengths_are_checked_inside_the_program():
    problem = make_problem(np.random.default_rng(12), [3, 1], [11, 24])
    function = jax.jit(paged.attention)
    bad = problem.table.copy()
    bad[1, 2] = 1000
    message = "expected page_table[1, 2] to be a page from 0 to 10, got 1000"
    with pytest.raises(Exception, match=re.escape(message)):
        jax.block_until_ready(
            function(problem.q, problem.keys, problem.values, bad, problem.kv_lens, problem.starts)
        )
    new = np.ones((1, 2, 16), np.float32)
    with pytest.raises(Exception, match=re.escape("got 44")):
        jax.block_until_ready(
            paged.append(new, new, problem.keys, problem.values, np.array([44], np.int32))
        )


def test_numbers_of_another_page_order_are_the_same_bits():
    rng = np.random.default_rng(13)
    problem = make_problem(rng, [9, 1], [31, 12])
    first = paged.attention(problem.q, *cache_of(problem))
    order = rng.permutation(problem.keys.shape[0])
    good = (problem.table >= 0) & (problem.table < len(order))
    table = np.where(good, np.argsort(order)[np.where(good, problem.table, 0)], -1).astype(np.int32)
    place = table, problem.kv_lens, problem.starts
    np.testing.assert_array_equal(
        first, paged.attention(problem.q, problem.keys[order], problem.values[order], *place)
    )


@pytest.mark.parametrize("native", [True, False], ids=["native", "plain"])
@pytest.mark.parametrize("tokens, batch, columns", [(0, 2, 1), (0, 0, 1), (2, 2, 0)])
def test_nothing_to_do(native, tokens, batch, columns):
    paged.use_native(native)
    try:
        q, pool = np.ones((tokens, 4, 16), np.float32), np.ones((3, 4, 2, 16), np.float32)
        table, lens = np.zeros((batch, columns), np.int32), np.zeros(batch, np.int32)
        starts = np.zeros(batch + 1, np.int32)
        out, lse = jax.jit(lambda *x: paged.attention(*x, return_lse=True))(
            q, pool, pool, table, lens, starts
        )
    finally:
        paged.use_native(True)
    assert out.shape == (tokens, 4, 16) and not np.asarray(out).any()
    assert (np.asarray(lse) == -np.inf).all()


def test_memory_stays_flat():
    resource = pytest.importorskip("resource")
    problem = make_problem(np.random.default_rng(14), [3, 1], [11, 24])
    function = jax.jit(paged.attention)
    arrays = jax.device_put((problem.q, *cache_of(problem)))
    most = []
    for _ in range(2):
        for _ in range(2000):
            out = function(*arrays)
        out.block_until_ready()
        most.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    assert most[1] - most[0] < 4096, "KiB"


def test_programs_can_be_exported_and_read_back():
    """A call site names its operands and options; no address of this process is in it."""
    import jax.export

    problem = make_problem(np.random.default_rng(15), [3, 1], [11, 24])
    arrays = problem.q, *cache_of(problem)
    check = jax.export.DisabledSafetyCheck.custom_call("paged_attn_attention")
    exported = jax.export.export(
        jax.jit(paged.attention), platforms=["cpu"], disabled_checks=[check]
    )
    program = exported(*arrays)
    assert "paged_attn_attention" in program.mlir_module()
    np.testing.assert_allclose(program.call(*arrays), attention(problem)[0], atol=TOLERANCE)
