//===- ObserveTest.cpp - Stats, events, texts -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the counters count, that replayed events give the cache, and the form
// of the texts.
//
//===----------------------------------------------------------------------===//

#include "OperationStream.h"

#include <gtest/gtest.h>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

class ObserveTest : public testing::Test {
protected:
  void SetUp() override {
    ManagerOptions options = tinyOptions(4, 12);
    options.maxEvents = 4096;
    options.clock = [](void *context) {
      return *static_cast<uint64_t *>(context);
    };
    options.clockContext = &now;
    ASSERT_OK(KVCacheManager::create(options, manager));
  }
  SeqId add(const std::vector<TokenId> &tokens) {
    SeqId sequence = kNoSequence;
    EXPECT_OK(manager->addSequence(PrefixDomain(), sequence));
    SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()), 0,
                        nullptr};
    EXPECT_OK(manager->allocateSlots(&request, 1));
    EXPECT_OK(manager->commit(&sequence, 1));
    return sequence;
  }
  uint64_t now = 0;
  std::unique_ptr<KVCacheManager> manager;
};

TEST_F(ObserveTest, CountersCount) {
  SeqId a = add(iota(10));
  ManagerStats stats;
  ASSERT_OK(manager->stats(stats));
  EXPECT_EQ(stats.groups[0].livePages, 3);
  EXPECT_EQ(stats.groups[0].cachedPages, 3);
  EXPECT_EQ(stats.groups[0].partlyFilledPages, 1);
  EXPECT_EQ(stats.groups[0].freePages, 8);
  EXPECT_EQ(stats.groups[0].wastedSlots, 2);
  EXPECT_EQ(stats.cachedTokens, 10);
  now = 100;
  ASSERT_OK(manager->freeSequence(a));
  now = 300;
  std::vector<TokenId> prompt = iota(8);
  prompt.push_back(99);
  PrefixMatch match;
  ASSERT_OK(manager->matchPrefix(prompt.data(), 9, PrefixDomain(), match));
  ASSERT_OK(manager->releaseMatch(match.handle));
  ASSERT_OK(manager->stats(stats));
  EXPECT_EQ(stats.prefixQueries, 1u);
  EXPECT_EQ(stats.hitTokens, 8u);
  EXPECT_DOUBLE_EQ(stats.hitRate, 8.0 / 9.0);
  // Two hits, 200 ms after the last use: bucket [128, 256).
  EXPECT_EQ(stats.groups[0].reuseGapMs.counts[8], 2u);
  EXPECT_EQ(stats.groups[0].reuseGapMs.total, 2u);
  now = 1300;
  ASSERT_OK(manager->resetPrefixCache());
  ASSERT_OK(manager->stats(stats));
  EXPECT_EQ(stats.groups[0].evictions, 3u);
  EXPECT_EQ(stats.groups[0].idleMs.counts[10], 2u);     // 1000 ms.
  EXPECT_EQ(stats.groups[0].idleMs.counts[11], 1u);     // 1200 ms: unused.
  EXPECT_EQ(stats.groups[0].lifetimeMs.counts[11], 3u); // 1300 ms.
  EXPECT_EQ(stats.groups[0].cachedPages, 0);
}

TEST_F(ObserveTest, EventsAreOrderedAndReplayToTheCache) {
  SeqId a = add(iota(8)), b = add(iota(12, 40));
  ASSERT_OK(manager->freeSequence(a));
  ASSERT_OK(manager->freeSequence(b));
  add(iota(30, 100)); // Evicts.
  std::vector<CacheEvent> events(100);
  int64_t count;
  uint64_t next;
  ASSERT_OK(manager->readEvents(0, events.data(), 100, count, next));
  ASSERT_EQ(uint64_t(count), next);
  for (int64_t i = 0; i < count; ++i)
    EXPECT_EQ(events[size_t(i)].sequence, uint64_t(i));
  EventReplay replay;
  ASSERT_OK(replay.apply(events.data(), count));
  ManagerStats stats;
  ASSERT_OK(manager->stats(stats));
  EXPECT_EQ(replay.numCached(0),
            stats.groups[0].cachedPages - stats.groups[0].partlyFilledPages);
  EXPECT_CODE(replay.apply(&events[0], 1), StatusCode::FailedPrecondition);
  EXPECT_CODE(manager->readEvents(next + 1, events.data(), 1, count, next),
              StatusCode::OutOfRange);
}

TEST_F(ObserveTest, EqualTokensHaveEqualHashesInOtherManagers) {
  add(iota(8));
  CacheEvent mine[2], theirs[2];
  int64_t count;
  uint64_t next;
  ASSERT_OK(manager->readEvents(0, mine, 2, count, next));
  SetUp();
  add(iota(4, 70)); // Other pages.
  add(iota(8));
  ASSERT_OK(manager->readEvents(1, theirs, 2, count, next));
  EXPECT_NE(mine[1].page, theirs[1].page);
  EXPECT_EQ(mine[1].hash, theirs[1].hash);
  EXPECT_EQ(mine[1].parentHash, mine[0].hash);
}

TEST_F(ObserveTest, LostEventsAreSaid) {
  ManagerOptions options = tinyOptions(4, 64);
  options.maxEvents = 4;
  ASSERT_OK(KVCacheManager::create(options, manager));
  add(iota(40));
  CacheEvent events[8];
  int64_t count;
  uint64_t next;
  Status status = manager->readEvents(0, events, 8, count, next);
  EXPECT_EQ(status.code(), StatusCode::OutOfRange);
  EXPECT_STREQ(status.message(), "expected an event in [6, 10], got 0");
  EXPECT_OK(manager->readEvents(6, events, 8, count, next));
  EXPECT_EQ(count, 4);
}

TEST_F(ObserveTest, PrometheusTextHasTypesAndSamples) {
  add(iota(10));
  std::string text;
  ASSERT_OK(manager->prometheusText(text));
  for (const char *line :
       {"# TYPE paged_attn_pages gauge\n",
        "paged_attn_pages{group=\"0\",state=\"live\"} 3\n",
        "# TYPE paged_attn_page_allocations_total counter\n",
        "paged_attn_page_allocations_total{group=\"0\"} 3\n",
        "# TYPE paged_attn_page_idle_ms histogram\n",
        "paged_attn_page_idle_ms_bucket{group=\"0\",le=\"+Inf\"} 0\n",
        "paged_attn_tokens 10\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line;
  EXPECT_EQ(text.back(), '\n');
}

TEST_F(ObserveTest, DumpsReadWell) {
  SeqId a = add(iota(10)), b;
  ASSERT_OK(manager->fork(a, 5, b));
  std::string text;
  ASSERT_OK(manager->dumpText(0, text));
  EXPECT_EQ(text, "group 0: pages of 4 slots, 11 usable, 8 free, 0 "
                  "reclaimable (* shared, . unmapped)\n"
                  "sequence 0: 10 tokens, 10 committed: 1..2* 3\n"
                  "sequence 1: 5 tokens, 5 committed: 1..2*\n");
  ASSERT_OK(manager->dumpSvg(0, text));
  EXPECT_EQ(text.rfind("<svg ", 0), 0u);
  EXPECT_NE(text.find("</svg>\n"), std::string::npos);
  EXPECT_CODE(manager->dumpText(1, text), StatusCode::NotFound);
}

TEST_F(ObserveTest, BookkeepingIsUnder64BytesPerPage) {
  for (EvictionPolicy policy :
       {EvictionPolicy::LRU, EvictionPolicy::LFU, EvictionPolicy::SLRU,
        EvictionPolicy::FIFO, EvictionPolicy::Priority})
    for (int64_t pages : {1024, 100000, 1 << 20}) {
      ManagerOptions options = tinyOptions(16, pages);
      options.ownMemory = false;
      options.policy = policy;
      ASSERT_OK(KVCacheManager::create(options, manager));
      EXPECT_LT(double(manager->bookkeepingBytes(0)) / double(pages), 64.0);
    }
}

} // namespace
