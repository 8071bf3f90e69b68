"""examples/serve.py, run small: the engine gives the tokens of the plain loop.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""

import importlib.util
import json
import pathlib

import pytest

PATH = pathlib.Path(__file__).parents[2] / "examples" / "serve.py"
SPEC = importlib.util.spec_from_file_location("serve", PATH)
serve = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(serve)

SMALL = [
    "--check",
    "--json",
    "--requests=10",
    "--prompt=40",
    "--answer=16",
    "--chunk=16",
    "--budget=24",
]


def run(capsys, *flags):
    assert serve.main([*SMALL, *flags]) == 0
    return json.loads(capsys.readouterr().out)


def test_same_tokens_as_the_plain_loop(capsys):
    stats = run(capsys)
    assert stats["check"] == "pass" and stats["done"] == 10
    assert stats["pages live"] == 0 and stats["cached"] > 0
    assert stats["hit rate"] > 0, "prompts that begin alike share pages"
    assert int(stats["drafts taken"].split("/")[0]) > 0


def test_without_speculation_it_takes_more_steps(capsys):
    long = "--requests=3", "--answer=64"
    assert run(capsys, *long, "--drafts=0")["step"] > run(capsys, *long)["step"]


def test_requests_come_back_after_preemption(capsys):
    stats = run(capsys, "--pages=10", "--page-size=8", "--answer=24", "--batch=4")
    assert stats["check"] == "pass" and stats["preempted"] > 0


def test_a_wrong_token_is_found(capsys, monkeypatch):
    attention = serve.paged_attn.attention
    monkeypatch.setattr(
        serve.paged_attn, "attention", lambda *x, **options: 0.9 * attention(*x, **options)
    )
    assert serve.main(SMALL) == 1


def test_table_with_rich(capsys):
    pytest.importorskip("rich", reason="rich is not installed")
    assert serve.main(["--requests=2", "--prompt=10", "--answer=3"]) == 0
    out = capsys.readouterr().out
    assert "paged_attn serving" in out and "hit rate" in out
