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

/// A full, a sliding-window and a sink-window group.
ManagerOptions servingOptions(int32_t pageSize, PageLayout layout) {
  ManagerOptions options = tinyOptions(pageSize);
  options.numGroups = 3;
  options.groups[0] = tinyGroup(pageSize);
  options.groups[1] = tinyWindow(pageSize + 1, WindowKind::Sliding, 20);
  options.groups[2] = tinyWindow(pageSize, WindowKind::SinkWindow, 13, 4);
  for (int32_t g = 0; g < options.numGroups; ++g) {
    GroupSpec &spec = options.groups[g];
    spec.numKVHeads = 2;
    spec.keys.dim = 6;
    spec.values.dim = 4;
    spec.keys.layout = spec.values.layout = layout;
    options.numPages[g] = 4 * 128 / spec.pageSize;
  }
  options.maxSequences = 24;
  options.maxTokens = 128;
  options.fill = FillMode::NaN;
  options.guardPage = true;
  return options;
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
      compiled.run(step, options.numPages[step.spec->windowKind ==
                                                  WindowKind::Full
                                              ? 0
                                          : step.spec->windowKind ==
                                                  WindowKind::Sliding
                                              ? 1
                                              : 2],
                   error);
  };
  WorkloadOptions workload;
  workload.seed = GetParam().seed;
  // f32 attention over at most 128 keys, values in [-1, 1]: 2e-5 * sqrt(L)
  // (docs/Numerics.md).
  workload.tolerance = 2e-5 * 11.4;
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
        ServingCase{mlir::paged_attn::Via::Linalg, 4, PageLayout::HDS, 2},
        ServingCase{mlir::paged_attn::Via::Linalg, 7, PageLayout::HSD, 3},
        ServingCase{mlir::paged_attn::Via::Linalg, 16, PageLayout::SHD, 4},
        ServingCase{mlir::paged_attn::Via::Reference, 4, PageLayout::SHD, 5}),
    [](const auto &info) {
      return (info.param.via == mlir::paged_attn::Via::Linalg ? "linalg"
                                                              : "reference") +
             std::string("PageSize") + std::to_string(info.param.pageSize);
    });

} // namespace
