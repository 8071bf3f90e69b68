#!/usr/bin/env python3
"""Counts the cases of a CTest JUnit report and prints `N passed, N failed`.

A CTest entry that runs lit or pytest counts as many cases as that reports, any
other entry as one; one that could not start or that skips itself has failed. The exit
status is 1 when a case failed or none ran.
"""
import re
import sys
import xml.etree.ElementTree as ElementTree

PASSED = re.compile(r"^\s*(?:Passed|Expectedly Failed)\s*:\s*(\d+)", re.MULTILINE)
FAILED = re.compile(
    r"^\s*(?:Failed|Unresolved|Timed Out|Unexpectedly Passed)\s*:\s*(\d+)", re.MULTILINE
)


def count_pytest(output):
    """Returns (passed, failed) of pytest's last line, (0, 0) when there is none."""
    lines = [line for line in output.splitlines() if re.search(r" in [\d.]+s", line)]
    counts = {"passed": 0, "failed": 0, "error": 0, "errors": 0}
    for number, kind in re.findall(r"(\d+) (passed|failed|errors?)\b", lines[-1] if lines else ""):
        counts[kind] = int(number)
    return counts["passed"], counts["failed"] + counts["error"] + counts["errors"]


def count(case):
    """Returns (passed, failed) of one CTest entry."""
    output = case.findtext("system-out") or ""
    succeeded = case.get("status") == "run"
    if re.search(r"^\s*Total Discovered Tests|^-- Testing: \d+", output, re.MULTILINE):
        passed = sum(int(n) for n in PASSED.findall(output))
        failed = sum(int(n) for n in FAILED.findall(output))
        if passed + failed:
            return passed, failed if succeeded else max(failed, 1)
    if case.get("name", "").startswith("python"):
        passed, failed = count_pytest(output)
        if passed + failed:
            return passed, failed if succeeded else max(failed, 1)
    if case.get("status") == "disabled":
        return 0, 0
    return (1, 0) if succeeded else (0, 1)


def main():
    root = ElementTree.parse(sys.argv[1]).getroot()
    passed = failed = 0
    for case in root.iter("testcase"):
        ok, bad = count(case)
        passed += ok
        failed += bad
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
