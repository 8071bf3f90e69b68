//===- Tolerance.h - How far from the oracle is right -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tolerances derived from the data of a problem, term by term as in
// docs/Numerics.md, and the comparisons that use them. Part of the oracle.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_ORACLE_TOLERANCE_H
#define PAGED_ATTN_ORACLE_TOLERANCE_H

#include "paged_attn/Oracle/Oracle.h"

namespace paged_attn::oracle {

/// Largest absolute errors that correct f32 arithmetic explains.
struct Tolerance {
  double out = 0;       ///< of every element of out
  double lse = 0;       ///< of every finite element of lse
  double f32Part = 0;   ///< of `out`: what f32 arithmetic alone explains
  double reference = 0; ///< error of the rounded f32 reference, f16 / bf16 only
};

/// Derives the tolerance of a problem from its oracle `expected`. For f16 and
/// bf16 outputs it runs `roundedReference` (as long as the oracle took).
/// `options` as given to `attention`.
Tolerance deriveTolerance(const Problem &problem,
                          const AttentionResult &expected,
                          const OracleOptions &options = {});

/// The tolerance to start from for f32, for values of
/// magnitude 1: 2e-5 * sqrt(kvLen).
double f32StartTolerance(int64_t kvLen);

/// Outcome of a comparison.
struct Comparison {
  /// Largest |got - expected|; +inf as soon as any element is NaN or one side
  /// is infinite and the other is not the same infinity; 0 without elements.
  double maxAbsError = 0;
  int64_t worstIndex = -1; ///< first element with that error; -1 when exact
  double got = 0;          ///< element `worstIndex` of the tested array
  double expected = 0;     ///< element `worstIndex` of the oracle's
  int64_t numBad = 0;      ///< elements with infinite error
};

/// Compares `got`, an array of `type` with as many elements as `expected`.
Comparison compare(const std::vector<double> &expected, const void *got,
                   ElementType type);
/// Compares two arrays of the same length.
Comparison compare(const std::vector<double> &expected,
                   const std::vector<double> &got);

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_ORACLE_TOLERANCE_H
