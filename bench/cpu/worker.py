# ===- worker.py - One peer in a process of its own ------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Peers need different versions of the same packages, and some crash: each lives
# in its own process, which does nothing until the driver says so. One JSON line
# in, one JSON line out.
#
#   {"do": "prepare", "folder": F}    F/problem.json and F/{query,keys,values}.npy
#   {"do": "run"}                     one timed call
#   {"do": "output", "path": P}       the result as a .npy
#   {"do": "release"}
#
# ===----------------------------------------------------------------------=== #
"""usage: worker.py PEER"""

import gc
import json
import os
import pathlib
import sys
import time

# The driver's line; what libraries print goes to stderr.
replies = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import numpy as np  # noqa: E402

import peers  # noqa: E402
from peers.common import Problem, Skip  # noqa: E402


def read_problem(folder):
    folder = pathlib.Path(folder)
    entry = json.loads((folder / "problem.json").read_text())
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r")
              for name in ("query", "keys", "values")}
    return Problem(**entry, **arrays)


def timed(call):
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    wall = time.perf_counter() - wall
    return {"seconds": wall, "cpu_seconds": time.process_time() - cpu}


def one_line(error):
    return " ".join(str(error).split())[:200] or type(error).__name__


def answer(request, name, state):
    action = request["do"]
    if action == "prepare":
        state["peer"] = None
        gc.collect()
        state["peer"] = peers.load_peer(name)
        state["peer"].prepare(read_problem(request["folder"]))
        return {"versions": state["peer"].versions()}
    if action == "run":
        return timed(state["peer"].run)
    if action == "output":
        np.save(request["path"], state["peer"].output())
        return {}
    state["peer"] = None
    gc.collect()
    return {}


def main():
    name, state = sys.argv[1], {}
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), name, state)
        except Skip as why:
            reply = {"skip": str(why)}
        except ImportError as why:
            reply = {"skip": "absent", "why": one_line(why)}
        except Exception as why:  # a peer may raise anything: it is skipped by name
            reply = {"skip": "failed", "why": one_line(why)}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


if __name__ == "__main__":
    main()
