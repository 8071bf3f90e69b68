//===- Calls.h - One call on the caller's arrays ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What language front ends share: arrays and options in, checked shapes, a
// kernel from the cache, a checked call. No MLIR types, no Python.
//
// Thread rule: every function may be called from any thread; a kernel that two
// threads ask for is compiled once.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_FRONTEND_CALLS_H
#define PAGED_ATTN_FRONTEND_CALLS_H

#include "paged_attn/Kernel/KernelSpec.h"

#include <optional>
#include <string>
#include <vector>

namespace mlir::paged_attn {

/// A dense row-major array of the caller, not owned.
struct ArrayView {
  void *data = nullptr;
  std::string type;           ///< element type as MLIR names it: "f32", "i64"
  std::vector<int64_t> sizes; ///< elements per dimension
};
using OptionalArray = std::optional<ArrayView>;

/// Why a call was refused: what kind of mistake, and one line.
struct CallError {
  enum class Kind {
    None,
    Type,    ///< an element type that the operand cannot have
    Value,   ///< sizes, lengths, page ids, options
    Compile, ///< the compiler refuses the kernel
  };
  Kind kind = Kind::None;
  std::string message;
  explicit operator bool() const { return kind != Kind::None; }
};

/// The pools and how to find a sequence's pages in them.
struct CacheArrays {
  ArrayView keys;       ///< as keyLayout says
  OptionalArray values; ///< absent: one pool holds both
  LayoutSpec keyLayout, valueLayout;
  std::optional<int64_t> layer; ///< when a layout has `l`
  OptionalArray pageTable;      ///< [B, N], or:
  OptionalArray pageIndices;    ///< [nnz]
  OptionalArray pageIndptr;     ///< [B + 1]
  OptionalArray kvLens;         ///< [B] tokens, new ones included
  OptionalArray queryStarts;    ///< [B + 1]; absent: T / B tokens each
};

/// paged_attn.attention. The docs of the op say what each operand means.
struct AttentionCall {
  ArrayView query; ///< [T, Hq, Dk]
  CacheArrays cache;
  OptionalArray queryOffsets;         ///< [B] position of the first row
  OptionalArray keyScale, valueScale; ///< [], [Hkv] or [P, S, Hkv] of f32
  OptionalArray alibiSlopes, sinks;   ///< [Hq] of f32
  OptionalArray bias;                 ///< [T, 1 or Hq, at least max kv_len]
  ArrayView out;                      ///< [T, Hq, Dv], written
  OptionalArray lse;                  ///< [T, Hq] of f32, written

  std::string mode = "auto";
  bool causal = true;
  int64_t window = 0;     ///< tokens, 0: none
  int64_t sinkTokens = 0; ///< tokens
  int64_t chunk = 0;      ///< tokens, 0: none
  std::optional<float> scale;
  float softcap = 0;      ///< 0: none
  std::optional<Via> via; ///< absent: the compiler's default
  int numThreads = 0;     ///< 0: all of the machine
};

/// paged_attn.append.
struct AppendCall {
  ArrayView keys;       ///< [T, Hkv, Dk]
  OptionalArray values; ///< [T, Hkv, Dv]
  CacheArrays cache;    ///< pools are written
  OptionalArray slots;  ///< [T] page * S + slot, -1: skip; else a page table
};

/// paged_attn.merge_states.
struct MergeCall {
  std::vector<ArrayView> parts; ///< [T, Hq, Dv]
  std::vector<ArrayView> lses;  ///< [T, Hq] of f32
  ArrayView out;                ///< [T, Hq, Dv], written
  OptionalArray lse;            ///< [T, Hq] of f32, written
};

/// Sizes of a pool, read through its layout.
struct PoolSizes {
  int64_t pages = 0, slots = 0, heads = 0, dim = 0, layers = 1;
};

/// Reads the sizes of `pool`, called `name` in the message.
CallError readPoolSizes(const ArrayView &pool, const LayoutSpec &layout,
                        const std::string &name, PoolSizes &sizes);

/// `array` is of f32, f16 or bf16; `name` names it in the message.
CallError checkFloat(const ArrayView &array, const std::string &name);

/// Dv: of the value pool, or Dk where one pool holds both.
CallError readValueDim(const CacheArrays &cache, int64_t &valueDim);

/// Check the call, compile its kernel unless it is cached, and run it. Nothing
/// is written unless every check has passed.
CallError runAttention(const AttentionCall &call);
CallError runAppend(const AppendCall &call);
CallError runMerge(const MergeCall &call);

/// The spec that runAttention compiles for `call`, mode chosen.
CallError makeSpec(const AttentionCall &call, KernelSpec &spec);

/// Counters of the kernel cache of this process.
struct KernelCacheInfo {
  int64_t kernels = 0;  ///< kept
  int64_t hits = 0;     ///< calls that found theirs
  int64_t misses = 0;   ///< calls that compiled one or read it from disk
  int64_t fromDisk = 0; ///< misses that read it from disk
};
KernelCacheInfo getKernelCacheInfo();
/// Forgets every kernel; those of running calls live on until they end.
void clearKernelCache();

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_FRONTEND_CALLS_H
