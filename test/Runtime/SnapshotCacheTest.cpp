//===- SnapshotCacheTest.cpp - The prefix cache in snapshots --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What cached pages keep through a file: priorities and times to live, partly
// filled pages, and the pages of managers whose groups all have a window. And
// files of the version before.
//
//===----------------------------------------------------------------------===//

#include "SnapshotFormat.h"
#include "TestSupport.h"

#include <cmath>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

/// A manager whose clock the test sets; KV values are the tokens themselves.
class Side {
public:
  explicit Side(const ManagerOptions &from) : options(from) {
    options.clock = [](void *context) {
      return *static_cast<uint64_t *>(context);
    };
    options.clockContext = &now;
    EXPECT_OK(KVCacheManager::create(options, manager));
  }
  SeqId add(const std::vector<TokenId> &tokens) {
    SeqId sequence = kNoSequence;
    std::vector<int64_t> slots[kMaxGroups];
    int64_t *groups[kMaxGroups];
    for (int32_t g = 0; g < options.numGroups; ++g) {
      slots[g].resize(tokens.size());
      groups[g] = slots[g].data();
    }
    EXPECT_OK(manager->addSequence(PrefixDomain(), sequence));
    SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()), 0,
                        groups};
    EXPECT_OK(manager->allocateSlots(&request, 1));
    EXPECT_OK(manager->runPendingWork());
    for (int32_t g = 0; g < options.numGroups; ++g) {
      PoolMemory memory;
      EXPECT_OK(manager->poolMemory(g, memory));
      for (size_t i = 0; i < tokens.size(); ++i)
        writeSlot(memory, options.groups[g], slots[g][i], uint32_t(tokens[i]));
    }
    EXPECT_OK(manager->commit(&sequence, 1));
    return sequence;
  }
  void cache(const std::vector<TokenId> &tokens, int priority = -1,
             uint32_t ttlMs = 0) {
    SeqId sequence = add(tokens);
    if (priority >= 0)
      EXPECT_OK(manager->setPriority(sequence, 0, int32_t(tokens.size()),
                                     priority, ttlMs));
    EXPECT_OK(manager->freeSequence(sequence));
  }
  /// Tokens in the cache of a prefix, their values compared.
  int32_t cached(const std::vector<TokenId> &tokens) {
    PrefixMatch match;
    SeqId sequence;
    EXPECT_OK(manager->matchPrefix(tokens.data(), int32_t(tokens.size()),
                                   PrefixDomain(), match));
    EXPECT_OK(manager->addMatchedSequence(match.handle, sequence));
    EXPECT_OK(manager->runPendingWork());
    for (int32_t g = 0; g < options.numGroups; ++g)
      expectValues(g, sequence, tokens, match.numTokens);
    EXPECT_OK(manager->freeSequence(sequence));
    return match.numTokens;
  }
  /// What stays of one-page prefixes when `pages` are asked for.
  std::vector<TokenId> survivors(const std::vector<TokenId> &firsts,
                                 int32_t pages) {
    SeqId sequence;
    int32_t pageSize = options.groups[0].pageSize;
    std::vector<TokenId> tokens = iota(pages * pageSize, 100000), left;
    EXPECT_OK(manager->addSequence(PrefixDomain(), sequence));
    SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()), 0,
                        nullptr};
    EXPECT_OK(manager->allocateSlots(&request, 1));
    EXPECT_OK(manager->freeSequence(sequence, KeepCache::Drop));
    for (TokenId first : firsts) {
      int32_t matched = 0;
      std::vector<TokenId> prefix = iota(pageSize, first);
      EXPECT_OK(manager->peekPrefix(prefix.data(), pageSize, PrefixDomain(),
                                    matched));
      if (matched == pageSize)
        left.push_back(first);
    }
    return left;
  }
  ManagerOptions options;
  uint64_t now = 1000;
  std::unique_ptr<KVCacheManager> manager;

private:
  void expectValues(int32_t group, SeqId sequence,
                    const std::vector<TokenId> &tokens, int32_t count) {
    const GroupSpec &spec = options.groups[group];
    std::vector<int32_t> table(200);
    BatchViews views;
    views.pageTable = table.data();
    views.tableStride = int64_t(table.size());
    EXPECT_OK(manager->fillViews(group, &sequence, 1, views));
    PoolMemory memory;
    EXPECT_OK(manager->poolMemory(group, memory));
    for (int64_t at = std::max<int64_t>(0, windowStart(spec, count));
         at < count; ++at)
      EXPECT_TRUE(
          slotHolds(memory, spec,
                    int64_t(table[size_t(at / spec.pageSize)]) * spec.pageSize +
                        at % spec.pageSize,
                    uint32_t(tokens[size_t(at)])))
          << "group " << group << ", token " << at;
  }
};

std::vector<SeqId> copyManager(const Side &from, Side &to) {
  std::vector<uint8_t> bytes;
  std::vector<SeqId> ids;
  EXPECT_OK(from.manager->exportManager(bytes));
  EXPECT_OK(to.manager->importManager(bytes.data(), bytes.size(), ids));
  EXPECT_OK(to.manager->checkInvariants());
  return ids;
}

ManagerOptions withPriorities(int32_t pageSize = 4, int64_t pages = 7) {
  ManagerOptions options = tinyOptions(pageSize, pages);
  options.policy = EvictionPolicy::Priority;
  return options;
}

TEST(SnapshotCacheTest, PrioritiesComeBack) {
  Side from(withPriorities()), to(withPriorities());
  from.cache(iota(4, 0), 80);
  from.cache(iota(4, 10), 10);
  from.cache(iota(4, 20));
  copyManager(from, to);
  // Six usable pages: three are free.
  EXPECT_EQ(to.survivors({0, 10, 20}, 4), (std::vector<TokenId>{0, 20}));
  EXPECT_EQ(to.survivors({0, 10, 20}, 5), (std::vector<TokenId>{0}));
}

TEST(SnapshotCacheTest, TimesToLiveGoOnFromWhatWasLeft) {
  for (uint64_t passed : {1000, 5000}) {
    Side from(withPriorities()), to(withPriorities());
    to.now = 77777; // Another machine's clock.
    from.cache(iota(4, 0), 90, /*ttlMs=*/8000);
    from.cache(iota(4, 10), 50);
    from.now += 5000;
    copyManager(from, to);
    to.now += passed; // Of three seconds.
    EXPECT_EQ(to.survivors({0, 10}, 5),
              (std::vector<TokenId>{passed < 3000 ? 0 : 10}));
  }
}

TEST(SnapshotCacheTest, AnEndedTimeToLiveIsNotSaved) {
  Side from(withPriorities()), to(withPriorities());
  from.cache(iota(4, 0), 90, /*ttlMs=*/1000);
  from.cache(iota(4, 10), 50);
  from.now += 5000;
  copyManager(from, to);
  EXPECT_EQ(to.survivors({0, 10}, 5), (std::vector<TokenId>{10}));
}

TEST(SnapshotCacheTest, LargerPagesGetTheHighestPriority) {
  Side from(withPriorities(2, 13)), to(withPriorities());
  SeqId sequence = from.add(iota(4, 0));
  ASSERT_OK(from.manager->setPriority(sequence, 0, 2, 10, 0));
  ASSERT_OK(from.manager->setPriority(sequence, 2, 4, 90, 0));
  ASSERT_OK(from.manager->freeSequence(sequence));
  from.cache(iota(4, 10), 50);
  copyManager(from, to);
  EXPECT_EQ(to.survivors({0, 10}, 5), (std::vector<TokenId>{0}));
}

TEST(SnapshotCacheTest, SwappedAndExportedSequencesKeepPriorities) {
  Side from(withPriorities());
  SeqId a = from.add(iota(4, 0)), b;
  from.cache(iota(4, 10), 50);
  ASSERT_OK(from.manager->setPriority(a, 0, 4, 90, 0));
  ASSERT_OK(from.manager->swapOut(a, SwapTarget::Host));
  EXPECT_TRUE(from.survivors({0, 10}, 6).empty());
  ASSERT_OK(from.manager->swapIn(a));
  std::vector<uint8_t> bytes;
  ASSERT_OK(from.manager->exportSequence(a, bytes));
  ASSERT_OK(from.manager->freeSequence(a));
  from.cache(iota(4, 10), 50);
  EXPECT_EQ(from.survivors({0, 10}, 5), (std::vector<TokenId>{0}));
  Side to(withPriorities());
  ASSERT_OK(to.manager->importSequence(bytes.data(), bytes.size(), b));
  ASSERT_OK(to.manager->freeSequence(b));
  to.cache(iota(4, 10), 50);
  EXPECT_EQ(to.survivors({0, 10}, 5), (std::vector<TokenId>{0}));
}

TEST(SnapshotCacheTest, PartlyFilledPagesComeBack) {
  for (int32_t pageSize : {4, 3, 16}) {
    Side from(tinyOptions(4)), to(tinyOptions(pageSize));
    from.cache(iota(10));
    SeqId live = from.add(iota(7, 50));
    copyManager(from, to);
    EXPECT_EQ(to.cached(iota(12)), 10) << pageSize;
    EXPECT_EQ(to.cached(iota(9, 50)), 7) << pageSize;
    EXPECT_OK(to.manager->checkInvariants());
    (void)live;
  }
}

//===----------------------------------------------------------------------===//
// Managers of windowed groups only
//===----------------------------------------------------------------------===//

ManagerOptions windowedOptions(uint64_t secret) {
  ManagerOptions options = tinyOptions(4);
  options.numGroups = 2;
  options.groups[0] = tinyWindow(4, WindowKind::Sliding, 6);
  options.groups[1] = tinyWindow(3, WindowKind::SinkWindow, 5, 2);
  options.numPages[1] = 64;
  options.secret = secret;
  return options;
}

/// Caches 22 tokens of which the heads were released and reclaimed.
void cacheWithoutHeads(Side &side) {
  SeqId sequence = side.add(iota(22));
  int64_t released;
  EXPECT_OK(side.manager->releaseWindow(sequence, released));
  EXPECT_GT(released, 6);
  EXPECT_OK(side.manager->resetPrefixCache());
  EXPECT_OK(side.manager->freeSequence(sequence));
}

TEST(SnapshotCacheTest, WindowedManagersKeepTheirIdlePages) {
  for (uint64_t secret : {0, 42}) {
    Side from(windowedOptions(secret)), to(windowedOptions(secret));
    cacheWithoutHeads(from);
    from.cache(iota(3, 70)); // Partly filled, of its domain's root.
    SeqId live = from.add(iota(9, 40));
    ASSERT_EQ(from.cached(iota(30)), 22);
    ASSERT_EQ(copyManager(from, to).size(), 1u);
    EXPECT_EQ(to.cached(iota(30)), 22);
    EXPECT_EQ(to.cached(iota(4, 70)), 3);
    EXPECT_EQ(to.cached(iota(12, 40)), 9);
    // And once more, after the secret was taken over.
    Side again(windowedOptions(secret));
    copyManager(to, again);
    EXPECT_EQ(again.cached(iota(30)), 22);
    EXPECT_OK(to.manager->resetPrefixCache());
    EXPECT_OK(to.manager->checkInvariants());
    (void)live;
  }
}

TEST(SnapshotCacheTest, WindowedPagesAreTranscoded) {
  ManagerOptions half = windowedOptions(0);
  for (GroupSpec *spec : {&half.groups[0], &half.groups[1]})
    spec->keys.type = spec->values.type = ElementType::F16;
  Side from(windowedOptions(0)), to(half), back(windowedOptions(0));
  SeqId sequence;
  ASSERT_OK(from.manager->addSequence(PrefixDomain(), sequence));
  ASSERT_OK(from.manager->freeSequence(sequence));
  cacheWithoutHeads(from); // Values up to 22.5 are exact in f16.
  copyManager(from, to);
  copyManager(to, back);
  EXPECT_EQ(back.cached(iota(30)), 22);
}

TEST(SnapshotCacheTest, WindowedPagesOfAnotherKeyAreLeftOut) {
  Side from(windowedOptions(1)), to(windowedOptions(2));
  cacheWithoutHeads(from);
  copyManager(from, to);
  EXPECT_EQ(to.cached(iota(30)), 0);
  // A cache that depends on its own key keeps it.
  Side used(windowedOptions(0));
  cacheWithoutHeads(used);
  ManagerStats before, after;
  ASSERT_OK(used.manager->stats(before));
  copyManager(from, used);
  ASSERT_OK(used.manager->stats(after));
  EXPECT_EQ(after.groups[0].cachedPages, before.groups[0].cachedPages);
  EXPECT_EQ(used.cached(iota(30)), 22);
}

TEST(SnapshotCacheTest, OtherPageSizesLoseWindowedPagesOnly) {
  ManagerOptions other = windowedOptions(0);
  other.groups[0].pageSize = other.groups[1].pageSize = 5;
  Side from(windowedOptions(0)), to(other);
  cacheWithoutHeads(from);
  SeqId live = from.add(iota(9, 40));
  EXPECT_EQ(copyManager(from, to).size(), 1u);
  EXPECT_EQ(to.cached(iota(30)), 0);
  EXPECT_EQ(to.cached(iota(12, 40)), 9);
  (void)live;
}

/// A page that misses the tokens before a window never enters the cache.
TEST(SnapshotCacheTest, PagesWithHolesAreNeverMatched) {
  ManagerOptions narrow = tinyOptions(1), wide = tinyOptions(8);
  narrow.groups[0] = tinyWindow(1, WindowKind::Sliding, 3);
  wide.groups[0] = tinyWindow(8, WindowKind::Sliding, 3);
  Side from(narrow), to(wide);
  SeqId sequence = from.add(iota(14)), other;
  int64_t released;
  ASSERT_OK(from.manager->releaseWindow(sequence, released));
  ASSERT_EQ(released, 12);
  std::vector<uint8_t> bytes;
  ASSERT_OK(from.manager->exportSequence(sequence, bytes));
  ASSERT_OK(to.manager->importSequence(bytes.data(), bytes.size(), other));
  std::vector<TokenId> more = {14, 15, 16};
  SlotRequest request{other, more.data(), 3, 0, nullptr};
  ASSERT_OK(to.manager->allocateSlots(&request, 1));
  ASSERT_OK(to.manager->commit(&other, 1));
  ASSERT_OK(to.manager->freeSequence(other));
  EXPECT_LE(to.cached(iota(11)), 0);
  ManagerStats stats;
  ASSERT_OK(to.manager->stats(stats));
  EXPECT_EQ(stats.groups[0].cachedPages, 1); // The page of token 16.
}

//===----------------------------------------------------------------------===//
// Versions
//===----------------------------------------------------------------------===//

std::vector<uint8_t> readData(const char *name) {
  std::ifstream file(std::string(PAGED_ATTN_TEST_DATA) + "/" + name,
                     std::ios::binary);
  return std::vector<uint8_t>((std::istreambuf_iterator<char>(file)),
                              std::istreambuf_iterator<char>());
}

TEST(SnapshotCacheTest, VersionOneIsRead) {
  Side to(tinyOptions(4, 16));
  std::vector<uint8_t> bytes = readData("swapped-v1");
  ASSERT_GT(bytes.size(), kSnapshotHeaderBytes);
  ASSERT_EQ(bytes[8], 1);
  std::vector<SeqId> ids;
  ASSERT_OK(to.manager->importManager(bytes.data(), bytes.size(), ids));
  ASSERT_EQ(ids.size(), 2u);
  ASSERT_OK(to.manager->swapIn(ids[1]));
  SequenceInfo info;
  ASSERT_OK(to.manager->sequenceInfo(ids[0], info));
  EXPECT_EQ(info.numTokens, 6);
  int32_t matched;
  std::vector<TokenId> prompt = iota(8, 50);
  ASSERT_OK(to.manager->peekPrefix(prompt.data(), 8, PrefixDomain(), matched));
  EXPECT_EQ(matched, 8);
  EXPECT_OK(to.manager->checkInvariants());
}

TEST(SnapshotCacheTest, LaterVersionsAreRefusedByNumber) {
  Side to(tinyOptions(4, 16));
  std::vector<uint8_t> bytes = readData("manager-v1");
  bytes[8] = 3;
  std::vector<SeqId> ids;
  Status status = to.manager->importManager(bytes.data(), bytes.size(), ids);
  EXPECT_EQ(status.code(), StatusCode::DataLoss);
  EXPECT_STREQ(status.message(), "snapshot: expected version 1 or 2, got 3");
}

} // namespace
