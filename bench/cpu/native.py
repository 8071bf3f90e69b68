# ===- native.py - Our kernel and the machine's ceilings -------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# Python side of bench/cpu/native: a random problem with its compiled kernel,
# and single timed passes of kernel and ceilings.
#
# ===----------------------------------------------------------------------=== #
"""ctypes binding of libpaged_attn_bench."""

import ctypes
import json
import pathlib

import numpy as np

QUERY, KEYS, VALUES, OUT = range(4)
BY_HEAD, BY_PAGE = range(2)
DOT_TYPES = {"bf16": 0, "i8": 1}  # cache types with dot products of their own
ROOT = pathlib.Path(__file__).resolve().parents[2]
# name -> (result, arguments)
SIGNATURES = {
    "Open": (ctypes.c_void_p, [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int64]),
    "Close": (None, [ctypes.c_void_p]),
    "CompileSeconds": (ctypes.c_double, [ctypes.c_void_p]),
    "PagedBytes": (ctypes.c_double, [ctypes.c_void_p]),
    "ResetOut": (None, [ctypes.c_void_p]),
    "Run": (ctypes.c_double, [ctypes.c_void_p]),
    "ReadPages": (ctypes.c_double, [ctypes.c_void_p, ctypes.c_int]),
    "CopyRows": (None, [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]),
    "ReadSequential": (ctypes.c_double, [ctypes.c_int64, ctypes.c_int32]),
    "Fma": (ctypes.c_double, [ctypes.c_int32]),
    "Dot": (ctypes.c_double, [ctypes.c_int32, ctypes.c_int32]),
    "FmaInstructions": (ctypes.c_char_p, []),
}


class Unsupported(Exception):
    """The kernel or its compiler refuses the case; the text says why."""


class Library:
    """libpaged_attn_bench of one build directory."""

    def __init__(self, path=None):
        if path is None:
            found = sorted(ROOT.glob("build*/lib/libpaged_attn_bench.so"),
                           key=lambda p: p.stat().st_mtime)
            if not found:
                raise FileNotFoundError("expected libpaged_attn_bench.so in a build directory: "
                                        "ninja -C build paged_attn_bench")
            path = found[-1]
        self.path = pathlib.Path(path)
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, "pagedAttnBench" + name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)


class OurKernel:
    """One variant of our kernel on its own copy of the case's problem."""

    def __init__(self, library, case, variant, *, via, cpu, threads, seed=0):
        self.library, self.case, self.variant = library, case, variant
        lengths = variant.lengths
        spec = dict(via=via, cpu=cpu, threads=threads, seed=seed, mode=lengths.mode,
                    heads=case.heads, kv_heads=case.kv_heads, head_dim=case.head_dim,
                    page_size=variant.page_size, query_type=case.query_type,
                    kv_type=case.kv_type, key_layout=variant.key_layout,
                    value_layout=variant.value_layout, pages=variant.pages,
                    q_lens=lengths.q_lens, kv_lens=lengths.kv_lens)
        error = ctypes.create_string_buffer(1024)
        self.handle = library.Open(json.dumps(spec).encode(), error, len(error))
        if not self.handle:
            raise Unsupported(error.value.decode(errors="replace"))

    def close(self):
        self.library.Close(self.handle)
        self.handle = None

    @property
    def compile_seconds(self):
        return self.library.CompileSeconds(self.handle)

    def reset_out(self):
        self.library.ResetOut(self.handle)

    def run(self):
        return self.library.Run(self.handle)

    def read_pages(self, order):
        """Bytes per second of a read of this variant's pages."""
        return self.library.ReadPages(self.handle, order)

    def rows(self, which):
        """Query, keys, values or out as float32 [tokens, heads, head_dim]."""
        lengths, case = self.variant.lengths, self.case
        query_side = which in (QUERY, OUT)
        tokens = sum(lengths.q_lens if query_side else lengths.kv_lens)
        heads = case.heads if query_side else case.kv_heads
        result = np.empty((tokens, heads, case.head_dim), np.float32)
        self.library.CopyRows(self.handle, which, result.ctypes.data)
        return result
