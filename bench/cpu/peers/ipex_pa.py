# ===- ipex_pa.py - Intel Extension for PyTorch ----------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Its paged decode kernel, and its variable-length flash attention over pages
# for everything else. Needs a torch of its own version.
#
# ===----------------------------------------------------------------------=== #
"""IPEX paged attention."""

import torch

import intel_extension_for_pytorch  # noqa: F401  registers the operators

from .common import Peer, dense_table, fill_pool, place_pages, require_type
from .torch_sdpa import DTYPES

PAGE_SIZE = 16


class Ipex(Peer):
    packages = ("torch", "intel-extension-for-pytorch")

    def prepare(self, problem):
        require_type(problem, *DTYPES)
        torch.set_grad_enabled(False)
        torch.set_num_threads(problem.threads)
        dtype = DTYPES[problem.kv_type]
        lists, count = place_pages(problem, PAGE_SIZE)
        pools = [torch.from_numpy(fill_pool(problem, rows, lists, count, PAGE_SIZE))
                 .to(dtype).transpose(1, 2).contiguous()
                 for rows in (problem.keys, problem.values)]
        query = torch.from_numpy(problem.query.copy()).to(dtype)
        self.result = torch.full_like(query, float("nan"))
        table = torch.from_numpy(dense_table(lists))
        lens = torch.tensor(problem.kv_lens, dtype=torch.int32)
        longest = max(problem.kv_lens)
        ops = torch.ops.torch_ipex
        if max(problem.q_lens) == 1:
            head_map = torch.arange(problem.kv_heads, dtype=torch.int32).repeat_interleave(
                problem.group)
            self.call = ops.single_query_cached_kv_attention
            self.arguments = (self.result, query, *pools, head_map, problem.scale, table, lens,
                              PAGE_SIZE, longest, None, -1, 1.0, 1.0, -1.0)
            return
        kv_starts = torch.from_numpy(problem.kv_starts).to(torch.int32)
        self.call = ops.flash_attn_varlen_func
        self.arguments = (self.result, query, *pools, torch.from_numpy(problem.q_starts),
                          kv_starts, max(problem.q_lens), longest, problem.scale, True, table,
                          None, -1, -1, "auto", 1.0, 1.0, -1.0)

    def run(self):
        self.call(*self.arguments)

    def output(self):
        return self.result.float().numpy()


def make(_name):
    return Ipex()
