//===- Compaction.cpp - Runs of consecutive pages -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Moves pages so that sequences lie on few runs of consecutive pages, and out
// of the end of a pool that is to shrink. Works in rounds: a round plans moves
// into pages that are free now, and is taken back when it saves no run.
//
//===----------------------------------------------------------------------===//

#include "ManagerImpl.h"

#include <algorithm>

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

/// Pages that one round frees can be filled by the next; later rounds move
/// little.
constexpr int kMaxRounds = 8;

/// Free pages as runs [first, first + count).
struct FreeRun {
  PageId first;
  int64_t count;
};

std::vector<FreeRun> freeRuns(const PagePool &pool) {
  std::vector<FreeRun> runs;
  for (PageId page = 1; page < pool.numPages(); ++page) {
    if (!pool.isFree(page))
      continue;
    if (!runs.empty() && runs.back().first + runs.back().count == page)
      ++runs.back().count;
    else
      runs.push_back(FreeRun{page, 1});
  }
  return runs;
}

/// Takes `count` pages from the run that begins at `preferred`, or else from
/// the shortest run that holds them; kNoPage when none does.
PageId takeRun(std::vector<FreeRun> &runs, int64_t count, PageId preferred) {
  FreeRun *best = nullptr;
  for (FreeRun &run : runs) {
    if (run.count < count)
      continue;
    if (run.first == preferred) {
      best = &run;
      break;
    }
    if (!best || run.count < best->count)
      best = &run;
  }
  if (!best)
    return kNoPage;
  PageId first = best->first;
  best->first += PageId(count);
  best->count -= count;
  return first;
}

bool usesPages(const Sequence &sequence) {
  return sequence.state == SequenceState::Live ||
         sequence.state == SequenceState::Match;
}

/// One round of a compaction: where each page is to go.
class Round {
public:
  Round(ManagerImpl &impl, int32_t group)
      : impl(impl), group(group), pool(*impl.pools[group]),
        runs(freeRuns(pool)), newPlace(size_t(pool.numPages()), kNoPage) {}

  /// Plans the sequence of `slot`; forks share a prefix, which the first of
  /// them places.
  void placeSequence(int32_t slot, int64_t capacity);
  int64_t countRuns() const;

  std::vector<PageMove> moves;

private:
  bool canPlace(PageId page) const {
    return page != kNoPage && newPlace[page] == kNoPage && !pool.isPinned(page);
  }
  PageId placeOf(PageId page) const {
    return page == kNoPage || newPlace[page] == kNoPage ? page : newPlace[page];
  }

  ManagerImpl &impl;
  int32_t group;
  const PagePool &pool;
  std::vector<FreeRun> runs;
  std::vector<PageId> newPlace; ///< kNoPage: not placed yet
};

void Round::placeSequence(int32_t slot, int64_t capacity) {
  const PageId *pages = impl.table(slot, group);
  int32_t count = impl.state(slot, group).numPages, begin = 0;
  while (begin < count && !canPlace(pages[begin]))
    ++begin;
  // What stands on one run with the pages before it stays.
  int32_t end = begin;
  while (end < count && canPlace(pages[end]))
    ++end;
  PageId before = begin > 0 ? placeOf(pages[begin - 1]) : kNoPage;
  bool follows =
      before == kNoPage || (begin < end && pages[begin] == before + 1);
  bool oneRun = follows;
  for (int32_t i = begin + 1; i < end; ++i)
    oneRun &= pages[i] == pages[i - 1] + 1;
  if (oneRun || int64_t(moves.size()) + (end - begin) > capacity) {
    for (int32_t i = begin; i < end; ++i)
      newPlace[pages[i]] = pages[i];
    return;
  }
  PageId target =
      takeRun(runs, end - begin, before == kNoPage ? kNoPage : before + 1);
  for (int32_t i = begin; i < end; ++i) {
    PageId place = target == kNoPage ? pages[i] : target + (i - begin);
    newPlace[pages[i]] = place;
    if (place != pages[i])
      moves.push_back(PageMove{group, pages[i], place});
  }
}

int64_t Round::countRuns() const {
  int64_t count = 0;
  for (int32_t slot = 0; slot < impl.options.maxSequences; ++slot) {
    if (!usesPages(impl.sequences[slot]))
      continue;
    const PageId *pages = impl.table(slot, group);
    PageId last = kNoPage - 1;
    for (int32_t i = 0; i < impl.state(slot, group).numPages; ++i) {
      PageId place = placeOf(pages[i]);
      count += place != kNoPage && place != last + 1;
      last = place == kNoPage ? kNoPage - 1 : place;
    }
  }
  return count;
}

} // namespace

void ManagerImpl::countRuns(int32_t group, int64_t &runs, int64_t &mapped,
                            int64_t &tableCount) const {
  runs = mapped = tableCount = 0;
  for (int32_t slot = 0; slot < options.maxSequences; ++slot) {
    if (!usesPages(sequences[slot]))
      continue;
    const PageId *pages = table(slot, group);
    PageId last = kNoPage - 1;
    int64_t before = mapped;
    for (int32_t i = 0; i < state(slot, group).numPages; ++i) {
      mapped += pages[i] != kNoPage;
      runs += pages[i] != kNoPage && pages[i] != last + 1;
      last = pages[i] == kNoPage ? kNoPage - 1 : pages[i];
    }
    tableCount += mapped > before;
  }
}

/// Renames pages in the pool and in every table. Allocates before it changes.
Status ManagerImpl::applyMoves(int32_t group, const PageMove *moves,
                               int64_t count) {
  PagePool &pool = *pools[group];
  std::vector<PageId> from, to, newPlace(size_t(pool.numPages()), kNoPage);
  from.reserve(size_t(count));
  to.reserve(size_t(count));
  for (int64_t i = 0; i < count; ++i) {
    from.push_back(moves[i].source);
    to.push_back(moves[i].target);
    newPlace[moves[i].source] = moves[i].target;
  }
  pool.takeFree(to.data(), count);
  pool.move(from.data(), to.data(), count);
  for (int32_t slot = 0; slot < options.maxSequences; ++slot) {
    if (!usesPages(sequences[slot]))
      continue;
    PageId *pages = table(slot, group);
    bool changed = false;
    for (int32_t i = 0; i < state(slot, group).numPages; ++i)
      if (pages[i] != kNoPage && newPlace[pages[i]] != kNoPage) {
        pages[i] = newPlace[pages[i]];
        changed = true;
      }
    sequences[slot].version += changed;
  }
  for (int64_t i = 0; i < count; ++i)
    if (pool.isCached(to[i]) && !pool.isPartlyFilled(to[i]))
      addEvent(EventKind::Moved, group, from[i], to[i], pool.hashOf(to[i]), 0);
  counters.moves += uint64_t(count);
  return Status::ok();
}

Status KVCacheManager::compact(int32_t group, PageMove *moves, int64_t capacity,
                               CompactionReport &report) {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    ManagerImpl &impl = *impl_;
    PAGED_ATTN_RETURN_IF_ERROR(impl.checkGroup(group));
    if (impl.workPending())
      return Status::error(StatusCode::FailedPrecondition,
                           "expected the work lists to be taken");
    impl.tick();
    CompactionReport result;
    int64_t tables;
    impl.countRuns(group, result.runsBefore, result.mappedPages, tables);
    result.runsAfter = result.runsBefore;
    // The report tells of the rounds done, even if memory ends in a later one.
    for (int round = 0; round < kMaxRounds && result.moves < capacity;
         ++round) {
      Status status = guarded([&]() -> Status {
        Round plan(impl, group);
        for (int32_t slot = 0; slot < impl.options.maxSequences; ++slot)
          if (usesPages(impl.sequences[slot]))
            plan.placeSequence(slot, capacity - result.moves);
        int64_t after = plan.countRuns();
        int64_t count = int64_t(plan.moves.size());
        if (count == 0 || after >= result.runsAfter)
          return Status::error(StatusCode::OutOfRange, "nothing to gain");
        PAGED_ATTN_RETURN_IF_ERROR(
            impl.applyMoves(group, plan.moves.data(), count));
        std::copy(plan.moves.begin(), plan.moves.end(), moves + result.moves);
        result.moves += count;
        result.runsAfter = after;
        return Status::ok();
      });
      if (status.code() == StatusCode::ResourceExhausted && result.moves == 0)
        return status;
      if (!status.isOk())
        break;
    }
    report = result;
    return Status::ok();
  });
}

namespace {

/// Pages at or past `end` that must move, and how many can be had below it.
Status surveyBelow(const ManagerImpl &impl, int32_t group, int64_t end,
                   std::vector<PageId> &wanted, int64_t &free, int64_t &idle) {
  const PagePool &pool = *impl.pools[group];
  free = idle = 0;
  for (PageId page = 1; page < pool.numPages(); ++page) {
    if (!pool.isUsable(page))
      continue;
    bool isFree = pool.isFree(page), used = !isFree && pool.refs(page) > 0;
    if (page < end) {
      free += isFree;
      idle += !isFree && !used;
      continue;
    }
    if (used && pool.isPinned(page))
      return Status::error(StatusCode::FailedPrecondition,
                           "page %d at or past %lld is pinned", page,
                           static_cast<long long>(end));
    if (used)
      wanted.push_back(page);
  }
  return Status::ok();
}

} // namespace

Status KVCacheManager::compactBelow(int32_t group, int64_t end, PageMove *moves,
                                    int64_t capacity,
                                    CompactionReport &report) {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    ManagerImpl &impl = *impl_;
    PAGED_ATTN_RETURN_IF_ERROR(impl.checkGroup(group));
    if (impl.workPending())
      return Status::error(StatusCode::FailedPrecondition,
                           "expected the work lists to be taken");
    PagePool &pool = *impl.pools[group];
    std::vector<PageId> wanted;
    int64_t free, idle;
    PAGED_ATTN_RETURN_IF_ERROR(
        surveyBelow(impl, group, end, wanted, free, idle));
    auto count = int64_t(wanted.size());
    if (count > capacity || count > free + idle)
      return Status::error(StatusCode::ResourceExhausted,
                           "expected room for %lld moves and as many pages "
                           "below %lld, got %lld and %lld",
                           static_cast<long long>(count),
                           static_cast<long long>(end),
                           static_cast<long long>(capacity),
                           static_cast<long long>(free + idle));
    std::vector<PageMove> planned;
    planned.reserve(wanted.size());
    impl.tick();
    CompactionReport result;
    int64_t tables;
    impl.countRuns(group, result.runsBefore, result.mappedPages, tables);
    // Evicts in policy order until enough pages below `end` are free.
    auto freeBelow = [&]() {
      int64_t found = 0;
      for (PageId page = 1; page < std::min(end, pool.numPages()); ++page)
        found += pool.isFree(page);
      return found;
    };
    while (freeBelow() < count)
      pool.evict(count - freeBelow());
    PageId target = 1;
    for (PageId page : wanted) {
      while (!pool.isFree(target))
        ++target;
      planned.push_back(PageMove{group, page, target++});
    }
    PAGED_ATTN_RETURN_IF_ERROR(impl.applyMoves(group, planned.data(), count));
    std::copy(planned.begin(), planned.end(), moves);
    result.moves = count;
    impl.countRuns(group, result.runsAfter, result.mappedPages, tables);
    report = result;
    return Status::ok();
  });
}
