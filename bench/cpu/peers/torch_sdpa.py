# ===- torch_sdpa.py - PyTorch scaled_dot_product_attention ----------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Three ways: keys and values that already lie contiguous (sdpa), the same with
# the heads of a group as query rows (sdpa-fold, decode only), and what a user
# without a paged kernel does: gather the pages, then call it (gather-sdpa).
#
# ===----------------------------------------------------------------------=== #
"""PyTorch SDPA, contiguous and after a gather."""

import torch
import torch.nn.functional as F

from .common import Peer, Skip, dense_table, fill_pool, place_pages, require_type

DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}


def attend(q, k, v):
    """q [B, Hq, n, D]; k, v [B, Hkv, L, D]; causal, the last row sees all."""
    n, length = q.shape[2], k.shape[2]
    if n == 1:
        return F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    if n == length:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    mask = torch.ones(n, length, dtype=torch.bool).tril(length - n)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, enable_gqa=True)


class Sdpa(Peer):
    packages = ("torch",)

    def __init__(self, name):
        torch.set_grad_enabled(False)
        self.fold = name == "sdpa-fold"
        self.gather = name == "gather-sdpa"

    def prepare(self, problem):
        require_type(problem, *DTYPES)
        if self.fold and (max(problem.q_lens) > 1 or problem.group == 1):
            raise Skip("no group to fold" if problem.group == 1 else "decode only")
        torch.set_num_threads(problem.threads)
        dtype = DTYPES[problem.kv_type]
        self.problem, self.calls, self.results = problem, [], []
        query = torch.from_numpy(problem.query.copy()).to(dtype)
        if self.gather:
            self.page_size = problem.page_size
            lists, count = place_pages(problem, self.page_size)
            self.pools = [torch.from_numpy(fill_pool(problem, rows, lists, count, self.page_size))
                          .to(dtype) for rows in (problem.keys, problem.values)]
        starts, kv_starts = problem.q_starts, problem.kv_starts
        for first, last in problem.runs():
            batch, n, length = last - first, problem.q_lens[first], problem.kv_lens[first]
            q = query[starts[first]:starts[last]].view(batch, n, problem.heads, -1).transpose(1, 2)
            if self.gather:
                cache = (torch.from_numpy(dense_table(lists[first:last])).long(), length)
            else:
                cache = tuple(torch.from_numpy(rows[kv_starts[first]:kv_starts[last]].copy())
                              .to(dtype).view(batch, length, problem.kv_heads, -1)
                              .transpose(1, 2).contiguous()
                              for rows in (problem.keys, problem.values))
            self.calls.append((q.contiguous(), cache))

    def gather_pages(self, pool, table, length):
        rows = pool.index_select(0, table.view(-1))
        rows = rows.view(table.shape[0], -1, *pool.shape[2:])[:, :length]
        return rows.transpose(1, 2)

    def run(self):
        self.results = []
        for q, cache in self.calls:
            if self.gather:
                cache = [self.gather_pages(pool, *cache) for pool in self.pools]
            if self.fold:
                batch, heads, _, dim = q.shape
                rows = q.view(batch, self.problem.kv_heads, -1, dim)
                out = F.scaled_dot_product_attention(rows, *cache).reshape(batch, heads, 1, dim)
            else:
                out = attend(q, *cache)
            self.results.append(out)

    def output(self):
        return torch.cat([o.transpose(1, 2).flatten(0, 1) for o in self.results]).float().numpy()


def make(name):
    return Sdpa(name)
