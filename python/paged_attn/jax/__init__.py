"""Paged attention for JAX: the native kernels under jit on CPUs, plain JAX operations elsewhere.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

`attention` and `append` take the arguments of the functions of the same name in
`paged_attn` and may be used inside jit, vmap, shard_map and grad. On a CPU they become
calls of the compiled kernels through XLA's foreign function interface; on every other
platform the same call lowers to StableHLO with the same meaning (docs/JAX.md).
"""

from ._ops import append, attention, use_native

__all__ = ["append", "attention", "use_native"]
