"""Paged attention on numpy, PyTorch and JAX arrays, compiled with MLIR."""

from ._core import CompileError
from ._ops import append, attention, cache_info, clear_cache, merge_states

__version__ = "0.1.0"
__all__ = [
    "CompileError",
    "append",
    "attention",
    "cache_info",
    "clear_cache",
    "merge_states",
]
