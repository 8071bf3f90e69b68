#!/usr/bin/env python3
"""Counts the cases of a CTest JUnit report and prints `N passed, N failed`.

A CTest entry that runs lit counts as many cases as lit reports, any other
entry as one; one that could not start or that skips itself has failed. The exit
status is 1 when a case failed or none ran.
"""
import re
import sys
import xml.etree.ElementTree as ElementTree

PASSED = re.compile(r"^\s*(?:Passed|Expectedly Failed)\s*:\s*(\d+)", re.MULTILINE)
FAILED = re.compile(
    r"^\s*(?:Failed|Unresolved|Timed Out|Unexpectedly Passed)\s*:\s*(\d+)", re.MULTILINE
)


def count(case):
    """Returns (passed, failed) of one CTest entry."""
    output = case.findtext("system-out") or ""
    succeeded = case.get("status") == "run"
    if re.search(r"^\s*Total Discovered Tests|^-- Testing: \d+", output, re.MULTILINE):
        passed = sum(int(n) for n in PASSED.findall(output))
        failed = sum(int(n) for n in FAILED.findall(output))
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
