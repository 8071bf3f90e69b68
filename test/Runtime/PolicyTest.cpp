//===- PolicyTest.cpp - Order of reclaiming -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Which cached page goes first under each policy, on a manager whose clock the
// test sets. Prefixes of one page, named by their first token.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"

#include <gtest/gtest.h>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

constexpr int32_t kPageSize = 4;

class PolicyTest : public testing::Test {
protected:
  void make(EvictionPolicy policy, EvictionScore score = nullptr) {
    ManagerOptions options = tinyOptions(kPageSize, 7); // Six usable pages.
    options.policy = policy;
    options.score = score;
    options.clock = [](void *context) {
      return *static_cast<uint64_t *>(context);
    };
    options.clockContext = &now;
    ASSERT_OK(KVCacheManager::create(options, manager));
  }
  /// Puts tokens first .. first + 4 * pages into the cache.
  void cache(TokenId first, int32_t pages = 1, int priority = -1,
             uint32_t ttlMs = 0) {
    std::vector<TokenId> tokens = iota(pages * kPageSize, first);
    SeqId sequence;
    ASSERT_OK(manager->addSequence(PrefixDomain(), sequence));
    SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()), 0,
                        nullptr};
    ASSERT_OK(manager->allocateSlots(&request, 1));
    ASSERT_OK(manager->runPendingWork());
    ASSERT_OK(manager->commit(&sequence, 1));
    if (priority >= 0)
      ASSERT_OK(manager->setPriority(sequence, 0, int32_t(tokens.size()),
                                     priority, ttlMs));
    ASSERT_OK(manager->freeSequence(sequence));
    ++now;
  }
  void use(TokenId first, int32_t pages = 1) {
    std::vector<TokenId> tokens = iota(pages * kPageSize, first);
    PrefixMatch match;
    ASSERT_OK(manager->matchPrefix(tokens.data(), int32_t(tokens.size()),
                                   PrefixDomain(), match));
    ASSERT_EQ(match.numTokens, pages * kPageSize);
    ASSERT_OK(manager->releaseMatch(match.handle));
    ++now;
  }
  /// Makes room for `pages` pages that are not kept.
  void evict(int32_t pages) {
    ManagerStats stats;
    ASSERT_OK(manager->stats(stats));
    std::vector<TokenId> tokens =
        iota((pages + int32_t(stats.groups[0].freePages)) * kPageSize, 100000);
    SeqId sequence;
    ASSERT_OK(manager->addSequence(PrefixDomain(), sequence));
    SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()), 0,
                        nullptr};
    ASSERT_OK(manager->allocateSlots(&request, 1));
    ASSERT_OK(manager->freeSequence(sequence));
    EXPECT_OK(manager->checkInvariants());
  }
  int32_t cached(TokenId first, int32_t pages = 1) {
    std::vector<TokenId> tokens = iota(pages * kPageSize, first);
    int32_t matched = -1;
    EXPECT_OK(manager->peekPrefix(tokens.data(), int32_t(tokens.size()),
                                  PrefixDomain(), matched));
    return matched / kPageSize;
  }
  uint64_t now = 1000;
  std::unique_ptr<KVCacheManager> manager;
};

TEST_F(PolicyTest, LRUReclaimsTheLeastRecentlyUsed) {
  make(EvictionPolicy::LRU);
  cache(0);
  cache(10);
  cache(20);
  use(0);
  evict(1);
  EXPECT_EQ(cached(0), 1);
  EXPECT_EQ(cached(10), 0);
  EXPECT_EQ(cached(20), 1);
}

TEST_F(PolicyTest, TheTailOfASequenceGoesBeforeItsHead) {
  for (EvictionPolicy policy :
       {EvictionPolicy::LRU, EvictionPolicy::LFU, EvictionPolicy::SLRU,
        EvictionPolicy::FIFO, EvictionPolicy::Priority,
        EvictionPolicy::Callback}) {
    // A score that would rather reclaim heads.
    make(policy,
         [](void *, const IdlePage &page) { return uint64_t(page.page); });
    cache(0, 4);
    for (int32_t left = 3; left > 0; --left) {
      evict(1);
      EXPECT_EQ(cached(0, 4), left) << int(policy);
    }
  }
}

TEST_F(PolicyTest, LFUReclaimsTheLeastOftenUsed) {
  make(EvictionPolicy::LFU);
  cache(0);
  cache(10);
  use(0);
  use(0);
  use(10);
  cache(20);
  use(20);
  use(20);
  evict(1);
  EXPECT_EQ(cached(10), 0);
  EXPECT_EQ(cached(0), 1);
  EXPECT_EQ(cached(20), 1);
}

TEST_F(PolicyTest, SLRUProtectsWhatWasUsedAgainFromAScan) {
  for (EvictionPolicy policy : {EvictionPolicy::SLRU, EvictionPolicy::LRU}) {
    make(policy);
    cache(500);
    cache(600);
    cache(0);
    use(0);
    for (TokenId scan = 10; scan < 100; scan += 10)
      cache(scan);
    EXPECT_EQ(cached(0), policy == EvictionPolicy::SLRU ? 1 : 0);
  }
}

TEST_F(PolicyTest, FIFOReclaimsTheFirstCachedWhateverItsUse) {
  make(EvictionPolicy::FIFO);
  cache(0);
  cache(10);
  use(0);
  evict(1);
  EXPECT_EQ(cached(0), 0);
  EXPECT_EQ(cached(10), 1);
}

TEST_F(PolicyTest, PriorityReclaimsTheLowestFirst) {
  make(EvictionPolicy::Priority);
  cache(0, 1, 80);
  cache(10, 1, 10);
  cache(20);
  evict(1);
  EXPECT_EQ(cached(10), 0);
  evict(1);
  EXPECT_EQ(cached(20), 0);
  EXPECT_EQ(cached(0), 1);
}

TEST_F(PolicyTest, APriorityEndsWithItsTimeToLive) {
  make(EvictionPolicy::Priority);
  cache(0, 1, 90, /*ttlMs=*/1000);
  cache(10, 1, 50);
  now += 5000;
  evict(1);
  EXPECT_EQ(cached(0), 0); // Fell to the default of 35.
  EXPECT_EQ(cached(10), 1);
}

TEST_F(PolicyTest, APriorityHoldsUntilItsTimeToLive) {
  make(EvictionPolicy::Priority);
  cache(0, 1, 90, /*ttlMs=*/60000);
  cache(10, 1, 50);
  now += 5000;
  evict(1);
  EXPECT_EQ(cached(0), 1);
  EXPECT_EQ(cached(10), 0);
}

TEST_F(PolicyTest, TheCallbackDecides) {
  make(EvictionPolicy::Callback, [](void *, const IdlePage &page) {
    return uint64_t(page.uses > 0 ? 0 : 9);
  });
  cache(0);
  cache(10);
  use(10); // The callback prefers what was used.
  evict(1);
  EXPECT_EQ(cached(0), 1);
  EXPECT_EQ(cached(10), 0);
}

TEST_F(PolicyTest, DroppedSequencesLeaveNothing) {
  make(EvictionPolicy::LRU);
  cache(0, 2);
  std::vector<TokenId> tokens = iota(8, 50);
  SeqId sequence;
  ASSERT_OK(manager->addSequence(PrefixDomain(), sequence));
  SlotRequest request{sequence, tokens.data(), 8, 0, nullptr};
  ASSERT_OK(manager->allocateSlots(&request, 1));
  ASSERT_OK(manager->commit(&sequence, 1));
  ASSERT_OK(manager->freeSequence(sequence, KeepCache::Drop));
  EXPECT_EQ(cached(50, 2), 0);
  EXPECT_EQ(cached(0, 2), 2);
}

} // namespace
