"""EasyDeL 0.3: the operators "ragged_page_attention_v2" and "ragged_page_attention_v3".

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

One call holds the new tokens of all sequences. Pools have keys at even and values at odd
combined heads: [P, S, 2 * Hkv, D] in v2; v3 packs heads, [P, S, groups, pack, D'], with D'
and the number of heads padded. v2 finds the tokens in the cache; v3 writes them first.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from easydel.caching import RaggedPagesCacheView
from easydel.operations import OperationRegistry
from easydel.operations._attention_outputs import AttentionOutput
from easydel.operations.kernels import RaggedPageAttnV2, RaggedPageAttnV3

from .. import jax as paged

LAYOUT = "pshcd"


def _is_ours(view) -> bool:
    """Plain pools only: compressed views keep EasyDeL's kernels."""
    return type(view) is RaggedPagesCacheView and isinstance(view.kv_pages, jax.Array)


def _combined_heads(pool, num_kv_heads: int):
    """A pool of v2 or v3 as [P, S, 2 * Hkv, D']."""
    pool = pool.reshape(*pool.shape[:2], -1, pool.shape[-1])
    return pool[:, :, : 2 * num_kv_heads]


def _pad_depth(rows, depth: int):
    """Rows [T, H, D] with zeros up to D' entries."""
    return jnp.pad(rows, ((0, 0), (0, 0), (0, depth - rows.shape[-1])))


def _lengths(metadata) -> dict:
    """The table, lengths and starts, with the sequences past num_seqs emptied."""
    lens, starts = metadata.context_lens, metadata.query_start_loc
    count = metadata.num_seqs.reshape(-1)[0]
    b = jnp.arange(lens.shape[0])
    starts = starts[jnp.minimum(jnp.arange(starts.shape[0]), count)]
    return {
        "page_table": metadata.pages_tables,
        "kv_lens": jnp.where(b < count, lens, 0),
        "query_starts": starts,
    }


def _sinks(softmax_aux, num_heads: int):
    """One sink logit per query head, from [Hq], one for all, or none."""
    if softmax_aux is None:
        return None
    sinks = jnp.ravel(softmax_aux).astype(jnp.float32)
    if sinks.shape[0] not in (1, num_heads):
        raise ValueError(
            f"expected softmax_aux to have 1 or {num_heads} entries, got {sinks.shape[0]}"
        )
    return jnp.broadcast_to(sinks, (num_heads,))


class _Ragged:
    """What both versions share."""

    def _attend(self, query, pool, lengths, options):
        depth = query.shape[-1]
        scale = options.get("softmax_scale")
        out = paged.attention(
            _pad_depth(query, pool.shape[-1]),
            pool,
            None,
            scale=depth**-0.5 if scale is None else scale,
            window=options.get("sliding_window") or 0,
            softcap=options.get("logits_soft_cap") or 0.0,
            sinks=_sinks(options.get("softmax_aux"), query.shape[1]),
            layout=LAYOUT,
            **lengths,
        )
        return out[..., :depth]

    def forward_tpu(self, *args, **kwargs):
        """EasyDeL's own kernel."""
        return super().forward_native(*args, **kwargs)


class RaggedPageAttentionV2(_Ragged, RaggedPageAttnV2):
    """EasyDeL's RaggedPageAttnV2 with kernels of ours on CPUs."""

    def forward_native(
        self, query, key, value, cache_view, cache_metadata, softmax_scale=None, **options
    ):
        """Attention over the cache. query : [T, Hq, D]; key, value : [T, Hkv, D], unused."""
        options["softmax_scale"] = softmax_scale
        if not _is_ours(cache_view):
            return super().forward_native(query, key, value, cache_view, cache_metadata, **options)
        pool = _combined_heads(cache_view.kv_pages, key.shape[-2])
        out = self._attend(query, pool, _lengths(cache_metadata), options)
        return AttentionOutput(attention_weights=None, attention_outputs=out)


class RaggedPageAttentionV3(_Ragged, RaggedPageAttnV3):
    """EasyDeL's RaggedPageAttnV3 with kernels of ours on CPUs."""

    def forward_native(
        self, query, key, value, cache_view, cache_metadata, softmax_scale=None, **options
    ):
        """Writes the new tokens, then attends; returns the view with the new pool."""
        options["softmax_scale"] = softmax_scale
        if not _is_ours(cache_view):
            return super().forward_native(query, key, value, cache_view, cache_metadata, **options)
        stored, lengths = cache_view.kv_pages, _lengths(cache_metadata)
        pool = _combined_heads(stored, key.shape[-2])
        rows = (_pad_depth(x, pool.shape[-1]) for x in (key, value))
        pool, _ = paged.append(*rows, pool, None, layout=LAYOUT, **lengths)
        out = self._attend(query, pool, lengths, options)
        if pool.size != stored.size:
            whole = stored.reshape(*stored.shape[:2], -1, stored.shape[-1])
            pool = whole.at[:, :, : pool.shape[2]].set(pool)
        cache_view.kv_pages = pool.reshape(stored.shape)
        return AttentionOutput(attention_weights=None, attention_outputs=out, cache_view=cache_view)


def register() -> tuple:
    """See `paged_attn.easydel.register`."""
    classes = RaggedPageAttentionV2, RaggedPageAttentionV3
    for one in classes:
        OperationRegistry.register(one)
    return tuple(one.get_impl_name() for one in classes)
