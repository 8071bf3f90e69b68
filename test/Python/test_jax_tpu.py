"""The TPU path: what `paged_attn.jax` exports for a platform that is not ours.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""

import re

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed")

import jax.export  # noqa: E402
import paged_attn.jax as paged  # noqa: E402
from canonical import attention, make_problem  # noqa: E402


def call(q, keys, values, table, lens, starts, new):
    keys, values = paged.append(
        new, new, keys, values, page_table=table, kv_lens=lens, query_starts=starts
    )
    return paged.attention(q, keys, values, table, lens, starts, window=9, return_lse=True)


def export(platform):
    problem = make_problem(np.random.default_rng(1), [5, 1], [9, 18])
    arrays = problem.q, problem.keys, problem.values, problem.table, problem.kv_lens, problem.starts
    new = np.zeros((6, 2, 16), np.float32)
    return jax.export.export(jax.jit(call), platforms=[platform])(*arrays, new)


@pytest.mark.parametrize("platform", ["tpu", "cuda", "rocm"])
def test_exports_stablehlo_without_custom_calls(platform):
    """Every platform without a kernel of ours gets plain operations, whatever the host."""
    module = export(platform).mlir_module()
    operations = set(re.findall(r"\bstablehlo\.\w+", module))
    assert {
        "stablehlo.dot_general",
        "stablehlo.gather",
        "stablehlo.scatter",
        "stablehlo.while",
    } <= operations
    assert "stablehlo.custom_call" not in operations


def test_products_keep_full_precision():
    """S18: a TPU would otherwise multiply float32 in bfloat16."""
    module = export("tpu").mlir_module()
    products = re.findall(r"stablehlo\.dot_general.*", module)
    assert len(products) == 2
    for product in products:
        assert "precision = [HIGHEST, HIGHEST]" in product
        assert re.search(r"-> tensor<[x0-9]*xf32>", product)


def test_exported_program_computes_the_same():
    """A program exported for TPUs and for this machine runs here with the same semantics."""
    paged.use_native(False)
    try:
        problem = make_problem(np.random.default_rng(2), [5, 1], [9, 18])
        arrays = (
            problem.q,
            problem.keys,
            problem.values,
            problem.table,
            problem.kv_lens,
            problem.starts,
        )
        function = jax.jit(lambda *x: paged.attention(*x, return_lse=True))
        exported = jax.export.export(function, platforms=["tpu", "cpu"])(*arrays)
    finally:
        paged.use_native(True)
    out, lse = exported.call(*arrays)
    expected = attention(problem)
    np.testing.assert_allclose(out, expected[0], atol=5e-6)
    np.testing.assert_allclose(lse, expected[1], atol=5e-6)
