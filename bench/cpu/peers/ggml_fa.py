# ===- ggml_fa.py - Flash attention of ggml (llama.cpp) --------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# One graph with ggml_flash_attn_ext for each run of sequences of equal lengths,
# keys and values contiguous: ggml has no page table. ctypes on libggml-base and
# libggml-cpu.
#
# ===----------------------------------------------------------------------=== #
"""ggml flash attention."""

import ctypes
import os
import pathlib

import numpy as np

from .common import Peer, Skip, require_type, to_bf16_bits

VARIABLE = "PAGED_ATTN_BENCH_GGML"  # folder of libggml-base.so and libggml-cpu.so
# Values of enum ggml_type.
F32, F16, Q8_0, BF16 = 0, 1, 8, 30
TYPES = {"f32": F32, "f16": F16, "bf16": BF16, "i8": Q8_0}
CONTEXT_BYTES = 64 << 20  # tensors and graph beside their data


class InitParams(ctypes.Structure):
    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p),
                ("no_alloc", ctypes.c_bool)]


def find_folder():
    folder = pathlib.Path(os.environ.get(VARIABLE, ""))
    if VARIABLE not in os.environ or not list(folder.glob("libggml-base.so*")):
        raise Skip("absent")
    return folder


def load(folder):
    base, cpu = (ctypes.CDLL(str(sorted(folder.glob(f"libggml-{part}.so*"))[0]),
                             mode=ctypes.RTLD_GLOBAL) for part in ("base", "cpu"))
    pointer, number, real = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
    for library, name, result, arguments in (
            (base, "ggml_init", pointer, [InitParams]),
            (base, "ggml_free", None, [pointer]),
            (base, "ggml_new_tensor_4d", pointer, [pointer, ctypes.c_int] + [number] * 4),
            (base, "ggml_get_data", pointer, [pointer]),
            (base, "ggml_nbytes", ctypes.c_size_t, [pointer]),
            (base, "ggml_flash_attn_ext", pointer, [pointer] * 5 + [real] * 3),
            (base, "ggml_new_graph", pointer, [pointer]),
            (base, "ggml_build_forward_expand", None, [pointer, pointer]),
            (base, "ggml_quantize_chunk", ctypes.c_size_t,
             [ctypes.c_int, pointer, pointer, number, number, number, pointer]),
            (cpu, "ggml_backend_cpu_init", pointer, []),
            (cpu, "ggml_backend_cpu_set_n_threads", None, [pointer, ctypes.c_int]),
            (base, "ggml_backend_graph_compute", ctypes.c_int, [pointer, pointer])):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
        setattr(base, name, function)
    return base


class Ggml(Peer):
    def __init__(self):
        self.lib = load(find_folder())
        self.context = None

    def versions(self):
        return {"ggml": os.environ.get(VARIABLE + "_VERSION", "unknown")}

    def __del__(self):
        if self.context:
            self.lib.ggml_free(self.context)

    def tensor(self, kind, array):
        """`array` [B, heads, rows, D] as a ggml tensor of type `kind`."""
        array = np.ascontiguousarray(array, np.float32)
        tensor = self.lib.ggml_new_tensor_4d(self.context, kind, *reversed(array.shape))
        data = self.lib.ggml_get_data(tensor)
        if kind == Q8_0:
            dim = array.shape[-1]
            self.lib.ggml_quantize_chunk(kind, array.ctypes.data, data, 0, array.size // dim, dim,
                                         None)
            return tensor
        if kind == BF16:
            array = to_bf16_bits(array)
        elif kind == F16:
            array = array.astype(np.float16)
        ctypes.memmove(data, array.ctypes.data, array.nbytes)
        return tensor

    def attend(self, problem, first, last):
        """The node for sequences [first, last)."""
        batch, n, length = last - first, problem.q_lens[first], problem.kv_lens[first]
        starts, kv_starts = problem.q_starts, problem.kv_starts

        def by_head(rows, begin, end, count):
            return rows[begin:end].reshape(batch, count, -1, problem.head_dim).transpose(0, 2, 1, 3)
        q = self.tensor(F32, by_head(problem.query, starts[first], starts[last], n))
        k, v = (self.tensor(TYPES[problem.kv_type],
                            by_head(rows, kv_starts[first], kv_starts[last], length))
                for rows in (problem.keys, problem.values))
        mask = None
        if n > 1:
            hidden = np.arange(length)[None, :] > np.arange(n)[:, None] + (length - n)
            mask = self.tensor(F16, np.where(hidden, -np.inf, 0.0)[None, None])
        return self.lib.ggml_flash_attn_ext(self.context, q, k, v, mask, problem.scale, 0.0, 0.0)

    def prepare(self, problem):
        require_type(problem, *TYPES)
        self.problem = problem
        masks = sum(q * kv * 2 for q, kv in zip(problem.q_lens, problem.kv_lens) if q > 1)
        numbytes = 2 * problem.query.nbytes + 2 * problem.keys.nbytes + masks + CONTEXT_BYTES
        self.context = self.lib.ggml_init(InitParams(numbytes, None, False))
        self.nodes = [self.attend(problem, *run) for run in problem.runs()]
        self.graph = self.lib.ggml_new_graph(self.context)
        for node in self.nodes:
            self.lib.ggml_build_forward_expand(self.graph, node)
        self.backend = self.lib.ggml_backend_cpu_init()
        self.lib.ggml_backend_cpu_set_n_threads(self.backend, problem.threads)

    def run(self):
        if self.lib.ggml_backend_graph_compute(self.backend, self.graph) != 0:
            raise RuntimeError("ggml_backend_graph_compute failed")

    def output(self):
        parts = []
        for node in self.nodes:
            count = self.lib.ggml_nbytes(node) // 4
            data = ctypes.cast(self.lib.ggml_get_data(node), ctypes.POINTER(ctypes.c_float))
            parts.append(np.ctypeslib.as_array(data, (count,)).copy())
        return np.concatenate(parts).reshape(self.problem.query.shape)


def make(_name):
    return Ggml()
