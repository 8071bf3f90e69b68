//===- ServingTest.cpp - The random serving workload ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs ServingWorkload with plain loops as the attention step, over full and
// windowed groups, scarce pages, several layouts, unread slots full of NaN.
//
//===----------------------------------------------------------------------===//

#include "ServingWorkload.h"

#include <gtest/gtest.h>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

struct ServingCase {
  int32_t pageSize;
  PageLayout layout;
  uint32_t seed;
};

class ServingTest : public testing::TestWithParam<ServingCase> {};

TEST_P(ServingTest, EveryOutputAgreesWithDenseAttention) {
  ManagerOptions options =
      servingOptions(GetParam().pageSize, GetParam().layout);
  std::unique_ptr<KVCacheManager> manager;
  ASSERT_OK(KVCacheManager::create(options, manager));
  WorkloadOptions workload;
  workload.seed = GetParam().seed;
  WorkloadReport report;
  ASSERT_EQ(runWorkload(*manager, options, workload, scalarAttention, report),
            "");
  for (int64_t happened :
       {report.prefillChunks, report.decodes, report.forks, report.accepted,
        report.rejected, report.preemptions, report.swapOuts, report.swapIns,
        report.frees, report.prefixHits})
    EXPECT_GT(happened, 0);
  std::printf("[ workload ] %lld rows compared, worst error %.2g, %lld "
              "preemptions, %lld prefix hits\n",
              static_cast<long long>(report.comparedRows), report.worstError,
              static_cast<long long>(report.preemptions),
              static_cast<long long>(report.prefixHits));
}

INSTANTIATE_TEST_SUITE_P(Cases, ServingTest,
                         testing::Values(ServingCase{1, PageLayout::SHD, 1},
                                         ServingCase{4, PageLayout::HDS, 2},
                                         ServingCase{7, PageLayout::HSD, 3},
                                         ServingCase{16, PageLayout::SHD, 4}),
                         [](const auto &info) {
                           return "pageSize" +
                                  std::to_string(info.param.pageSize);
                         });

} // namespace
