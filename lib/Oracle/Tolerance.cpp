//===- Tolerance.cpp - How far from the oracle is right -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The labels E1 .. E6 are those of docs/Numerics.md.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/Tolerance.h"

#include <algorithm>
#include <cmath>

namespace paged_attn::oracle {

namespace {

/// Unit roundoff of f32: half a unit in the last place of 1.
constexpr double kUnit = 0x1p-24;
/// E1: roundings of a score beside its dot product: scaled query, constant
/// log2(e), score, difference to the maximum; ALiBi's product and sum.
constexpr double kScoreRoundings = 6;
/// E1: the same of a softcap: quotient, tanh (4 units), product.
constexpr double kSoftcapRoundings = 6;
/// E2: relative error of the exp2 polynomial (Chebyshev, degree 6),
/// measured over 3.2e7 points of [-30, 0].
constexpr double kExp2Error = 8.5e-8;
/// E2: exp2 evaluations behind a weight: its own, the rescaling when the
/// running maximum grows, the merging of splits.
constexpr double kExpEvaluations = 3;
/// E4: roundings of one element of the output: product with the value,
/// rescaling, merging (2), reciprocal, final product.
constexpr double kOutputRoundings = 6;
/// E5: roundings of the logarithm and of its sum with the maximum.
constexpr double kLseRoundings = 4;

/// E7: steps in the largest entry of a query that is split into two int8.
constexpr double kInt8QuerySteps = 127 * 128;

/// E1 and E7: error of a score whose terms have magnitude 1, for a query whose
/// largest entry is `queryPeak` of its length.
double scoreError(const ProblemSpec &spec, double queryPeak) {
  double roundings = kScoreRoundings + std::sqrt(double(spec.keyDim));
  if (spec.softcap > 0)
    roundings += kSoftcapRoundings;
  double error = roundings * kUnit;
  if (spec.keyType == ElementType::I8)
    error += 3 / std::sqrt(12.0) * queryPeak / kInt8QuerySteps;
  return error;
}

/// Mean absolute deviation of values in [-1, 1] from their weighted mean when
/// one of the weights is `topWeight`: 4 w (1 - w), at most 1.
double spread(double topWeight) {
  double w = std::max(topWeight, 0.5);
  return 4 * w * std::max(0.0, 1 - w);
}

/// E1 to E5 for one row and head, values of magnitude `maxAbsValue`.
Tolerance rowTolerance(const ProblemSpec &spec, const AttentionResult &expected,
                       size_t row) {
  double top = expected.topScoreScale[row], mean = expected.meanScoreScale[row];
  double spreading = spread(expected.topWeight[row]);
  double weights = kExpEvaluations * kExp2Error; // E2
  double keys = double(expected.numVisible[row]);
  double sums = std::sqrt(keys) * kUnit; // E3
  double scores = scoreError(spec, expected.queryPeak[row]);
  Tolerance result;
  result.f32Part = expected.maxAbsValue *
                   (scores * std::min(spreading * top, 2 * mean) +
                    weights * spreading + 2 * sums + kOutputRoundings * kUnit);
  double magnitude = std::abs(expected.lse[row]) + std::log1p(keys);
  result.lse =
      scores * mean + weights + sums + kLseRoundings * kUnit * magnitude;
  return result;
}

double absError(double expected, double got) {
  if (expected == got) // equal infinities too
    return 0;
  double error = std::abs(expected - got);
  return std::isfinite(error) ? error : std::numeric_limits<double>::infinity();
}

template <typename Element>
Comparison compareElements(const std::vector<double> &expected,
                           const Element &element) {
  Comparison result;
  for (size_t i = 0; i < expected.size(); ++i) {
    double got = element(i);
    double error = absError(expected[i], got);
    result.numBad += std::isinf(error);
    if (error <= result.maxAbsError)
      continue;
    result.maxAbsError = error;
    result.worstIndex = static_cast<int64_t>(i);
    result.got = got;
    result.expected = expected[i];
  }
  return result;
}

} // namespace

Tolerance deriveTolerance(const Problem &problem,
                          const AttentionResult &expected,
                          const OracleOptions &options) {
  Tolerance result;
  for (size_t row = 0; row < expected.lse.size(); ++row) {
    if (std::isinf(expected.lse[row]))
      continue; // exact: out 0, lse -inf
    Tolerance ofRow = rowTolerance(problem.spec, expected, row);
    result.f32Part = std::max(result.f32Part, ofRow.f32Part);
    result.lse = std::max(result.lse, ofRow.lse);
  }
  result.out = result.f32Part;
  if (problem.spec.outputType == ElementType::F32)
    return result;
  AttentionResult reference = roundedReference(problem, options);
  result.reference = compare(expected.out, reference.out).maxAbsError;
  result.out = std::max(2 * result.reference, // E6
                        result.reference + 2 * result.f32Part);
  return result;
}

double f32StartTolerance(int64_t kvLen) {
  constexpr double kPerRootToken = 2e-5;
  return kPerRootToken * std::sqrt(double(kvLen));
}

Comparison compare(const std::vector<double> &expected, const void *got,
                   ElementType type) {
  return compareElements(expected,
                         [&](size_t i) { return loadElement(type, got, i); });
}

Comparison compare(const std::vector<double> &expected,
                   const std::vector<double> &got) {
  if (expected.size() != got.size()) {
    Comparison result;
    result.maxAbsError = std::numeric_limits<double>::infinity();
    result.numBad = static_cast<int64_t>(expected.size());
    return result;
  }
  return compareElements(expected, [&](size_t i) { return got[i]; });
}

} // namespace paged_attn::oracle
