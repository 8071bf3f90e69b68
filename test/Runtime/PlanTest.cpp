//===- PlanTest.cpp - Balance, cover and determinism of plans -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Random batches through `verifyPlan`, quality over skewed batches, plans that
// are advanced, stored, broken.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Plan.h"
#include "SkewedBatches.h"
#include "TestSupport.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <gtest/gtest.h>
#include <random>
#include <set>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

Plan planOf(const PlanOptions &options, const Batch &batch) {
  Plan plan;
  EXPECT_OK(buildPlan(options, batch.qLens.data(), batch.kvLens.data(),
                      batch.count(), plan));
  EXPECT_OK(
      verifyPlan(plan, batch.qLens.data(), batch.kvLens.data(), batch.count()));
  return plan;
}

TEST(PlanTest, RandomBatchesAreCovered) {
  std::mt19937 random(7);
  auto below = [&](int32_t bound) {
    return int32_t(random() % uint32_t(bound));
  };
  for (int round = 0; round < 2000; ++round) {
    PlanOptions options;
    options.numKVHeads = 1 + below(4);
    options.pageSize = 1 + below(20);
    options.queryTile = 1 + below(40);
    options.numWorkers = 1 + below(9);
    options.splits = SplitMode(below(3));
    options.splitTokens = options.pageSize * (1 + below(8));
    options.causal = below(3) != 0;
    options.windowKind = WindowKind(below(4));
    options.window = 1 + below(60);
    options.sinkTokens = below(10);
    Batch batch;
    for (int32_t n = below(8); n > 0; --n) {
      int32_t kv = below(300);
      batch.add(std::min(kv, below(4) ? below(2) : below(120)), kv);
    }
    Plan plan = planOf(options, batch);
    ASSERT_FALSE(HasFailure()) << "round " << round;
    EXPECT_GE(plan.makespan, plan.lowerBound * (1 - 1e-9));
  }
}

TEST(PlanTest, MakespanIsCloseToTheLowerBoundOverSkewedBatches) {
  for (int32_t workers : {2, 8, 16, 132})
    for (const auto &[name, batch] : skewedBatches()) {
      PlanOptions options;
      options.numKVHeads = 8;
      options.numWorkers = workers;
      Plan balanced = planOf(options, batch);
      options.splits = SplitMode::None;
      Plan whole = planOf(options, batch);
      std::printf("[ quality  ] %3d workers, %-11s balanced %.3f (%d "
                  "partials), without splits %.3f\n",
                  workers, name.c_str(), balanced.quality(),
                  balanced.numPartials, whole.makespan / balanced.lowerBound);
      EXPECT_LE(balanced.quality(), 1.05) << name << " on " << workers;
      EXPECT_LE(balanced.makespan, whole.makespan * (1 + 1e-9));
    }
}

/// Cuts of one sequence, over heads and rows.
std::set<std::vector<int32_t>> cutsOf(const Plan &plan, int32_t sequence) {
  std::set<std::vector<int32_t>> cuts;
  for (const WorkItem &item : plan.items)
    if (item.sequence == sequence)
      cuts.insert({item.head, item.queryBegin, item.queryEnd, item.kvBegin,
                   item.kvEnd});
  return cuts;
}

TEST(PlanTest, FixedSplitsDoNotDependOnTheBatch) {
  PlanOptions options;
  options.splits = SplitMode::Fixed;
  options.splitTokens = 256;
  options.numKVHeads = 2;
  Batch alone, crowd;
  alone.add(1, 3000);
  crowd.add(5, 100);
  crowd.add(1, 3000);
  for (int i = 0; i < 50; ++i)
    crowd.add(1, 17 * i + 1);
  options.numWorkers = 3;
  Plan first = planOf(options, alone);
  options.numWorkers = 11;
  Plan second = planOf(options, crowd);
  EXPECT_EQ(cutsOf(first, 0), cutsOf(second, 1));
}

TEST(PlanTest, APlanAdvancesByOneToken) {
  for (SplitMode splits :
       {SplitMode::None, SplitMode::Balanced, SplitMode::Fixed}) {
    PlanOptions options;
    options.numWorkers = 4;
    options.numKVHeads = 2;
    options.splits = splits;
    options.splitTokens = 64;
    Batch batch;
    for (int32_t kv : {5, 63, 64, 200, 1000})
      batch.add(1, kv);
    Plan plan = planOf(options, batch);
    int advanced = 0;
    for (int step = 0; step < 300; ++step) {
      for (int32_t &kv : batch.kvLens)
        ++kv;
      PlanUpdate done;
      ASSERT_OK(updatePlan(batch.qLens.data(), batch.kvLens.data(),
                           batch.count(), plan, done));
      advanced += done == PlanUpdate::Advanced;
      ASSERT_OK(verifyPlan(plan, batch.qLens.data(), batch.kvLens.data(),
                           batch.count()));
      if (splits != SplitMode::Balanced) {
        Plan fresh = planOf(options, batch);
        for (int32_t b = 0; b < batch.count(); ++b)
          ASSERT_EQ(cutsOf(plan, b), cutsOf(fresh, b)) << step;
      }
      ASSERT_LE(plan.lowerBound, plan.makespan * (1 + 1e-9));
    }
    EXPECT_GT(advanced, 200);
    PlanUpdate done;
    ASSERT_OK(updatePlan(batch.qLens.data(), batch.kvLens.data(), batch.count(),
                         plan, done));
    EXPECT_EQ(done, PlanUpdate::Kept);
  }
}

TEST(PlanTest, BadLengthsAreRefused) {
  PlanOptions options;
  Plan plan;
  int32_t q[1] = {5}, kv[1] = {4};
  Status status = buildPlan(options, q, kv, 1, plan);
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_STREQ(status.message(),
               "expected 0 <= q_len <= kv_len of sequence 0, got 5 and 4");
  options.splits = SplitMode::Fixed;
  options.splitTokens = 10;
  EXPECT_CODE(buildPlan(options, kv, kv, 1, plan), StatusCode::InvalidArgument);
  options.pageSize = options.splitTokens = options.queryTile = 1;
  q[0] = 100000;
  kv[0] = 1000000;
  EXPECT_CODE(buildPlan(options, q, kv, 1, plan), StatusCode::InvalidArgument);
}

Batch smallBatch() {
  Batch batch;
  batch.add(1, 9000);
  batch.add(70, 100);
  batch.add(0, 9);
  return batch;
}

TEST(PlanTest, VerifyFindsEveryKindOfHarm) {
  Batch batch = smallBatch();
  PlanOptions options;
  options.numWorkers = 7;
  options.numKVHeads = 2;
  const Plan good = planOf(options, batch);
  ASSERT_GT(good.numPartials, 0);
  auto refused = [&](const char *what, auto &&harm) {
    SCOPED_TRACE(what);
    Plan plan = good;
    harm(plan);
    EXPECT_CODE(verifyPlan(plan, batch.qLens.data(), batch.kvLens.data(),
                           batch.count()),
                StatusCode::FailedPrecondition);
  };
  for (size_t i = 0; i < good.items.size(); ++i) {
    refused("end", [&](Plan &p) { p.items[i].kvEnd -= 1; });
    refused("begin", [&](Plan &p) { p.items[i].kvBegin += 16; });
    refused("rows", [&](Plan &p) { p.items[i].queryEnd += 1; });
    refused("head", [&](Plan &p) { p.items[i].head ^= 1; });
    refused("sequence", [&](Plan &p) { p.items[i].sequence = 2; });
    refused("partial", [&](Plan &p) { p.items[i].partial += 1; });
    refused("twice", [&](Plan &p) {
      p.items.push_back(p.items[i]);
      ++p.workerBegin.back();
    });
    refused("missing", [&](Plan &p) {
      p.items.erase(p.items.begin() + ptrdiff_t(i));
      for (int32_t &begin : p.workerBegin)
        begin -= begin > int32_t(i);
    });
  }
  for (size_t i = 0; i < good.merges.size(); ++i) {
    refused("merge", [&](Plan &p) { p.merges[i].numPartials -= 1; });
    refused("merge head", [&](Plan &p) { p.merges[i].head ^= 1; });
    refused("no merge",
            [&](Plan &p) { p.merges.erase(p.merges.begin() + ptrdiff_t(i)); });
  }
  refused("lengths", [&](Plan &p) { p.kvLens[0] += 1; });
  refused("workers", [&](Plan &p) { p.workerBegin[1] = 1000; });
}

TEST(PlanTest, PlansAreStoredAndHarmedBytesRefused) {
  Batch batch = smallBatch();
  PlanOptions options;
  options.numWorkers = 4;
  options.windowKind = WindowKind::SinkWindow;
  options.window = 128;
  options.sinkTokens = 4;
  Plan plan = planOf(options, batch), loaded;
  std::vector<uint8_t> bytes, again;
  ASSERT_OK(savePlan(plan, bytes));
  ASSERT_OK(loadPlan(bytes.data(), bytes.size(), loaded));
  ASSERT_OK(savePlan(loaded, again));
  EXPECT_EQ(bytes, again);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= 0x10;
    EXPECT_CODE(loadPlan(bytes.data(), bytes.size(), loaded),
                StatusCode::DataLoss);
    bytes[i] ^= 0x10;
    std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + ptrdiff_t(i));
    EXPECT_CODE(loadPlan(cut.data(), cut.size(), loaded), StatusCode::DataLoss);
  }
}

/// Bytes of a few hundred may name any number of heads.
TEST(PlanTest, ManyHeadsWithoutRowsAreCheckedAtOnce) {
  PlanOptions options;
  options.numKVHeads = INT32_MAX;
  std::vector<int32_t> qLens(64, 0), kvLens(64, 5);
  Plan plan;
  std::vector<uint8_t> bytes;
  ASSERT_OK(buildPlan(options, qLens.data(), kvLens.data(), 64, plan));
  ASSERT_OK(savePlan(plan, bytes));
  auto begin = std::chrono::steady_clock::now();
  ASSERT_OK(loadPlan(bytes.data(), bytes.size(), plan));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
}

} // namespace
