//===- Sequences.cpp - Life of a sequence ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Adding, growing, forking, cutting and freeing sequences. Every call checks
// everything first and then changes state by steps that cannot fail.
//
//===----------------------------------------------------------------------===//

#include "ManagerImpl.h"

#include <algorithm>
#include <cstring>

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

int32_t ceilDiv(int64_t a, int64_t b) { return int32_t((a + b - 1) / b); }

} // namespace

//===----------------------------------------------------------------------===//
// Slots of sequences
//===----------------------------------------------------------------------===//

Status ManagerImpl::findSlot(SeqId sequence, int32_t &slot,
                             bool allowSwapped) const {
  slot = int32_t(uint32_t(uint64_t(sequence)));
  if (sequence < 0 || slot < 0 || slot >= options.maxSequences ||
      handle(slot) != sequence ||
      (sequences[slot].state != SequenceState::Live &&
       sequences[slot].state != SequenceState::Swapped))
    return Status::error(StatusCode::NotFound,
                         "expected a live sequence, got handle %lld",
                         static_cast<long long>(sequence));
  if (!allowSwapped && sequences[slot].state == SequenceState::Swapped)
    return Status::error(StatusCode::FailedPrecondition,
                         "sequence %lld is swapped out",
                         static_cast<long long>(sequence));
  return Status::ok();
}

Status ManagerImpl::takeSlot(int32_t domain, SequenceState newState,
                             int32_t &slot) {
  if (unusedHead < 0)
    return Status::error(StatusCode::ResourceExhausted,
                         "expected at most %d sequences and matches",
                         options.maxSequences);
  slot = unusedHead;
  Sequence &sequence = sequences[slot];
  unusedHead = sequence.nextUnused;
  sequence.generation = (sequence.generation + 1) & 0x7fffffffu;
  sequence.state = newState;
  sequence.domain = domain;
  sequence.numTokens = sequence.numCommitted = 0;
  sequence.version = 0;
  sequence.stamp = 0;
  for (int32_t g = 0; g < numGroups(); ++g) {
    state(slot, g) = GroupState();
    startChain(slot, g);
  }
  return Status::ok();
}

void ManagerImpl::releaseSlot(int32_t slot) {
  Sequence &sequence = sequences[slot];
  domains.release(sequence.domain);
  sequence.state = SequenceState::Unused;
  sequence.generation = (sequence.generation + 1) & 0x7fffffffu;
  sequence.nextUnused = unusedHead;
  unusedHead = slot;
}

void ManagerImpl::dropPages(int32_t slot, int32_t group, int32_t from,
                            KeepCache keep) {
  GroupState &gs = state(slot, group);
  PageId *pages = table(slot, group);
  PagePool &pool = *pools[group];
  for (int32_t i = gs.numPages; i-- > from;) {
    if (pages[i] == kNoPage)
      continue;
    pool.deref(pages[i]);
    if (keep == KeepCache::Drop && !pool.discardIfPrivate(pages[i]))
      keep = KeepCache::Keep;
    pages[i] = kNoPage;
  }
  gs.numPages = std::min(gs.numPages, from);
}

void ManagerImpl::freeSlot(int32_t slot, KeepCache keep) {
  for (int32_t g = 0; g < numGroups(); ++g) {
    if (keep == KeepCache::Keep)
      storeLastPage(slot, g);
    dropPages(slot, g, 0, keep);
  }
  dropSwap(slot);
  releaseSlot(slot);
}

Status KVCacheManager::addSequence(const PrefixDomain &domain,
                                   SeqId &sequence) {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    int32_t index = impl_->domains.acquire(domain), slot = 0;
    Status status = impl_->takeSlot(index, SequenceState::Live, slot);
    if (!status.isOk())
      impl_->domains.release(index);
    else
      sequence = impl_->handle(slot);
    return status;
  });
}

Status KVCacheManager::freeSequence(SeqId sequence, KeepCache keep) {
  Lock lock(impl_->mutex);
  int32_t slot;
  PAGED_ATTN_RETURN_IF_ERROR(impl_->findSlot(sequence, slot, true));
  impl_->tick();
  impl_->freeSlot(slot, keep);
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Slots of tokens
//===----------------------------------------------------------------------===//

int64_t ManagerImpl::pagesNeeded(int32_t slot, int32_t group, int64_t numTokens,
                                 int64_t lookahead, bool &copied) const {
  const GroupState &gs = state(slot, group);
  int32_t pageSize = spec(group).pageSize;
  int64_t first = sequences[slot].numTokens;
  int64_t end = ceilDiv(first + numTokens + lookahead, pageSize);
  copied = false;
  if (numTokens > 0 && first / pageSize < gs.numPages) {
    PageId page = table(slot, group)[first / pageSize];
    copied =
        page != kNoPage && !writable(group, page, int32_t(first % pageSize));
  }
  return std::max<int64_t>(0, end - gs.numPages) + (copied ? 1 : 0);
}

void ManagerImpl::mapSlots(int32_t slot, const SlotRequest &request) {
  Sequence &sequence = sequences[slot];
  int64_t first = sequence.numTokens;
  int64_t end = first + request.numTokens;
  for (int32_t g = 0; g < numGroups(); ++g) {
    bool copied;
    (void)pagesNeeded(slot, g, request.numTokens, request.lookahead, copied);
    GroupState &gs = state(slot, g);
    PageId *pages = table(slot, g);
    int32_t pageSize = spec(g).pageSize;
    if (copied) {
      PageId &entry = pages[first / pageSize];
      PageId source = entry;
      entry = pools[g]->allocateOne();
      if (first % pageSize != 0) {
        addCopy(g, source, entry, int32_t(first % pageSize));
        if (pools[g]->hasHoles(source))
          pools[g]->setHoles(entry);
      }
      pools[g]->deref(source);
      ++sequence.version;
    }
    if (int32_t last = ceilDiv(end + request.lookahead, pageSize);
        gs.numPages < last) {
      freshPages(g, last - gs.numPages, pages + gs.numPages);
      gs.numPages = last;
    }
    if (request.slots && request.slots[g])
      for (int64_t at = first; at < end; ++at)
        request.slots[g][at - first] =
            int64_t(pages[at / pageSize]) * pageSize + at % pageSize;
  }
  if (request.numTokens == 1)
    tokensOf(slot)[first] = request.tokens[0];
  else
    std::copy_n(request.tokens, request.numTokens, tokensOf(slot) + first);
  sequence.numTokens = int32_t(end);
}

Status KVCacheManager::allocateSlots(const SlotRequest *requests, int32_t count,
                                     int64_t reservePages) {
  Lock lock(impl_->mutex);
  ManagerImpl &impl = *impl_;
  int64_t needed[kMaxGroups] = {};
  int64_t copied = 0, fresh = 0;
  uint64_t stamp = ++impl.stamp;
  for (int32_t i = 0; i < count; ++i) {
    const SlotRequest &request = requests[i];
    int32_t slot;
    PAGED_ATTN_RETURN_IF_ERROR(impl.findSlot(request.sequence, slot));
    Sequence &sequence = impl.sequences[slot];
    if (sequence.stamp == stamp)
      return Status::error(StatusCode::InvalidArgument,
                           "expected each sequence once, got %lld twice",
                           static_cast<long long>(request.sequence));
    sequence.stamp = stamp;
    if (request.numTokens < 0 || request.lookahead < 0 ||
        (request.numTokens > 0 && !request.tokens))
      return Status::error(StatusCode::InvalidArgument,
                           "expected tokens and counts >= 0 in request %d", i);
    if (int64_t(sequence.numTokens) + request.numTokens + request.lookahead >
        impl.options.maxTokens)
      return Status::error(
          StatusCode::OutOfRange,
          "expected at most %d tokens, sequence %lld has %d "
          "and asks for %d and %d",
          impl.options.maxTokens, static_cast<long long>(request.sequence),
          sequence.numTokens, request.numTokens, request.lookahead);
    for (int32_t g = 0; g < impl.numGroups(); ++g) {
      bool copies;
      int64_t pages = impl.pagesNeeded(slot, g, request.numTokens,
                                       request.lookahead, copies);
      needed[g] += pages;
      copied += copies;
      fresh += pages - copies;
    }
  }
  for (int32_t g = 0; g < impl.numGroups(); ++g)
    if (needed[g] > 0 && needed[g] + reservePages > impl.pools[g]->available())
      return Status::error(StatusCode::ResourceExhausted,
                           "group %d has %lld pages left, expected %lld and a "
                           "reserve of %lld",
                           g,
                           static_cast<long long>(impl.pools[g]->available()),
                           static_cast<long long>(needed[g]),
                           static_cast<long long>(reservePages));
  bool fills = impl.options.fill != FillMode::None;
  if (impl.numCopies + copied > impl.copyCapacity ||
      (fills && impl.numZeroes + fresh > impl.zeroCapacity))
    return Status::error(StatusCode::ResourceExhausted,
                         "the work lists are full; take them first");
  impl.tick();
  for (int32_t i = 0; i < count; ++i)
    impl.mapSlots(int32_t(uint32_t(requests[i].sequence)), requests[i]);
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Forks and cuts
//===----------------------------------------------------------------------===//

/// Whether a row at position `next` or later may read page `page`.
bool ManagerImpl::neededByWindow(int32_t group, int64_t page,
                                 int64_t next) const {
  const GroupSpec &s = spec(group);
  if (s.windowKind == WindowKind::SinkWindow &&
      page * s.pageSize < s.sinkTokens)
    return true;
  return (page + 1) * s.pageSize > windowStart(s, next);
}

/// Whether a sequence cut to `numTokens` still has the pages of its window.
bool ManagerImpl::windowIsMapped(int32_t slot, int32_t group,
                                 int32_t numTokens) const {
  if (exact(group))
    return true;
  int32_t pages = ceilDiv(numTokens, spec(group).pageSize);
  for (int32_t i = 0; i < pages; ++i)
    if (table(slot, group)[i] == kNoPage && neededByWindow(group, i, numTokens))
      return false;
  return true;
}

Status KVCacheManager::fork(SeqId parent, int32_t position, SeqId &child) {
  Lock lock(impl_->mutex);
  ManagerImpl &impl = *impl_;
  int32_t from, to;
  PAGED_ATTN_RETURN_IF_ERROR(impl.findSlot(parent, from));
  const Sequence &source = impl.sequences[from];
  if (position < 0)
    position = source.numTokens;
  if (position > source.numTokens)
    return Status::error(StatusCode::OutOfRange,
                         "expected a position up to %d, got %d",
                         source.numTokens, position);
  for (int32_t g = 0; g < impl.numGroups(); ++g)
    if (!impl.windowIsMapped(from, g, position))
      return Status::error(StatusCode::FailedPrecondition,
                           "the window of position %d was released in group %d",
                           position, g);
  impl.tick();
  PAGED_ATTN_RETURN_IF_ERROR(
      impl.takeSlot(source.domain, SequenceState::Live, to));
  impl.domains.ref(source.domain);
  Sequence &target = impl.sequences[to];
  target.numTokens = position;
  target.numCommitted = std::min(source.numCommitted, position);
  std::copy_n(impl.tokensOf(from), position, impl.tokensOf(to));
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    int32_t pageSize = impl.spec(g).pageSize;
    GroupState &gs = impl.state(to, g);
    gs.numPages = ceilDiv(position, pageSize);
    for (int32_t i = 0; i < gs.numPages; ++i) {
      PageId page = impl.table(from, g)[i];
      impl.table(to, g)[i] = page;
      if (page == kNoPage)
        continue;
      impl.pools[g]->ref(page);
      impl.pools[g]->markShared(page);
    }
    int32_t hashed =
        std::min(impl.state(from, g).numHashed, position / pageSize);
    impl.rebuildChain(to, g, hashed);
  }
  child = impl.handle(to);
  return Status::ok();
}

Status ManagerImpl::truncateSlot(int32_t slot, int32_t numTokens) {
  Sequence &sequence = sequences[slot];
  if (numTokens < 0 || numTokens > sequence.numTokens)
    return Status::error(StatusCode::OutOfRange,
                         "expected a length up to %d, got %d",
                         sequence.numTokens, numTokens);
  for (int32_t g = 0; g < numGroups(); ++g)
    if (!windowIsMapped(slot, g, numTokens))
      return Status::error(StatusCode::FailedPrecondition,
                           "the window of position %d was released in group %d",
                           numTokens, g);
  for (int32_t g = 0; g < numGroups(); ++g) {
    int32_t pageSize = spec(g).pageSize;
    int32_t kept = ceilDiv(numTokens, pageSize);
    dropPages(slot, g, kept, KeepCache::Keep);
    // The cache may keep what followed, so this page is not private any more.
    PageId last = kept > 0 ? table(slot, g)[kept - 1] : kNoPage;
    if (last != kNoPage && pools[g]->isCached(last))
      pools[g]->markShared(last);
    if (state(slot, g).numHashed > numTokens / pageSize)
      rebuildChain(slot, g, numTokens / pageSize);
  }
  sequence.numTokens = numTokens;
  sequence.numCommitted = std::min(sequence.numCommitted, numTokens);
  ++sequence.version;
  return Status::ok();
}

Status KVCacheManager::truncate(SeqId sequence, int32_t numTokens) {
  Lock lock(impl_->mutex);
  int32_t slot;
  PAGED_ATTN_RETURN_IF_ERROR(impl_->findSlot(sequence, slot));
  impl_->tick();
  return impl_->truncateSlot(slot, numTokens);
}

Status KVCacheManager::commitTree(SeqId sequence, const int32_t *path,
                                  int32_t count) {
  Lock lock(impl_->mutex);
  ManagerImpl &impl = *impl_;
  int32_t slot;
  PAGED_ATTN_RETURN_IF_ERROR(impl.findSlot(sequence, slot));
  const Sequence &seq = impl.sequences[slot];
  int32_t base = seq.numCommitted, fresh = seq.numTokens - base, moved = 0;
  if (count < 0)
    return Status::error(StatusCode::InvalidArgument,
                         "expected a path of >= 0 tokens, got %d", count);
  for (int32_t i = 0; i < count; ++i) {
    if (path[i] < (i ? path[i - 1] + 1 : 0) || path[i] >= fresh)
      return Status::error(StatusCode::InvalidArgument,
                           "expected an ascending path in [0, %d), got %d at "
                           "%d",
                           fresh, path[i], i);
    moved += path[i] != i;
  }
  // Slot copies run before the other lists, so none of those may be older.
  PAGED_ATTN_RETURN_IF_ERROR(impl.needDone(slot, base, seq.numTokens));
  if (impl.numSlotCopies + int64_t(moved) * impl.numGroups() >
      impl.slotCopyCapacity)
    return Status::error(StatusCode::ResourceExhausted,
                         "the list of slot copies holds %lld, got %d",
                         static_cast<long long>(impl.slotCopyCapacity),
                         moved * impl.numGroups());
  // Pages of new tokens were made writable by allocateSlots; a fork since then
  // shares them, and must not see the moves.
  for (int32_t g = 0; g < impl.numGroups(); ++g)
    for (int32_t i = base / impl.spec(g).pageSize;
         moved && i < impl.state(slot, g).numPages; ++i)
      if (int32_t pageSize = impl.spec(g).pageSize; !impl.writable(
              g, impl.table(slot, g)[i], std::max(0, base - i * pageSize)))
        return Status::error(StatusCode::FailedPrecondition,
                             "page %d of the new tokens is shared by a fork",
                             impl.table(slot, g)[i]);
  impl.tick();
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    const PageId *pages = impl.table(slot, g);
    int64_t pageSize = impl.spec(g).pageSize;
    auto place = [&](int64_t at) {
      return pages[at / pageSize] * pageSize + at % pageSize;
    };
    for (int32_t i = 0; i < count; ++i)
      if (path[i] != i)
        impl.slotCopies[impl.numSlotCopies++] =
            SlotCopy{g, 0, place(base + path[i]), place(base + i)};
  }
  TokenId *tokens = impl.tokensOf(slot) + base;
  for (int32_t i = 0; i < count; ++i)
    tokens[i] = tokens[path[i]];
  return impl.truncateSlot(slot, base + count);
}

Status KVCacheManager::releaseWindow(SeqId sequence, int64_t &released) {
  Lock lock(impl_->mutex);
  ManagerImpl &impl = *impl_;
  int32_t slot;
  PAGED_ATTN_RETURN_IF_ERROR(impl.findSlot(sequence, slot));
  impl.tick();
  released = 0;
  // New tokens still need the window of the first of them.
  int64_t next = impl.sequences[slot].numCommitted;
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    if (impl.exact(g))
      continue;
    int64_t end = std::min<int64_t>(windowStart(impl.spec(g), next) /
                                        impl.spec(g).pageSize,
                                    impl.state(slot, g).numPages);
    PageId *pages = impl.table(slot, g);
    for (int64_t i = end; i-- > 0;) {
      if (pages[i] == kNoPage || impl.neededByWindow(g, i, next))
        continue;
      impl.pools[g]->deref(pages[i]);
      pages[i] = kNoPage;
      ++released;
    }
  }
  if (released)
    ++impl.sequences[slot].version;
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Questions
//===----------------------------------------------------------------------===//

Status KVCacheManager::setPriority(SeqId sequence, int32_t begin, int32_t end,
                                   int priority, uint32_t ttlMs) {
  Lock lock(impl_->mutex);
  ManagerImpl &impl = *impl_;
  int32_t slot;
  PAGED_ATTN_RETURN_IF_ERROR(impl.findSlot(sequence, slot));
  if (begin < 0 || end < begin || end > impl.sequences[slot].numTokens ||
      priority < 0 || priority > 100)
    return Status::error(StatusCode::InvalidArgument,
                         "expected 0 <= begin <= end <= %d and a priority in "
                         "[0, 100], got %d, %d and %d",
                         impl.sequences[slot].numTokens, begin, end, priority);
  impl.tick();
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    int32_t pageSize = impl.spec(g).pageSize;
    int32_t last = end > begin ? ceilDiv(end, pageSize) : 0;
    for (int32_t i = begin / pageSize; i < last; ++i)
      if (PageId page = impl.table(slot, g)[i]; page != kNoPage)
        impl.pools[g]->setPriority(page, priority, ttlMs);
  }
  return Status::ok();
}

Status KVCacheManager::sequenceInfo(SeqId sequence, SequenceInfo &info) const {
  Lock lock(impl_->mutex);
  int32_t slot;
  PAGED_ATTN_RETURN_IF_ERROR(impl_->findSlot(sequence, slot, true));
  const Sequence &seq = impl_->sequences[slot];
  info = SequenceInfo();
  info.numTokens = seq.numTokens;
  info.numCommitted = seq.numCommitted;
  info.isSwapped = seq.state == SequenceState::Swapped;
  for (int32_t g = 0; g < impl_->numGroups(); ++g)
    info.numPages[g] = impl_->state(slot, g).numPages;
  return Status::ok();
}

Status KVCacheManager::sequenceTokens(SeqId sequence, int32_t begin,
                                      int32_t end, TokenId *tokens) const {
  Lock lock(impl_->mutex);
  int32_t slot;
  PAGED_ATTN_RETURN_IF_ERROR(impl_->findSlot(sequence, slot, true));
  if (begin < 0 || end < begin || end > impl_->sequences[slot].numTokens)
    return Status::error(StatusCode::OutOfRange,
                         "expected 0 <= begin <= end <= %d, got %d and %d",
                         impl_->sequences[slot].numTokens, begin, end);
  std::copy(impl_->tokensOf(slot) + begin, impl_->tokensOf(slot) + end, tokens);
  return Status::ok();
}
