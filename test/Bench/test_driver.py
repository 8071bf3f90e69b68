#!/usr/bin/env python3
# ===- test_driver.py - Tests of the CPU benchmark's driver ----------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# The arithmetic of cases and targets, the judge, and whole runs of tiny cases.
# A benchmark that times a wrong result must fail, and these tests show that.
#
# ===----------------------------------------------------------------------=== #
"""usage: test_driver.py LIBRARY [UNITTEST ARGUMENTS]"""

import json
import math
import pathlib
import subprocess
import sys
import tempfile
import unittest

BENCH = pathlib.Path(__file__).resolve().parents[2] / "bench" / "cpu"
sys.path.insert(0, str(BENCH))
LIBRARY = sys.argv.pop(1)

import numpy as np  # noqa: E402

import casefile  # noqa: E402
import checks  # noqa: E402
import judge  # noqa: E402
import measure  # noqa: E402
import native  # noqa: E402
import systems  # noqa: E402
from peers import PEERS  # noqa: E402
from peers import common  # noqa: E402


def find_case(name):
    return next(c for c in casefile.read_cases(BENCH / "cases.json") if c.name == name)


def run_driver(*arguments):
    return subprocess.run([sys.executable, str(BENCH / "run.py"), "--library", LIBRARY, "--hot",
                           *arguments],
                          capture_output=True, text=True)


class CaseTest(unittest.TestCase):
    def test_names_are_unique(self):
        names = [case.name for case in casefile.read_cases(BENCH / "cases.json")]
        self.assertEqual(len(names), len(set(names)))

    def test_cost_of_decode(self):
        case = find_case("decode-8x4096/32-8/bf16")
        self.assertEqual(case.kv_bytes(case.lengths), 8 * 4096 * 2 * 8 * 128 * 2)
        self.assertEqual(case.operations(case.lengths), 8 * 4096 * 32 * 4 * 128)

    def test_cost_of_prefill_counts_visible_pairs_only(self):
        case = find_case("chunk-512-on-4096/32-8/f32")
        pairs = sum(4096 + i + 1 for i in range(512))
        self.assertEqual(case.operations(case.lengths), pairs * 32 * 4 * 128)

    def test_ragged_lengths_keep_their_bounds(self):
        lengths = casefile.ragged_lengths(64, 128, 4096, 7)
        self.assertEqual((min(lengths), max(lengths), len(lengths)), (128, 4096, 64))
        self.assertNotEqual(lengths, sorted(lengths))


class PagesTest(unittest.TestCase):
    def problem(self):
        rows = np.arange(5 * 2 * 3, dtype=np.float32).reshape(5, 2, 3)
        return common.Problem("decode", [1, 1], [2, 3], 4, 2, 3, "f32", 2, "shuffled", 1,
                              rows[:2], rows, rows)

    def test_pool_holds_every_row_where_the_table_says(self):
        problem = self.problem()
        lists, count = common.place_pages(problem, 2)
        pool = common.fill_pool(problem, problem.keys, lists, count, 2)
        for b, start in enumerate(problem.kv_starts[:-1]):
            for j in range(problem.kv_lens[b]):
                np.testing.assert_array_equal(pool[lists[b][j // 2], j % 2],
                                              problem.keys[start + j])

    def test_runs_of_equal_lengths(self):
        self.assertEqual(list(self.problem().runs()), [(0, 1), (1, 2)])

    def test_bf16_bits(self):
        values = np.array([1.0, -2.5, 0.0], np.float32)
        bits = common.to_bf16_bits(values)
        np.testing.assert_array_equal(common.from_bf16_bits(bits), values)


class JudgeTest(unittest.TestCase):
    via = "vector"

    def setUp(self):
        case = find_case("smoke-mixed/4-2/f32")
        kernel = native.OurKernel(native.Library(LIBRARY), case, case.variants[0], via=self.via,
                                  cpu="native", threads=1)
        kernel.reset_out()
        kernel.run()
        rows = [kernel.rows(which) for which in (native.QUERY, native.KEYS, native.VALUES)]
        self.reference = judge.Reference(case, case.lengths, *rows)
        self.out = kernel.rows(native.OUT)
        kernel.close()

    def test_our_kernel_is_right(self):
        self.assertLess(self.reference.error(self.out), judge.OUR_BOUND["f32"])

    def test_a_wrong_row_is_seen(self):
        self.out[self.reference.rows[-1]] += 0.1
        self.assertGreater(self.reference.error(self.out), judge.PEER_BOUND["f32"])

    def test_one_nan_is_a_failure(self):
        self.out[0, 0, 0] = np.nan
        self.assertEqual(self.reference.error(self.out), math.inf)
        self.assertEqual(judge.difference(self.out, self.out), math.inf)


class LinalgJudgeTest(JudgeTest):
    via = "linalg"


def figures(name, times, **more):
    """A measured case with systems {name: (kind, median, more)}."""
    systems = [dict(name=key, kind=kind, paged=True, status="right", lengths="l",
                    seconds={"median": median}, **extra)
               for key, (kind, median, extra) in times.items()]
    return dict(name=name, lengths="l", systems=systems, **more)


class ChecksTest(unittest.TestCase):
    def value(self, cases, name):
        return next(c for c in checks.all_checks(cases) if c["name"] == name)

    def test_gain_is_over_the_fastest_paged_peer_that_is_right(self):
        case = figures("decode-8x4096/32-8/f32", {
            "ours": ("ours", 1.0, {"bandwidth_ratio": 0.95}), "slow": ("peer", 3.0, {}),
            "fast": ("peer", 2.0, {}), "wrong": ("peer", 0.1, {}), "dense": ("peer", 0.5, {})})
        case["systems"][3]["status"] = "wrong"
        case["systems"][4]["paged"] = False
        check = self.value([case], "x fastest paged peer decode-8x4096/32-8/f32")
        self.assertEqual((check["value"], check["pass"]), (2.0, True))
        share = self.value([case], "bandwidth_ratio decode-8x4096/32-8/f32")
        self.assertTrue(share["pass"])

    def test_what_was_not_measured_has_no_verdict(self):
        self.assertTrue(all(c["pass"] is None for c in checks.all_checks([])))

    def test_mixed_is_held_against_its_parts(self):
        case = figures("mixed-8x2048-1024/32-8/f32", {
            "whole": ("ours", 3.0, {"layout": "kt"}), "a": ("ours", 1.0, {"layout": "kt"}),
            "b": ("ours", 1.5, {"layout": "kt"})})
        for system, part in zip(case["systems"][1:], ("mixed-part-decode", "mixed-part-prefill")):
            system["lengths"] = part
        check = self.value([case], "mixed / sum of its parts, time, f32")
        self.assertEqual((check["value"], check["pass"]), (1.2, False))


class RunTest(unittest.TestCase):
    def test_tiny_cases_without_any_peer(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "result.json"
            done = run_driver("--case", "smoke-*", "--quick", "--peer", "none", "--into", str(path))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            results = json.loads(path.read_text())
        self.assertEqual(len(results["cases"]), 4)
        for case in results["cases"]:
            self.assertGreater(case["ceilings"]["fma"]["best"], 0)
            self.assertEqual(len(case["systems"]), 2)
            for system in case["systems"]:
                self.assertEqual((system["status"], system["seconds"]["samples"]), ("right", 3))
                self.assertGreater(system["seconds"]["best"], 0)

    def test_an_absent_peer_is_skipped_with_a_word(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "result.json"
            done = run_driver("--case", "smoke-decode/4-2/f32", "--quick", "--peer", "jax",
                              "--python", "/nowhere/python", "--into", str(path))
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            system = json.loads(path.read_text())["cases"][0]["systems"][-1]
        self.assertEqual((system["name"], system["status"]), ("jax", "absent"))

    def test_bad_input_is_named(self):
        for arguments, text in ((("--peer", "fastest"), "expected peers among"),
                                (("--case", "nothing"), "expected a case that matches")):
            done = run_driver(*arguments)
            self.assertEqual(done.returncode, 2)
            self.assertIn(text, done.stderr)

    def test_a_lowering_that_does_not_exist_is_a_failure(self):
        done = run_driver("--case", "smoke-decode/4-2/f32", "--peer", "none", "--via", "magic")
        self.assertEqual(done.returncode, 1)
        self.assertIn("unsupported (expected via", done.stdout)

    def test_a_wrong_result_is_a_failure(self):
        case = find_case("smoke-decode/4-2/f32")
        real = native.OurKernel.rows

        def broken(self, which):
            rows = real(self, which)
            return rows * 1.5 if which == native.OUT else rows
        native.OurKernel.rows = broken
        try:
            entry = measure.measure_case(case, native.Library(LIBRARY), None,
                                         measure.Options(repetitions=1, hot=True), log=lambda _: None)
        finally:
            native.OurKernel.rows = real
        self.assertEqual({s["status"] for s in entry["systems"]}, {"wrong"})
        self.assertFalse(any(s.get("seconds") for s in entry["systems"]))


class PeersTest(unittest.TestCase):
    def test_a_crash_is_a_word(self):
        for program in ("/bin/false", "/usr/bin/yes"):  # ends, or says nonsense
            worker = systems.Worker("jax", program, 1)
            with self.assertRaises(systems.Absent) as raised:
                worker.ask({"do": "run"})
            self.assertEqual(str(raised.exception), "crashed")
            self.assertFalse(worker.is_alive())

    def test_a_peer_that_does_not_answer_is_stopped(self):
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "silent"
            program.write_text("#!/bin/sh\nexec sleep 60\n")
            program.chmod(0o755)
            worker = systems.Worker("jax", str(program), 1)
            with self.assertRaises(systems.Absent) as raised:
                worker.ask({"do": "run"}, seconds=0.1)
        self.assertEqual(str(raised.exception), "timeout")
        self.assertFalse(worker.is_alive())

    def test_every_peer_has_a_module(self):
        for module, _ in PEERS.values():
            self.assertTrue((BENCH / "peers" / f"{module}.py").exists(), module)


if __name__ == "__main__":
    unittest.main()
