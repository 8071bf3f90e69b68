# ===- torch_flex.py - PyTorch FlexAttention over pages --------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# FlexAttention compiled with torch.compile, its page table by the experimental
# PagedAttention class (a private module: the version of torch is pinned).
#
# ===----------------------------------------------------------------------=== #
"""PyTorch FlexAttention over a paged cache."""

import torch
from torch.nn.attention.experimental._paged_attention import PagedAttention
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from .common import Peer, Skip, require_type
from .torch_sdpa import DTYPES

QUERY_TILE = 128


class Flex(Peer):
    packages = ("torch",)

    def prepare(self, problem):
        require_type(problem, *DTYPES)
        if not problem.is_uniform:
            raise Skip("uniform lengths only")
        torch.set_grad_enabled(False)
        torch.set_num_threads(problem.threads)
        torch._dynamo.reset()
        dtype, page = DTYPES[problem.kv_type], problem.page_size
        batch, n, length = len(problem.q_lens), problem.q_lens[0], problem.kv_lens[0]
        pages_each = -(-length // page)
        pages = PagedAttention(batch * pages_each, page, batch, device="cpu")
        for b in range(batch):
            pages.reserve(torch.tensor(b), torch.tensor(length))
        self.cache = [torch.zeros(1, problem.kv_heads, batch * pages_each * page,
                                  problem.head_dim, dtype=dtype) for _ in range(2)]
        dense = [torch.from_numpy(rows.copy()).to(dtype)
                 .view(batch, length, problem.kv_heads, -1).transpose(1, 2)
                 for rows in (problem.keys, problem.values)]
        pages.assign(torch.arange(batch), torch.arange(length).repeat(batch, 1), *dense,
                     *self.cache)
        mask = create_block_mask(lambda b, h, i, j: i + length - n >= j, batch, 1, n, length,
                                 device="cpu", BLOCK_SIZE=(1 if n == 1 else QUERY_TILE, page))
        self.mask = pages.convert_logical_block_mask(mask)
        self.query = (torch.from_numpy(problem.query.copy()).to(dtype)
                      .view(batch, n, problem.heads, -1).transpose(1, 2).contiguous())
        self.call = torch.compile(flex_attention, dynamic=False)

    def run(self):
        self.result = self.call(self.query, *self.cache, block_mask=self.mask, enable_gqa=True)

    def output(self):
        return self.result.transpose(1, 2).flatten(0, 1).float().numpy()


def make(_name):
    return Flex()
