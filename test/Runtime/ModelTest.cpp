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

std::string runStream(EvictionPolicy policy, uint64_t seed, int64_t count,
                      int64_t &succeeded) {
  RandomChoices choices(seed);
  OperationStream stream(streamOptions(policy), choices);
  for (int64_t i = 0; i < count; ++i) {
    std::string text = stream.step();
    if (text.empty() && i % kCheckEvery == 0)
      text = stream.check();
    if (!text.empty())
      return "seed " + std::to_string(seed) + ", operation " +
             std::to_string(i) + ": " + text;
  }
  succeeded += stream.succeeded();
  return stream.check();
}

TEST_P(ModelTest, RandomOperationsAgreeWithTheModel) {
  int64_t left = numOperations() / 6, succeeded = 0;
  auto seed = uint64_t(GetParam()) * 1000000;
  for (; left > 0; left -= kOperationsPerStream, ++seed) {
    std::string text = runStream(
        GetParam(), seed, std::min(left, kOperationsPerStream), succeeded);
    ASSERT_EQ(text, "");
  }
  // Streams that are refused all the time would prove nothing.
  EXPECT_GT(succeeded, numOperations() / 6 / 3);
}

INSTANTIATE_TEST_SUITE_P(
    Policies, ModelTest,
    testing::Values(EvictionPolicy::LRU, EvictionPolicy::LFU,
                    EvictionPolicy::SLRU, EvictionPolicy::FIFO,
                    EvictionPolicy::Priority, EvictionPolicy::Callback));

} // namespace
