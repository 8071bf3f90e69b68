//===- TestUtils.h - Shared helpers of the oracle's tests -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Small specs, problems by hand and bitwise comparisons.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TEST_ORACLE_TESTUTILS_H
#define PAGED_ATTN_TEST_ORACLE_TESTUTILS_H

#include "paged_attn/Oracle/Oracle.h"

#include "gtest/gtest.h"

#include <cstring>

namespace paged_attn::oracle {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A layout that must parse.
inline PoolLayout layoutOf(const std::string &text) {
  std::string error;
  std::optional<PoolLayout> layout = PoolLayout::parse(text, error);
  EXPECT_TRUE(layout) << error;
  return layout ? *layout : PoolLayout();
}

/// A problem that must build.
inline Problem build(const ProblemSpec &spec, uint64_t seed = 1) {
  std::string error;
  std::optional<Problem> problem = makeProblem(spec, seed, error);
  EXPECT_TRUE(problem) << error;
  return problem ? std::move(*problem) : Problem();
}

/// Lengths with every edge: empty, one token, a page less one, a page, a page
/// and one; decode, prefill and chunked prefill side by side.
inline ProblemSpec raggedSpec() {
  ProblemSpec spec;
  spec.pageSize = 4;
  spec.qLens = {1, 0, 3, 4, 2, 0, 1, 5};
  spec.kvLens = {1, 0, 3, 4, 5, 7, 13, 11};
  spec.numHeads = 6;
  spec.numKvHeads = 2;
  spec.keyDim = 12;
  spec.valueDim = 8;
  spec.paddingRows = 2;
  return spec;
}

/// Same bits, NaN included.
inline bool sameBits(const std::vector<double> &x,
                     const std::vector<double> &y) {
  return x.size() == y.size() &&
         (x.empty() ||
          std::memcmp(x.data(), y.data(), x.size() * sizeof(double)) == 0);
}
inline bool sameBits(const Buffer &x, const Buffer &y) {
  return x.numBytes() == y.numBytes() && bool(x) == bool(y) &&
         (x.numBytes() == 0 ||
          std::memcmp(x.data(), y.data(), x.numBytes()) == 0);
}
inline bool sameBits(const AttentionResult &x, const AttentionResult &y) {
  return sameBits(x.out, y.out) && sameBits(x.lse, y.lse);
}

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_TEST_ORACLE_TESTUTILS_H
