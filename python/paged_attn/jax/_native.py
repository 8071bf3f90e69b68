"""The compiled kernels inside XLA's CPU programs.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

One handler per op is registered with XLA. A call site carries the names of its operands
and its options as attributes, nothing that means something in this process only, so that
programs may be exported and kept in JAX's compilation cache.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from .._core import xla_handlers
from ._portable import Options
from ._varying import axes_of, vary, vary_all


@dataclasses.dataclass(frozen=True)
class Call:
    """How the native kernel is to be chosen."""

    mode: str = "auto"


@functools.cache
def register() -> None:
    """Makes the handlers known to XLA, once per process."""
    for name, handler in xla_handlers().items():
        jax.ffi.register_ffi_target(name, handler, platform="cpu")


def _attributes(options: Options) -> dict:
    names = {}
    for name, layout in (("key", options.key_layout), ("value", options.value_layout)):
        names[f"{name}_layout"] = layout.dims
        names[f"{name}_pack"] = np.int64(layout.pack)
    return names


def _prepare(x: dict) -> dict:
    """What kernels take besides the op's types: a layer of int32."""
    if "layer" not in x:
        return x
    return {**x, "layer": x["layer"].astype(jnp.int32)}


def attention(x: dict, options: Options, call: Call):
    """(out, lse) of the operands `x`, as `_portable.attention`."""
    x = _prepare(x)
    query = x["query"]
    shapes = (
        jax.ShapeDtypeStruct((*query.shape[:2], options.value_dim), query.dtype),
        jax.ShapeDtypeStruct(query.shape[:2], jnp.float32),
    )
    scale = {} if options.scale is None else {"scale": np.float32(options.scale)}
    function = jax.ffi.ffi_call("paged_attn_attention", shapes, vmap_method="sequential")
    results = function(
        *x.values(),
        operands=",".join(x),
        mode=call.mode,
        causal=np.int64(options.causal),
        window=np.int64(options.window),
        sink_tokens=np.int64(options.sink_tokens),
        chunk=np.int64(options.chunk),
        softcap=np.float32(options.softcap),
        **scale,
        **_attributes(options),
    )
    axes = axes_of(x)
    return tuple(vary(result, axes) for result in results)


def append(x: dict, options: Options) -> dict:
    """The new pools, which are the old buffers where XLA may reuse them."""
    x = _prepare(x)
    pools = [name for name in ("keys", "values") if name in x]
    x = {name: x[name] for name in (*pools, *(name for name in x if name not in pools))}
    shapes = [jax.ShapeDtypeStruct(x[name].shape, x[name].dtype) for name in pools]
    function = jax.ffi.ffi_call(
        "paged_attn_append",
        shapes,
        vmap_method="sequential",
        input_output_aliases={i: i for i in range(len(pools))},
    )
    results = function(*x.values(), operands=",".join(x), **_attributes(options))
    return vary_all(dict(zip(pools, results)), axes_of(x))
