# The extension module, as the package's own files use it.
from typing import Any, List, Optional, Sequence, Tuple

class CompileError(RuntimeError): ...

class CacheError(RuntimeError):
    code: str

class OutOfPages(CacheError): ...

class Manager:
    def __init__(self, options: dict) -> None: ...
    def __getattr__(self, name: str) -> Any: ...

def attention(
    q: Any,
    k_pages: Any,
    v_pages: Any,
    page_table: Any,
    kv_lens: Any,
    query_starts: Any,
    **options: Any,
) -> Any: ...
def describe(
    q: Any,
    k_pages: Any,
    v_pages: Any,
    page_table: Any,
    kv_lens: Any,
    query_starts: Any,
    **options: Any,
) -> dict: ...
def append(k: Any, v: Any, k_pages: Any, v_pages: Any, **options: Any) -> None: ...
def merge_states(
    parts: Sequence[Any], lses: Sequence[Any], out: Any, lse: Any, return_lse: bool
) -> Any: ...
def build_module(**spec: Any) -> str: ...
def compile_to(source: str, level: str, cpu: str, via: Optional[str]) -> bytes: ...
def cache_info() -> dict: ...
def clear_cache() -> None: ...
