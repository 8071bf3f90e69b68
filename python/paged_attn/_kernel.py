"""Kernels that can be looked into: KernelSpec, compile, Kernel."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Optional, Union

from . import _core
from ._ops import Array, Layout, PageTable, attention

_LEVELS = {
    "attention": "level 0: the op that says what is computed",
    "tiled": "level 2: work items, KV tiles, tile ops",
    "linalg": "level 3a: linalg on static tiles (via linalg)",
    "vector": "level 4: memrefs and native vectors",
    "llvm": "level 5: LLVM dialect",
    "llvmir": "LLVM IR",
    "asm": "assembly",
    "header": "C header of the object",
}
_SUFFIXES = {
    ".mlir": "attention",
    ".ll": "llvmir",
    ".s": "asm",
    ".o": "obj",
    ".h": "header",
}


@dataclasses.dataclass(frozen=True)
class KernelSpec:
    """What a kernel computes; sizes of tokens, sequences and pools stay open.

    Element types are named as in MLIR: f32, f16, bf16, and for pools i8 and
    f8E4M3FN. `attention` says what each option means; `describe` makes the spec
    of a call.
    """

    num_heads: int = 1
    num_kv_heads: int = 1
    head_dim: int = 64
    value_dim: Optional[int] = None
    page_size: int = 16
    mode: str = "auto"
    query_type: str = "f32"
    key_type: str = "f32"
    value_type: str = "f32"
    out_type: str = "f32"
    index_type: str = "i32"
    pools: str = "separate"
    layout: Layout = "pshd"
    csr: bool = False
    causal: bool = True
    window: int = 0
    sink_tokens: int = 0
    chunk: int = 0
    scale: Optional[float] = None
    softcap: float = 0.0
    has_alibi: bool = False
    has_sinks: bool = False
    return_lse: bool = False
    has_query_starts: bool = True
    has_query_offsets: bool = False
    k_scale_rank: Optional[int] = None
    v_scale_rank: Optional[int] = None
    bias_type: Optional[str] = None
    bias_heads: int = 1


class Kernel:
    """A compiled spec; see `compile`."""

    def __init__(self, spec: KernelSpec, cpu: str, via: Optional[str]) -> None:
        self.spec = spec
        self.cpu = cpu
        self.via = via
        self.source = _core.build_module(**dataclasses.asdict(spec))
        self._object = _core.compile_to(self.source, "obj", cpu, via)

    @staticmethod
    def levels() -> dict[str, str]:
        """Names of the levels for `inspect`, each with what it is (dict)."""
        return dict(_LEVELS)

    def inspect(self, level: str = "tiled") -> str:
        """The kernel at a level of the ladder, as text.

        Raises
        ------
        ValueError
            There is no such level.
        CompileError
            The way that was chosen has no such level.
        """
        if level not in _LEVELS:
            raise ValueError(f"expected level to be one of {', '.join(_LEVELS)}, got {level!r}")
        if level == "attention":
            return self.source
        return _core.compile_to(self.source, level, self.cpu, self.via).decode()

    def save(self, path: Union[str, Path]) -> None:
        """Write the kernel to `path`; the suffix says as what.

        ``.mlir`` level 0, ``.ll`` LLVM IR, ``.s`` assembly, ``.o`` the object
        and ``.h`` its C header. docs/KernelABI.md says how to call it from C.
        """
        path = Path(path)
        form = _SUFFIXES.get(path.suffix)
        if form is None:
            raise ValueError(
                f"expected path to end in one of {', '.join(_SUFFIXES)}, got {str(path)!r}"
            )
        if form == "obj":
            path.write_bytes(self._object)
        elif form == "attention":
            path.write_text(self.source)
        else:
            path.write_bytes(_core.compile_to(self.source, form, self.cpu, self.via))

    def __call__(
        self,
        q: Array,
        k_pages: Array,
        v_pages: Optional[Array],
        page_table: PageTable,
        kv_lens: Array,
        query_starts: Optional[Array] = None,
        **arrays: Any,
    ) -> Any:
        """`attention` with the options of the spec.

        The arrays that the spec asks for (alibi_slopes, sinks, bias, scales) and
        ``out``, ``lse``, ``layer``, ``num_threads`` are keywords.
        """
        spec = self.spec
        return attention(
            q,
            k_pages,
            v_pages,
            page_table,
            kv_lens,
            query_starts,
            scale=spec.scale,
            causal=spec.causal,
            window=spec.window,
            sink_tokens=spec.sink_tokens,
            chunk=spec.chunk,
            softcap=spec.softcap,
            mode=spec.mode,
            layout=spec.layout,
            value_dim=spec.value_dim,
            return_lse=spec.return_lse,
            via=self.via,
            **arrays,
        )

    def __repr__(self):
        return f"Kernel({self.spec}, cpu={self.cpu!r}, via={self.via!r})"


def compile(
    spec: KernelSpec, target: str = "cpu", *, cpu: str = "native", via: Optional[str] = None
) -> Kernel:
    """Compile a spec, to look into it or to keep it.

    Parameters
    ----------
    spec : KernelSpec
    target : {"cpu"}
        GPU kernels come from the tool paged-attn-compile.
    cpu : str
        A CPU as LLVM names it, or the one of this machine.
    via : {"vector", "linalg", "reference"}, optional
        Forces a lowering; the compiler knows which is best.

    Returns
    -------
    Kernel
        With `inspect`, `save`, and callable like `attention`.

    Raises
    ------
    ValueError
        The target, CPU or lowering does not exist.
    CompileError
        The compiler has no kernel for the spec; the text says why.
    """
    if not isinstance(spec, KernelSpec):
        raise TypeError(f"expected spec to be a KernelSpec, got {type(spec).__name__}")
    if target != "cpu":
        raise ValueError(f"expected target to be cpu, got {target!r}")
    return Kernel(spec, cpu, via)


def describe(
    q: Array,
    k_pages: Array,
    v_pages: Optional[Array],
    page_table: PageTable,
    kv_lens: Array,
    query_starts: Optional[Array] = None,
    **options: Any,
) -> KernelSpec:
    """The `KernelSpec` of the kernel that `attention` runs for these arguments.

    Options are those of `attention`; arrays are checked, nothing is computed.
    """
    options = {"layout": "pshd", "mode": "auto", "causal": True, **options}
    fields = _core.describe(q, k_pages, v_pages, page_table, kv_lens, query_starts, **options)
    return KernelSpec(**fields)
