//===- CoverageCases.h - The cases of the coverage tests --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One list of cases per axis; each case leaves the other axes at small, odd
// defaults.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TEST_INTEGRATION_COVERAGECASES_H
#define PAGED_ATTN_TEST_INTEGRATION_COVERAGECASES_H

#include "paged_attn/Kernel/KernelSpec.h"

#include <ostream>

namespace mlir::paged_attn {

/// One kernel and the problem that it runs on.
struct CoverageCase {
  std::string name; ///< letters, digits and _
  KernelSpec kernel;
  std::vector<std::pair<int64_t, int64_t>> lengths; ///< q_len, kv_len; tokens
  int64_t paddingRows = 0;                          ///< query rows
  int64_t numLayers = 1;                            ///< the last one is read
};

inline std::ostream &operator<<(std::ostream &os, const CoverageCase &test) {
  return os << test.name;
}

std::vector<CoverageCase> modeCases();      ///< modes and lengths
std::vector<CoverageCase> maskCases();      ///< causal, window, sinks, chunk
std::vector<CoverageCase> scoreCases();     ///< softcap, ALiBi, scale, lse, ...
std::vector<CoverageCase> headCases();      ///< MHA, GQA, MQA
std::vector<CoverageCase> quantisedCases(); ///< i8, f8E4M3FN and factors
std::vector<CoverageCase> typeCases();      ///< f32, f16, bf16 and mixes
std::vector<CoverageCase> layoutCases();    ///< layouts and kinds of pools
std::vector<CoverageCase> pageCases();      ///< page sizes, tables, index types
std::vector<CoverageCase> headDimCases();   ///< Dk and Dv

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_TEST_INTEGRATION_COVERAGECASES_H
