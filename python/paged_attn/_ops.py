"""The operations on arrays: attention, append, merge_states."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Sequence, Tuple, Union

from . import _core

if TYPE_CHECKING:
    from typing_extensions import TypeAlias

Array: TypeAlias = Any
"""numpy.ndarray, torch.Tensor, jax.Array, or an object that speaks DLPack."""
PageTable: TypeAlias = Union[Array, Tuple[Array, Array]]
"""[B, N], or (page_indices [nnz], page_indptr [B + 1])."""
Layout: TypeAlias = Union[str, Tuple[str, str]]
"""A layout for both pools, or one each for keys and values."""


def attention(
    q: Array,
    k_pages: Array,
    v_pages: Optional[Array],
    page_table: PageTable,
    kv_lens: Array,
    query_starts: Optional[Array] = None,
    *,
    scale: Optional[float] = None,
    causal: bool = True,
    window: Optional[int] = None,
    sink_tokens: Optional[int] = None,
    chunk: Optional[int] = None,
    softcap: Optional[float] = None,
    alibi_slopes: Optional[Array] = None,
    sinks: Optional[Array] = None,
    k_scale: Union[float, Array, None] = None,
    v_scale: Union[float, Array, None] = None,
    bias: Optional[Array] = None,
    query_offsets: Optional[Array] = None,
    value_dim: Optional[int] = None,
    layer: Optional[int] = None,
    mode: str = "auto",
    layout: Layout = "pshd",
    out: Optional[Array] = None,
    lse: Optional[Array] = None,
    return_lse: bool = False,
    num_threads: int = 0,
    via: Optional[str] = None,
) -> Union[Array, Tuple[Array, Array]]:
    """Attention of packed queries over a paged KV cache.

    Arrays may be of numpy, PyTorch or JAX, on the CPU, and are not copied. They
    must be dense and row-major; index arrays may also be strided, or lists.

    Shapes: B sequences, T packed new tokens, Hq query heads, Hkv KV heads, head
    dims Dk and Dv, P pages of S slots, N entries in a row of the page table.
    With n new tokens and kv_len L, row i of a sequence stands at position
    L - n + i; its KV head is h // (Hq / Hkv).

    Parameters
    ----------
    q : [T, Hq, Dk] of float32, float16 or bfloat16
        New tokens of all sequences, one after the other.
    k_pages, v_pages : pools as `layout` says
        Of float32, float16, bfloat16, or int8 and float8_e4m3fn with scales.
        ``v_pages=None``: one pool holds both, either with ``c`` in its layout,
        or the values are the first `value_dim` entries of the keys (latent
        attention).
    page_table : [B, N] of int32 or int64, or (page_indices [nnz], page_indptr [B + 1])
        Physical page of each logical page. Entries past the pages that a row
        can see may hold anything.
    kv_lens : [B]
        Tokens of each sequence in the cache, the new ones included.
    query_starts : [B + 1], optional
        First row of each sequence in `q`; by default T / B rows each. Rows past
        the last are padding and become 0.
    scale : float, optional
        Factor of the scores; 1 / sqrt(Dk) by default.
    causal : bool
        Rows see the keys up to their own position.
    window : int, optional
        Rows see the last `window` keys, their own counted (tokens).
    sink_tokens : int, optional
        The first tokens stay visible beside the window.
    chunk : int, optional
        Rows see only the keys of their own chunk of so many tokens.
    softcap : float, optional
        Scores become ``softcap * tanh(score / softcap)``.
    alibi_slopes : [Hq] of float32, optional
        Adds ``slope * (key position - row position)``.
    sinks : [Hq] of float32, optional
        A logit per head that takes part in the sum but has no value.
    k_scale, v_scale : float, [Hkv] or [P, S, Hkv] of float32, optional
        Factors of quantised pools.
    bias : [T, 1 or Hq, K], optional
        Added to the scores; K is at least the largest kv_len.
    query_offsets : [B], optional
        Position of each sequence's first row, instead of L - n.
    value_dim : int, optional
        Dv of latent attention; Dk by default.
    layer : int, optional
        Index into the dimension ``l`` of the pools, when the layout has it.
    mode : {"auto", "prefill", "decode", "mixed"}
        Which kernel; ``auto`` chooses from the lengths.
    layout : str or pair of str
        The dimensions of a pool by a letter each: p page, s slot, h KV head, d
        head dim, c the pair of keys and values, l layer; ``"phds, pack=2"``
        splits d. A pair says it for keys and values apart.
    out : [T, Hq, Dv], optional
        Where the result goes; also says its type.
    lse : [T, Hq] of float32, optional
        Where the log of the denominators goes, with `return_lse`.
    return_lse : bool
        Also return lse: natural logarithm, -inf for rows that see no key.
    num_threads : int
        0: all of the machine.
    via : {"vector", "linalg", "reference"}, optional
        Forces a lowering; the compiler knows which is best.

    Returns
    -------
    out : [T, Hq, Dv], in the kind and type of `q`
        Rows that see no key are 0.
    lse : [T, Hq] of float32, with `return_lse`

    Raises
    ------
    TypeError
        An operand is no array, or of a type that it cannot have.
    ValueError
        Shapes, lengths, page ids or options do not fit; nothing was written.
    CompileError
        The compiler has no kernel for this combination.
    """
    return _core.attention(
        q,
        k_pages,
        v_pages,
        page_table,
        kv_lens,
        query_starts,
        scale=scale,
        causal=causal,
        window=window,
        sink_tokens=sink_tokens,
        chunk=chunk,
        softcap=softcap,
        alibi_slopes=alibi_slopes,
        sinks=sinks,
        k_scale=k_scale,
        v_scale=v_scale,
        bias=bias,
        query_offsets=query_offsets,
        value_dim=value_dim,
        layer=layer,
        mode=mode,
        layout=layout,
        out=out,
        lse=lse,
        return_lse=return_lse,
        num_threads=num_threads,
        via=via,
    )


def append(
    k: Array,
    v: Optional[Array],
    k_pages: Array,
    v_pages: Optional[Array],
    slots: Optional[Array] = None,
    *,
    page_table: Optional[PageTable] = None,
    kv_lens: Optional[Array] = None,
    query_starts: Optional[Array] = None,
    layer: Optional[int] = None,
    layout: Layout = "pshd",
) -> None:
    """Write new keys and values into their slots, in place.

    Parameters
    ----------
    k : [T, Hkv, Dk] of float32, float16 or bfloat16
    v : [T, Hkv, Dv], or None without values of their own
        Converted to the type of the pools.
    k_pages, v_pages : pools as `layout` says, written
        ``v_pages=None``: one pool holds both, see `attention`.
    slots : [T] of int64 or int32, optional
        ``page * S + slot`` of each token; -1 writes nothing.
    page_table, kv_lens, query_starts : optional
        Instead of `slots`: see `attention`; kv_lens count the new tokens.
    layer, layout
        See `attention`.

    Raises
    ------
    TypeError
        An operand is no array, or of a type that it cannot have.
    ValueError
        Shapes, slots or page ids do not fit, or a pool is read-only (those of
        JAX are: use `paged_attn.jax.append`); nothing was written.
    """
    _core.append(
        k,
        v,
        k_pages,
        v_pages,
        slots=slots,
        page_table=page_table,
        kv_lens=kv_lens,
        query_starts=query_starts,
        layer=layer,
        layout=layout,
    )


def merge_states(
    parts: Sequence[Array],
    lses: Sequence[Array],
    *,
    out: Optional[Array] = None,
    lse: Optional[Array] = None,
    return_lse: bool = True,
) -> Union[Array, Tuple[Array, Array]]:
    """Merge attention over disjoint parts of the keys.

    Serves cascade and context-parallel attention: run `attention` with
    ``return_lse=True`` on each part, then merge. Parts with lse -inf add
    nothing, whatever they hold.

    Parameters
    ----------
    parts : at least two of [T, Hq, Dv]
    lses : as many of [T, Hq] of float32
    out : [T, Hq, Dv], optional
        Where the result goes.
    lse : [T, Hq] of float32, optional
        Where the merged lse goes.
    return_lse : bool
        Also return the merged lse.

    Returns
    -------
    out : [T, Hq, Dv], in the kind and type of the first part
    lse : [T, Hq] of float32, with `return_lse`

    Raises
    ------
    TypeError, ValueError
        As `attention` does.
    """
    for name, value in (("parts", parts), ("lses", lses)):
        if not isinstance(value, (list, tuple)):
            raise TypeError(
                f"expected {name} to be a list of arrays, got {type(value).__name__}"
            )
    return _core.merge_states(parts, lses, out, lse, return_lse)


def cache_info() -> dict[str, int]:
    """Counters of the kernels in this process.

    ``kernels`` that are kept, ``hits`` (calls that found theirs), ``misses``
    (calls that had to get it) and ``from_disk`` (misses that were read from the
    cache on disk instead of compiled).
    """
    return _core.cache_info()


def clear_cache() -> None:
    """Forget all kernels of this process; those on disk stay."""
    _core.clear_cache()
