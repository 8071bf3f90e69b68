//===- PartialPageTest.cpp - Partly filled pages in the prefix cache ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The last page of a prompt enters the cache with the tokens it has. A match
// that ends in it copies them, and nobody ever writes over them.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"

#include <gtest/gtest.h>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

constexpr int32_t kPageSize = 4;

class PartialPageTest : public testing::Test {
protected:
  void SetUp() override { make(tinyOptions(kPageSize)); }
  void TearDown() override { EXPECT_OK(manager->checkInvariants()); }
  void make(const ManagerOptions &newOptions) {
    options = newOptions;
    ASSERT_OK(KVCacheManager::create(options, manager));
  }
  /// Appends tokens whose KV values are the tokens themselves.
  void append(SeqId sequence, const std::vector<TokenId> &tokens) {
    std::vector<int64_t> slots[2];
    int64_t *groups[2];
    for (int32_t g = 0; g < options.numGroups; ++g) {
      slots[g].resize(tokens.size());
      groups[g] = slots[g].data();
    }
    SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()), 0,
                        groups};
    ASSERT_OK(manager->allocateSlots(&request, 1));
    ASSERT_OK(manager->runPendingWork());
    for (int32_t g = 0; g < options.numGroups; ++g) {
      PoolMemory memory;
      ASSERT_OK(manager->poolMemory(g, memory));
      for (size_t i = 0; i < tokens.size(); ++i)
        writeSlot(memory, options.groups[g], slots[g][i], uint32_t(tokens[i]));
    }
    ASSERT_OK(manager->commit(&sequence, 1));
  }
  SeqId add(const std::vector<TokenId> &tokens,
            const PrefixDomain &domain = PrefixDomain()) {
    SeqId sequence = kNoSequence;
    EXPECT_OK(manager->addSequence(domain, sequence));
    append(sequence, tokens);
    return sequence;
  }
  /// A sequence of what the cache has of `tokens`, its KV values checked.
  SeqId match(const std::vector<TokenId> &tokens, int32_t expected,
              const PrefixDomain &domain = PrefixDomain()) {
    PrefixMatch found;
    SeqId sequence = kNoSequence;
    EXPECT_OK(manager->matchPrefix(tokens.data(), int32_t(tokens.size()),
                                   domain, found));
    EXPECT_EQ(found.numTokens, expected);
    EXPECT_OK(manager->addMatchedSequence(found.handle, sequence));
    EXPECT_OK(manager->runPendingWork());
    expectValues(sequence, tokens, found.numTokens);
    return sequence;
  }
  void expectValues(SeqId sequence, const std::vector<TokenId> &tokens,
                    int32_t count) {
    for (int32_t g = 0; g < options.numGroups; ++g) {
      const GroupSpec &spec = options.groups[g];
      std::vector<int32_t> table = tableOf(sequence, g);
      PoolMemory memory;
      ASSERT_OK(manager->poolMemory(g, memory));
      for (int64_t at = std::max<int64_t>(0, windowStart(spec, count));
           at < count; ++at)
        EXPECT_TRUE(slotHolds(memory, spec,
                              table[size_t(at / spec.pageSize)] *
                                      int64_t(spec.pageSize) +
                                  at % spec.pageSize,
                              uint32_t(tokens[size_t(at)])))
            << "group " << g << ", token " << at;
    }
  }
  std::vector<int32_t> tableOf(SeqId sequence, int32_t group = 0) {
    std::vector<int32_t> table(64);
    BatchViews views;
    views.pageTable = table.data();
    views.tableStride = int64_t(table.size());
    EXPECT_OK(manager->fillViews(group, &sequence, 1, views));
    return table;
  }
  GroupStats stats() {
    ManagerStats all;
    EXPECT_OK(manager->stats(all));
    return all.groups[0];
  }
  ManagerOptions options;
  std::unique_ptr<KVCacheManager> manager;
};

TEST_F(PartialPageTest, IsCopiedAfterItsSequenceIsFreed) {
  SeqId first = add(iota(10));
  std::vector<int32_t> pages = tableOf(first);
  ASSERT_OK(manager->freeSequence(first));
  EXPECT_EQ(stats().cachedPages, 3);
  EXPECT_EQ(stats().partlyFilledPages, 1);
  std::vector<TokenId> prompt = iota(13);
  PrefixMatch found;
  ASSERT_OK(manager->matchPrefix(prompt.data(), 12, PrefixDomain(), found));
  EXPECT_EQ(found.numTokens, 10);
  EXPECT_EQ(found.copiedTokens, 2);
  PageCopy copy;
  int64_t count;
  ASSERT_OK(manager->takePageCopies(&copy, 1, count));
  ASSERT_EQ(count, 1);
  EXPECT_EQ(copy.source, pages[2]);
  EXPECT_NE(copy.target, pages[2]);
  EXPECT_EQ(copy.numTokens, 2);
  ASSERT_OK(manager->releaseMatch(found.handle));
  match(prompt, 10);
}

TEST_F(PartialPageTest, IsCopiedWhileItsSequenceGoesOnInPlace) {
  SeqId first = add(iota(10));
  std::vector<int32_t> pages = tableOf(first);
  SeqId second = match(iota(11), 10);
  append(first, {50});
  EXPECT_EQ(tableOf(first), pages);
  append(second, {60});
  expectValues(first, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 50}, 11);
  expectValues(second, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 60}, 11);
}

TEST_F(PartialPageTest, IsNotWrittenWhileACopyWaits) {
  SeqId first = add(iota(10));
  std::vector<TokenId> prompt = iota(10);
  PrefixMatch found;
  ASSERT_OK(manager->matchPrefix(prompt.data(), 10, PrefixDomain(), found));
  ASSERT_EQ(found.numTokens, 10);
  append(first, {50}); // Runs the copy for the match, too.
  SeqId second;
  ASSERT_OK(manager->addMatchedSequence(found.handle, second));
  expectValues(second, prompt, 10);
  expectValues(first, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 50}, 11);
}

TEST_F(PartialPageTest, BecomesAFullPage) {
  SeqId first = add(iota(10));
  append(first, {10, 11});
  EXPECT_EQ(stats().partlyFilledPages, 0);
  EXPECT_EQ(stats().cachedPages, 3);
  match(iota(12), 12);
}

TEST_F(PartialPageTest, GrowsWithItsSequence) {
  SeqId first = add(iota(9));
  append(first, {9, 10});
  EXPECT_EQ(stats().partlyFilledPages, 1);
  match(iota(12), 11);
}

TEST_F(PartialPageTest, DecodedTokensAreStoredWhenTheSequenceIsFreed) {
  SeqId first = add(iota(9));
  append(first, {9});
  ASSERT_OK(manager->freeSequence(first));
  match(iota(12), 10);
}

TEST_F(PartialPageTest, OnlyTokensThatAgreeAreUsed) {
  ASSERT_OK(manager->freeSequence(add({0, 1, 2, 3, 8, 9, 5})));
  match({0, 1, 2, 3, 8, 7, 5}, 5);
  match({0, 1, 2, 3, 7, 9, 5}, 4);
  match({4, 1, 2, 3, 8, 9, 5}, 0);
}

TEST_F(PartialPageTest, TheSiblingThatAgreesMostIsFound) {
  for (TokenId last : {20, 30, 40})
    ASSERT_OK(manager->freeSequence(add({0, 1, 2, 3, 8, last, last + 1})));
  EXPECT_EQ(stats().partlyFilledPages, 3);
  match({0, 1, 2, 3, 8, 30, 31}, 7);
  match({0, 1, 2, 3, 8, 20, 21}, 7);
  match({0, 1, 2, 3, 8, 50, 51}, 5);
}

TEST_F(PartialPageTest, OneThatAnotherBeginsWithIsDropped) {
  ASSERT_OK(manager->freeSequence(add(iota(6))));
  ASSERT_OK(manager->freeSequence(add(iota(7))));
  EXPECT_EQ(stats().partlyFilledPages, 1);
  ASSERT_OK(manager->freeSequence(add(iota(5))));
  EXPECT_EQ(stats().partlyFilledPages, 1);
  match(iota(8), 7);
}

TEST_F(PartialPageTest, FewSiblingsStay) {
  for (TokenId last = 20; last < 40; ++last)
    ASSERT_OK(manager->freeSequence(add({0, 1, 2, 3, 8, last})));
  EXPECT_EQ(stats().partlyFilledPages, 8);
  match({0, 1, 2, 3, 8, 39}, 6);
  match({0, 1, 2, 3, 8, 20}, 5);
}

TEST_F(PartialPageTest, DomainsNeverMeet) {
  TestDomain one(1), two(2);
  ASSERT_OK(manager->freeSequence(add(iota(3), one.domain)));
  match(iota(3), 0, two.domain);
  match(iota(3), 3, one.domain);
  ASSERT_OK(manager->resetPrefixCache());
  match(iota(3), 0, one.domain);
}

TEST_F(PartialPageTest, ACutSequenceDoesNotWriteOverIt) {
  SeqId first = add(iota(11));
  std::vector<int32_t> pages = tableOf(first);
  ASSERT_OK(manager->truncate(first, 9));
  append(first, {70});
  EXPECT_NE(tableOf(first)[2], pages[2]);
  match(iota(11), 11);
}

TEST_F(PartialPageTest, ADroppedSequenceLeavesNone) {
  ASSERT_OK(manager->freeSequence(add(iota(10)), KeepCache::Drop));
  EXPECT_EQ(stats().cachedPages, 0);
  match(iota(10), 0);
}

TEST_F(PartialPageTest, ASwappedSequenceLeavesItsOwn) {
  SeqId first = add(iota(9));
  append(first, {9});
  ASSERT_OK(manager->swapOut(first, SwapTarget::Host));
  match(iota(10), 10);
}

TEST_F(PartialPageTest, MovesWithACompaction) {
  SeqId gap = add(iota(8, 100)), first = add(iota(10));
  ASSERT_OK(manager->freeSequence(gap, KeepCache::Drop));
  std::vector<int32_t> pages = tableOf(first);
  PageMove moves[16];
  CompactionReport report;
  ASSERT_OK(manager->compactBelow(0, 4, moves, 16, report));
  ASSERT_OK(manager->runMoves(moves, report.moves));
  EXPECT_NE(tableOf(first), pages);
  match(iota(10), 10);
}

TEST_F(PartialPageTest, GoesBeforeItsHeadUnderEveryPolicy) {
  for (EvictionPolicy policy :
       {EvictionPolicy::LRU, EvictionPolicy::LFU, EvictionPolicy::SLRU,
        EvictionPolicy::FIFO, EvictionPolicy::Priority,
        EvictionPolicy::Callback}) {
    ManagerOptions small = tinyOptions(kPageSize, 4); // Three usable pages.
    small.policy = policy;
    small.score = [](void *, const IdlePage &page) {
      return uint64_t(page.page);
    };
    make(small);
    ASSERT_OK(manager->freeSequence(add(iota(10))));
    SeqId other;
    ASSERT_OK(manager->addSequence(PrefixDomain(), other));
    append(other, {70});
    int32_t matched;
    std::vector<TokenId> prompt = iota(10);
    ASSERT_OK(manager->peekPrefix(prompt.data(), 10, PrefixDomain(), matched));
    EXPECT_EQ(matched, 8) << int(policy);
    EXPECT_OK(manager->checkInvariants());
  }
}

TEST_F(PartialPageTest, WindowedGroupsAgreeOnTheSameToken) {
  ManagerOptions two = tinyOptions(kPageSize);
  two.numGroups = 2;
  two.groups[1] = tinyWindow(3, WindowKind::Sliding, 5);
  two.numPages[1] = 64;
  make(two);
  SeqId first = add(iota(11));
  int64_t released;
  ASSERT_OK(manager->releaseWindow(first, released));
  EXPECT_GT(released, 0);
  ASSERT_OK(manager->freeSequence(first));
  match(iota(14), 11);
  match({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99}, 10);
}

TEST_F(PartialPageTest, CannotBePinned) {
  SeqId first = add(iota(6));
  EXPECT_CODE(manager->pinPage(0, tableOf(first)[1]), StatusCode::NotFound);
  EXPECT_OK(manager->pinPage(0, tableOf(first)[0]));
  EXPECT_OK(manager->unpinPage(0, tableOf(first)[0]));
}

/// Two pages whose hashes collide are told apart by parent and tokens.
TEST(PartialPagePoolTest, HashesThatCollideAreToldApart) {
  PoolOptions options;
  options.numPages = options.maxPages = 16;
  options.pageSize = kPageSize;
  std::unique_ptr<PagePool> pool;
  ASSERT_OK(PagePool::create(options, pool));
  PageId pages[3];
  ASSERT_OK(pool->allocate(3, pages));
  constexpr uint64_t kHash = 77, kRoot = uint64_t(1) << 63;
  const TokenId one[3] = {1, 2, 3}, other[3] = {5, 2, 3};
  pool->insertPartial(pages[0], kHash, kRoot, one, 3, true);
  pool->insertPartial(pages[1], kHash, kRoot, other, 3, true);
  pool->insertPartial(pages[2], kHash, kRoot + 1, one, 3, true);
  int32_t agreeing;
  EXPECT_EQ(pool->lookupPartial(kHash, kRoot, one, 3, agreeing), pages[0]);
  EXPECT_EQ(agreeing, 3);
  EXPECT_EQ(pool->lookupPartial(kHash, kRoot, other, 2, agreeing), pages[1]);
  EXPECT_EQ(agreeing, 2);
  EXPECT_EQ(pool->lookupPartial(kHash, kRoot + 1, one, 3, agreeing), pages[2]);
  EXPECT_EQ(pool->lookupPartial(kHash, kRoot + 2, one, 3, agreeing), kNoPage);
  EXPECT_EQ(pool->lookup(kHash, kRoot, one), kNoPage);
  EXPECT_OK(pool->checkInvariants(nullptr));
}

} // namespace
