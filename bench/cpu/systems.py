# ===- systems.py - What takes part in a run -------------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Variants of our kernel in this process and peers in processes of their own,
# behind one interface: run() gives the seconds of one call, output() its result.
#
# ===----------------------------------------------------------------------=== #
"""Our variants and the peers as systems that can be timed."""

import json
import os
import pathlib
import selectors
import subprocess
import sys
import time

import numpy as np

import machine
import native
from peers import PEERS

HERE = pathlib.Path(__file__).resolve().parent
PREPARE_SECONDS = 300  # compilers among the peers take minutes
RUN_SECONDS = 120


class Absent(Exception):
    """The system does not take part: one word or a few, and more in `why`."""

    def __init__(self, word, why=""):
        super().__init__(word)
        self.why = why


class Ours:
    """One variant of our kernel."""

    kind = "ours"
    paged = True

    def __init__(self, library, case, variant, options):
        self.variant = variant
        self.lengths = variant.lengths
        parts = [f"ours-{options.via}", variant.layout, f"p{variant.page_size}", variant.pages]
        if variant.lengths != case.lengths:
            parts.append(variant.lengths.name)
        self.name = "/".join(parts)
        try:
            self.kernel = native.OurKernel(library, case, variant, via=options.via,
                                           cpu=options.cpu, threads=options.threads)
        except native.Unsupported as why:
            raise Absent("unsupported", str(why)) from why
        self.kernel.reset_out()

    def run(self):
        cpu = time.process_time()
        seconds = self.kernel.run()
        return {"seconds": seconds, "cpu_seconds": time.process_time() - cpu}

    def output(self):
        return self.kernel.rows(native.OUT)

    def close(self):
        self.kernel.close()


class Worker:
    """The process of one peer; lives as long as the driver."""

    def __init__(self, name, python, threads):
        self.name = name
        self.process = subprocess.Popen(
            [python, str(HERE / "worker.py"), name], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1,
            env=machine.worker_environment(threads))
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.process.stdout, selectors.EVENT_READ)

    def ask(self, request, seconds=RUN_SECONDS):
        """The reply to one request; Absent when the peer will not or cannot."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            if not self.selector.select(seconds):
                raise Absent("timeout", f"no answer in {seconds} s to {request['do']}")
            line = self.process.stdout.readline()
        except (BrokenPipeError, Absent) as why:
            self.stop()
            raise why if isinstance(why, Absent) else Absent("crashed") from why
        if not line:
            self.stop()
            raise Absent("crashed", f"exit {self.process.returncode} in {request['do']}")
        try:
            reply = json.loads(line)
        except ValueError as why:
            self.stop()
            raise Absent("crashed", f"answered {line[:80]!r}") from why
        if "skip" in reply:
            raise Absent(reply["skip"], reply.get("why", ""))
        return reply

    def is_alive(self):
        return self.process.poll() is None

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.selector.close()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except BrokenPipeError:  # a request that was never read
                pass


class PeerSystem:
    """A peer with a case prepared in its worker."""

    kind = "peer"

    def __init__(self, worker, case, folder):
        self.name, self.worker, self.folder = worker.name, worker, folder
        self.paged = PEERS[worker.name][1]
        self.lengths, self.variant = case.lengths, None
        reply = worker.ask({"do": "prepare", "folder": str(folder)}, PREPARE_SECONDS)
        self.versions = reply["versions"]

    def run(self):
        return self.worker.ask({"do": "run"})

    def output(self):
        path = self.folder / f"out-{self.name}.npy"
        self.worker.ask({"do": "output", "path": str(path)})
        result = np.load(path)
        path.unlink()
        return result

    def close(self):
        if self.worker.is_alive():
            try:
                self.worker.ask({"do": "release"})
            except Absent:
                pass


class WorkerPool:
    """Starts workers when they are first asked for, again after a crash."""

    def __init__(self, pythons, threads):
        self.pythons, self.threads, self.workers = pythons, threads, {}

    def get(self, name):
        worker = self.workers.get(name)
        if worker is None or not worker.is_alive():
            python = self.pythons.get(name, self.pythons.get("", sys.executable))
            if not os.path.exists(python):
                raise Absent("absent", f"no interpreter {python}")
            worker = self.workers[name] = Worker(name, python, self.threads)
        return worker

    def stop(self):
        for worker in self.workers.values():
            worker.stop()


def write_problem(case, ours, threads, folder):
    """The case as the workers read it; data are those of our first variant."""
    variant, lengths = ours.variant, case.lengths
    entry = dict(mode=lengths.mode, q_lens=lengths.q_lens, kv_lens=lengths.kv_lens,
                 heads=case.heads, kv_heads=case.kv_heads, head_dim=case.head_dim,
                 kv_type=case.kv_type, page_size=variant.page_size, pages=variant.pages,
                 threads=threads)
    (folder / "problem.json").write_text(json.dumps(entry))
    arrays = {}
    for name, which in (("query", native.QUERY), ("keys", native.KEYS), ("values", native.VALUES)):
        arrays[name] = ours.kernel.rows(which)
        np.save(folder / f"{name}.npy", arrays[name])
    return arrays
