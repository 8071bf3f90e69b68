"""The public functions: arguments to operands, checks, the choice of the platform.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax

from . import _native, _portable
from ._pools import Layout
from ._portable import Options

_native.register()

_use_native = True


def use_native(enabled: bool) -> None:
    """Whether programs that are traced from now on may use the native kernels.

    Off, every platform gets the plain JAX operations.
    """
    global _use_native
    _use_native = bool(enabled)


def _layouts(layout):
    """`layout` is one layout for both pools, or a pair."""
    key, value = layout if isinstance(layout, (tuple, list)) else (layout, layout)
    return Layout.parse(key), Layout.parse(value)


def _split_heads(pool, layout: Layout):
    """A pool whose h and c stand in one dimension, [..., 2 * Hkv, ...], gets them apart."""
    at = layout.dims.find("hc")
    if pool is None or at < 0 or pool.ndim + 1 != layout.rank or pool.shape[at] % 2:
        return pool
    return pool.reshape(*pool.shape[:at], pool.shape[at] // 2, 2, *pool.shape[at + 1 :])


def _place(page_table) -> dict:
    """A dense table [B, N], or the pair (page_indices [nnz], page_indptr [B + 1])."""
    if isinstance(page_table, (tuple, list)):
        indices, indptr = page_table
        return {"page_indices": indices, "page_indptr": indptr}
    return {"page_table": page_table}


#: Operands that are float32 whatever comes.
_FLOAT32 = ("alibi_slopes", "sinks", "key_scale", "value_scale")


def _present(operands: dict) -> dict:
    return {
        name: jnp.asarray(value, jnp.float32 if name in _FLOAT32 else None)
        for name, value in operands.items()
        if value is not None
    }


def _expect(good: bool, expected: str, got) -> None:
    if not good:
        raise ValueError(f"expected {expected}, got {got}")


def _check_pools(x: dict, options: Options) -> None:
    key_layout, value_layout = options.key_layout, options.value_layout
    key_layout.check(x["keys"], "k_pages")
    _expect(
        not ("c" in key_layout.dims and "values" in x), "no v_pages for a layout with c", "v_pages"
    )
    if "values" in x:
        value_layout.check(x["values"], "v_pages")
        for letter in "psh":
            want, got = (
                key_layout.extent(x["keys"], letter),
                value_layout.extent(x["values"], letter),
            )
            _expect(want == got, f"v_pages to have {want} entries of {letter} like k_pages", got)
    for layout in (key_layout, value_layout) if "values" in x else (key_layout,):
        _expect(
            ("l" in layout.dims) == ("layer" in x),
            "layer exactly when the layout has l",
            layout.dims,
        )


def _check_integers(x: dict, names) -> None:
    for name in names:
        if name in x:
            _expect(
                x[name].dtype in (jnp.int32, jnp.int64), f"{name} of int32 or int64", x[name].dtype
            )


_INTEGERS = (
    "page_table",
    "page_indices",
    "page_indptr",
    "kv_lens",
    "query_starts",
    "query_offsets",
    "slots",
)


def _check_lengths(x: dict) -> None:
    batch = x["kv_lens"].shape[0]
    sizes = {"page_table": (batch, None), "page_indptr": (batch + 1,), "query_starts": (batch + 1,)}
    for name, size in {
        **sizes,
        "query_offsets": (batch,),
        "page_indices": (None,),
        "kv_lens": (batch,),
    }.items():
        if name in x:
            got = x[name].shape
            good = len(got) == len(size) and all(s is None or s == g for s, g in zip(size, got))
            _expect(
                good, f"{name} of shape {list('N' if s is None else s for s in size)}", list(got)
            )


def _check_attention(x: dict, options: Options) -> None:
    query = x["query"]
    floats = (jnp.float32, jnp.float16, jnp.bfloat16)
    _expect(query.dtype in floats, "q of float32, float16 or bfloat16", query.dtype)
    _expect(query.ndim == 3, "q of shape [T, Hq, Dk]", list(query.shape))
    num_tokens, num_heads, key_dim = query.shape
    depth = options.key_layout.extent(x["keys"], "d")
    _expect(depth == key_dim, f"a head dim of {depth} in q like k_pages", key_dim)
    kv_heads = options.key_layout.extent(x["keys"], "h")
    _expect(num_heads % kv_heads == 0, f"a number of heads in q that {kv_heads} divides", num_heads)
    _expect(x["kv_lens"].ndim == 1, "kv_lens of shape [B]", list(x["kv_lens"].shape))
    _check_integers(x, _INTEGERS)
    _check_lengths(x)
    batch = x["kv_lens"].shape[0]
    if "query_starts" not in x:
        _expect(
            num_tokens % max(batch, 1) == 0,
            f"a multiple of {batch} rows in q without query_starts",
            num_tokens,
        )
    for name in ("alibi_slopes", "sinks"):
        if name in x:
            _expect(
                x[name].shape == (num_heads,), f"{name} of shape [{num_heads}]", list(x[name].shape)
            )


def _is_float(array) -> bool:
    return jnp.issubdtype(array.dtype, jnp.floating)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _attention(floats: dict, others: dict, options: Options, call):
    x = {**floats, **others}
    portable = functools.partial(_portable.attention, options=options)
    if call is None:
        return portable(x)
    native = functools.partial(_native.attention, options=options, call=call)
    return lax.platform_dependent(x, cpu=native, default=portable)


def _attention_forward(floats, others, options, call):
    return _attention(floats, others, options, call), (floats, others)


def _attention_backward(options, call, saved, cotangents):
    """Recomputes by the plain JAX operations and takes their gradient."""
    floats, others = saved
    _, pull_back = jax.vjp(
        lambda floats: _portable.attention({**floats, **others}, options), floats
    )
    return pull_back(cotangents)[0], None


_attention.defvjp(_attention_forward, _attention_backward)


def attention(
    q,
    k_pages,
    v_pages,
    page_table,
    kv_lens,
    query_starts=None,
    *,
    scale=None,
    causal=True,
    window=0,
    sink_tokens=0,
    chunk=0,
    softcap=0.0,
    alibi_slopes=None,
    sinks=None,
    bias=None,
    k_scale=None,
    v_scale=None,
    query_offsets=None,
    layer=None,
    layout="pshd",
    value_dim=None,
    mode="auto",
    return_lse=False,
):
    """Attention of new tokens over the pages of their sequences.

    Parameters
    ----------
    q : [T, Hq, Dk]
        Query rows of all sequences, packed.
    k_pages, v_pages :
        Pools in the order that `layout` names. v_pages is None where one pool holds both:
        a layout with c, or latent attention (the first `value_dim` entries of a key).
    page_table : [B, N], or (page_indices [nnz], page_indptr [B + 1])
    kv_lens : [B]
        Tokens of each sequence in the cache, the new ones included.
    query_starts : [B + 1], optional
        First row of each sequence; without it each sequence has T / B rows.
    scale, causal, window, sink_tokens, chunk, softcap, mode, layout, value_dim :
        Static. `layout` is a string such as "pshd" or "phds, pack = 2", or a pair of
        them for keys and values.
    alibi_slopes, sinks : [Hq], optional
    bias : [T, 1 or Hq, at least max kv_len], optional
    k_scale, v_scale : [], [Hkv] or [P, S, Hkv], optional
    query_offsets : [B], optional
        Position of the first row of each sequence, where it is not kv_len - q_len.
    layer : scalar, optional
        For layouts with l; may be traced.

    Returns
    -------
    out : [T, Hq, Dv] of the type of q
    lse : [T, Hq] of float32, with `return_lse`

    Notes
    -----
    Lengths and page ids are values: native kernels check them and fail the program with
    one line; elsewhere ids outside the pool read some page of it.

    The gradient, with respect to every floating operand, recomputes the call by plain JAX
    operations.
    """
    key_layout, value_layout = _layouts(layout)
    x = _present(
        {
            "query": q,
            "keys": _split_heads(k_pages, key_layout),
            "values": v_pages,
            **_place(page_table),
            "kv_lens": kv_lens,
            "query_starts": query_starts,
            "query_offsets": query_offsets,
            "key_scale": k_scale,
            "value_scale": v_scale,
            "alibi_slopes": alibi_slopes,
            "sinks": sinks,
            "bias": bias,
            "layer": layer,
        }
    )
    _check_pools(x, Options(key_layout, value_layout))
    if value_dim is None:
        value_dim = (
            key_layout.extent(x["keys"], "d")
            if v_pages is None
            else value_layout.extent(x["values"], "d")
        )
    options = Options(
        key_layout,
        value_layout,
        int(value_dim),
        None if scale is None else float(scale),
        bool(causal),
        int(window or 0),
        int(sink_tokens),
        int(chunk or 0),
        float(softcap or 0.0),
    )
    _check_attention(x, options)
    floats = {name: value for name, value in x.items() if _is_float(value)}
    others = {name: value for name, value in x.items() if name not in floats}
    call = _native.Call(mode) if _use_native else None
    out, lse = _attention(floats, others, options, call)
    return (out, lse) if return_lse else out


def append(
    k,
    v,
    k_pages,
    v_pages,
    slots=None,
    *,
    page_table=None,
    kv_lens=None,
    query_starts=None,
    layer=None,
    layout="pshd",
):
    """Writes new keys and values into their slots: the new pools.

    Parameters
    ----------
    k, v : [T, Hkv, D]
        Converted to the type of the pools.
    k_pages, v_pages :
        As in `attention`. Donate them to jit (``donate_argnums``) and they are updated in
        place.
    slots : [T], optional
        page * S + slot of each token, -1 to skip it; else `page_table` and `kv_lens` (and
        `query_starts`) give the places of the last tokens of each sequence.

    Returns
    -------
    k_pages, v_pages : the pools with the tokens written; v_pages None when none was given
    """
    key_layout, value_layout = _layouts(layout)
    _expect(
        (slots is None) == (page_table is not None), "either slots or page_table", "both or none"
    )
    x = _present(
        {
            "key": k,
            "value": v,
            "keys": _split_heads(k_pages, key_layout),
            "values": v_pages,
            "slots": slots,
            **(_place(page_table) if page_table is not None else {}),
            "kv_lens": kv_lens,
            "query_starts": query_starts,
            "layer": layer,
        }
    )
    options = Options(key_layout, value_layout)
    _check_pools(x, options)
    _check_integers(x, _INTEGERS)
    for name, pool, pool_layout in (("key", "keys", key_layout), ("value", "values", value_layout)):
        if name in x and pool in x:
            row = [x["key"].shape[0]] + [pool_layout.extent(x[pool], letter) for letter in "hd"]
            _expect(list(x[name].shape) == row, f"{name[0]} of shape {row}", list(x[name].shape))
    portable = functools.partial(_portable.append, options=options)
    if _use_native:
        pools = lax.platform_dependent(
            x, cpu=functools.partial(_native.append, options=options), default=portable
        )
    else:
        pools = portable(x)
    return pools["keys"].reshape(k_pages.shape), pools.get("values")
