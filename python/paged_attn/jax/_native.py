"""The compiled kernels inside XLA's CPU programs.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

One handler per op is registered with XLA. A call site carries the names of its operands
and its options as attributes, nothing that means something in this process only, so that
programs may be kept in JAX's compilation cache.
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Call:
    """How the native kernel is to be chosen."""

    mode: str = "auto"


def is_available() -> bool:
    """Whether the native module is there and registered."""
    return False
