#!/usr/bin/env python3
# ===- vllm_real.py - vLLM's own cache manager on the same work ------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Times the steps of RuntimeBench.cpp with KVCacheManager and BlockPool of the
# vLLM package (v1 engine, tested with 0.33), on the CPU, as its scheduler calls
# them. Skipped with a word where the package cannot be imported: it needs torch
# and about thirty other packages, so no script of ours installs it.
#
# ===----------------------------------------------------------------------=== #
"""Times vLLM's KVCacheManager; prints one JSON object, or {"skipped": "why"}.

usage: vllm_real.py [--hash sha256|sha256_cbor|xxhash] [--repeat N]
"""

import argparse
import json
import platform
import random
import statistics
import time

PAGE_SIZE = 16


def timed(repeat, body):
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        body()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


class Bench:
    def __init__(self, hash_name):
        import torch
        from vllm import SamplingParams
        from vllm.utils.hashing import get_hash_fn_by_name
        from vllm.v1.core import block_pool, kv_cache_manager, kv_cache_utils
        from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheGroupSpec
        from vllm.v1.request import Request

        hash_page = get_hash_fn_by_name(hash_name)
        kv_cache_utils.init_none_hash(hash_page)
        hasher = kv_cache_utils.get_request_block_hasher(PAGE_SIZE, hash_page)
        params = SamplingParams(max_tokens=10000)
        self.block_pool = block_pool

        def make_request(name, tokens):
            return Request(name, tokens, params, None, block_hasher=hasher)

        def make_manager(num_pages):
            spec = FullAttentionSpec(block_size=PAGE_SIZE, num_kv_heads=8, head_size=128, dtype=torch.float32)
            config = KVCacheConfig(num_blocks=num_pages, kv_cache_tensors=[],
                                   kv_cache_groups=[KVCacheGroupSpec(["layer"], spec)])
            return kv_cache_manager.KVCacheManager(config, max_model_len=16384, scheduler_block_size=PAGE_SIZE,
                                                   hash_block_size=PAGE_SIZE)

        self.make_request, self.make_manager = make_request, make_manager

    def decode_step(self, repeat):
        """256 sequences of 1000 tokens: one more slot each, and the ids of their new pages. Microseconds."""
        manager, rng, requests = self.make_manager(40000), random.Random(1), []
        for i in range(256):
            request = self.make_request(str(i), [rng.randrange(128000) for _ in range(1000)])
            assert manager.allocate_slots(request, 1000) is not None
            request.num_computed_tokens = 1000
            requests.append(request)

        def step():
            ids = []
            for request in requests:
                request.append_output_token_ids(7)
                ids.append(manager.allocate_slots(request, 1).get_block_ids(allow_none=True))
                request.num_computed_tokens += 1
            return ids

        return timed(min(repeat * 20, 400), step) * 1e6

    def match_prefix(self, repeat):
        """A prompt of 8192 tokens and one more, all cached: hashes, look-up, references, free. Microseconds."""
        manager, rng = self.make_manager(2000), random.Random(3)
        tokens = [rng.randrange(128000) for _ in range(8193)]
        first = self.make_request("first", list(tokens))
        manager.allocate_slots(first, 8193)
        manager.free(first)

        def match():
            request = self.make_request("again", list(tokens))
            found = manager.get_computed_blocks(request)
            blocks, matched = found[0], found[1]
            assert matched == 8192
            manager.allocate_slots(request, 1, matched, blocks)
            manager.free(request)

        return timed(repeat, match) * 1e6

    def million_pages(self, repeat):
        """A million pages handed out by 64, then freed. Milliseconds."""
        pool = self.block_pool.BlockPool(1000001, True, PAGE_SIZE)

        def all_pages():
            pages = []
            for _ in range(0, 1000000, 64):
                pages.extend(pool.get_new_blocks(min(64, pool.get_num_free_blocks())))
            pool.free_blocks(reversed(pages))

        return timed(max(1, repeat // 10), all_pages) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hash", default="sha256")
    parser.add_argument("--repeat", type=int, default=20)
    args = parser.parse_args()
    try:
        import vllm
        bench = Bench(args.hash)
    except Exception as error:  # Any of its many packages may be missing or of another version.
        print(json.dumps({"skipped": f"vllm cannot be used: {type(error).__name__}: {str(error)[:200]}"}))
        return
    print(json.dumps({
        "vllm": vllm.__version__,
        "python": platform.python_version(),
        "hash": args.hash,
        "decode_step_256_us": bench.decode_step(args.repeat),
        "match_prefix_8192_us": bench.match_prefix(args.repeat),
        "million_pages_ms": bench.million_pages(args.repeat),
    }, indent=2))


if __name__ == "__main__":
    main()
