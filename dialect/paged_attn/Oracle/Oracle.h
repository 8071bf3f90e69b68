//===- Oracle.h - Attention in float64 from the definition ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a paged attention call must compute, straight from docs/Semantics.md:
// two passes over the visible keys of a row, no tiles, no online softmax. The
// judge of every level of the ladder, and shares no code with any.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_ORACLE_ORACLE_H
#define PAGED_ATTN_ORACLE_ORACLE_H

#include "paged_attn/Oracle/Problem.h"

#include <functional>

namespace paged_attn::oracle {

/// Place of one score: all logical, as the op's region sees them.
struct ScorePlace {
  int64_t sequence = 0;
  int64_t head = 0;          ///< query head
  int64_t queryPosition = 0; ///< p
  int64_t keyPosition = 0;   ///< j
};

/// How to compute. The functions stand for the op's region and are called from
/// all threads.
struct OracleOptions {
  int numThreads = 0; ///< 0 = all of the machine; does not change any bit
  /// New score after scale, softcap and ALiBi; absent = unchanged.
  std::function<double(double score, const ScorePlace &)> score;
  /// Visibility on top of the structural mask; absent = visible.
  std::function<bool(const ScorePlace &)> visible;
};

/// Answer of a problem, row-major. Padding rows: out 0, lse -inf.
struct AttentionResult {
  std::vector<double> out; ///< [T, Hq, Dv]; 0 in rows that see no key
  std::vector<double> lse; ///< [T, Hq] natural logarithm; -inf in rows that see
                           ///< no key (with sinks: the sink)

  /// What the tolerance is derived from (docs/Numerics.md), for rows that see
  /// a key; 0 elsewhere.
  std::vector<double> topWeight; ///< [T, Hq] largest softmax weight, sink too
  /// [T, Hq] largest and mean (by weight) magnitude of a score's terms,
  /// |scale| |q| |k_j| + |slope| |j - p|, over the visible keys and the sink.
  std::vector<double> topScoreScale, meanScoreScale;
  /// [T, Hq] share of the largest entry in the length of the query, |q|max /
  /// |q|; 0 without a query.
  std::vector<double> queryPeak;
  std::vector<int64_t> numVisible; ///< [T, Hq] visible keys
  double maxAbsValue = 0;          ///< largest |v| of any visible key
};

/// Attention in float64. Reads only the query rows, table entries, keys and
/// values that some row sees.
AttentionResult attention(const Problem &problem,
                          const OracleOptions &options = {});

/// The rounded f32 reference: the same formula with every operation in f32
/// (dot products in eight partial sums, sums over keys in order), `out` rounded
/// to the output type, `lse` to f32.
AttentionResult roundedReference(const Problem &problem,
                                 const OracleOptions &options = {});

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_ORACLE_ORACLE_H
