# ===- measure.py - One case, all systems in turn --------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Prepare, check, then rounds: in each round every system makes one call, after
# the caches have been emptied, and every ceiling one pass.
#
# ===----------------------------------------------------------------------=== #
"""Interleaved measurement of a case."""

import dataclasses
import pathlib
import statistics
import tempfile
import time

import judge
import machine
import native
from systems import Absent, Ours, PeerSystem, write_problem

FMA_PASSES = 3  # of some milliseconds each, in every round
HOT_BYTES = 1 << 20  # of a sequential read that leaves the caches alone
# Threads of peers spin for some milliseconds after a call, and would take part
# of the machine from whoever comes next.
SETTLE_SECONDS = 0.02


@dataclasses.dataclass
class Options:
    """How to measure."""

    via: str = "vector"
    cpu: str = "native"
    threads: int = 1
    repetitions: int = 9
    slow_seconds: float = 4.0  # a system whose call takes longer is left out
    peers: tuple = ()
    hot: bool = False  # leave in the caches what is there


@dataclasses.dataclass
class Round:
    """What one round measured."""

    fma: float = 0         # operations per second
    dot: float = 0         # the same, of the cache type's dot product; 0: none
    sequential: float = 0  # bytes per second
    paged: dict = dataclasses.field(default_factory=dict)      # (name, order): the same
    seconds: dict = dataclasses.field(default_factory=dict)    # by name
    cpu_share: dict = dataclasses.field(default_factory=dict)  # by name


def summary(samples, best=min):
    return {"median": statistics.median(samples), "best": best(samples), "samples": len(samples)}


class CaseRun:
    """Everything that is known while one case is measured."""

    def __init__(self, case, library, pool, options, log):
        self.case, self.library, self.pool = case, library, pool
        self.options, self.log = options, log
        self.systems, self.absent = [], []
        self.rounds, self.entries, self.references = [], {}, {}

    # -- prepare ---------------------------------------------------------------

    def skip(self, name, kind, absent):
        self.log(f"  {name}: {absent}" + (f" ({absent.why})" if absent.why else ""))
        self.absent.append({"name": name, "kind": kind, "status": str(absent), "why": absent.why})

    def add_ours(self):
        for variant in self.case.variants:
            try:
                self.systems.append(Ours(self.library, self.case, variant, self.options))
            except Absent as absent:
                self.skip(f"ours-{self.options.via}/{variant.layout}/p{variant.page_size}/"
                          f"{variant.pages}", "ours", absent)

    def make_references(self, arrays):
        """One reference for each lengths among our variants."""
        for system in self.systems:
            lengths = system.lengths
            if lengths.name in self.references:
                continue
            own = arrays if lengths == self.case.lengths else {
                name: system.kernel.rows(which) for name, which in
                (("query", native.QUERY), ("keys", native.KEYS), ("values", native.VALUES))}
            self.references[lengths.name] = judge.Reference(self.case, lengths, **own)

    def add_peers(self, folder):
        names = self.options.peers
        if self.case.peers is not None:
            names = [name for name in names if name in self.case.peers]
        for name in names:
            try:
                self.systems.append(PeerSystem(self.pool.get(name), self.case, folder))
            except Absent as absent:
                self.skip(name, "peer", absent)

    # -- check -----------------------------------------------------------------

    def check(self, system, ours_out):
        """The entry of `system` with its errors; its output must be right."""
        out = system.output()
        ours = system.kind == "ours"
        bound = (judge.OUR_BOUND if ours else judge.PEER_BOUND)[self.case.kv_type]
        error = self.references[system.lengths.name].error(out)
        same = ours_out is None or system.lengths != self.case.lengths
        apart = 0.0 if same else judge.difference(out, ours_out)
        right = error <= bound and apart <= 2 * bound
        entry = self.entries.setdefault(system.name, {
            "name": system.name, "kind": system.kind, "paged": system.paged})
        entry.update(error=error, difference=apart, bound=bound,
                     status="right" if right else "wrong")
        if not ours:
            entry["versions"] = system.versions
        return out, right

    def check_all(self):
        """Warm-up, errors, and which systems are too slow."""
        ours_out, kept = None, []
        for system in self.systems:
            try:
                system.run()  # compilers and page faults
                first = system.run()
                out, right = self.check(system, ours_out)
                if ours_out is None and system.lengths == self.case.lengths:
                    ours_out = out
            except Absent as absent:
                self.skip(system.name, system.kind, absent)
                continue
            entry = self.entries[system.name]
            if right and first["seconds"] > self.options.slow_seconds:
                entry.update(status="slow", one_call_seconds=first["seconds"])
            if entry["status"] == "right":
                kept.append(system)
            else:
                self.log(f"  {system.name}: {entry['status']} (error {entry['error']:.1e}, "
                         f"{first['seconds']:.2f} s)")
        return kept

    def check_again(self, systems):
        """What was timed must have been right, too."""
        kept = []
        for system in systems:
            try:
                if self.check(system, None)[1]:
                    kept.append(system)
            except Absent as absent:
                self.skip(system.name, system.kind, absent)
                self.entries.pop(system.name)
        return kept

    # -- measure ---------------------------------------------------------------

    def read_sequential(self):
        """Leaves nothing of any system in the caches, unless they stay hot."""
        numbytes = HOT_BYTES if self.options.hot else machine.eviction_bytes()
        return self.library.ReadSequential(numbytes, self.options.threads)

    def measure_ceilings(self, entry):
        self.read_sequential()
        entry.fma = max(self.library.Fma(self.options.threads) for _ in range(FMA_PASSES))
        if self.case.kv_type in native.DOT_TYPES:
            entry.dot = self.library.Dot(native.DOT_TYPES[self.case.kv_type],
                                         self.options.threads)
        entry.sequential = self.read_sequential()

    def measure_paged_read(self, system, entry):
        for order in (native.BY_HEAD, native.BY_PAGE):
            self.read_sequential()
            entry.paged[system.name, order] = system.kernel.read_pages(order)

    def run_round(self, systems):
        entry = Round()
        self.rounds.append(entry)
        self.measure_ceilings(entry)
        for system in systems:
            self.read_sequential()
            sample = system.run()
            entry.seconds[system.name] = sample["seconds"]
            entry.cpu_share[system.name] = sample["cpu_seconds"] / sample["seconds"]
            if system.kind == "peer":
                time.sleep(SETTLE_SECONDS)
            elif system.lengths.mode == "decode":
                self.measure_paged_read(system, entry)

    def measure(self, systems):
        for number in range(self.options.repetitions):
            shift = number % max(1, len(systems))
            alive = systems[shift:] + systems[:shift]
            try:
                self.run_round(alive)
            except Absent as absent:  # a peer that crashes later than its check
                lost = [s for s in systems if s.kind == "peer" and not s.worker.is_alive()]
                systems = [s for s in systems if s not in lost]
                for system in lost:
                    self.skip(system.name, "peer", absent)
                    self.entries.pop(system.name, None)
        return systems

    # -- report ----------------------------------------------------------------

    def paged_order(self, name):
        """The order in which a variant's pages are read faster."""
        return max((native.BY_HEAD, native.BY_PAGE), key=lambda order: statistics.median(
            entry.paged[name, order] for entry in self.rounds))

    def paged_reads(self, systems):
        """Bytes per second in each round, by decoding variant."""
        return {s.name: [entry.paged[s.name, self.paged_order(s.name)] for entry in self.rounds]
                for s in systems if s.kind == "ours" and s.lengths.mode == "decode"}

    def shares(self, name, amount, ceilings):
        """Of a ceiling: the median over rounds, each against its own round, so
        that a machine that changes its speed does no harm; and best of best."""
        pairs = [(entry.seconds[name], ceiling) for entry, ceiling
                 in zip(self.rounds, ceilings) if name in entry.seconds]
        median = statistics.median(amount / seconds / ceiling for seconds, ceiling in pairs)
        return median, amount / min(pairs)[0] / max(ceilings)

    def finish(self, systems):
        paged = self.paged_reads(systems)
        fma = [entry.fma for entry in self.rounds]
        main_read = next(iter(paged.values()), None)
        for system in systems:
            entry, lengths, name = self.entries[system.name], system.lengths, system.name
            times = summary([r.seconds[name] for r in self.rounds if name in r.seconds])
            operations, moved = self.case.operations(lengths), self.case.kv_bytes(lengths)
            entry.update(
                seconds=times, lengths=lengths.name, gflops=operations / times["median"] / 1e9,
                gbytes=moved / times["median"] / 1e9,
                cpu_share=statistics.median(r.cpu_share[name] for r in self.rounds
                                            if name in r.cpu_share))
            entry["flops_ratio"], entry["flops_ratio_best"] = self.shares(name, operations, fma)
            read = paged.get(name) or main_read
            if read and lengths.mode == "decode":
                entry["bandwidth_ratio"], entry["bandwidth_ratio_best"] = self.shares(
                    name, moved, read)
            if system.kind == "ours":
                entry.update(layout=system.variant.layout, page_size=system.variant.page_size,
                             pages=system.variant.pages,
                             compile_seconds=system.kernel.compile_seconds)
                if name in paged:
                    entry["paged_read"] = summary(paged[name], max)
        case = self.case
        return {
            "name": case.name, "set": case.set_name, "mode": case.lengths.mode,
            "lengths": case.lengths.name, "heads": case.heads, "kv_heads": case.kv_heads,
            "head_dim": case.head_dim, "kv_type": case.kv_type, "query_type": case.query_type,
            "tokens": sum(case.lengths.kv_lens),
            "query_tokens": sum(case.lengths.q_lens), "kv_bytes": case.kv_bytes(case.lengths),
            "operations": case.operations(case.lengths), "via": self.options.via,
            "hot": self.options.hot, "repetitions": self.options.repetitions,
            "ceilings": {
                "fma": summary(fma, max),
                "dot": summary([entry.dot for entry in self.rounds], max)
                if self.rounds[0].dot else None,
                "fma_instructions": self.library.FmaInstructions().decode(),
                "sequential_read": summary([entry.sequential for entry in self.rounds], max),
                "paged_read": summary(main_read, max) if main_read else None},
            "systems": list(self.entries.values()) + self.absent,
        }

    def close(self):
        for system in self.systems:
            system.close()


def measure_case(case, library, pool, options, log=print):
    """The case's entry of the result file."""
    run = CaseRun(case, library, pool, options, log)
    shared = pathlib.Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        try:
            run.add_ours()
            main = next((s for s in run.systems if s.lengths == case.lengths), None)
            if main is None:
                return {"name": case.name, "set": case.set_name, "kv_type": case.kv_type,
                        "via": options.via, "systems": run.absent}
            arrays = write_problem(case, main, options.threads, pathlib.Path(folder))
            run.make_references(arrays)
            del arrays
            run.add_peers(pathlib.Path(folder))
            systems = run.measure(run.check_all())
            return run.finish(run.check_again(systems))
        finally:
            run.close()
