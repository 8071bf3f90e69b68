//===- Problem.h - A random attention problem in memory ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The buffers of one call, filled from a seed. A token's data depend on the
// seed and its logical place alone, not on layout or page order, so that two
// problems that differ only in these have the same answer. Part of the oracle.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_ORACLE_PROBLEM_H
#define PAGED_ATTN_ORACLE_PROBLEM_H

#include "paged_attn/Oracle/Buffer.h"
#include "paged_attn/Oracle/ProblemSpec.h"

namespace paged_attn::oracle {

/// Keys or values of one pool, as a kernel sees them. Owns nothing.
template <typename Void>
struct PoolViewOf {
  Void *data = nullptr;
  ElementType type = ElementType::F32;
  PoolShape shape;
  int64_t pair = 0;  ///< 0 key, 1 value; 0 without c
  int64_t layer = 0; ///< 0 without l
  int64_t depth = 0; ///< entries of a row; below the pool's D for latent values
  ScaleKind scaleKind = ScaleKind::None;
  const float *scale = nullptr; ///< factors of a quantised pool

  /// Offset, in elements, of entry 0 of the row of a token and KV head.
  int64_t rowOffset(int64_t page, int64_t slot, int64_t head) const {
    return shape.rowOffset({page, slot, head, pair, layer});
  }
  /// Factor of the row of a token and KV head; 1 without scales.
  float factor(int64_t page, int64_t slot, int64_t head) const {
    const PoolExtents &extents = shape.extents();
    switch (scaleKind) {
    case ScaleKind::None:
      return 1;
    case ScaleKind::Tensor:
      return scale[0];
    case ScaleKind::Head:
      return scale[head];
    case ScaleKind::Token:
      return scale[(page * extents.slots + slot) * extents.heads + head];
    }
    return 1;
  }
};
using PoolView = PoolViewOf<const void>;
using MutablePoolView = PoolViewOf<void>;

/// A problem and its buffers, all row-major and densely packed. Buffers that
/// the spec does not ask for are empty (null `data()`).
struct Problem {
  ProblemSpec spec;
  uint64_t seed = 0;

  Buffer query;       ///< [T, Hq, Dk] of queryType
  Buffer keyPool;     ///< keyShape of keyType; the only pool unless Separate
  Buffer valuePool;   ///< valueShape of valueType; Separate only
  Buffer keyScale;    ///< [], [Hkv] or [P, S, Hkv] f32; as spec.keyScale says
  Buffer valueScale;  ///< the same of values
  Buffer pageTable;   ///< [B, N] of indexType; Dense only
  Buffer pageIndices; ///< [nnz] of indexType; Csr only
  Buffer pageIndptr;  ///< [B + 1] of indexType; Csr only
  Buffer kvLens;      ///< [B] of indexType
  Buffer queryStarts; ///< [B + 1] of indexType; when hasQueryStarts
  Buffer alibiSlopes; ///< [Hq] f32; when hasAlibi
  Buffer sinks;       ///< [Hq] f32; when hasSinks
  Buffer out;         ///< [T, Hq, Dv] of outputType, filled with NaN
  Buffer lse;         ///< [T, Hq] f32, filled with NaN; when wantsLse

  PoolShape keyShape;   ///< [P, S, Hkv, Dk ...] in the key layout's order
  PoolShape valueShape; ///< the value pool's; equal to keyShape for one pool

  /// Views of keys and values, whichever pool holds them.
  PoolView keys() const;
  PoolView values() const;
  MutablePoolView mutableKeys();
  MutablePoolView mutableValues();

  /// First query row of sequence b, read from the buffers; b = B gives the
  /// first padding row.
  int64_t queryStart(int64_t b) const;
  int64_t qLen(int64_t b) const { return queryStart(b + 1) - queryStart(b); }
  int64_t kvLen(int64_t b) const;
  /// Physical page of logical page `page` of sequence b, read from the table.
  int64_t physicalPage(int64_t b, int64_t page) const;

  /// Fills `out` and `lse` with NaN again.
  void resetOutputs();
};

/// Builds a problem: validates the spec (and that its buffers fit the machine's
/// memory), places pages, fills everything. The same spec and seed give the
/// same bits with every compiler. Nothing and `error` on failure.
std::optional<Problem> makeProblem(const ProblemSpec &spec, uint64_t seed,
                                   std::string &error);

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_ORACLE_PROBLEM_H
