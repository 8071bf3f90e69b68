#!/usr/bin/env python3
# ===- vllm_logic.py - The same bookkeeping in plain Python ---------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Our own re-implementation of what a block-pool manager in the style of vLLM v1
# does in Python for one step: objects per page, a doubly linked free list,
# reference counts, a dict from chained hashes to pages, lists of pages per
# request. It is a yardstick for RuntimeBench.cpp, not vLLM: it does less (no
# connectors, no metrics, one group), so a user sees these times or longer.
#
# ===----------------------------------------------------------------------=== #
"""Times the Python logic; prints one JSON object.

usage: vllm_logic.py [--hash builtin|sha256] [--repeat N]
"""

import argparse
import hashlib
import json
import pickle
import platform
import random
import statistics
import time

PAGE_SIZE = 16


class Page:
    """One physical page: reference count, hash, neighbours in the free list."""

    __slots__ = ("page_id", "refs", "page_hash", "before", "after")

    def __init__(self, page_id):
        self.page_id = page_id
        self.refs = 0
        self.page_hash = None
        self.before = None
        self.after = None


class FreeList:
    """Doubly linked list in eviction order, between two sentinels."""

    def __init__(self, pages):
        self.count = len(pages)
        self.head, self.tail = Page(-1), Page(-1)
        last = self.head
        for page in pages:
            last.after, page.before = page, last
            last = page
        last.after, self.tail.before = self.tail, last

    def pop(self):
        page = self.head.after
        self.remove(page)
        return page

    def remove(self, page):
        page.before.after, page.after.before = page.after, page.before
        page.before = page.after = None
        self.count -= 1

    def append(self, page):
        last = self.tail.before
        last.after, page.before = page, last
        page.after, self.tail.before = self.tail, page
        self.count += 1


class PagePool:
    def __init__(self, num_pages):
        self.pages = [Page(i) for i in range(num_pages)]
        self.free = FreeList(self.pages[1:])
        self.cached = {}

    def allocate(self, count):
        if count > self.free.count:
            return None
        result = []
        for _ in range(count):
            page = self.free.pop()
            if page.page_hash is not None:
                entries = self.cached[page.page_hash]
                entries.pop(page.page_id, None)
                if not entries:
                    del self.cached[page.page_hash]
                page.page_hash = None
            page.refs += 1
            result.append(page)
        return result

    def touch(self, pages):
        for page in pages:
            if page.refs == 0:
                self.free.remove(page)
            page.refs += 1

    def release(self, pages):
        for page in pages:
            page.refs -= 1
            if page.refs == 0:
                self.free.append(page)

    def store(self, page, page_hash):
        page.page_hash = page_hash
        self.cached.setdefault(page_hash, {})[page.page_id] = page

    def find(self, page_hash):
        entries = self.cached.get(page_hash)
        return next(iter(entries.values())) if entries else None


def hash_builtin(parent, tokens):
    return hash((parent, tokens, None))


def hash_sha256(parent, tokens):
    data = pickle.dumps((parent, tokens, None), protocol=pickle.HIGHEST_PROTOCOL)
    return hashlib.sha256(data).digest()


class Request:
    def __init__(self, tokens):
        self.tokens = tokens
        self.hashes = []
        self.pages = []
        self.num_computed = 0
        self.num_cached_pages = 0


class Manager:
    def __init__(self, num_pages, hash_page):
        self.pool = PagePool(num_pages)
        self.hash_page = hash_page

    def extend_hashes(self, request):
        tokens, hashes = request.tokens, request.hashes
        parent = hashes[-1] if hashes else 0
        start = len(hashes) * PAGE_SIZE
        while start + PAGE_SIZE <= len(tokens):
            parent = self.hash_page(parent, tuple(tokens[start:start + PAGE_SIZE]))
            hashes.append(parent)
            start += PAGE_SIZE

    def match(self, request):
        self.extend_hashes(request)
        found = []
        for page_hash in request.hashes:
            page = self.pool.find(page_hash)
            if page is None:
                break
            found.append(page)
        return found

    def allocate_slots(self, request, num_new):
        total = request.num_computed + num_new
        needed = -(-total // PAGE_SIZE) - len(request.pages)
        if needed > self.pool.free.count:
            return None
        new = self.pool.allocate(needed) if needed > 0 else []
        request.pages.extend(new)
        full = total // PAGE_SIZE
        if full > request.num_cached_pages:
            self.extend_hashes(request)
            for i in range(request.num_cached_pages, min(full, len(request.hashes))):
                self.pool.store(request.pages[i], request.hashes[i])
            request.num_cached_pages = full
        return new

    def free(self, request):
        self.pool.release(reversed(request.pages))


def timed(repeat, body):
    times = []
    for _ in range(repeat):
        begin = time.perf_counter()
        body()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def decode_step(hash_page, repeat):
    """256 sequences: slots, rows of the page table, lengths, slot mapping."""
    manager = Manager(40000, hash_page)
    rng = random.Random(1)
    requests = []
    for _ in range(256):
        request = Request([rng.randrange(128000) for _ in range(1000)])
        manager.allocate_slots(request, 1000)
        request.num_computed = 1000
        requests.append(request)
    width = 1600 // PAGE_SIZE
    table = [[-1] * width for _ in requests]

    def step():
        slots, kv_lens = [], []
        for row, request in enumerate(requests):
            request.tokens.append(7)
            before = len(request.pages)
            manager.allocate_slots(request, 1)
            for i in range(before, len(request.pages)):
                table[row][i] = request.pages[i].page_id
            at = request.num_computed
            slots.append(request.pages[at // PAGE_SIZE].page_id * PAGE_SIZE + at % PAGE_SIZE)
            request.num_computed += 1
            kv_lens.append(request.num_computed)
        return slots, kv_lens

    return timed(min(repeat * 20, 500), step) * 1e6


def match_prefix(hash_page, repeat):
    manager = Manager(2000, hash_page)
    rng = random.Random(3)
    tokens = [rng.randrange(128000) for _ in range(8192)]
    first = Request(list(tokens))
    manager.allocate_slots(first, 8192)
    manager.free(first)

    def match():
        request = Request(tokens)
        found = manager.match(request)
        assert len(found) == 512
        manager.pool.touch(found)
        manager.pool.release(reversed(found))

    return timed(repeat, match) * 1e6


def million_pages(repeat):
    pool = PagePool(1000001)

    def all_pages():
        pages = []
        for _ in range(0, 1000000, 64):
            pages.extend(pool.allocate(min(64, pool.free.count)))
        pool.release(reversed(pages))

    return timed(max(1, repeat // 10), all_pages) * 1e3


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hash", choices=("builtin", "sha256"), default="sha256")
    parser.add_argument("--repeat", type=int, default=20)
    args = parser.parse_args()
    hash_page = hash_builtin if args.hash == "builtin" else hash_sha256
    print(json.dumps({
        "python": platform.python_version(),
        "hash": args.hash,
        "decode_step_256_us": decode_step(hash_page, args.repeat),
        "match_prefix_8192_us": match_prefix(hash_page, args.repeat),
        "million_pages_ms": million_pages(args.repeat),
    }, indent=2))


if __name__ == "__main__":
    main()
