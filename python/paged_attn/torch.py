"""Paged attention for PyTorch: the operations as custom ops of torch.library.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

`attention` and `append` take the arguments of the functions of the same name in
`paged_attn`, on CPU tensors, and may be used under torch.compile with fullgraph=True. The
ops are paged_attn::attention and paged_attn::append (docs/PyTorch.md).
"""

from __future__ import annotations

from typing import Optional, Tuple

import torch
from torch import Tensor

from . import _ops

__all__ = ["append", "attention"]


def _table(page_table: Tensor, page_indptr: Optional[Tensor]):
    return page_table if page_indptr is None else (page_table, page_indptr)


def _detached(*tensors: Optional[Tensor]):
    """The same memory without a gradient, which the kernels refuse."""
    return tuple(None if tensor is None else tensor.detach() for tensor in tensors)


def _layouts(key_layout: str, value_layout: str):
    return key_layout if key_layout == value_layout else (key_layout, value_layout)


@torch.library.custom_op("paged_attn::attention", mutates_args=(), device_types="cpu")
def _attention(
    q: Tensor,
    k_pages: Tensor,
    v_pages: Optional[Tensor],
    page_table: Tensor,
    page_indptr: Optional[Tensor],
    kv_lens: Tensor,
    query_starts: Optional[Tensor],
    alibi_slopes: Optional[Tensor],
    sinks: Optional[Tensor],
    bias: Optional[Tensor],
    k_scale: Optional[Tensor],
    v_scale: Optional[Tensor],
    query_offsets: Optional[Tensor],
    scale: Optional[float],
    causal: bool,
    window: int,
    sink_tokens: int,
    chunk: int,
    softcap: float,
    value_dim: int,
    layer: Optional[int],
    mode: str,
    key_layout: str,
    value_layout: str,
) -> Tuple[Tensor, Tensor]:
    q, k_pages, v_pages, alibi_slopes, sinks, bias = _detached(
        q, k_pages, v_pages, alibi_slopes, sinks, bias
    )
    return _ops.attention(
        q,
        k_pages,
        v_pages,
        _table(page_table, page_indptr),
        kv_lens,
        query_starts,
        scale=scale,
        causal=causal,
        window=window or None,
        sink_tokens=sink_tokens or None,
        chunk=chunk or None,
        softcap=softcap or None,
        alibi_slopes=alibi_slopes,
        sinks=sinks,
        bias=bias,
        k_scale=k_scale,
        v_scale=v_scale,
        query_offsets=query_offsets,
        value_dim=value_dim if v_pages is None and "c" not in key_layout else None,
        layer=layer,
        mode=mode,
        layout=_layouts(key_layout, value_layout),
        return_lse=True,
    )


@_attention.register_fake
def _(q, *operands):
    value_dim = operands[18]
    heads = q.shape[:2]
    return q.new_empty((*heads, value_dim)), q.new_empty(heads, dtype=torch.float32)


def _refuse_gradient(context, *cotangents):
    raise NotImplementedError(
        "expected no gradient through paged_attn::attention, got a call of backward; "
        "train with dense attention, or with paged_attn.jax, which has one"
    )


_attention.register_autograd(_refuse_gradient, setup_context=lambda ctx, inputs, output: None)


@torch.library.custom_op(
    "paged_attn::append", mutates_args=("k_pages", "v_pages"), device_types="cpu"
)
def _append(
    k: Tensor,
    v: Optional[Tensor],
    k_pages: Tensor,
    v_pages: Optional[Tensor],
    slots: Optional[Tensor],
    page_table: Optional[Tensor],
    page_indptr: Optional[Tensor],
    kv_lens: Optional[Tensor],
    query_starts: Optional[Tensor],
    layer: Optional[int],
    key_layout: str,
    value_layout: str,
) -> None:
    k, v, k_pages, v_pages = _detached(k, v, k_pages, v_pages)
    _ops.append(
        k,
        v,
        k_pages,
        v_pages,
        slots,
        page_table=None if page_table is None else _table(page_table, page_indptr),
        kv_lens=kv_lens,
        query_starts=query_starts,
        layer=layer,
        layout=_layouts(key_layout, value_layout),
    )


@_append.register_fake
def _(*operands):
    return None


def _split_table(page_table):
    return page_table if isinstance(page_table, (tuple, list)) else (page_table, None)


def _split_layout(layout):
    return tuple(layout) if isinstance(layout, (tuple, list)) else (layout, layout)


def _head_dim(pool: Tensor, layout: str) -> int:
    """D of a pool, all packs."""
    dims, _, packing = layout.partition(",")
    dims = dims.strip()
    if "d" not in dims:
        raise ValueError(f"expected a layout with d, got '{layout}'")
    # Counted from the front or the back: h and c may share one dimension.
    at = dims.index("d") if "hc" not in dims else dims.index("d") - len(dims)
    return pool.shape[at] * (pool.shape[-1] if packing else 1)


def _as_float_tensor(scale, like: Tensor) -> Optional[Tensor]:
    if scale is None or isinstance(scale, Tensor):
        return scale
    return torch.tensor(float(scale), dtype=torch.float32, device=like.device)


def attention(
    q: Tensor,
    k_pages: Tensor,
    v_pages: Optional[Tensor],
    page_table,
    kv_lens: Tensor,
    query_starts: Optional[Tensor] = None,
    *,
    scale: Optional[float] = None,
    causal: bool = True,
    window: Optional[int] = None,
    sink_tokens: Optional[int] = None,
    chunk: Optional[int] = None,
    softcap: Optional[float] = None,
    alibi_slopes: Optional[Tensor] = None,
    sinks: Optional[Tensor] = None,
    bias: Optional[Tensor] = None,
    k_scale=None,
    v_scale=None,
    query_offsets: Optional[Tensor] = None,
    value_dim: Optional[int] = None,
    layer: Optional[int] = None,
    mode: str = "auto",
    layout="pshd",
    return_lse: bool = False,
):
    """Attention of packed queries over a paged KV cache; see `paged_attn.attention`.

    Parameters
    ----------
    q : [T, Hq, Dk]
    k_pages, v_pages : pools as `layout` says
    page_table : [B, N], or the pair (page_indices [nnz], page_indptr [B + 1])
    kv_lens : [B]
    query_starts : [B + 1], optional

    Returns
    -------
    out : [T, Hq, Dv]
    lse : [T, Hq] of float32, with `return_lse`

    Raises
    ------
    NotImplementedError
        When a gradient is asked for.
    """
    key_layout, value_layout = _split_layout(layout)
    table, indptr = _split_table(page_table)
    if value_dim is None:
        value_dim = (
            _head_dim(k_pages, key_layout) if v_pages is None else _head_dim(v_pages, value_layout)
        )
    out, lse = _attention(
        q,
        k_pages,
        v_pages,
        table,
        indptr,
        kv_lens,
        query_starts,
        alibi_slopes,
        sinks,
        bias,
        _as_float_tensor(k_scale, q),
        _as_float_tensor(v_scale, q),
        query_offsets,
        scale,
        causal,
        window or 0,
        sink_tokens or 0,
        chunk or 0,
        softcap or 0.0,
        value_dim,
        layer,
        mode,
        key_layout,
        value_layout,
    )
    return (out, lse) if return_lse else out


def append(
    k: Tensor,
    v: Optional[Tensor],
    k_pages: Tensor,
    v_pages: Optional[Tensor],
    slots: Optional[Tensor] = None,
    *,
    page_table=None,
    kv_lens: Optional[Tensor] = None,
    query_starts: Optional[Tensor] = None,
    layer: Optional[int] = None,
    layout="pshd",
) -> None:
    """Write new keys and values into their slots, in place; see `paged_attn.append`."""
    key_layout, value_layout = _split_layout(layout)
    table, indptr = _split_table(page_table)
    _append(
        k,
        v,
        k_pages,
        v_pages,
        slots,
        table,
        indptr,
        kv_lens,
        query_starts,
        layer,
        key_layout,
        value_layout,
    )
