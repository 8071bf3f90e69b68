"""Paged attention on numpy, PyTorch and JAX arrays, compiled with MLIR."""

from ._cache import BatchViews, KVCacheManager, PrefixMatch, SequenceInfo
from ._core import CacheError, CompileError, OutOfPages
from ._kernel import Kernel, KernelSpec, compile, describe
from ._ops import append, attention, cache_info, clear_cache, merge_states

__version__ = "0.1.0"
__all__ = [
    "BatchViews",
    "CacheError",
    "CompileError",
    "KVCacheManager",
    "Kernel",
    "KernelSpec",
    "OutOfPages",
    "PrefixMatch",
    "SequenceInfo",
    "append",
    "attention",
    "cache_info",
    "clear_cache",
    "compile",
    "describe",
    "merge_states",
]
