//===- Eviction.cpp - Order in which idle pages are reclaimed -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LRU and SLRU are doubly linked lists: sequences drop their tail first, so a
// tail is always older than its head. LFU, FIFO, priority and callback are a
// binary heap of leaves: a page enters the heap only when none of its cached
// children is idle, which keeps the tail before the head for any score.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/PagePool.h"

#include <algorithm>

using namespace paged_attn;

namespace {

/// Share of the idle pages that SLRU protects (Karedla, Love and Wherry 1994
/// find 60 to 80 % best; SGLang takes 80 %).
constexpr int64_t kProtectedPercent = 80;

// Score of the priority policy: priority, order of becoming idle, expiry.
constexpr int kPriorityShift = 56;
constexpr int kTickShift = 24;
constexpr uint64_t kExpiryMask = (1u << kTickShift) - 1;
constexpr uint32_t kExpiryUnitMs = 256;

} // namespace

//===----------------------------------------------------------------------===//
// Lists
//===----------------------------------------------------------------------===//

void PagePool::listPush(List &list, PageId page) {
  PageMeta &meta = meta_[page];
  meta.prev = list.newest;
  meta.next = 0;
  if (list.newest)
    meta_[list.newest].next = page;
  else
    list.oldest = page;
  list.newest = page;
  ++list.count;
}

void PagePool::listRemove(List &list, PageId page) {
  PageMeta &meta = meta_[page];
  if (meta.prev)
    meta_[meta.prev].next = meta.next;
  else
    list.oldest = meta.next;
  if (meta.next)
    meta_[meta.next].prev = meta.prev;
  else
    list.newest = meta.prev;
  meta.prev = meta.next = 0;
  --list.count;
}

void PagePool::balanceSegments() {
  while (lists_[1].count * 100 > idle_ * kProtectedPercent) {
    PageId page = lists_[1].oldest;
    listRemove(lists_[1], page);
    meta_[page].flags &= ~kProtected;
    listPush(lists_[0], page);
  }
}

//===----------------------------------------------------------------------===//
// Heap of leaves
//===----------------------------------------------------------------------===//

uint64_t PagePool::scoreOf(PageId page) {
  const PageMeta &meta = meta_[page];
  switch (options_.policy) {
  case EvictionPolicy::LFU:
    return uint64_t(meta.uses) << kPriorityShift | ++tick_;
  case EvictionPolicy::Priority:
    return uint64_t(meta.priority) << kPriorityShift |
           (++tick_ & UINT32_MAX) << kTickShift | (scores_[page] & kExpiryMask);
  case EvictionPolicy::Callback:
    return options_.score(options_.scoreContext,
                          IdlePage{page, int32_t(meta.uses),
                                   int32_t(meta.priority), meta.bornMs,
                                   meta.touchedMs});
  case EvictionPolicy::FIFO: // Set once, when the page was cached.
  case EvictionPolicy::LRU:
  case EvictionPolicy::SLRU:
    break;
  }
  return scores_[page];
}

void PagePool::heapSwap(int32_t a, int32_t b) {
  std::swap(heap_[a], heap_[b]);
  meta_[heap_[a]].prev = a;
  meta_[heap_[b]].prev = b;
}

void PagePool::heapSift(int32_t place) {
  auto before = [&](int32_t a, int32_t b) {
    return scores_[heap_[a]] < scores_[heap_[b]];
  };
  while (place > 0 && before(place, (place - 1) / 2)) {
    heapSwap(place, (place - 1) / 2);
    place = (place - 1) / 2;
  }
  while (true) {
    int64_t child = 2 * int64_t(place) + 1;
    if (child >= heapSize_)
      return;
    if (child + 1 < heapSize_ && before(int32_t(child + 1), int32_t(child)))
      ++child;
    if (!before(int32_t(child), place))
      return;
    heapSwap(place, int32_t(child));
    place = int32_t(child);
  }
}

void PagePool::heapInsert(PageId page) {
  int32_t place = int32_t(heapSize_++);
  heap_[place] = page;
  meta_[page].prev = place;
  heapSift(place);
}

void PagePool::heapRemove(PageId page) {
  int32_t place = meta_[page].prev;
  int32_t last = int32_t(--heapSize_);
  if (place != last) {
    heap_[place] = heap_[last];
    meta_[heap_[place]].prev = place;
    heapSift(place);
  }
  meta_[page].prev = 0;
}

/// One more idle child: the parent is no leaf. (`next` counts idle children.)
void PagePool::childBecameIdle(PageId page) {
  PageId parent = parentPage(page);
  if (parent == kNoPage)
    return;
  if (meta_[parent].next++ == 0 && (meta_[parent].flags & kInOrder))
    orderRemove(parent);
}

void PagePool::childLeftIdle(PageId page) {
  PageId parent = parentPage(page);
  if (parent == kNoPage)
    return;
  if (--meta_[parent].next == 0 && (meta_[parent].flags & kIdle))
    orderInsert(parent);
}

//===----------------------------------------------------------------------===//
// Order
//===----------------------------------------------------------------------===//

void PagePool::orderInsert(PageId page) {
  PageMeta &meta = meta_[page];
  meta.flags |= kInOrder;
  if (usesHeap()) {
    scores_[page] = scoreOf(page);
    heapInsert(page);
    return;
  }
  bool again = options_.policy == EvictionPolicy::SLRU && meta.uses > 0;
  if (again)
    meta.flags |= kProtected;
  listPush(lists_[again], page);
  if (again)
    balanceSegments();
}

void PagePool::orderRemove(PageId page) {
  PageMeta &meta = meta_[page];
  if (usesHeap())
    heapRemove(page);
  else
    listRemove(lists_[(meta.flags & kProtected) ? 1 : 0], page);
  meta.flags &= ~(kInOrder | kProtected);
}

PageId PagePool::orderVictim() {
  if (!usesHeap())
    return lists_[0].oldest ? lists_[0].oldest : lists_[1].oldest;
  if (options_.policy == EvictionPolicy::Priority &&
      nowMs_ / kExpiryUnitMs >= nextExpiry_)
    expirePriorities();
  return heap_[0];
}

void PagePool::setPriority(PageId page, int priority, uint32_t ttlMs) {
  PageMeta &meta = meta_[page];
  meta.priority = uint32_t(std::clamp(priority, 0, 100)) & 127;
  if (options_.policy != EvictionPolicy::Priority)
    return;
  uint64_t expiry = 0;
  if (ttlMs != 0) {
    uint64_t end = uint64_t(nowMs_) + ttlMs + kExpiryUnitMs - 1;
    expiry = std::min<uint64_t>(end / kExpiryUnitMs, kExpiryMask);
    nextExpiry_ = std::min(nextExpiry_, uint32_t(expiry));
  }
  bool ordered = meta.flags & kInOrder;
  if (ordered)
    orderRemove(page);
  scores_[page] = (scores_[page] & ~kExpiryMask) | expiry;
  if (ordered)
    orderInsert(page);
}

int PagePool::priorityOf(PageId page, uint32_t &ttlMs) const {
  ttlMs = 0;
  if (options_.policy == EvictionPolicy::Priority)
    if (uint64_t end = (scores_[page] & kExpiryMask) * kExpiryUnitMs; end > 0) {
      if (end <= nowMs_)
        return kDefaultPriority;
      ttlMs = uint32_t(end - nowMs_);
    }
  return int(meta_[page].priority);
}

/// Lowers expired pages to the default priority. Runs at most once per quarter
/// second, and only when some page with a time to live has expired.
void PagePool::expirePriorities() {
  uint32_t now = nowMs_ / kExpiryUnitMs;
  nextExpiry_ = UINT32_MAX;
  for (PageId page = 1; page < std::min(fresh_, numPages_); ++page) {
    uint32_t expiry = uint32_t(scores_[page] & kExpiryMask);
    if (expiry == 0 || !(meta_[page].flags & kCached))
      continue;
    if (expiry > now)
      nextExpiry_ = std::min(nextExpiry_, expiry);
    else
      setPriority(page, kDefaultPriority, 0);
  }
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

Status PagePool::checkOrder() const {
  int64_t ordered = 0, idle = 0;
  for (PageId page = 1; page < std::min(fresh_, numPages_); ++page) {
    ordered += (meta_[page].flags & kInOrder) != 0;
    idle += (meta_[page].flags & kIdle) != 0;
    if ((meta_[page].flags & kInOrder) && !(meta_[page].flags & kIdle))
      return Status::error(StatusCode::Internal,
                           "page %d is in the order but not idle", page);
  }
  int64_t listed = usesHeap() ? heapSize_ : lists_[0].count + lists_[1].count;
  if (ordered != listed || idle != idle_)
    return Status::error(
        StatusCode::Internal,
        "expected %lld ordered and %lld idle pages, got %lld "
        "and %lld",
        static_cast<long long>(listed), static_cast<long long>(idle_),
        static_cast<long long>(ordered), static_cast<long long>(idle));
  if (!usesHeap() && listed != idle_)
    return Status::error(StatusCode::Internal,
                         "expected every idle page in a list");
  for (int64_t i = 0; i < heapSize_; ++i)
    if (meta_[heap_[i]].prev != i ||
        scores_[heap_[i]] < scores_[heap_[i == 0 ? 0 : (i - 1) / 2]])
      return Status::error(StatusCode::Internal,
                           "heap order broken at place %lld",
                           static_cast<long long>(i));
  for (int which = 0; which < 2; ++which) {
    int64_t count = 0;
    PageId last = 0;
    for (PageId page = lists_[which].oldest; page; page = meta_[page].next) {
      if (meta_[page].prev != last || ++count > numPages_)
        return Status::error(StatusCode::Internal, "list broken at page %d",
                             page);
      last = page;
    }
    if (count != lists_[which].count || last != lists_[which].newest)
      return Status::error(StatusCode::Internal, "list %d has a wrong count",
                           which);
  }
  return Status::ok();
}

/// Whether the index finds a cached page by its tokens.
Status PagePool::checkIndexed(PageId page) const {
  const PageMeta &meta = meta_[page];
  bool found = !isCached(page) && !isPartlyFilled(page);
  if (isCached(page) && !isPartlyFilled(page)) {
    found = lookup(meta.hash, meta.parentKey, tokensOf(page)) == page;
  } else if (isCached(page)) {
    PageId at = buckets_[bucketOf(meta.hash)];
    while (at != 0 && at != page)
      at = meta_[at].bucketNext;
    int32_t fill = fillOf(page);
    found = at == page && fill > 0 && fill < options_.pageSize;
  }
  return found
             ? Status::ok()
             : Status::error(StatusCode::Internal,
                             "cached page %d is not found by its tokens", page);
}

Status PagePool::checkInvariants(const uint32_t *refs) const {
  int64_t listed = 0, cached = 0, partly = 0, pinned = 0;
  int64_t end = std::min(fresh_, numPages_);
  for (PageId page = freeHead_; page; page = meta_[page].next)
    if (++listed > numPages_ || !(meta_[page].flags & kOnFreeList) ||
        meta_[page].refs != 0 || page >= end || isGuard(page))
      return Status::error(StatusCode::Internal, "free list broken at page %d",
                           page);
  for (PageId page = 1; page < end; ++page) {
    const PageMeta &meta = meta_[page];
    bool isFree = meta.flags & kOnFreeList;
    bool isIdle = meta.flags & kIdle;
    cached += (meta.flags & kCached) != 0;
    pinned += meta.pins != 0;
    if (isGuard(page))
      continue;
    if (int(isFree) + int(isIdle) + int(meta.refs > 0) != 1)
      return Status::error(StatusCode::Internal,
                           "page %d is not exactly one of free, idle, active "
                           "(flags %d, %u references)",
                           page, int(meta.flags), meta.refs);
    if (refs && refs[page] + meta.pins != meta.refs)
      return Status::error(StatusCode::Internal,
                           "page %d has %u references, its owners know %u",
                           page, meta.refs, refs[page] + uint32_t(meta.pins));
    partly += isPartlyFilled(page);
    PAGED_ATTN_RETURN_IF_ERROR(checkIndexed(page));
    // In full groups the ancestors of a cached page are cached, and those of a
    // referenced one referenced: the tail goes before the head.
    if (options_.exactChain && isCached(page) && !(meta.flags & kRoot)) {
      PageId parent = parentPage(page);
      if (parent == kNoPage || (meta.refs > 0 && meta_[parent].refs == 0))
        return Status::error(StatusCode::Internal,
                             "cached page %d outlived its parent", page);
    }
  }
  int64_t freePages = listed + std::max<int64_t>(0, usable() + 1 - end);
  if (freePages != free_ || cached != cached_ || partly != partlyFilled_ ||
      pinned != pinned_)
    return Status::error(
        StatusCode::Internal,
        "expected %lld free, %lld cached, %lld partly filled, %lld pinned "
        "pages, got %lld, %lld, %lld, %lld",
        static_cast<long long>(free_), static_cast<long long>(cached_),
        static_cast<long long>(partlyFilled_), static_cast<long long>(pinned_),
        static_cast<long long>(freePages), static_cast<long long>(cached),
        static_cast<long long>(partly), static_cast<long long>(pinned));
  return checkOrder();
}
