"""The documents say what is so: their code runs, their lists are complete."""

import inspect
import pathlib
import re
import subprocess
import sys

import pytest

import paged_attn

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


def python_blocks(document):
    return re.findall(r"^```python\n(.*?)^```$", (DOCS / document).read_text(), re.M | re.S)


def run(document):
    namespace = {}
    for number, block in enumerate(python_blocks(document)):
        exec(compile(block, f"{document}, block {number}", "exec"), namespace)  # noqa: S102
    return number + 1


def test_quickstart_runs(capsys):
    assert run("Quickstart.md") >= 7
    assert "shared" in capsys.readouterr().out


def test_the_reference_names_everything():
    text = (DOCS / "Python.md").read_text()
    for name in paged_attn.__all__:
        assert f"`{name}" in text, name
    for function in (paged_attn.attention, paged_attn.append, paged_attn.merge_states):
        for parameter in inspect.signature(function).parameters:
            assert f"`{parameter}" in text, f"{function.__name__}: {parameter}"
    for name, member in vars(paged_attn.KVCacheManager).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            assert f"`{name}(" in text, name


def test_reference_code_runs():
    run("Python.md")


def test_tour_runs(capsys):
    assert run("tour/README.md") == 2


def test_tour_draws_its_pictures(tmp_path):
    pytest.importorskip("matplotlib")
    subprocess.run(
        [sys.executable, DOCS / "tour" / "make.py", "--out", tmp_path], check=True, timeout=300
    )
    drawn = {path.name for path in tmp_path.iterdir() if path.stat().st_size > 5000}
    shown = set(re.findall(r"!\[.*?\]\((.*?)\)", (DOCS / "tour" / "README.md").read_text()))
    assert drawn == shown
    assert all((DOCS / "tour" / name).exists() for name in shown)
