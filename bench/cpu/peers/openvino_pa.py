# ===- openvino_pa.py - OpenVINO's PagedAttention operation ---------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# A model of one PagedAttention operation on the CPU plugin. The operation also
# writes the new keys and values into the cache; that is in its time.
#
# ===----------------------------------------------------------------------=== #
"""OpenVINO's PagedAttention."""

import numpy as np
import openvino as ov
from openvino import Type, opset13
from openvino._pyopenvino.op import _PagedAttentionExtension

from .common import Peer, Skip, csr_table, fill_pool, from_bf16_bits, place_pages
from .common import require_type, to_bf16_bits

PAGE_SIZE = 32  # fixed by the plugin
# cache type -> (type of the new tokens, KV_CACHE_PRECISION)
TYPES = {"f32": ("f32", "f32"), "bf16": ("bf16", "bf16"), "f16": ("f16", "f16"),
         "i8": ("f32", "u8")}
OV_TYPES = {"f32": Type.f32, "bf16": Type.bf16, "f16": Type.f16}
# Inputs that are parameters: number -> (name, shape, type); None: the type of
# the new tokens. The rest are constants.
PARAMETERS = {
    0: ("query", [-1, -1], None), 1: ("key", [-1, -1], None), 2: ("value", [-1, -1], None),
    3: ("key_cache", [-1] * 4, Type.dynamic), 4: ("value_cache", [-1] * 4, Type.dynamic),
    5: ("past_lens", [-1], Type.i32), 6: ("subsequence_begins", [-1], Type.i32),
    7: ("block_indices", [-1], Type.i32), 8: ("block_indices_begins", [-1], Type.i32),
    12: ("max_context_len", [], Type.i32),
}


def constants(scale):
    """Inputs that switch everything else off, by number."""
    def empty(dtype):
        return np.zeros(0, dtype)
    return {9: np.float32(scale), 10: np.int32(0), 11: empty(np.float32), 13: empty(np.int32),
            14: empty(np.int32), 15: empty(np.int32), 16: empty(np.float32),
            17: empty(np.float32), 18: np.int32(128), 19: np.int32(16), 20: empty(np.float32),
            21: np.int32(0), 22: empty(np.int32), 23: empty(np.int32), 24: empty(np.int32),
            25: empty(np.int32), 26: empty(np.uint8), 27: empty(np.int32)}


def quantise(pool, axis):
    """u8 with scale and zero point along `axis`: x = (u - zero) * scale."""
    low, high = pool.min(axis, keepdims=True), pool.max(axis, keepdims=True)
    scale = np.maximum((high - low) / 255, 1e-8).astype(np.float32)
    zero = (-low / scale).astype(np.float32)
    return np.clip(np.rint(pool / scale + zero), 0, 255).astype(np.uint8), scale, zero


def as_bytes(array):
    return np.ascontiguousarray(array).view(np.uint8)


def quantised_keys(pool):
    """[P, Hkv, S, D] by channel: rows of scales and zero points, then codes."""
    codes, scale, zero = quantise(pool, 2)
    pages, heads, _, dim = pool.shape
    head = [as_bytes(x).reshape(pages, heads, 4, dim) for x in (scale, zero)]
    return np.concatenate(head + [codes], axis=2)


def quantised_values(pool):
    """[P, Hkv, S, D] by token: scale and zero point before each row's codes."""
    codes, scale, zero = quantise(pool, 3)
    return np.concatenate([as_bytes(scale), as_bytes(zero), codes], axis=3)


class OpenVino(Peer):
    packages = ("openvino",)

    def tensor(self, array, kind):
        """Shares memory with an array that stays alive on `self`."""
        if kind == "bf16":
            array = to_bf16_bits(array)
            self.keep.append(array)
            return ov.Tensor(array, list(array.shape), Type.bf16)
        # Own, writable, in C order; a scalar stays one.
        array = np.array(array, {"f32": np.float32, "f16": np.float16}.get(kind), order="C")
        self.keep.append(array)
        return ov.Tensor(array, True)

    def build(self, problem, token_type, precision):
        inputs, parameters = [], []
        off = constants(problem.scale)
        for number in range(28):
            if number not in PARAMETERS:
                inputs.append(opset13.constant(off[number]))
                continue
            name, shape, kind = PARAMETERS[number]
            node = opset13.parameter(ov.PartialShape(shape), kind or OV_TYPES[token_type])
            node.set_friendly_name(name)
            node.output(0).get_tensor().set_names({name})
            parameters.append(node)
            inputs.append(node)
        op = _PagedAttentionExtension([node.output(0) for node in inputs])
        for key, value in (("num_k_heads", problem.kv_heads), ("k_head_size", problem.head_dim),
                           ("num_v_heads", problem.kv_heads), ("v_head_size", problem.head_dim)):
            op.get_rt_info()[key] = value
        model = ov.Model([op.output(0)], parameters, "paged_attention")
        return ov.Core().compile_model(model, "CPU", {
            "INFERENCE_PRECISION_HINT": token_type, "KV_CACHE_PRECISION": precision,
            "INFERENCE_NUM_THREADS": problem.threads})

    def caches(self, problem, lists, count, token_type, precision):
        pools = [fill_pool(problem, rows, lists, count, PAGE_SIZE).transpose(0, 2, 1, 3)
                 for rows in (problem.keys, problem.values)]
        if precision == "u8":
            return [self.tensor(quantised_keys(pools[0]), None),
                    self.tensor(quantised_values(pools[1]), None)]
        return [self.tensor(pool, token_type) for pool in pools]

    def new_tokens(self, problem, rows):
        """The last q_len rows of each sequence, [T, Hkv * D]."""
        ends = problem.kv_starts[1:]
        new = [rows[end - q:end] for q, end in zip(problem.q_lens, ends)]
        return np.concatenate(new).reshape(sum(problem.q_lens), -1)

    def prepare(self, problem):
        require_type(problem, *TYPES)
        token_type, precision = TYPES[problem.kv_type]
        self.keep, self.problem = [], problem
        lists, count = place_pages(problem, PAGE_SIZE)
        indices, begins = csr_table(lists)
        key_cache, value_cache = self.caches(problem, lists, count, token_type, precision)
        tokens = sum(problem.q_lens)
        past = np.subtract(problem.kv_lens, problem.q_lens).astype(np.int32)
        tensors = {
            "query": self.tensor(problem.query.reshape(tokens, -1), token_type),
            "key": self.tensor(self.new_tokens(problem, problem.keys), token_type),
            "value": self.tensor(self.new_tokens(problem, problem.values), token_type),
            "key_cache": key_cache, "value_cache": value_cache,
            "past_lens": self.tensor(past, None),
            "subsequence_begins": self.tensor(problem.q_starts, None),
            "block_indices": self.tensor(indices, None),
            "block_indices_begins": self.tensor(begins, None),
            "max_context_len": self.tensor(np.array(max(problem.kv_lens), np.int32), None),
        }
        compiled = self.build(problem, token_type, precision)
        taken = compiled.input("key_cache").element_type
        if taken.get_type_name() != precision:  # f16 on a CPU without f16 arithmetic
            raise Skip(f"no {precision} cache here")
        self.request = compiled.create_infer_request()
        for name, tensor in tensors.items():
            self.request.set_tensor(name, tensor)

    def run(self):
        self.request.infer()

    def output(self):
        tensor = self.request.get_output_tensor(0)
        if tensor.element_type == Type.bf16:
            data = from_bf16_bits(np.array(tensor.data).view(np.uint16))
        else:
            data = np.array(tensor.data, np.float32)
        return data.reshape(self.problem.query.shape)


def make(_name):
    return OpenVino()
