#!/usr/bin/env python3
"""A small serving engine on paged_attn: what the parts are for, seen at work.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

A decoder model of the Llama shape with random weights (numpy) serves random requests with
continuous batching, chunked prefill, a prefix cache, speculative decoding and preemption,
on `KVCacheManager` and the compiled kernels. Every step is one ragged batch: one call of
`append` and one of `attention` per layer, whatever mix of prompts and decoding it holds.

    python examples/serve.py              a live table
    python examples/serve.py --check      and the same tokens as a plain loop without pages
"""

import argparse
import collections
import contextlib
import dataclasses
import json
import sys
import time

import numpy as np

import paged_attn

# The model: RMS norm, rotary positions, grouped attention, a gated MLP.


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of the model."""

    layers: int = 2
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 32
    vocabulary: int = 256

    @property
    def width(self):
        return self.heads * self.head_dim


def rms_norm(x):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6)


def rotate(x, positions):
    """Rotary positions on x [T, H, D]."""
    half = x.shape[-1] // 2
    angles = positions[:, None] * 10000.0 ** (-np.arange(half) / half)
    cos, sin = (f(angles)[:, None].astype(np.float32) for f in (np.cos, np.sin))
    a, b = x[..., :half], x[..., half:]
    return np.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


class Model:
    """Random weights; `attend(layer, q, k, v)` is whatever attention the caller has."""

    def __init__(self, shape, seed):
        rng = np.random.default_rng(seed)
        self.shape, width = shape, shape.width

        def weights(rows, columns):
            return (rng.standard_normal((rows, columns)) / rows**0.5).astype(np.float32)

        kv = shape.kv_heads * shape.head_dim
        self.embedding = rng.standard_normal((shape.vocabulary, width)).astype(np.float32)
        self.head = weights(width, shape.vocabulary)
        self.layers = [
            {
                "q": weights(width, width),
                "k": weights(width, kv),
                "v": weights(width, kv),
                "o": weights(width, width),
                "gate": weights(width, 2 * width),
                "up": weights(width, 2 * width),
                "down": weights(2 * width, width),
            }
            for _ in range(shape.layers)
        ]

    def forward(self, tokens, positions, attend, rows=slice(None)):
        """Logits [rows, vocabulary] of some of the tokens [T]."""
        shape = self.shape
        x = self.embedding[tokens]
        for index, layer in enumerate(self.layers):
            y = rms_norm(x)
            q, k, v = ((y @ layer[name]).reshape(len(tokens), -1, shape.head_dim) for name in "qkv")
            out = attend(index, rotate(q, positions), rotate(k, positions), v)
            x = x + out.reshape(len(tokens), -1) @ layer["o"]
            y = rms_norm(x)
            gate = y @ layer["gate"]
            x = x + (gate / (1 + np.exp(-gate)) * (y @ layer["up"])) @ layer["down"]
        return rms_norm(x[rows]) @ self.head


def generate_plainly(model, prompt, count):
    """The plain loop: one request, one token at a time, keys and values in dense arrays."""
    shape = model.shape
    cache = [
        np.zeros((2, 0, shape.kv_heads, shape.head_dim), np.float32) for _ in range(shape.layers)
    ]

    def attend(layer, q, k, v):
        cache[layer] = np.concatenate([cache[layer], np.stack([k, v])], 1)
        keys, values = np.repeat(cache[layer], shape.heads // shape.kv_heads, 2)
        s = np.einsum("qhd,jhd->hqj", q, keys) / shape.head_dim**0.5
        p = keys.shape[0] - len(q) + np.arange(len(q))
        s = np.where(np.arange(keys.shape[0]) <= p[:, None], s, -np.inf)
        s = np.exp(s - s.max(-1, keepdims=True))
        return np.einsum("hqj,jhd->qhd", s / s.sum(-1, keepdims=True), values)

    answer, new = [], list(prompt)
    while len(answer) < count:
        first = cache[0].shape[1]
        logits = model.forward(np.array(new), first + np.arange(len(new)), attend, rows=[-1])
        new = [int(logits[0].argmax())]
        answer += new
    return answer


# The engine.


@dataclasses.dataclass
class Request:
    """One prompt and what has come of it."""

    number: int
    prompt: list
    count: int  #: tokens to generate
    answer: list = dataclasses.field(default_factory=list)
    sequence: int = -1  #: of the manager, -1 while waiting
    cached: int = 0  #: tokens in the cache

    @property
    def known(self):
        return self.prompt + self.answer


def guess(known, most):
    """Draft tokens: what followed the last two tokens when they stood side by side before."""
    last = known[-2:]
    for at in range(len(known) - 3, -1, -1):
        if most > 0 and known[at : at + 2] == last:
            return known[at + 2 : at + 2 + most]
    return []


@dataclasses.dataclass
class Options:
    """How the engine schedules."""

    page_size: int = 16
    pages: int = 64
    chunk: int = 32  #: most prompt tokens of one request in one step
    budget: int = 64  #: most tokens of one step
    batch: int = 8  #: most running requests
    drafts: int = 3  #: most draft tokens of one request in one step; 0: no speculation


class Engine:
    """Continuous batching: each step takes what is ready from every running request."""

    def __init__(self, model, requests, options):
        shape = model.shape
        self.model, self.options = model, options
        self.waiting, self.running, self.done = collections.deque(requests), [], []
        self.manager = paged_attn.KVCacheManager(
            options.pages,
            options.page_size,
            shape.kv_heads,
            shape.head_dim,
            num_layers=shape.layers,
            max_sequences=4 * options.batch,
        )
        self.is_full = False  # since a preemption, until a request ends
        self.steps = self.tokens = self.drafted = self.accepted = self.preempted = 0

    def admit(self):
        """Starts waiting requests on the longest prefix that is cached."""
        while self.waiting and len(self.running) < self.options.batch and not self.is_full:
            request = self.waiting.popleft()
            match = self.manager.match_prefix(request.known[:-1])
            request.sequence = self.manager.add_matched_sequence(match)
            request.cached = match.num_tokens
            self.running.append(request)

    def plan(self):
        """The new tokens of each running request: {request: tokens}; decoding first."""
        left, plan = self.options.budget, {}
        ready = sorted(self.running, key=lambda request: len(request.known) - request.cached > 1)
        for request in ready:
            known = request.known
            new = known[request.cached : request.cached + min(self.options.chunk, left)]
            left -= len(new)
            if request.cached + len(new) == len(known) and request.answer and left > 0:
                most = min(self.options.drafts, left, request.count - len(request.answer) - 1)
                new = new + guess(known, most)
                left -= len(new) - 1
            if new:
                plan[request.number] = request, new
        return list(plan.values())

    def preempt(self):
        """Puts the youngest request back; its pages stay cached as long as there is room."""
        request = self.running.pop()
        self.manager.free(request.sequence)
        request.sequence, request.cached = -1, 0
        self.waiting.appendleft(request)
        self.is_full = True
        self.preempted += 1

    def allocate(self):
        """A plan that the pool has pages for."""
        while True:
            plan = self.plan()
            try:
                self.manager.allocate_slots([(request.sequence, new) for request, new in plan])
                return plan
            except paged_attn.OutOfPages:
                if len(self.running) == 1:
                    raise
                self.preempt()

    def forward(self, plan):
        """Logits of every new token of the plan."""
        manager = self.manager
        manager.run_pending_work()
        views = manager.views([request.sequence for request, _ in plan])

        def attend(layer, q, k, v):
            pools = manager.k_pages(layer), manager.v_pages(layer)
            paged_attn.append(k, v, *pools, views.slots)
            return paged_attn.attention(
                q, *pools, views.page_table, views.kv_lens, views.query_starts
            )

        tokens = np.concatenate([new for _, new in plan])
        positions = np.concatenate([request.cached + np.arange(len(new)) for request, new in plan])
        return np.split(self.model.forward(tokens, positions, attend), views.query_starts[1:-1])

    def accept(self, request, new, logits):
        """Takes the drafts that the model agrees with, and its next token."""
        known = len(request.known) - request.cached
        best = logits.argmax(-1)
        kept = len(new)
        if len(new) >= known:
            kept = known
            while kept < len(new) and best[kept - 1] == new[kept]:
                kept += 1
            taken = [*new[known:kept], int(best[kept - 1])]
            self.drafted += len(new) - known
            self.accepted += kept - known
            self.tokens += len(taken)
            request.answer += taken
        if kept < len(new):
            self.manager.truncate(request.sequence, request.cached + kept)
        request.cached += kept
        self.manager.commit(request.sequence)

    def finish(self):
        """Ends requests that have all their tokens; their pages stay for prompts alike."""
        for request in [one for one in self.running if len(one.answer) >= one.count]:
            self.manager.free(request.sequence)
            self.running.remove(request)
            self.done.append(request)
            self.is_full = False

    def step(self):
        """One batch through the model."""
        self.admit()
        plan = self.allocate()
        for (request, new), logits in zip(plan, self.forward(plan)):
            self.accept(request, new, logits)
        self.finish()
        self.steps += 1

    def stats(self, seconds):
        """The numbers of the table."""
        stats = self.manager.stats()
        pages = stats["groups"][0]
        return {
            "step": self.steps,
            "done": len(self.done),
            "running": len(self.running),
            "waiting": len(self.waiting),
            "tokens": self.tokens,
            "tokens/s": round(self.tokens / seconds, 1) if seconds else 0.0,
            "pages live": pages["live_pages"],
            "cached": pages["reclaimable_pages"],
            "free": pages["free_pages"],
            "hit rate": round(stats["hit_rate"], 3),
            "drafts taken": f"{self.accepted}/{self.drafted}",
            "preempted": self.preempted,
        }


def make_requests(count, vocabulary, prompt, answer, seed):
    """Random prompts; most begin with one of two system prompts."""
    rng = np.random.default_rng(seed)
    systems = [rng.integers(0, vocabulary, prompt // 2).tolist() for _ in range(2)]
    requests = []
    for number in range(count):
        own = rng.integers(0, vocabulary, rng.integers(1, prompt)).tolist()
        begin = systems[rng.integers(2)] if rng.random() < 0.8 else []
        requests.append(Request(number, begin + own, int(rng.integers(1, answer + 1))))
    return requests


# The table.


class Table:
    """Draws the stats in place with rich; without it, a line every now and then."""

    def __init__(self, quiet):
        self.live = None
        if not quiet:
            with contextlib.suppress(ImportError):
                from rich.live import Live

                self.live = Live(refresh_per_second=8)
        self.lines = not quiet and self.live is None

    def __enter__(self):
        if self.live:
            self.live.start()
        return self

    def __exit__(self, *error):
        if self.live:
            self.live.stop()

    def show(self, stats):
        if self.live:
            from rich.table import Table as Drawing

            drawing = Drawing(title="paged_attn serving", show_header=False)
            drawing.add_column()
            drawing.add_column(justify="right", min_width=12)
            for name, value in stats.items():
                drawing.add_row(name, str(value))
            self.live.update(drawing)
        elif self.lines and stats["step"] % 20 == 0:
            print(", ".join(f"{name} {value}" for name, value in stats.items()))


def check(model, requests):
    """Requests whose tokens are not those of the plain loop."""
    return [
        one.number
        for one in requests
        if one.answer != generate_plainly(model, one.prompt, one.count)
    ]


def main(arguments=None):
    parser = argparse.ArgumentParser(description="A small serving engine on paged_attn.")
    defaults = Options()
    for field in dataclasses.fields(Options):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=int, default=getattr(defaults, field.name))
    parser.add_argument("--requests", type=int, default=48)
    parser.add_argument(
        "--prompt", type=int, default=96, help="longest prompt of its own, in tokens"
    )
    parser.add_argument("--answer", type=int, default=48, help="longest answer, in tokens")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--check", action="store_true", help="compare with the plain loop; exit 1 when they differ"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the last stats as one object, no table"
    )
    flags = parser.parse_args(arguments)

    options = Options(
        **{field.name: getattr(flags, field.name) for field in dataclasses.fields(Options)}
    )
    shape = Shape()
    model = Model(shape, flags.seed)
    requests = make_requests(
        flags.requests, shape.vocabulary, flags.prompt, flags.answer, flags.seed
    )
    engine = Engine(model, requests, options)
    begin = time.perf_counter()
    with Table(flags.json) as table:
        while engine.waiting or engine.running:
            engine.step()
            stats = engine.stats(time.perf_counter() - begin)
            table.show(stats)
    if flags.check:
        wrong = check(model, engine.done)
        stats["check"] = "fail" if wrong else "pass"
        print(f"requests that differ from the plain loop: {wrong or 'none'}", file=sys.stderr)
    if flags.json:
        print(json.dumps(stats))
    return 1 if flags.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
