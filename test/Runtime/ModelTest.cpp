//===- ModelTest.cpp - Random operations against a model ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs OperationStream with every eviction policy. The environment variable
// PAGED_ATTN_MODEL_OPERATIONS sets how many operations there are in all.
//
//===----------------------------------------------------------------------===//

#include "OperationStream.h"

#include <gtest/gtest.h>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

constexpr int64_t kDefaultOperations = 100000;
constexpr int64_t kOperationsPerStream = 2000;
constexpr int64_t kCheckEvery = 25;

int64_t numOperations() {
  const char *text = std::getenv("PAGED_ATTN_MODEL_OPERATIONS");
  return text ? std::strtoll(text, nullptr, 10) : kDefaultOperations;
}

class ModelTest : public testing::TestWithParam<EvictionPolicy> {};

/// What streams did, so that a test can ask whether all of it happened.
struct Coverage {
  int64_t succeeded = 0;
  uint64_t evictions = 0, partialHits = 0, hitTokens = 0, copies = 0, moves = 0,
           swapIns = 0;
  void add(const OperationStream &stream) {
    ManagerStats stats;
    EXPECT_OK(stream.target().stats(stats));
    succeeded += stream.succeeded();
    for (int32_t g = 0; g < stats.numGroups; ++g)
      evictions += stats.groups[g].evictions;
    partialHits += stats.partialHits;
    hitTokens += stats.hitTokens;
    copies += stats.copies;
    moves += stats.moves;
    swapIns += stats.swapIns;
  }
};

std::string runStream(EvictionPolicy policy, uint64_t seed, int64_t count,
                      Coverage &coverage) {
  RandomChoices choices(seed);
  OperationStream stream(streamOptions(policy, 1 + int32_t(seed % 4)), choices);
  for (int64_t i = 0; i < count; ++i) {
    std::string text = stream.step();
    if (text.empty() && i % kCheckEvery == 0)
      text = stream.check();
    if (!text.empty())
      return "seed " + std::to_string(seed) + ", operation " +
             std::to_string(i) + ": " + text;
  }
  coverage.add(stream);
  return stream.check();
}

TEST_P(ModelTest, RandomOperationsAgreeWithTheModel) {
  int64_t left = numOperations() / 6;
  Coverage coverage;
  auto seed = uint64_t(GetParam()) * 1000000;
  for (; left > 0; left -= kOperationsPerStream, ++seed) {
    std::string text = runStream(
        GetParam(), seed, std::min(left, kOperationsPerStream), coverage);
    ASSERT_EQ(text, "");
  }
  // Streams that are refused all the time would prove nothing.
  EXPECT_GT(coverage.succeeded, numOperations() / 6 / 3);
  for (uint64_t happened :
       {coverage.evictions, coverage.partialHits, coverage.hitTokens,
        coverage.copies, coverage.moves, coverage.swapIns})
    EXPECT_GT(happened, 0u);
  std::printf("[ coverage ] %lld calls succeeded, %llu evictions, %llu partial "
              "hits, %llu copies, %llu moves, %llu swap-ins\n",
              static_cast<long long>(coverage.succeeded),
              static_cast<unsigned long long>(coverage.evictions),
              static_cast<unsigned long long>(coverage.partialHits),
              static_cast<unsigned long long>(coverage.copies),
              static_cast<unsigned long long>(coverage.moves),
              static_cast<unsigned long long>(coverage.swapIns));
}

INSTANTIATE_TEST_SUITE_P(
    Policies, ModelTest,
    testing::Values(EvictionPolicy::LRU, EvictionPolicy::LFU,
                    EvictionPolicy::SLRU, EvictionPolicy::FIFO,
                    EvictionPolicy::Priority, EvictionPolicy::Callback));

} // namespace
