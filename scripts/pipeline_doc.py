#!/usr/bin/env python3
"""Writes docs/Pipeline.md from the test that proves it, test/Pipelines/ladder.mlir.

    pipeline_doc.py             writes the page
    pipeline_doc.py --check     fails when the page is not what the test says

In the test, a comment that starts with `//!` is a line of the page. Three of
them stand for something else:

    //! @input NAME     the function NAME of the test
    //! @command PREFIX the RUN line that checks with PREFIX
    //! @checked PREFIX the IR that the PREFIX lines require
"""
import difflib
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TEST = ROOT / "test" / "Pipelines" / "ladder.mlir"
PAGE = ROOT / "docs" / "Pipeline.md"
HEADER = "<!-- Written by scripts/pipeline_doc.py from test/Pipelines/ladder.mlir; edit that. -->\n"


def fenced(language, lines):
    return ["", f"```{language}", *lines, "```", ""]


def input_function(lines, name):
    """The text of `func.func @name` up to its closing brace."""
    start = next(i for i, line in enumerate(lines) if line.startswith(f"func.func @{name}("))
    end = next(i for i in range(start, len(lines)) if lines[i] == "}")
    return fenced("mlir", lines[start : end + 1])


def command(lines, prefix):
    """The tool call whose output is checked with `prefix`."""
    joined = "\n".join(lines).replace(" \\\n// RUN:  ", "")
    for run in re.findall(r"^// RUN: (.*)$", joined, re.MULTILINE):
        if re.search(rf"--check-prefix={prefix}\b", run):
            return fenced("sh", [run.split(" | ")[0].replace("%s", "ladder.mlir")])
    raise SystemExit(f"{TEST}: no RUN line checks with {prefix}")


def as_ir(text):
    """A CHECK pattern as readable IR: %[[NAME:.*]] is %name, {{.*}} is `...`."""
    text = re.sub(r"\[\[([A-Za-z0-9_]+)(?::.*?)?\]\]", lambda m: m[1].lower(), text)
    return re.sub(r"\{\{[^}]*\}\}", "...", text)


def checked(lines, prefix):
    """What the lines of `prefix` require, without those that forbid."""
    shown = []
    for line in lines:
        match = re.match(rf"\s*// {prefix}(-[A-Z]+)?: ?(.*)$", line)
        if not match or match[1] == "-NOT":
            continue
        text = as_ir(match[2])
        if match[1] == "-SAME" and shown:
            shown[-1] += " " + text.strip()
        else:
            shown.append(text)
    if not shown:
        raise SystemExit(f"{TEST}: no line checks {prefix}")
    return fenced("mlir", shown)


def page():
    lines = TEST.read_text().splitlines()
    makers = {"input": input_function, "command": command, "checked": checked}
    out = [HEADER.rstrip("\n"), ""]
    for line in lines:
        if not line.startswith("//!"):
            continue
        text = line[3:].removeprefix(" ")
        match = re.match(r"@(\w+) (\w+)$", text)
        out.extend(makers[match[1]](lines, match[2]) if match else [text])
    return re.sub(r"\n{3,}", "\n\n", "\n".join(out)).rstrip() + "\n"


def main():
    wanted = page()
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(wanted)
        return 0
    found = PAGE.read_text() if PAGE.exists() else ""
    sys.stdout.writelines(
        difflib.unified_diff(
            found.splitlines(True), wanted.splitlines(True), "docs/Pipeline.md", "expected"
        )
    )
    if found != wanted:
        print("docs/Pipeline.md is out of date: run ./scripts/pipeline_doc.py")
    return int(found != wanted)


if __name__ == "__main__":
    sys.exit(main())
