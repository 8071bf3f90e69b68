"""EasyDeL 0.1: the operator "paged_attention" and the writers of its cache view.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

A step holds at most one chunk of one prompt and one row per decoding slot, position -1 for
slots that are idle. Pools are [Hkv, P, S, D], the layout hpsd; page 0 is never allocated.
Tokens are placed by their position alone, whatever chunk brings them.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from easydel.layers.attention_operator._attention_impl import AttentionOutput, AttentionRegistry
from easydel.layers.attention_operator.modules.paged_attn import PagedAttn
from easydel.layers.caching.paged_attention.paged_attention_cache import PagedAttentionCacheView
from eformer import common_types, escale
from jax.experimental.shard_map import shard_map
from jax.sharding import PartitionSpec

from .. import jax as paged
from ..jax import _portable
from ..jax._pools import Layout

LAYOUT = "hpsd"


def _check_view(view) -> None:
    for name in ("key_pages", "value_pages"):
        pool = getattr(view, name)
        if not isinstance(pool, jax.Array):
            raise TypeError(
                f"expected {name} to be an array, got {type(pool).__name__}: "
                "quantised views have no kernel"
            )


def _shards(mesh, axis) -> int:
    """Over how many devices a mesh axis, or a tuple of them, spreads."""
    names = axis if isinstance(axis, tuple) else (axis,)
    return math.prod(mesh.shape[name] for name in names if name is not None)


def _placement(pool):
    """The mesh of an array and the axis of its first dimension; (None, None) while traced."""
    sharding = getattr(pool, "sharding", None)
    spec = getattr(sharding, "spec", None)
    return (sharding.mesh, spec[0] if spec else None) if spec is not None else (None, None)


def _head_axis(view, metadata):
    """The mesh axis that KV heads are sharded over; None where they are not."""
    mesh, axis = _placement(view.key_pages)
    if mesh is None and metadata.partition_manager is not None:
        axes = [common_types.HEAD] + 3 * [common_types.EMPTY]
        spec = metadata.partition_manager.resolve(
            axes, mode=common_types.MODE_PREFILL, shape=view.key_pages.shape
        )
        axis = spec[0] if spec else None
    return axis if _shards(metadata.mesh, axis) > 1 else None


def _slots(view, positions, table, good):
    """page * S + slot of tokens at `positions` [T] by a table [N] or [T, N]; -1 for
    those that have no place: not `good`, past the table, or on the null page."""
    _, num_pages, page_size, _ = view.key_pages.shape
    columns = table.shape[-1]
    good &= (positions >= 0) & (positions < columns * page_size)
    column = jnp.where(good, positions // page_size, 0)
    page = (
        table[column] if table.ndim == 1 else jnp.take_along_axis(table, column[:, None], 1)[:, 0]
    )
    good &= (page > 0) & (page < num_pages)
    return jnp.where(good, page * page_size + positions % page_size, -1)


def _append(key, value, key_pages, value_pages, slots):
    return paged.append(key, value, key_pages, value_pages, slots, layout=LAYOUT)


def _append_plainly(key, value, key_pages, value_pages, slots):
    """By plain operations, which XLA spreads over devices by itself."""
    layout = Layout(LAYOUT)
    x = {"key": key, "value": value, "keys": key_pages, "values": value_pages, "slots": slots}
    pools = _portable.append(x, _portable.Options(layout, layout))
    return pools["keys"], pools["values"]


def _writer(view):
    """How to write into the pools of a view: each device its own KV heads."""
    mesh, axis = _placement(view.key_pages)
    if isinstance(view.key_pages, jax.core.Tracer) and mesh is None:
        mesh = escale.get_incontext_mesh(raise_error=False)
        return _append_plainly if mesh is not None and mesh.size > 1 else _append
    if mesh is None or _shards(mesh, axis) == 1:
        return _append
    rows, pool, all_of_it = PartitionSpec(None, axis), PartitionSpec(axis), PartitionSpec()
    specs = (rows, rows, pool, pool, all_of_it)
    return shard_map(_append, mesh=mesh, in_specs=specs, out_specs=(pool, pool), check_rep=False)


def _write(view, key, value, slots):
    key, value, slots = jnp.asarray(key), jnp.asarray(value), jnp.asarray(slots)
    write = _writer(view)
    view.key_pages, view.value_pages = write(key, value, view.key_pages, view.value_pages, slots)
    return view


def write_prefill_to_cache(self, key, value, metadata):
    """Writes the rows of a chunk [C, Hkv, D] that are not padding; returns the view."""
    positions = metadata.prefill_position
    good = positions < metadata.prefill_length
    return _write(self, key, value, _slots(self, positions, metadata.prefill_page_table, good))


def write_decodes_to_cache(self, key, value, metadata):
    """Writes one token [batch, Hkv, D] per slot that is not idle; returns the view."""
    positions = metadata.decodes_position
    return _write(
        self, key, value, _slots(self, positions, metadata.decodes_page_table, positions >= 0)
    )


def _prefill(q, key_pages, value_pages, positions, length, table, options):
    """The chunk's rows [C, Hq, D]; padding rows are 0."""
    rows = jnp.sum(positions < length, dtype=jnp.int32)
    starts = jnp.stack([jnp.int32(0), rows])
    lens = jnp.reshape(length, (1,)).astype(jnp.int32)
    return paged.attention(
        q,
        key_pages,
        value_pages,
        table[None],
        lens,
        starts,
        layout=LAYOUT,
        mode="prefill",
        **options,
    )


def _decode(q, key_pages, value_pages, positions, table, options):
    """One row per slot [batch, Hq, D]; rows of idle slots are 0. They attend to one key
    of the null page, which is thrown away."""
    busy = positions >= 0
    lens = jnp.where(busy, positions + 1, 1)
    table = jnp.where(busy[:, None], table, 0)
    out = paged.attention(
        q, key_pages, value_pages, table, lens, layout=LAYOUT, mode="decode", **options
    )
    return jnp.where(busy[:, None, None], out, 0)


class PagedAttention(PagedAttn):
    """EasyDeL's PagedAttn with kernels of ours on CPUs and plain JAX operations on GPUs."""

    window = 0
    softcap = 0.0

    def _options(self) -> dict:
        return {
            "scale": self.metadata.softmax_scale,
            "window": self.window,
            "softcap": self.softcap,
        }

    def _sharded(self, function, view, rows, *replicated):
        """`function` on each device's KV heads and their query heads."""
        call = functools.partial(function, options=self._options())
        axis = _head_axis(view, self.metadata)
        if axis is not None:
            heads, pool, all_of_it = PartitionSpec(None, axis), PartitionSpec(axis), PartitionSpec()
            call = shard_map(
                call,
                mesh=self.metadata.mesh,
                in_specs=(heads, pool, pool, *(all_of_it for _ in replicated)),
                out_specs=heads,
                check_rep=False,
            )
        return call(rows, view.key_pages, view.value_pages, *replicated)

    def _attend_prefill(self, q, view, metadata):
        length = jnp.asarray(metadata.prefill_length)
        return self._sharded(
            _prefill, view, q, metadata.prefill_position, length, metadata.prefill_page_table
        )

    def _attend_decode(self, q, view, metadata):
        return self._sharded(
            _decode, view, q, metadata.decodes_position, metadata.decodes_page_table
        )

    def forward_native(self, q, k, v, cache_view, cache_metadata, **ignored):
        """Attention of a step. In mixed steps the cache is written here, as nobody else
        does; in the others the caller has done so.

        q : [T, Hq, D]; k, v : [T, Hkv, D]; rows of the chunk first, then the slots'.
        """
        _check_view(cache_view)
        if cache_metadata.is_prefill_mode():
            out = self._attend_prefill(q, cache_view, cache_metadata)
        elif cache_metadata.is_decode_mode():
            out = self._attend_decode(q, cache_view, cache_metadata)
        else:
            chunk = cache_metadata.prefill_position.shape[0]
            cache_view.write_prefill_to_cache(k[:chunk], v[:chunk], cache_metadata)
            cache_view.write_decodes_to_cache(k[chunk:], v[chunk:], cache_metadata)
            first = self._attend_prefill(q[:chunk], cache_view, cache_metadata)
            rest = self._attend_decode(q[chunk:], cache_view, cache_metadata)
            out = jnp.concatenate([first, rest])
        return AttentionOutput(attention_weights=None, attention_outputs=out)

    def forward_cpu(self, *args, **kwargs):
        """See `forward_native`."""
        return self.forward_native(*args, **kwargs)

    def forward_gpu(self, *args, **kwargs):
        """See `forward_native`."""
        return self.forward_native(*args, **kwargs)

    def forward_cuda(self, *args, **kwargs):
        """See `forward_native`."""
        return self.forward_native(*args, **kwargs)

    def forward_rocm(self, *args, **kwargs):
        """See `forward_native`."""
        return self.forward_native(*args, **kwargs)


def register(fix_cache_writes: bool, window: int, softcap: float) -> tuple:
    """See `paged_attn.easydel.register`."""
    PagedAttention.window, PagedAttention.softcap = int(window), float(softcap)
    AttentionRegistry.register(PagedAttention)
    if fix_cache_writes:
        PagedAttentionCacheView.write_prefill_to_cache = write_prefill_to_cache
        PagedAttentionCacheView.write_decodes_to_cache = write_decodes_to_cache
    return (PagedAttention.get_impl_name(),)
