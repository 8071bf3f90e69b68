# ===- jax_gather.py - JAX over a gathered cache ---------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# What a JAX user without a paged kernel writes: take the pages, then two
# einsums and a softmax, under jit.
#
# ===----------------------------------------------------------------------=== #
"""JAX take + einsum."""

import os

import jax
import jax.numpy as jnp
import numpy as np

from .common import Peer, Skip, dense_table, fill_pool, place_pages, require_type

DTYPES = {"f32": jnp.float32, "bf16": jnp.bfloat16, "f16": jnp.float16}
# Its scores are materialised: [B, Hq, n, L] in f32.
MAX_SCORE_BYTES = 1 << 30


class Jax(Peer):
    packages = ("jax", "jaxlib")

    def prepare(self, problem):
        require_type(problem, *DTYPES)
        if not problem.is_uniform:
            raise Skip("uniform lengths only")
        dtype, page = DTYPES[problem.kv_type], problem.page_size
        batch, n, length = len(problem.q_lens), problem.q_lens[0], problem.kv_lens[0]
        if 4 * batch * problem.heads * n * length > MAX_SCORE_BYTES:
            raise Skip("scores too large")
        lists, count = place_pages(problem, page)
        pools = [jnp.asarray(fill_pool(problem, rows, lists, count, page), dtype)
                 for rows in (problem.keys, problem.values)]
        query = jnp.asarray(problem.query, dtype).reshape(
            batch, n, problem.kv_heads, problem.group, problem.head_dim)

        def attend(q, key_pool, value_pool, table):
            k, v = (pool[table].reshape(batch, -1, *pool.shape[2:])[:, :length]
                    for pool in (key_pool, value_pool))
            scores = jnp.einsum("bnkgd,blkd->bkgnl", q, k, preferred_element_type=jnp.float32)
            visible = jnp.arange(length)[None, :] <= jnp.arange(n)[:, None] + (length - n)
            weights = jax.nn.softmax(jnp.where(visible, scores * problem.scale, -jnp.inf), axis=-1)
            return jnp.einsum("bkgnl,blkd->bnkgd", weights.astype(dtype), v,
                              preferred_element_type=jnp.float32)

        self.shape = problem.query.shape
        self.arguments = (query, *pools, jnp.asarray(dense_table(lists)))
        self.call = jax.jit(attend)

    def run(self):
        self.result = self.call(*self.arguments).block_until_ready()

    def output(self):
        return np.asarray(self.result, np.float32).reshape(self.shape)


def make(_name):
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    return Jax()
