//===- NoAllocationTest.cpp - Calls that ask for no memory ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every call that docs/PageTable.md lists as free of allocation, under every
// policy, where the first allocation would fail and the manager's own allocator
// counts its calls.
//
//===----------------------------------------------------------------------===//

#include "FailingNew.h"
#include "TestSupport.h"
#include "paged_attn/Plan.h"

#include <gtest/gtest.h>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

/// Room for what calls write, made before allocations fail.
struct Buffers {
  int32_t table[64], indptr[3], indices[64], last[2], kvLens[2], starts[3];
  int64_t slots[64], count = 0;
  PageCopy copies[16];
  PageZero zeroes[64];
  SlotCopy slotCopies[16];
  PageMove moves[16];
  CacheEvent events[16];
  TokenId tokens[16];
};

/// A full and a windowed group with forks, cached pages, work and a match.
struct World {
  explicit World(EvictionPolicy policy) {
    ManagerOptions options = tinyOptions(4, 40);
    options.numGroups = 2;
    options.groups[1] = tinyWindow(3, WindowKind::Sliding, 6);
    options.numPages[1] = 40;
    options.policy = policy;
    options.score = [](void *, const IdlePage &page) {
      return uint64_t(page.page);
    };
    options.allocator = allocator.allocator();
    options.fill = FillMode::NaN;
    EXPECT_OK(KVCacheManager::create(options, manager));
    EXPECT_OK(manager->freeSequence(add(iota(40, 300))));
    EXPECT_OK(manager->freeSequence(add(iota(39, 500))));
    a = add(iota(10));
    b = add(iota(9, 30));
    EXPECT_OK(manager->fork(a, 7, fork));
    std::vector<TokenId> prompt = iota(40, 300);
    PrefixMatch match;
    EXPECT_OK(manager->matchPrefix(prompt.data(), 38, PrefixDomain(), match));
    matched = match.handle;
    EXPECT_OK(append(fork, 2)); // Copies the page of the fork.
    PageId page = pageOf(a);
    EXPECT_OK(manager->pinPage(0, page));
  }
  SeqId add(const std::vector<TokenId> &tokens) {
    SeqId sequence = kNoSequence;
    EXPECT_OK(manager->addSequence(PrefixDomain(), sequence));
    SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()), 0,
                        nullptr};
    EXPECT_OK(manager->allocateSlots(&request, 1));
    EXPECT_OK(manager->runPendingWork());
    EXPECT_OK(manager->commit(&sequence, 1));
    return sequence;
  }
  Status append(SeqId sequence, int32_t count) {
    SlotRequest request{sequence, kNew, count, 1, nullptr};
    return manager->allocateSlots(&request, 1);
  }
  PageId pageOf(SeqId sequence) {
    int32_t table[64];
    BatchViews views;
    views.pageTable = table;
    views.tableStride = 64;
    EXPECT_OK(manager->fillViews(0, &sequence, 1, views));
    return table[0];
  }
  static constexpr TokenId kNew[8] = {71, 72, 73, 74, 75, 76, 77, 78};
  FailingAllocator allocator;
  std::unique_ptr<KVCacheManager> manager;
  SeqId a = 0, b = 0, fork = 0, matched = 0;
};

using Call = Status (*)(World &, Buffers &);

struct NamedCall {
  const char *name;
  Call call;
};

Status allViews(World &w, Buffers &out) {
  SeqId both[2] = {w.a, w.fork};
  BatchViews views;
  views.pageTable = out.table;
  views.tableStride = 32;
  views.pageIndptr = out.indptr;
  views.pageIndices = out.indices;
  views.indicesCapacity = 64;
  views.lastPageTokens = out.last;
  views.kvLens = out.kvLens;
  views.queryStarts = out.starts;
  views.slotMapping = out.slots;
  views.slotCapacity = 64;
  return w.manager->fillViews(0, both, 2, views);
}

/// Grows past what is free, so that cached pages are reclaimed.
Status evicting(World &w, Buffers &) {
  ManagerStats stats;
  PAGED_ATTN_RETURN_IF_ERROR(w.manager->stats(stats));
  for (int i = 0; i < 12; ++i)
    PAGED_ATTN_RETURN_IF_ERROR(w.append(w.b, 6));
  ManagerStats after;
  PAGED_ATTN_RETURN_IF_ERROR(w.manager->stats(after));
  return after.groups[0].evictions > stats.groups[0].evictions
             ? Status::ok()
             : Status::error(StatusCode::Internal, "nothing was evicted");
}

Status speculate(World &w, Buffers &) {
  const int32_t path[2] = {1, 3};
  PAGED_ATTN_RETURN_IF_ERROR(w.append(w.b, 5));
  PAGED_ATTN_RETURN_IF_ERROR(w.manager->runPendingWork());
  PAGED_ATTN_RETURN_IF_ERROR(w.manager->commitTree(w.b, path, 2));
  PAGED_ATTN_RETURN_IF_ERROR(w.manager->runPendingWork());
  return w.manager->commit(&w.b, 1);
}

Status commitSome(World &w, Buffers &) {
  PAGED_ATTN_RETURN_IF_ERROR(w.append(w.b, 8));
  PAGED_ATTN_RETURN_IF_ERROR(w.manager->runPendingWork());
  PAGED_ATTN_RETURN_IF_ERROR(w.manager->commitTokens(w.b, 5));
  return w.manager->commit(&w.b, 1);
}

const NamedCall kCalls[] = {
    {"allocateSlots", evicting},
    {"commit, commitTokens", commitSome},
    {"commitTree", speculate},
    {"fillViews", allViews},
    {"attachMemory, poolMemory",
     [](World &w, Buffers &) {
       PoolMemory memory;
       PAGED_ATTN_RETURN_IF_ERROR(w.manager->poolMemory(0, memory));
       return w.manager->attachMemory(0, memory);
     }},
    {"memoryReport",
     [](World &w, Buffers &) {
       MemoryReport report;
       return w.manager->memoryReport(report);
     }},
    {"resizePool",
     [](World &w, Buffers &) {
       PAGED_ATTN_RETURN_IF_ERROR(w.manager->resizePool(0, 32));
       return w.manager->resizePool(0, 40);
     }},
    {"pinPage, unpinPage",
     [](World &w, Buffers &) {
       PageId page = w.pageOf(w.a);
       PAGED_ATTN_RETURN_IF_ERROR(w.manager->pinPage(0, page));
       PAGED_ATTN_RETURN_IF_ERROR(w.manager->unpinPage(0, page));
       return w.manager->unpinPage(0, page);
     }},
    {"resetPrefixCache",
     [](World &w, Buffers &) { return w.manager->resetPrefixCache(); }},
    {"releaseMatch",
     [](World &w, Buffers &) { return w.manager->releaseMatch(w.matched); }},
    {"addMatchedSequence",
     [](World &w, Buffers &) {
       SeqId sequence;
       return w.manager->addMatchedSequence(w.matched, sequence);
     }},
    {"fork",
     [](World &w, Buffers &) {
       SeqId child;
       return w.manager->fork(w.a, 9, child);
     }},
    {"truncate",
     [](World &w, Buffers &) { return w.manager->truncate(w.a, 7); }},
    {"releaseWindow",
     [](World &w, Buffers &out) {
       return w.manager->releaseWindow(w.a, out.count);
     }},
    {"freeSequence",
     [](World &w, Buffers &) {
       PAGED_ATTN_RETURN_IF_ERROR(w.manager->freeSequence(w.fork));
       return w.manager->freeSequence(w.b, KeepCache::Drop);
     }},
    {"setPriority",
     [](World &w, Buffers &) {
       return w.manager->setPriority(w.a, 0, 9, 80, 1000);
     }},
    {"sequenceInfo, sequenceTokens",
     [](World &w, Buffers &out) {
       SequenceInfo info;
       PAGED_ATTN_RETURN_IF_ERROR(w.manager->sequenceInfo(w.a, info));
       return w.manager->sequenceTokens(w.a, 0, 10, out.tokens);
     }},
    {"numCommonPrefixPages",
     [](World &w, Buffers &out) {
       SeqId both[2] = {w.a, w.fork};
       return w.manager->numCommonPrefixPages(0, both, 2, out.table[0]);
     }},
    {"takePagesToZero",
     [](World &w, Buffers &out) {
       PAGED_ATTN_RETURN_IF_ERROR(w.append(w.b, 8));
       return w.manager->takePagesToZero(out.zeroes, 64, out.count);
     }},
    {"takePageCopies",
     [](World &w, Buffers &out) {
       Status status = w.manager->takePageCopies(out.copies, 16, out.count);
       return out.count > 0 ? status
                            : Status::error(StatusCode::Internal, "no copies");
     }},
    {"takeSlotCopies",
     [](World &w, Buffers &out) {
       return w.manager->takeSlotCopies(out.slotCopies, 16, out.count);
     }},
    {"runPendingWork",
     [](World &w, Buffers &) { return w.manager->runPendingWork(); }},
    {"runMoves",
     [](World &w, Buffers &out) {
       out.moves[0] = PageMove{0, 30, 31};
       return w.manager->runMoves(out.moves, 1);
     }},
    {"stats",
     [](World &w, Buffers &) {
       ManagerStats stats;
       return w.manager->stats(stats);
     }},
    {"readEvents",
     [](World &w, Buffers &out) {
       uint64_t next;
       return w.manager->readEvents(0, out.events, 16, out.count, next);
     }},
    {"bookkeepingBytes",
     [](World &w, Buffers &) {
       return w.manager->bookkeepingBytes(0) > 0
                  ? Status::ok()
                  : Status::error(StatusCode::Internal, "no bytes");
     }},
};

TEST(NoAllocationTest, CallsOfAStepNeverAllocate) {
  for (EvictionPolicy policy :
       {EvictionPolicy::LRU, EvictionPolicy::LFU, EvictionPolicy::SLRU,
        EvictionPolicy::FIFO, EvictionPolicy::Priority,
        EvictionPolicy::Callback})
    for (const NamedCall &named : kCalls) {
      SCOPED_TRACE(named.name);
      World world(policy);
      auto buffers = std::make_unique<Buffers>();
      int64_t calls = world.allocator.calls;
      failNewAfter(0);
      Status status = named.call(world, *buffers);
      EXPECT_FALSE(stopFailingNew());
      EXPECT_OK(status);
      EXPECT_EQ(world.allocator.calls, calls);
      EXPECT_OK(world.manager->checkInvariants());
    }
}

/// What the table lists as allocating does, so the test would see it.
TEST(NoAllocationTest, CallsThatAllocateAreSeen) {
  World world(EvictionPolicy::LRU);
  std::string salt(100, 's');
  PrefixDomain domain;
  domain.salt = salt.data();
  domain.saltBytes = salt.size();
  SeqId sequence;
  failNewAfter(0);
  Status status = world.manager->addSequence(domain, sequence);
  EXPECT_TRUE(stopFailingNew());
  EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
}

TEST(NoAllocationTest, AdvancingAPlanNeverAllocates) {
  for (SplitMode splits :
       {SplitMode::None, SplitMode::Balanced, SplitMode::Fixed}) {
    PlanOptions options;
    options.numWorkers = 4;
    options.splits = splits;
    options.splitTokens = 512;
    int32_t qLens[3] = {1, 1, 1}, kvLens[3] = {900, 40, 3};
    Plan plan;
    PlanUpdate done;
    ASSERT_OK(buildPlan(options, qLens, kvLens, 3, plan));
    failNewAfter(0);
    Status kept = updatePlan(qLens, kvLens, 3, plan, done);
    bool wasKept = done == PlanUpdate::Kept;
    for (int32_t &length : kvLens)
      ++length;
    Status advanced = updatePlan(qLens, kvLens, 3, plan, done);
    EXPECT_FALSE(stopFailingNew());
    EXPECT_OK(kept);
    EXPECT_OK(advanced);
    EXPECT_TRUE(wasKept);
    EXPECT_EQ(done, PlanUpdate::Advanced);
  }
}

} // namespace
