"""Values inside shard_map: which mesh axes they vary over.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

JAX checks that both branches of a conditional and the carry of a loop vary over the same
axes. A custom call and a constant vary over none; here they are told to.
"""

from __future__ import annotations

import jax
from jax import lax


def _axes_of(array) -> frozenset:
    if not hasattr(jax, "typeof"):
        return frozenset()
    kind = jax.typeof(array)
    manual = getattr(kind, "manual_axis_type", None)
    return frozenset(getattr(manual, "varying", None) or getattr(kind, "vma", None) or ())


def axes_of(arrays: dict) -> frozenset:
    """The mesh axes over which any of the arrays varies."""
    return frozenset().union(*(_axes_of(array) for array in arrays.values()))


def vary(array, axes: frozenset):
    """The array, varying over all `axes`."""
    missing = tuple(sorted(axes - _axes_of(array)))
    if not missing:
        return array
    if hasattr(lax, "pcast"):
        return lax.pcast(array, missing, to="varying")
    return lax.pvary(array, missing)


def vary_all(arrays: dict, axes: frozenset) -> dict:
    """`vary` on every array."""
    return {name: vary(array, axes) for name, array in arrays.items()}
