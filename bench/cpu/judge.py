# ===- judge.py - Right before fast ----------------------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Attention in float64 for rows spread over the problem, straight from the
# definition, and how far a system's output is from it and from ours.
#
# ===----------------------------------------------------------------------=== #
"""Reference rows and errors of outputs."""

import math

import numpy as np

ROWS = 24      # reference rows of a problem
SEQUENCES = 8  # they come from at most so many sequences
# Largest error allowed, relative to the largest |out|. 16-bit peers round
# scores or weights to their type; quantised peers quantise anew by their own
# rule. Our own kernel is held to the first, peers to the second.
OUR_BOUND = {"f32": 2e-4, "bf16": 1e-2, "f16": 5e-3, "i8": 2e-3, "f8E4M3FN": 2e-3}
PEER_BOUND = {"f32": 2e-4, "bf16": 3e-2, "f16": 3e-2, "i8": 5e-2, "f8E4M3FN": 1e-1}


def spread(count, wanted):
    """At most `wanted` of range(count), first and last among them."""
    return sorted({round(i * (count - 1) / max(1, wanted - 1)) for i in range(wanted)})


class Reference:
    """Some rows of a problem's answer: `rows` [R] of T and `out` [R, Hq, D]."""

    def __init__(self, case, lengths, query, keys, values):
        self.rows, out = [], []
        starts = np.concatenate([[0], np.cumsum(lengths.q_lens)])
        kv_starts = np.concatenate([[0], np.cumsum(lengths.kv_lens)])
        chosen = [b for b in spread(len(lengths.q_lens), SEQUENCES) if lengths.q_lens[b]]
        for b in chosen:
            rows = spread(lengths.q_lens[b], max(1, ROWS // len(chosen)))
            q = query[starts[b]:starts[b + 1]][rows].astype(np.float64)
            k, v = (x[kv_starts[b]:kv_starts[b + 1]] for x in (keys, values))
            seen = lengths.kv_lens[b] - lengths.q_lens[b] + np.array(rows) + 1
            self.rows += [starts[b] + i for i in rows]
            out.append(attend(case, q, k, v, seen))
        self.out = np.concatenate(out)
        self.largest = np.abs(self.out).max()

    def error(self, out):
        """Largest error of `out` [T, Hq, D], relative; inf with any NaN."""
        if out.shape[0] <= max(self.rows) or not np.isfinite(out).all():
            return math.inf
        return float(np.abs(out[self.rows] - self.out).max() / self.largest)


def attend(case, q, k, v, seen):
    """q [R, Hq, D]; row i sees the first seen[i] keys. Float64 [R, Hq, D]."""
    group = case.heads // case.kv_heads
    out = np.empty(q.shape, np.float64)
    hidden = np.arange(len(k))[None, None, :] >= seen[:, None, None]
    for head in range(case.kv_heads):
        own = slice(head * group, (head + 1) * group)
        scores = q[:, own] @ k[:, head].astype(np.float64).T * case.head_dim ** -0.5
        scores = np.where(hidden, -np.inf, scores)
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, own] = weights @ v[:, head].astype(np.float64) / weights.sum(-1, keepdims=True)
    return out


def difference(out, ours):
    """Largest difference of two whole outputs, relative; inf with any NaN."""
    if out.shape != ours.shape or not np.isfinite(out).all():
        return math.inf
    return float(np.abs(out - ours).max() / max(np.abs(ours).max(), 1e-30))
