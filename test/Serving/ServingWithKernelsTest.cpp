//===- ServingWithKernelsTest.cpp - Manager and compiled kernels ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The random serving workload of the runtime's tests with compiled append and
// attention kernels in the place of its scalar loops: the manager's views go
// into the kernels as they are, fresh pages are full of NaN.
//
//===----------------------------------------------------------------------===//

#include "CompiledAttention.h"

#include <gtest/gtest.h>

#include <cmath>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

struct ServingCase {
  mlir::paged_attn::Via via;
  int32_t pageSize;
  PageLayout layout;
  uint32_t seed;
};

class ServingWithKernels : public testing::TestWithParam<ServingCase> {};

/// T32 of docs/Numerics.md for queries, keys and values in [-1, 1] (V = 1,
/// spread at most 2) and the scale 1 / sqrt(Dk), so that |scores| are at most
/// sqrt(Dk).
double derivedTolerance(double keyDim, double maxTokens) {
  const double u = std::ldexp(1.0, -24), exp2Error = 8.5e-8;
  double score = (std::sqrt(keyDim) + 6) * u * std::sqrt(keyDim);
  return score + 3 * exp2Error + 2 * std::sqrt(maxTokens) * u + 6 * u;
}

TEST_P(ServingWithKernels, EveryOutputAgreesWithDenseAttention) {
  ManagerOptions options =
      servingOptions(GetParam().pageSize, GetParam().layout);
  std::unique_ptr<KVCacheManager> manager;
  ASSERT_OK(KVCacheManager::create(options, manager));
  CompiledAttention compiled(GetParam().via);
  std::string error;
  auto attention = [&](const AttentionStep &step) {
    if (error.empty())
      compiled.run(
          step,
          options.numPages[step.spec->windowKind == WindowKind::Full      ? 0
                           : step.spec->windowKind == WindowKind::Sliding ? 1
                                                                          : 2],
          error);
  };
  WorkloadOptions workload;
  workload.seed = GetParam().seed;
  workload.tolerance =
      derivedTolerance(options.groups[0].keys.dim, options.maxTokens);
  WorkloadReport report;
  EXPECT_EQ(runWorkload(*manager, options, workload, attention, report), "");
  EXPECT_EQ(error, "");
  EXPECT_EQ(compiled.getNumKernels(), 3u);
  EXPECT_GT(report.comparedRows, 0);
  EXPECT_GT(report.forks, 0);
  EXPECT_GT(report.swapIns, 0);
  EXPECT_GT(report.preemptions, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Cases, ServingWithKernels,
    testing::Values(
        ServingCase{mlir::paged_attn::Via::Vector, 4, PageLayout::HDS, 2},
        ServingCase{mlir::paged_attn::Via::Linalg, 7, PageLayout::HSD, 3},
        ServingCase{mlir::paged_attn::Via::Vector, 16, PageLayout::SHD, 4},
        ServingCase{mlir::paged_attn::Via::Reference, 4, PageLayout::SHD, 5}),
    [](const auto &info) {
      using mlir::paged_attn::Via;
      return std::string(info.param.via == Via::Vector   ? "vector"
                         : info.param.via == Via::Linalg ? "linalg"
                                                         : "reference") +
             "PageSize" + std::to_string(info.param.pageSize);
    });

} // namespace
