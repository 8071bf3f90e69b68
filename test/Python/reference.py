"""Attention over pages in float64, from the definition in docs/Semantics.md.

Shares nothing with the package: pools are taken apart by moving their axes,
scores are made row by row, without tiles or an online softmax.
"""

import numpy as np

# Half a unit in the last place of 1.
ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}


def split_layout(text):
    dims, _, pack = text.partition(",")
    return dims, int(pack.split("=")[1]) if pack else 1


def read_pool(pool, layout, part=0, layer=None):
    """A pool in any layout as float64 [P, S, Hkv, D]."""
    dims, pack = split_layout(layout)
    values = np.asarray(pool, dtype=np.float64)
    if pack > 1:  # [..., D / pack, ..., pack]: the last axis continues d
        at = dims.index("d")
        values = np.moveaxis(values, -1, at + 1)
        values = values.reshape(*values.shape[:at], -1, *values.shape[at + 2 :])
    if "l" in dims:
        values = np.take(values, layer, axis=dims.index("l"))
        dims = dims.replace("l", "")
    if "c" in dims:
        values = np.take(values, part, axis=dims.index("c"))
        dims = dims.replace("c", "")
    return np.moveaxis(values, [dims.index(letter) for letter in "pshd"], range(4))


def write_pool(values, layout, other=None, layers=None):
    """[P, S, Hkv, D] as a pool in any layout; `other` is the other half of c."""
    dims, pack = split_layout(layout)
    letters = "pshd"
    if "c" in dims:
        values = np.stack([values, other])
        letters = "c" + letters
    if "l" in dims:
        values = np.stack([values] * layers)
        letters = "l" + letters
    values = np.moveaxis(values, [letters.index(letter) for letter in dims], range(len(dims)))
    if pack > 1:
        at = dims.index("d")
        size = values.shape[at]
        values = values.reshape(*values.shape[:at], size // pack, pack, *values.shape[at + 1 :])
        values = np.moveaxis(values, at + 1, -1)
    return np.ascontiguousarray(values)


def visible(position, length, causal=True, window=None, sink_tokens=None, chunk=None):
    """Which of the keys 0 .. length - 1 the row at `position` sees."""
    keys = np.arange(length)
    seen = keys <= position if causal else np.ones(length, bool)
    if window:
        seen &= (keys > position - window) | (keys < (sink_tokens or 0))
    if chunk:
        seen &= keys // chunk == position // chunk
    return seen


def attention(
    q, keys, values, tables, kv_lens, query_starts, *, scale=None, softcap=None,
    alibi_slopes=None, sinks=None, bias=None, offsets=None, **mask
):  # fmt: skip
    """Returns out [T, Hq, Dv] and lse [T, Hq], float64.

    keys and values are [P, S, Hkv, D], tables one sequence of pages per sequence.
    """
    q = np.asarray(q, np.float64)
    num_tokens, num_heads, dim = q.shape
    group = num_heads // keys.shape[2]
    scale = dim**-0.5 if scale is None else scale
    out = np.zeros((num_tokens, num_heads, values.shape[3]))
    lse = np.full((num_tokens, num_heads), -np.inf)
    for b, length in enumerate(kv_lens):
        begin, end = query_starts[b], query_starts[b + 1]
        for row in range(begin, end):
            first = length - (end - begin) if offsets is None else offsets[b]
            position = first + row - begin
            seen = np.flatnonzero(visible(position, length, **mask))
            pages = np.asarray(tables[b])[seen // keys.shape[1]]
            slots = seen % keys.shape[1]
            for head in range(num_heads):
                k = keys[pages, slots, head // group]
                v = values[pages, slots, head // group]
                s = scale * (k @ q[row, head])
                if softcap:
                    s = softcap * np.tanh(s / softcap)
                if alibi_slopes is not None:
                    s = s + float(alibi_slopes[head]) * (seen - position)
                if bias is not None:
                    s = s + np.float64(bias[row, head if bias.shape[1] > 1 else 0, seen])
                logits = s if sinks is None else np.append(s, float(sinks[head]))
                if len(logits) == 0 or logits.max() == -np.inf:
                    continue
                top = logits.max()
                total = np.exp(logits - top).sum()
                lse[row, head] = top + np.log(total)
                out[row, head] = np.exp(s - top) @ v / total
    return out, lse


def tolerance(expected, values, kv_lens, dtype):
    """Largest error per element: docs/Numerics.md, its bound for f32 and half a
    unit in the last place of the output's type."""
    largest = np.nanmax(np.abs(values), initial=1.0)
    length = max([1, *(int(n) for n in kv_lens)])
    f32 = 2e-5 * np.sqrt(length) * largest
    return f32 + (0 if dtype == "float32" else 1.01 * ROUNDING[dtype]) * np.abs(expected)
