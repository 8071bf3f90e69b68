"""Paged attention for EasyDeL: a drop-in for the operator that its models look up by name.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

`register` puts classes of ours into EasyDeL's registry, under EasyDeL's names: in 0.1
"paged_attention", in 0.3 "ragged_page_attention_v2" and "_v3". Call it before a model is
built. On TPUs EasyDeL's own kernels stay in place (docs/EasyDeL.md).
"""

from __future__ import annotations

import importlib.util

__all__ = ["register"]


def _has(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def register(*, fix_cache_writes: bool = True, window: int = 0, softcap: float = 0.0) -> tuple:
    """Registers the operators for the EasyDeL that is installed.

    Parameters
    ----------
    fix_cache_writes : bool
        EasyDeL 0.1 writes the cache itself, before it calls the operator. True replaces
        its two methods that do so, which misplace the tokens of every chunk of a prompt
        but the first and write through inactive slots.
    window, softcap :
        For 0.1, whose operator does not hand on what a model asks for.

    Returns
    -------
    The names that models look up.

    Raises
    ------
    ImportError
        No EasyDeL of a known generation is installed.
    """
    if _has("easydel.layers.attention_operator"):
        from . import _classic

        return _classic.register(fix_cache_writes, window, softcap)
    if _has("easydel.operations"):
        from . import _ragged

        return _ragged.register()
    raise ImportError("expected easydel 0.1.4 or 0.3 to be installed, found neither")
