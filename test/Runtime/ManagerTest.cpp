//===- ManagerTest.cpp - Behaviour of sequences and pages -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One behaviour of the documentation per test, on a manager of a few pages.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"

#include <gtest/gtest.h>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

class ManagerTest : public testing::Test {
protected:
  void make(const ManagerOptions &options) {
    ASSERT_OK(KVCacheManager::create(options, manager));
  }
  void TearDown() override {
    if (manager)
      EXPECT_OK(manager->checkInvariants());
  }
  Status append(SeqId sequence, const std::vector<TokenId> &tokens,
                int32_t lookahead = 0) {
    SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()),
                        lookahead, nullptr};
    return manager->allocateSlots(&request, 1);
  }
  SeqId sequenceOf(const std::vector<TokenId> &tokens, bool commit = true) {
    SeqId sequence = kNoSequence;
    EXPECT_OK(manager->addSequence(PrefixDomain(), sequence));
    EXPECT_OK(append(sequence, tokens));
    EXPECT_OK(manager->runPendingWork());
    if (commit)
      EXPECT_OK(manager->commit(&sequence, 1));
    return sequence;
  }
  std::vector<int32_t> tableOf(SeqId sequence, int32_t group = 0) {
    std::vector<int32_t> table(64, -2);
    BatchViews views;
    views.pageTable = table.data();
    views.tableStride = int64_t(table.size());
    EXPECT_OK(manager->fillViews(group, &sequence, 1, views));
    while (!table.empty() && table.back() == kNoPage)
      table.pop_back();
    return table;
  }
  GroupStats stats(int32_t group = 0) {
    ManagerStats all;
    EXPECT_OK(manager->stats(all));
    return all.groups[group];
  }
  std::unique_ptr<KVCacheManager> manager;
};

TEST_F(ManagerTest, OnlyTheLastPageOfASequenceAndGroupIsPartlyEmpty) {
  ManagerOptions options = tinyOptions(4);
  options.numGroups = 2;
  options.groups[1] = tinyGroup(7);
  options.numPages[1] = 64;
  make(options);
  for (int32_t length : {1, 3, 4, 5, 27, 28, 29}) {
    SeqId sequence = sequenceOf(iota(length, length * 100));
    SequenceInfo info;
    ASSERT_OK(manager->sequenceInfo(sequence, info));
    EXPECT_EQ(info.numPages[0], (length + 3) / 4);
    EXPECT_EQ(info.numPages[1], (length + 6) / 7);
    EXPECT_EQ(stats(0).wastedSlots, info.numPages[0] * 4 - length);
    EXPECT_EQ(stats(1).wastedSlots, info.numPages[1] * 7 - length);
    ASSERT_OK(manager->freeSequence(sequence, KeepCache::Drop));
  }
}

TEST_F(ManagerTest, AllocationIsAllOrNothingOverABatch) {
  make(tinyOptions(4, 6)); // Five usable pages.
  SeqId a, b;
  ASSERT_OK(manager->addSequence(PrefixDomain(), a));
  ASSERT_OK(manager->addSequence(PrefixDomain(), b));
  std::vector<TokenId> tokens = iota(12);
  SlotRequest requests[2] = {{a, tokens.data(), 12, 0, nullptr},
                             {b, tokens.data(), 12, 0, nullptr}};
  std::string before = fingerprint(*manager);
  EXPECT_CODE(manager->allocateSlots(requests, 2),
              StatusCode::ResourceExhausted);
  EXPECT_EQ(fingerprint(*manager), before);
  EXPECT_OK(manager->allocateSlots(requests, 1));
}

TEST_F(ManagerTest, ReserveKeepsPagesBack) {
  make(tinyOptions(4, 6));
  SeqId a;
  ASSERT_OK(manager->addSequence(PrefixDomain(), a));
  std::vector<TokenId> tokens = iota(16);
  SlotRequest request{a, tokens.data(), 16, 0, nullptr};
  EXPECT_CODE(manager->allocateSlots(&request, 1, /*reservePages=*/2),
              StatusCode::ResourceExhausted);
  EXPECT_OK(manager->allocateSlots(&request, 1, /*reservePages=*/1));
}

TEST_F(ManagerTest, LookaheadMapsPagesThatViewsDoNotShow) {
  make(tinyOptions(4));
  SeqId a;
  ASSERT_OK(manager->addSequence(PrefixDomain(), a));
  ASSERT_OK(append(a, iota(3), /*lookahead=*/6));
  SequenceInfo info;
  ASSERT_OK(manager->sequenceInfo(a, info));
  EXPECT_EQ(info.numPages[0], 3);
  EXPECT_EQ(tableOf(a).size(), 1u);
}

TEST_F(ManagerTest, SlotsNameThePagesOfTheTable) {
  make(tinyOptions(4));
  SeqId a;
  ASSERT_OK(manager->addSequence(PrefixDomain(), a));
  std::vector<TokenId> tokens = iota(6);
  int64_t slots[6];
  int64_t *groups[1] = {slots};
  SlotRequest request{a, tokens.data(), 6, 0, groups};
  ASSERT_OK(manager->allocateSlots(&request, 1));
  std::vector<int32_t> table = tableOf(a);
  for (int32_t i = 0; i < 6; ++i)
    EXPECT_EQ(slots[i], int64_t(table[size_t(i / 4)]) * 4 + i % 4);
}

TEST_F(ManagerTest, ForkSharesPagesAndCopiesAtTheExactToken) {
  make(tinyOptions(4));
  SeqId parent = sequenceOf(iota(6)), child;
  ASSERT_OK(manager->fork(parent, -1, child));
  EXPECT_EQ(tableOf(child), tableOf(parent));
  ASSERT_OK(append(child, {77}));
  PageCopy copy;
  int64_t count;
  ASSERT_OK(manager->takePageCopies(&copy, 1, count));
  ASSERT_EQ(count, 1);
  EXPECT_EQ(copy.numTokens, 2);
  EXPECT_EQ(copy.source, tableOf(parent)[1]);
  EXPECT_EQ(copy.target, tableOf(child)[1]);
  EXPECT_EQ(tableOf(child)[0], tableOf(parent)[0]);
}

TEST_F(ManagerTest, ForkAtAPageEdgeCopiesNothing) {
  make(tinyOptions(4));
  SeqId parent = sequenceOf(iota(8)), child;
  ASSERT_OK(manager->fork(parent, 4, child));
  ASSERT_OK(append(child, {77}));
  PageCopy copy;
  int64_t count;
  ASSERT_OK(manager->takePageCopies(&copy, 1, count));
  EXPECT_EQ(count, 0);
}

TEST_F(ManagerTest, AForkOutlivesItsParent) {
  make(tinyOptions(4));
  SeqId parent = sequenceOf(iota(6)), child;
  ASSERT_OK(manager->fork(parent, -1, child));
  std::vector<int32_t> pages = tableOf(parent);
  ASSERT_OK(manager->freeSequence(parent, KeepCache::Drop));
  EXPECT_EQ(tableOf(child), pages);
  SequenceInfo info;
  EXPECT_CODE(manager->sequenceInfo(parent, info), StatusCode::NotFound);
}

TEST_F(ManagerTest, AFreedHandleIsRefusedEvenWhenItsSlotIsUsedAgain) {
  make(tinyOptions(4));
  SeqId first = sequenceOf(iota(3));
  ASSERT_OK(manager->freeSequence(first));
  SeqId second = sequenceOf(iota(3));
  EXPECT_NE(first, second);
  EXPECT_CODE(manager->freeSequence(first), StatusCode::NotFound);
}

TEST_F(ManagerTest, APrefixIsFoundWithItsPartialPageCopied) {
  make(tinyOptions(4));
  SeqId first = sequenceOf(iota(12));
  std::vector<int32_t> pages = tableOf(first);
  ASSERT_OK(manager->freeSequence(first));
  std::vector<TokenId> prompt = iota(10);
  prompt.push_back(99);
  PrefixMatch match;
  ASSERT_OK(manager->matchPrefix(prompt.data(), 11, PrefixDomain(), match));
  EXPECT_EQ(match.numTokens, 10);
  EXPECT_EQ(match.copiedTokens, 2);
  SeqId sequence;
  ASSERT_OK(manager->addMatchedSequence(match.handle, sequence));
  EXPECT_EQ(tableOf(sequence)[1], pages[1]);
  EXPECT_NE(tableOf(sequence)[2], pages[2]);
  EXPECT_CODE(manager->addMatchedSequence(match.handle, sequence),
              StatusCode::NotFound);
}

TEST_F(ManagerTest, AMatchPinsWhatItReturns) {
  make(tinyOptions(4, 5)); // Four usable pages.
  SeqId first = sequenceOf(iota(8));
  ASSERT_OK(manager->freeSequence(first));
  PrefixMatch match;
  std::vector<TokenId> prompt = iota(8);
  ASSERT_OK(manager->matchPrefix(prompt.data(), 8, PrefixDomain(), match));
  SeqId other;
  ASSERT_OK(manager->addSequence(PrefixDomain(), other));
  EXPECT_CODE(append(other, iota(12, 50)), StatusCode::ResourceExhausted);
  ASSERT_OK(manager->releaseMatch(match.handle));
  EXPECT_OK(append(other, iota(12, 50)));
}

TEST_F(ManagerTest, DomainsNeverMeet) {
  make(tinyOptions(4));
  uint32_t adapter = 7;
  ExtraKey key{1, &adapter, sizeof(adapter)};
  PrefixDomain salted, adapted;
  salted.salt = "tenant";
  salted.saltBytes = 6;
  adapted.keys = &key;
  adapted.numKeys = 1;
  SeqId sequence;
  ASSERT_OK(manager->addSequence(salted, sequence));
  ASSERT_OK(append(sequence, iota(8)));
  ASSERT_OK(manager->commit(&sequence, 1));
  std::vector<TokenId> prompt = iota(8);
  int32_t matched;
  ASSERT_OK(manager->peekPrefix(prompt.data(), 8, salted, matched));
  EXPECT_EQ(matched, 8);
  ASSERT_OK(manager->peekPrefix(prompt.data(), 8, adapted, matched));
  EXPECT_EQ(matched, 0);
  ASSERT_OK(manager->peekPrefix(prompt.data(), 8, PrefixDomain(), matched));
  EXPECT_EQ(matched, 0);
}

TEST_F(ManagerTest, EqualPagesAreSharedAtCommit) {
  make(tinyOptions(4));
  SeqId a = sequenceOf(iota(8)), b = sequenceOf(iota(8));
  EXPECT_EQ(tableOf(a), tableOf(b));
  EXPECT_EQ(stats().livePages, 2);
}

TEST_F(ManagerTest, TruncateKeepsTheHeadAndFreesTheTail) {
  make(tinyOptions(4));
  SeqId a = sequenceOf(iota(12), /*commit=*/false);
  std::vector<int32_t> pages = tableOf(a);
  ASSERT_OK(manager->truncate(a, 5));
  pages.resize(2);
  EXPECT_EQ(tableOf(a), pages);
  EXPECT_EQ(stats().livePages, 2);
  EXPECT_CODE(manager->truncate(a, 6), StatusCode::OutOfRange);
}

TEST_F(ManagerTest, TruncatedPagesOfTheCacheAreNeverWritten) {
  make(tinyOptions(4));
  SeqId a = sequenceOf(iota(8));
  std::vector<int32_t> pages = tableOf(a);
  ASSERT_OK(manager->truncate(a, 6));
  ASSERT_OK(append(a, {70}));
  EXPECT_EQ(tableOf(a)[0], pages[0]);
  EXPECT_NE(tableOf(a)[1], pages[1]);
  ASSERT_OK(manager->runPendingWork());
}

TEST_F(ManagerTest, CommitNeedsItsOwnPendingWorkOnly) {
  make(tinyOptions(4));
  SeqId parent = sequenceOf(iota(6)), child, other = sequenceOf({});
  ASSERT_OK(manager->fork(parent, -1, child));
  ASSERT_OK(append(child, {77}));
  ASSERT_OK(append(other, {50}));
  EXPECT_OK(manager->commit(&other, 1));
  EXPECT_CODE(manager->commit(&child, 1), StatusCode::FailedPrecondition);
  ASSERT_OK(manager->runPendingWork());
  EXPECT_OK(manager->commit(&child, 1));
}

TEST_F(ManagerTest, CommitTreeKeepsTheAcceptedPath) {
  make(tinyOptions(4));
  SeqId a = sequenceOf(iota(3));
  ASSERT_OK(append(a, {10, 11, 12, 13, 14}));
  int32_t path[3] = {0, 2, 4};
  ASSERT_OK(manager->commitTree(a, path, 3));
  SlotCopy copies[8];
  int64_t count;
  ASSERT_OK(manager->takeSlotCopies(copies, 8, count));
  ASSERT_EQ(count, 2); // Token 0 of the path stands where it should.
  std::vector<int32_t> pages = tableOf(a);
  EXPECT_EQ(copies[0].source, pages[1] * 4 + 1);
  EXPECT_EQ(copies[0].target, pages[1] * 4 + 0);
  EXPECT_EQ(copies[1].target, pages[1] * 4 + 1);
  std::vector<TokenId> tokens(6);
  ASSERT_OK(manager->sequenceTokens(a, 0, 6, tokens.data()));
  EXPECT_EQ(tokens, (std::vector<TokenId>{0, 1, 2, 10, 12, 14}));
  int32_t wrong[2] = {1, 1};
  EXPECT_CODE(manager->commitTree(a, wrong, 2), StatusCode::InvalidArgument);
}

TEST_F(ManagerTest, ReleaseWindowUnmapsWhatNoRowSees) {
  ManagerOptions options = tinyOptions(4);
  options.groups[0] = tinyWindow(4, WindowKind::SinkWindow, 5, 2);
  make(options);
  SeqId a = sequenceOf(iota(20));
  int64_t released;
  ASSERT_OK(manager->releaseWindow(a, released));
  // The row at 20 sees tokens 0, 1 and 16 to 20: pages 0 and 4 stay.
  EXPECT_EQ(released, 3);
  std::vector<int32_t> table = tableOf(a);
  EXPECT_NE(table[0], kNoPage);
  EXPECT_EQ(table[1], kNoPage);
  EXPECT_EQ(table[3], kNoPage);
  EXPECT_NE(table[4], kNoPage);
  EXPECT_CODE(manager->truncate(a, 12), StatusCode::FailedPrecondition);
}

TEST_F(ManagerTest, ViewsOfABatch) {
  make(tinyOptions(4));
  SeqId ids[3] = {sequenceOf(iota(5)), sequenceOf({}), sequenceOf(iota(8, 40))};
  ASSERT_OK(append(ids[0], {90, 91}));
  ASSERT_OK(append(ids[1], {92}));
  int32_t table[3 * 4], indptr[4], indices[8], last[3], kvLens[3], starts[4];
  int64_t slots[4];
  BatchViews views;
  views.pageTable = table;
  views.tableStride = 4;
  views.pageIndptr = indptr;
  views.pageIndices = indices;
  views.indicesCapacity = 8;
  views.lastPageTokens = last;
  views.kvLens = kvLens;
  views.queryStarts = starts;
  views.slotMapping = slots;
  views.slotCapacity = 4;
  ASSERT_OK(manager->fillViews(0, ids, 3, views));
  EXPECT_EQ(std::vector<int32_t>(kvLens, kvLens + 3),
            (std::vector<int32_t>{7, 1, 8}));
  EXPECT_EQ(std::vector<int32_t>(starts, starts + 4),
            (std::vector<int32_t>{0, 2, 3, 3}));
  EXPECT_EQ(std::vector<int32_t>(indptr, indptr + 4),
            (std::vector<int32_t>{0, 2, 3, 5}));
  EXPECT_EQ(std::vector<int32_t>(last, last + 3),
            (std::vector<int32_t>{3, 1, 4}));
  EXPECT_EQ(views.numSlots, 3);
  EXPECT_EQ(slots[0], table[1] * 4 + 1);
  EXPECT_EQ(slots[2], table[4] * 4);
  EXPECT_EQ(table[2], kNoPage);
  EXPECT_EQ(indices[3], table[8]);
  views.indicesCapacity = 4;
  EXPECT_CODE(manager->fillViews(0, ids, 3, views), StatusCode::OutOfRange);
}

TEST_F(ManagerTest, ViewRowsWriteOnlyWhatIsNew) {
  make(tinyOptions(4));
  SeqId a = sequenceOf(iota(8));
  std::vector<int32_t> table(8, -7);
  ViewRow row = {};
  BatchViews views;
  views.pageTable = table.data();
  views.tableStride = 8;
  views.rows = &row;
  ASSERT_OK(manager->fillViews(0, &a, 1, views));
  EXPECT_EQ(table[2], kNoPage);
  table[0] = -9; // Would be overwritten by a full write.
  ASSERT_OK(append(a, {50}));
  ASSERT_OK(manager->fillViews(0, &a, 1, views));
  EXPECT_EQ(table[0], -9);
  EXPECT_GT(table[2], 0);
  ASSERT_OK(manager->truncate(a, 4));
  ASSERT_OK(manager->fillViews(0, &a, 1, views));
  EXPECT_GT(table[0], 0);
  EXPECT_EQ(table[1], kNoPage);
}

TEST_F(ManagerTest, CommonPrefixPages) {
  make(tinyOptions(4));
  SeqId a = sequenceOf(iota(12)), b, c;
  ASSERT_OK(manager->fork(a, 9, b));
  ASSERT_OK(manager->fork(a, 5, c));
  SeqId ids[3] = {a, b, c};
  int32_t pages;
  ASSERT_OK(manager->numCommonPrefixPages(0, ids, 2, pages));
  EXPECT_EQ(pages, 2);
  ASSERT_OK(manager->numCommonPrefixPages(0, ids, 3, pages));
  EXPECT_EQ(pages, 1);
}

TEST_F(ManagerTest, FreshPagesAreFilledWithNaN) {
  ManagerOptions options = tinyOptions(4);
  options.fill = FillMode::NaN;
  make(options);
  SeqId a = sequenceOf(iota(3), /*commit=*/false);
  PoolMemory memory;
  ASSERT_OK(manager->poolMemory(0, memory));
  float value;
  std::memcpy(&value, memory.keys + tableOf(a)[0] * memory.keyPageStride, 4);
  EXPECT_NE(value, value);
}

TEST_F(ManagerTest, AWrittenGuardPageIsFound) {
  ManagerOptions options = tinyOptions(4, 8);
  options.guardPage = true;
  make(options);
  PoolMemory memory;
  ASSERT_OK(manager->poolMemory(0, memory));
  uint8_t &byte = memory.keys[7 * memory.keyPageStride];
  uint8_t before = byte;
  byte = 0;
  EXPECT_CODE(manager->checkInvariants(), StatusCode::Internal);
  byte = before;
}

TEST_F(ManagerTest, CompactionMakesRuns) {
  make(tinyOptions(4, 64));
  SeqId a = sequenceOf({}), b = sequenceOf({});
  for (int32_t i = 0; i < 10; ++i) { // Pages of the two alternate.
    ASSERT_OK(append(a, iota(4, i * 10)));
    ASSERT_OK(append(b, iota(4, i * 10 + 5)));
  }
  PageMove moves[32];
  CompactionReport report;
  ASSERT_OK(manager->compact(0, moves, 32, report));
  EXPECT_EQ(report.runsBefore, 20);
  EXPECT_EQ(report.runsAfter, 2);
  EXPECT_EQ(stats().fragmentation, 0);
  ASSERT_OK(manager->runMoves(moves, report.moves));
}

TEST_F(ManagerTest, APoolShrinksAndGrows) {
  make(tinyOptions(4, 32));
  SeqId a = sequenceOf(iota(40)), b = sequenceOf(iota(8, 60));
  ASSERT_OK(manager->freeSequence(a, KeepCache::Drop));
  EXPECT_CODE(manager->resizePool(0, 4), StatusCode::FailedPrecondition);
  PageMove moves[8];
  CompactionReport report;
  ASSERT_OK(manager->compactBelow(0, 4, moves, 8, report));
  EXPECT_EQ(report.moves, 2);
  ASSERT_OK(manager->runMoves(moves, report.moves));
  ASSERT_OK(manager->resizePool(0, 4));
  EXPECT_EQ(stats().freePages, 1);
  ASSERT_OK(manager->resizePool(0, 32));
  EXPECT_EQ(stats().freePages, 29);
  EXPECT_OK(append(b, iota(60)));
}

TEST_F(ManagerTest, WorkOfPagesThatAShrinkTookIsForgotten) {
  ManagerOptions options = tinyOptions(4, 32);
  options.fill = FillMode::NaN;
  make(options);
  SeqId first = sequenceOf(iota(12));
  std::vector<TokenId> prompt = iota(10);
  SeqId rest;
  ASSERT_OK(manager->addSequence(PrefixDomain(), rest));
  ASSERT_OK(append(rest, iota(60, 50)));
  PrefixMatch match; // Copies to a page behind those of `rest`.
  ASSERT_OK(manager->matchPrefix(prompt.data(), 10, PrefixDomain(), match));
  ASSERT_OK(manager->releaseMatch(match.handle));
  ASSERT_OK(manager->freeSequence(rest));
  ASSERT_OK(manager->resizePool(0, 5));
  ASSERT_OK(manager->checkInvariants());
  PageZero zeroes[32];
  PageCopy copy;
  int64_t count;
  ASSERT_OK(manager->takePagesToZero(zeroes, 32, count));
  for (int64_t i = 0; i < count; ++i)
    EXPECT_LT(zeroes[i].page, 5);
  ASSERT_OK(manager->takePageCopies(&copy, 1, count));
  EXPECT_EQ(count, 0);
  ASSERT_OK(manager->freeSequence(first));
}

TEST_F(ManagerTest, PinnedPagesStay) {
  make(tinyOptions(4, 6));
  SeqId a = sequenceOf(iota(8));
  PageId page = tableOf(a)[1];
  ASSERT_OK(manager->pinPage(0, page));
  ASSERT_OK(manager->freeSequence(a));
  EXPECT_EQ(stats().reclaimablePages, 0);
  EXPECT_EQ(stats().pinnedPages, 2); // The page before it, too.
  SeqId b;
  ASSERT_OK(manager->addSequence(PrefixDomain(), b));
  EXPECT_CODE(append(b, iota(16, 50)), StatusCode::ResourceExhausted);
  ASSERT_OK(manager->unpinPage(0, page));
  EXPECT_CODE(manager->unpinPage(0, page), StatusCode::FailedPrecondition);
  EXPECT_OK(append(b, iota(16, 50)));
}

TEST_F(ManagerTest, WithoutAPrefixCacheNothingIsKept) {
  ManagerOptions options = tinyOptions(4);
  options.prefixCache = false;
  make(options);
  SeqId a = sequenceOf(iota(12));
  ASSERT_OK(manager->freeSequence(a));
  EXPECT_EQ(stats().cachedPages, 0);
  std::vector<TokenId> prompt = iota(12);
  PrefixMatch match;
  ASSERT_OK(manager->matchPrefix(prompt.data(), 12, PrefixDomain(), match));
  EXPECT_EQ(match.numTokens, 0);
  ASSERT_OK(manager->releaseMatch(match.handle));
}

TEST_F(ManagerTest, BadOptionsAreRefusedWithTheValueThatCame) {
  ManagerOptions options = tinyOptions(4);
  options.groups[0].pageSize = 0;
  Status status = KVCacheManager::create(options, manager);
  EXPECT_EQ(status.code(), StatusCode::InvalidArgument);
  EXPECT_STREQ(status.message(), "expected pageSize in [1, 4096], got 0");
  options = tinyOptions(4, 0);
  EXPECT_CODE(KVCacheManager::create(options, manager),
              StatusCode::InvalidArgument);
  options = tinyOptions(4);
  options.numGroups = 17;
  EXPECT_CODE(KVCacheManager::create(options, manager),
              StatusCode::InvalidArgument);
}

TEST(PlanMemoryTest, GroupsLieBackToBackAndHoldTheSameContext) {
  GroupSpec specs[3] = {
      tinyGroup(16), tinyWindow(16, WindowKind::Sliding, 1024), tinyGroup(32)};
  specs[0].numLayers = 8;
  specs[1].numLayers = 24;
  specs[2].keys.type = specs[2].values.type = ElementType::I8;
  MemoryReport report;
  int64_t budget = int64_t(64) << 20;
  ASSERT_OK(planMemory(specs, 3, budget, 32768, report));
  int64_t end = 0, smallest = budget;
  for (int32_t g = 0; g < 3; ++g) {
    EXPECT_EQ(report.groups[g].offset, end);
    EXPECT_EQ(report.groups[g].pageBytes, pageBytes(specs[g]));
    end += report.groups[g].poolBytes;
    smallest = std::min(smallest, report.groups[g].pageBytes);
  }
  EXPECT_EQ(report.usedBytes, end);
  EXPECT_LT(report.unusedBytes, smallest);
  double full = double(report.groups[0].tokens) / 32768;
  double windowed = double(report.groups[1].tokens) / (1024 + 16);
  EXPECT_NEAR(full / windowed, 1.0, 0.02);
  EXPECT_CODE(planMemory(specs, 3, 1000, 32768, report),
              StatusCode::ResourceExhausted);
}

} // namespace
