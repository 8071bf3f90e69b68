"""Paged attention in plain JAX operations, for every platform that has no kernel of ours.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

Follows docs/Semantics.md rule by rule and is differentiable. The work is cut as on the
other targets: tiles of query rows of one sequence, each with a loop over some pages that
carries the running (acc, m, total). Shapes are static, so it lowers to StableHLO for any device.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Optional

import jax
import jax.numpy as jnp
from jax import lax

from ._pools import Layout, put_rows, take_pages
from ._varying import axes_of, vary, vary_all

#: Keys of one step of the loop over pages: a lane tile of a TPU.
KEYS_PER_STEP = 128
#: Most query rows of one tile.
MAX_TILE_ROWS = 64
#: Rows that are computed side by side when tiles are small.
ROWS_SIDE_BY_SIDE = 16


@dataclasses.dataclass(frozen=True)
class Options:
    """What is static in a call; the names are those of `attention`."""

    key_layout: Layout = Layout()
    value_layout: Layout = Layout()
    value_dim: int = 0  #: Dv
    scale: Optional[float] = None
    causal: bool = True
    window: int = 0
    sink_tokens: int = 0
    chunk: int = 0
    softcap: float = 0.0


@dataclasses.dataclass(frozen=True)
class _Tiles:
    """Static cut of T rows of B ragged sequences into tiles of `rows` rows."""

    rows: int
    count: int

    @staticmethod
    def of(num_tokens: int, batch: int) -> "_Tiles":
        mean = max(1, num_tokens // batch)
        rows = min(MAX_TILE_ROWS, 1 << (mean - 1).bit_length())
        return _Tiles(rows, (num_tokens + batch * (rows - 1)) // rows)


def _visible(options: Options, p, j):
    """S12 for rows at positions `p` [R] and keys at positions `j` [J]: [R, J]."""
    p, j = p[:, None], j[None, :]
    seen = j >= 0
    if options.causal:
        seen &= j <= p
    if options.window:
        seen &= (j > p - options.window) | (j < options.sink_tokens)
    if options.chunk:
        seen &= j // options.chunk == p // options.chunk
    return seen


def _dequantise(rows, scale, pages):
    """`rows` [C, S, Hkv, D] times a scale [], [Hkv] or [P, S, Hkv]."""
    if scale is None:
        return rows
    if scale.ndim == 3:
        scale = scale[jnp.clip(pages, 0, scale.shape[0] - 1)]
    return rows.astype(jnp.float32) * scale[..., None]


def _keys_and_values(x, options: Options, pages):
    """Keys [J, Hkv, Dk] and values [J, Hkv, Dv] of some pages."""
    keys = take_pages(x["keys"], options.key_layout, pages, x.get("layer"))
    if "c" in options.key_layout.dims:
        keys, values = keys[0], keys[1]
    elif "values" in x:
        values = take_pages(x["values"], options.value_layout, pages, x.get("layer"))
    else:
        values = None
    keys = _dequantise(keys, x.get("key_scale"), pages)
    if values is None:
        values = keys[..., : options.value_dim]
    else:
        values = _dequantise(values, x.get("value_scale"), pages)
    return (rows.reshape(-1, *rows.shape[2:]) for rows in (keys, values))


def _page_finder(x):
    """The most pages of a sequence, and page(b, columns) -> physical pages."""
    if "page_table" in x:
        table = x["page_table"]
        columns = table.shape[1]
        return columns, lambda b, column: table[b, jnp.clip(column, 0, columns - 1)]
    indices, indptr = x["page_indices"], x["page_indptr"]
    nnz = indices.shape[0]
    return nnz, lambda b, column: indices[jnp.clip(indptr[b] + column, 0, nnz - 1)]


def starts_of(x, num_tokens: int):
    """query_starts [B + 1], the default written out."""
    if "query_starts" in x:
        return x["query_starts"].astype(jnp.int32)
    batch = x["kv_lens"].shape[0]
    return jnp.arange(batch + 1, dtype=jnp.int32) * (num_tokens // max(batch, 1))


def _scores(query, keys, options: Options, slopes, bias, p, j):
    """S7 to S10: [R, Hkv, G, J] of float32. query [R, Hkv, G, Dk]."""
    kind = jnp.promote_types(query.dtype, keys.dtype)
    s = jnp.einsum(
        "rhgd,jhd->rhgj",
        query.astype(kind),
        keys.astype(kind),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    scale = options.scale if options.scale is not None else 1 / math.sqrt(query.shape[-1])
    s = s * jnp.float32(scale)
    if options.softcap:
        s = options.softcap * jnp.tanh(s / options.softcap)
    if slopes is not None:
        s = s + slopes[..., None] * (j[None, :] - p[:, None]).astype(jnp.float32)[:, None, None, :]
    return s if bias is None else s + bias


def _bias_of(bias, row, j, heads):
    """The bias of some rows and keys: [R, Hkv or 1, G or 1, J], or None."""
    if bias is None:
        return None
    rows = bias[jnp.clip(row, 0, bias.shape[0] - 1)][:, :, jnp.clip(j, 0, bias.shape[2] - 1)]
    heads = heads if bias.shape[1] > 1 else (1, 1)
    return rows.astype(jnp.float32).reshape(row.shape[0], *heads, j.shape[0])


def _finite(m):
    """A maximum that can be subtracted: 0 where nothing was seen."""
    return lax.stop_gradient(jnp.where(jnp.isneginf(m), 0.0, m))


def _online_update(state, s, seen, values):
    """One step of the running (acc [R, Hkv, G, Dv], m, total [R, Hkv, G])."""
    acc, m, total = state
    s = jnp.where(seen, s, -jnp.inf)
    grown = lax.stop_gradient(jnp.maximum(m, s.max(-1)))
    shift = _finite(grown)
    weights = jnp.where(seen, jnp.exp(s - shift[..., None]), 0.0)
    rescale = jnp.exp(m - shift)
    added = jnp.einsum(
        "rhgj,jhd->rhgd",
        weights,
        values.astype(jnp.float32),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )
    return acc * rescale[..., None] + added, grown, total * rescale + weights.sum(-1)


def _finish(state, sinks):
    """S14 to S16: (out, lse) of a tile."""
    acc, m, total = state
    if sinks is not None:
        grown = lax.stop_gradient(jnp.maximum(m, sinks))
        shift = _finite(grown)
        rescale = jnp.exp(m - shift)
        acc, m = acc * rescale[..., None], grown
        total = total * rescale + jnp.exp(sinks - shift)
    empty = total == 0
    divisor = jnp.where(empty, 1.0, total)
    out = jnp.where(empty[..., None], 0.0, acc / divisor[..., None])
    return out, jnp.where(empty, -jnp.inf, _finite(m) + jnp.log(divisor))


def attention(x: dict, options: Options):
    """Paged attention.

    Parameters
    ----------
    x : operands by name, those that the call has:
        query [T, Hq, Dk]; keys, values (pools as `options` lays them); page_table [B, N]
        or page_indices [nnz] and page_indptr [B + 1]; kv_lens [B]; query_starts [B + 1];
        query_offsets [B]; key_scale, value_scale ([], [Hkv] or [P, S, Hkv]);
        alibi_slopes, sinks [Hq]; bias [T, 1 or Hq, at least max kv_len]; layer [].

    Returns
    -------
    out : [T, Hq, Dv] of the type of query
    lse : [T, Hq] of float32
    """
    axes = axes_of(x)
    x = vary_all(x, axes)
    query, kv_lens = x["query"], x["kv_lens"].astype(jnp.int32)
    num_tokens, num_heads, key_dim = query.shape
    batch, value_dim = kv_lens.shape[0], options.value_dim
    num_kv_heads = options.key_layout.extent(x["keys"], "h")
    page_size = options.key_layout.extent(x["keys"], "s")
    columns, find_pages = _page_finder(x)
    heads = (num_kv_heads, num_heads // num_kv_heads)
    if not num_tokens or not batch:
        out = jnp.zeros((num_tokens, num_heads, value_dim), query.dtype)
        return vary(out, axes), vary(jnp.full(out.shape[:2], -jnp.inf, jnp.float32), axes)

    starts = starts_of(x, num_tokens)
    q_lens = starts[1:] - starts[:-1]
    first_position = x.get("query_offsets", kv_lens - q_lens).astype(jnp.int32)
    tiles = _Tiles.of(num_tokens, batch)
    tiles_of = -(-q_lens // tiles.rows)
    last_tile = jnp.cumsum(tiles_of)
    first_tile = last_tile - tiles_of
    per_step = max(1, KEYS_PER_STEP // page_size)
    num_pages = options.key_layout.extent(x["keys"], "p")
    steps = -(-columns // per_step) if num_pages else 0
    side_by_side = max(1, ROWS_SIDE_BY_SIDE // tiles.rows)
    slopes, sinks = (
        x[name].astype(jnp.float32).reshape(heads) if name in x else None
        for name in ("alibi_slopes", "sinks")
    )

    def one_tile(tile):
        b = jnp.minimum(jnp.searchsorted(last_tile, tile, side="right"), batch - 1)
        i = (tile - first_tile[b]) * tiles.rows + jnp.arange(tiles.rows)
        is_row = (tile < last_tile[-1]) & (i < q_lens[b])
        row = starts[b] + i
        rows = query[jnp.clip(row, 0, num_tokens - 1)].reshape(tiles.rows, *heads, key_dim)
        rows = jnp.where(is_row[:, None, None, None], rows, 0)
        p = first_position[b] + i

        def one_step(state, step):
            j = step * per_step * page_size + jnp.arange(per_step * page_size)
            seen = _visible(options, p, j) & (j < kv_lens[b])[None, :] & is_row[:, None]

            def update(state):
                pages = find_pages(b, step * per_step + jnp.arange(per_step))
                keys, values = _keys_and_values(x, options, pages)
                used = seen.any(0)[:, None, None]
                keys, values = jnp.where(used, keys, 0), jnp.where(used, values, 0)
                bias = _bias_of(x.get("bias"), row, j, heads)
                s = _scores(rows, keys, options, slopes, bias, p, j)
                return _online_update(state, s, seen[:, None, None, :], values)

            if side_by_side > 1:
                return update(state), None  # of tiles side by side, some tile needs the step
            return lax.cond(seen.any(), update, lambda state: state, state), None

        start = (
            jnp.zeros((tiles.rows, *heads, value_dim), jnp.float32),
            jnp.full((tiles.rows, *heads), -jnp.inf, jnp.float32),
            jnp.zeros((tiles.rows, *heads), jnp.float32),
        )
        start = tuple(vary(part, axes) for part in start)
        state = lax.scan(one_step, start, jnp.arange(steps))[0] if steps else start
        return _finish(state, sinks)

    out, lse = lax.map(one_tile, jnp.arange(tiles.count), batch_size=side_by_side)

    # Rows find their tile again; padding rows are 0 and -inf (S21).
    row = jnp.arange(num_tokens)
    b = jnp.clip(jnp.searchsorted(starts, row, side="right") - 1, 0, batch - 1)
    i = row - starts[b]
    place = (first_tile[b] + i // tiles.rows) * tiles.rows + i % tiles.rows
    is_row = (row >= starts[0]) & (row < starts[-1])
    place = jnp.where(is_row, place, 0)
    out = out.reshape(-1, num_heads, value_dim)[place]
    lse = lse.reshape(-1, num_heads)[place]
    out = jnp.where(is_row[:, None, None], out, 0).astype(query.dtype)
    return out, jnp.where(is_row[:, None], lse, -jnp.inf)


def slots_of(x: dict, num_tokens: int, page_size: int):
    """Pages and slots of the new tokens: [T] each; page -1 for padding (S24)."""
    starts, kv_lens = starts_of(x, num_tokens), x["kv_lens"].astype(jnp.int32)
    batch = kv_lens.shape[0]
    columns, find_pages = _page_finder(x)
    row = jnp.arange(num_tokens)
    b = jnp.clip(jnp.searchsorted(starts, row, side="right") - 1, 0, batch - 1)
    position = kv_lens[b] - (starts[b + 1] - row)
    good = (
        (row >= starts[0]) & (row < starts[-1]) & (position >= 0) & (position < columns * page_size)
    )
    pages = jax.vmap(find_pages)(b, position // page_size)
    return jnp.where(good, pages, -1), position % page_size


def append(x: dict, options: Options):
    """Writes new tokens: the new pools, as a dict with the names of the old ones.

    x : key, value [T, Hkv, D]; keys, values (pools); slots [T], or what `slots_of` reads;
        layer [].
    """
    x = vary_all(x, axes_of(x))
    page_size = options.key_layout.extent(x["keys"], "s")
    if "slots" in x:
        slots = x["slots"]
        pages, places = (
            jnp.where(slots < 0, -1, slots // page_size),
            jnp.where(slots < 0, 0, slots % page_size),
        )
    else:
        pages, places = slots_of(x, x["key"].shape[0], page_size)
    layer = x.get("layer")
    pools = {"keys": put_rows(x["keys"], options.key_layout, x["key"], pages, places, 0, layer)}
    if "c" in options.key_layout.dims:
        pools["keys"] = put_rows(
            pools["keys"], options.key_layout, x["value"], pages, places, 1, layer
        )
    elif "values" in x:
        pools["values"] = put_rows(
            x["values"], options.value_layout, x["value"], pages, places, 0, layer
        )
    return pools
