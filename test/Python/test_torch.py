"""paged_attn.torch: custom ops against the float64 reference and torch's own attention.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed", exc_type=ImportError)

import paged_attn.torch as paged  # noqa: E402
from canonical import attention, lay_out, make_problem  # noqa: E402

TOLERANCE = 5e-6


def tensors(problem):
    """q, pools, table, lengths and starts as tensors on the same memory."""
    arrays = problem.q, problem.keys, problem.values, problem.table, problem.kv_lens, problem.starts
    return tuple(torch.from_numpy(array) for array in arrays)


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
def test_attention(options):
    rng = np.random.default_rng(1)
    problem = make_problem(rng, [7, 1, 0, 12], [7, 40, 4, 30], padding=2, slopes=True, sinks=True)
    extras = {
        "alibi_slopes": torch.from_numpy(problem.slopes),
        "sinks": torch.from_numpy(problem.sinks),
    }
    out, lse = paged.attention(*tensors(problem), return_lse=True, **extras, **options)
    expected = attention(problem, **options)
    np.testing.assert_allclose(out, expected[0], atol=TOLERANCE)
    np.testing.assert_allclose(lse, expected[1], atol=TOLERANCE)


@pytest.mark.parametrize("dims", ["phsd", "hpsd", "phds", "pcshd", "pshcd"])
def test_layouts(dims):
    problem = make_problem(np.random.default_rng(2), [5, 1], [9, 18])
    if "c" in dims:
        pools = torch.from_numpy(lay_out(problem.keys, dims, 1, problem.values)), None
    else:
        pools = (torch.from_numpy(lay_out(pool, dims)) for pool in (problem.keys, problem.values))
    q, _, _, *place = tensors(problem)
    np.testing.assert_allclose(
        paged.attention(q, *pools, *place, layout=dims), attention(problem)[0], atol=TOLERANCE
    )


def test_against_scaled_dot_product_attention():
    """One sequence, all of it new: torch's own causal attention with grouped heads."""
    problem = make_problem(
        np.random.default_rng(3), [37], [37], heads=8, kv_heads=2, dtype=np.float32
    )
    q, *cache = tensors(problem)
    pages, slots = problem.table[0, np.arange(37) // 4], np.arange(37) % 4
    dense = (
        torch.from_numpy(pool[pages, slots]).transpose(0, 1)
        for pool in (problem.keys, problem.values)
    )
    expected = torch.nn.functional.scaled_dot_product_attention(
        q.transpose(0, 1), *dense, is_causal=True, enable_gqa=True
    ).transpose(0, 1)
    torch.testing.assert_close(paged.attention(q, *cache), expected, atol=1e-5, rtol=1e-5)


def test_bfloat16():
    problem = make_problem(np.random.default_rng(4), [5, 1], [9, 18])
    q, keys, values, *place = tensors(problem)
    narrow = [x.to(torch.bfloat16) for x in (q, keys, values)]
    problem.q, problem.keys, problem.values = (x.float().numpy() for x in narrow)
    out = paged.attention(*narrow, *place)
    assert out.dtype == torch.bfloat16
    np.testing.assert_allclose(out.float(), attention(problem)[0], atol=1.6e-2)


def op_arguments(problem):
    q, keys, values, table, lens, starts = tensors(problem)
    options = (None, True, 5, 0, 0, 0.0, 16, None, "auto", "pshd", "pshd")
    return (
        q,
        keys,
        values,
        table,
        None,
        lens,
        starts,
        None,
        None,
        None,
        None,
        None,
        None,
        *options,
    )


def test_opcheck_of_attention():
    problem = make_problem(np.random.default_rng(5), [5, 1], [9, 18])
    problem.keys, problem.values = np.nan_to_num(problem.keys), np.nan_to_num(problem.values)
    torch.library.opcheck(torch.ops.paged_attn.attention.default, op_arguments(problem))


def test_opcheck_of_append():
    pools = torch.zeros(3, 4, 2, 16), torch.zeros(3, 4, 2, 16)
    new = torch.randn(2, 2, 16), torch.randn(2, 2, 16)
    slots = torch.tensor([5, -1], dtype=torch.int64)
    arguments = (*new, *pools, slots, None, None, None, None, None, "pshd", "pshd")
    torch.library.opcheck(torch.ops.paged_attn.append.default, arguments)


def test_under_compile():
    """One graph that appends and attends; the pools are updated in place."""
    problem = make_problem(np.random.default_rng(6), [5, 1], [9, 18])
    q, keys, values, table, lens, starts = tensors(problem)
    new = torch.randn(6, 2, 16)

    def step(q, new, keys, values):
        place = {"page_table": table, "kv_lens": lens, "query_starts": starts}
        paged.append(new * 2, new, keys, values, **place)
        return paged.attention(q, keys, values, table, lens, starts, window=7) + 1

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    out = compiled(q, new, keys, values)
    for t, (b, j) in enumerate([(0, j) for j in range(4, 9)] + [(1, 17)]):
        page = problem.table[b, j // 4]
        np.testing.assert_array_equal(problem.keys[page, j % 4], 2 * new[t])
        np.testing.assert_array_equal(problem.values[page, j % 4], new[t])
    np.testing.assert_allclose(out, attention(problem, window=7)[0] + 1, atol=2e-5)


def test_under_inductor():
    problem = make_problem(np.random.default_rng(7), [5, 1], [9, 18])
    q, *cache = tensors(problem)
    compiled = torch.compile(lambda q, *cache: 2 * paged.attention(q * 1.5, *cache), fullgraph=True)
    try:
        out = compiled(q, *cache)
    except torch._inductor.exc.InductorError as error:
        pytest.skip(f"inductor has no working C++ compiler here: {error}")
    problem.q = problem.q * np.float32(1.5)
    np.testing.assert_allclose(out, 2 * attention(problem)[0], atol=2e-5)


def test_dynamic_number_of_tokens():
    compiled = torch.compile(
        lambda q, *cache: paged.attention(q, *cache),
        fullgraph=True,
        backend="aot_eager",
        dynamic=True,
    )
    for tokens in (3, 7, 12):
        problem = make_problem(np.random.default_rng(tokens), [tokens], [tokens + 5])
        np.testing.assert_allclose(
            compiled(*tensors(problem)), attention(problem)[0], atol=TOLERANCE
        )


def test_gradient_is_refused():
    problem = make_problem(np.random.default_rng(8), [3], [3])
    q, *cache = tensors(problem)
    out = paged.attention(q.requires_grad_(), *cache)
    with pytest.raises(
        NotImplementedError, match="expected no gradient through paged_attn::attention"
    ):
        out.sum().backward()


def test_errors_are_those_of_the_package():
    problem = make_problem(np.random.default_rng(9), [3], [3])
    q, keys, values, table, lens, starts = tensors(problem)
    table[0, 0] = 99
    with pytest.raises(
        ValueError, match=r"expected page_table\[0, 0\] to be a page from 0 to 2, got 99"
    ):
        paged.attention(q, keys, values, table, lens, starts)
