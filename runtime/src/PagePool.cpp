//===- PagePool.cpp - Reference-counted pages of one cache group ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Free list, references, prefix index, growth and moves. All-zero page records
// are a valid state, so that arrays of untouched pages cost no memory: lists
// end in page 0, the null page, and pages from `fresh_` on were never used.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/PagePool.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

using namespace paged_attn;

namespace {

// Widths of the bit fields of a page record.
constexpr uint32_t kMaxPins = (1u << 10) - 1;
constexpr uint32_t kMaxUses = (1u << 7) - 1;

/// Partly filled pages under one parent that begin with the same token. More
/// would make the walk over them long; the token after a prompt's last full
/// page is mostly the same one.
constexpr int kMaxSiblings = 8;

uint64_t floorPowerOfTwo(uint64_t value) {
  uint64_t power = 1;
  while (power * 2 <= value)
    power *= 2;
  return power;
}

/// Finalizer of MurmurHash3 (64 bit).
uint64_t mix(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdull;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ull;
  return x ^ (x >> 33);
}

} // namespace

Status PagePool::create(const PoolOptions &options,
                        std::unique_ptr<PagePool> &pool) {
  int64_t reserved = options.guardPage ? 2 : 1;
  if (options.numPages < reserved || options.maxPages < options.numPages ||
      options.maxPages >= INT32_MAX || options.pageSize < 1)
    return Status::error(
        StatusCode::InvalidArgument,
        "expected %lld <= numPages <= maxPages < 2^31 - 1 and pageSize >= 1, "
        "got %lld, %lld and %d",
        static_cast<long long>(reserved),
        static_cast<long long>(options.numPages),
        static_cast<long long>(options.maxPages), options.pageSize);
  if (options.policy == EvictionPolicy::Callback && !options.score)
    return Status::error(StatusCode::InvalidArgument,
                         "expected a score function for the callback policy, "
                         "got null");
  std::unique_ptr<PagePool> made(new (std::nothrow) PagePool);
  if (!made)
    return Status::error(StatusCode::ResourceExhausted, "out of host memory");
  made->options_ = options;
  HostAllocator &allocator = made->options_.allocator;
  if (!allocator.allocate)
    allocator = defaultHostAllocator();
  size_t pages = size_t(options.maxPages);
  bool heap = made->usesHeap();
  // Fewer buckets with a heap keep every policy under 64 bytes per page.
  uint64_t buckets = heap ? pages / 2 + 1 : pages + pages / 2;
  uint64_t hints = floorPowerOfTwo(std::max<size_t>(1, pages / 4));
  if (!made->meta_.allocate(allocator, pages) ||
      !made->tokens_.allocate(allocator, pages * size_t(options.pageSize)) ||
      !made->buckets_.allocate(allocator, buckets) ||
      !made->hints_.allocate(allocator, hints) ||
      (heap && (!made->scores_.allocate(allocator, pages) ||
                !made->heap_.allocate(allocator, pages))))
    return Status::error(StatusCode::ResourceExhausted,
                         "out of host memory for the records of %lld pages",
                         static_cast<long long>(options.maxPages));
  made->hintMask_ = hints - 1;
  made->numPages_ = options.numPages;
  made->free_ = made->usable();
  pool = std::move(made);
  return Status::ok();
}

PagePool::~PagePool() = default;

int64_t PagePool::usable() const {
  bool guardInside = options_.guardPage && numPages_ == options_.maxPages;
  return numPages_ - 1 - (guardInside ? 1 : 0);
}

int64_t PagePool::bookkeepingBytes() const {
  return int64_t(meta_.bytes() + buckets_.bytes() + hints_.bytes() +
                 scores_.bytes() + heap_.bytes());
}

//===----------------------------------------------------------------------===//
// Free pages and references
//===----------------------------------------------------------------------===//

void PagePool::pushFree(PageId page) {
  PageMeta &meta = meta_[page];
  meta.next = freeHead_;
  meta.flags = kOnFreeList;
  freeHead_ = page;
  ++free_;
}

PageId PagePool::popFree() {
  PageId page = freeHead_;
  if (page != 0) {
    freeHead_ = meta_[page].next;
    meta_[page].next = 0;
    meta_[page].flags = 0;
  } else {
    page = PageId(fresh_++);
  }
  --free_;
  return page;
}

PageId PagePool::allocateOne() {
  if (free_ == 0)
    reclaim(orderVictim());
  PageId page = popFree();
  startPage(page);
  return page;
}

void PagePool::startPage(PageId page) {
  PageMeta &meta = meta_[page];
  meta.refs = 1;
  meta.uses = 0;
  meta.priority = kDefaultPriority;
  if (usesHeap())
    scores_[page] = 0;
  meta.bornMs = nowMs_;
  meta.touchedMs = nowMs_;
  ++allocations_;
}

void PagePool::allocateSome(int64_t count, PageId *pages) {
  for (int64_t i = 0; i < count; ++i) {
    if (i % kAhead == 0 && free_ < std::min<int64_t>(count - i, kAhead))
      prefetchVictims(std::min<int64_t>(count - i, kAhead) - free_);
    pages[i] = allocateOne();
  }
}

Status PagePool::allocate(int64_t count, PageId *pages) {
  if (count < 0 || count > available())
    return Status::error(StatusCode::ResourceExhausted,
                         "expected at most %lld pages, got a request for %lld",
                         static_cast<long long>(available()),
                         static_cast<long long>(count));
  allocateSome(count, pages);
  return Status::ok();
}

void PagePool::ref(PageId page) {
  if (meta_[page].refs++ == 0)
    leaveIdle(page);
}

void PagePool::deref(PageId page) {
  PageMeta &meta = meta_[page];
  if (--meta.refs != 0)
    return;
  ++releases_;
  meta.touchedMs = nowMs_;
  if (meta.flags & kCached) {
    becomeIdle(page);
    return;
  }
  lifetimeMs_.add(nowMs_ - meta.bornMs);
  pushFree(page);
}

void PagePool::refChain(PageId page) {
  for (PageId at = page; at != kNoPage; at = parentPage(at))
    ref(at);
}

void PagePool::derefChain(PageId page) {
  for (PageId at = page; at != kNoPage;) {
    PageId parent = parentPage(at);
    deref(at);
    at = parent;
  }
}

void PagePool::addChain(PageId page, uint32_t *refs) const {
  for (PageId at = page; at != kNoPage; at = parentPage(at))
    ++refs[at];
}

Status PagePool::pin(PageId page) {
  if (!isUsable(page) || !isCached(page) || isPartlyFilled(page))
    return Status::error(StatusCode::NotFound,
                         "expected a full cached page to pin, got %d", page);
  // Every ancestor has at least as many pins, so the root tells for all.
  for (PageId at = page; at != kNoPage; at = parentPage(at))
    if (meta_[at].pins == kMaxPins)
      return Status::error(StatusCode::ResourceExhausted,
                           "expected at most %d pins of page %d", kMaxPins, at);
  for (PageId at = page; at != kNoPage; at = parentPage(at)) {
    if (meta_[at].pins == 0)
      ++pinned_;
    meta_[at].pins = (meta_[at].pins + 1u) & kMaxPins;
    ref(at);
  }
  return Status::ok();
}

Status PagePool::unpin(PageId page) {
  if (!isUsable(page) || meta_[page].pins == 0)
    return Status::error(StatusCode::FailedPrecondition,
                         "expected a pinned page to unpin, got %d", page);
  // Tail first, so that a list sees the head as the newer page.
  for (PageId at = page; at != kNoPage;) {
    PageId parent = parentPage(at);
    meta_[at].pins = (meta_[at].pins - 1u) & kMaxPins;
    if (meta_[at].pins == 0)
      --pinned_;
    deref(at);
    at = parent;
  }
  return Status::ok();
}

bool PagePool::discardIfPrivate(PageId page) {
  const PageMeta &meta = meta_[page];
  if (meta.flags & kOnFreeList)
    return true; // Never cached, free already.
  if (!(meta.flags & kIdle) || !(meta.flags & kInOrder) || meta.uses > 0)
    return false;
  reclaim(page);
  return true;
}

/// What is used again was reached through its ancestors: none of them may look
/// less used, or SLRU would let it go before its tail.
void PagePool::markShared(PageId page) {
  if (meta_[page].uses < kMaxUses)
    meta_[page].uses = (meta_[page].uses + 1u) & kMaxUses;
  for (PageId at = parentPage(page);
       at != kNoPage && meta_[at].uses < meta_[page].uses; at = parentPage(at))
    meta_[at].uses = meta_[page].uses;
}

void PagePool::becomeIdle(PageId page) {
  meta_[page].flags |= kIdle;
  ++idle_;
  if (usesHeap()) {
    childBecameIdle(page);
    if (meta_[page].next == 0)
      orderInsert(page);
    return;
  }
  orderInsert(page);
}

void PagePool::leaveIdle(PageId page) {
  PageMeta &meta = meta_[page];
  meta.flags &= ~kIdle;
  --idle_;
  if (meta.flags & kInOrder)
    orderRemove(page);
  if (usesHeap())
    childLeftIdle(page);
}

/// Takes an idle page out of the cache and puts it on the free list.
void PagePool::reclaim(PageId page) {
  PageMeta &meta = meta_[page];
  ++evictions_;
  idleMs_.add(nowMs_ - meta.touchedMs);
  lifetimeMs_.add(nowMs_ - meta.bornMs);
  leaveIdle(page);
  leaveCache(page);
  ++meta.generation;
  pushFree(page);
}

/// Takes a page out of the prefix index.
void PagePool::leaveCache(PageId page) {
  PageMeta &meta = meta_[page];
  bool partly = isPartlyFilled(page), isRoot = meta.flags & kRoot;
  unlinkBucket(page);
  --cached_;
  partlyFilled_ -= partly;
  meta.flags &= ~(kCached | kRoot | kPartlyFilled);
  if (options_.listener)
    options_.listener->pageRemoved(options_.group, page, partly ? 0 : meta.hash,
                                   meta.parentKey, isRoot);
}

void PagePool::clearIdle() {
  while (idle_ > 0)
    reclaim(orderVictim());
}

int64_t PagePool::evict(int64_t count) {
  int64_t evicted = 0;
  for (; evicted < count && idle_ > 0; ++evicted)
    reclaim(orderVictim());
  return evicted;
}

//===----------------------------------------------------------------------===//
// Prefix index
//===----------------------------------------------------------------------===//

size_t PagePool::hintOf(uint64_t parentKey, TokenId token) const {
  return mix(parentKey ^ (uint64_t(uint32_t(token)) << 17)) & hintMask_;
}

void PagePool::linkBucket(PageId page) {
  PageMeta &meta = meta_[page];
  int32_t &head = buckets_[bucketOf(meta.hash)];
  meta.bucketNext = head;
  head = page;
}

void PagePool::unlinkBucket(PageId page) {
  int32_t *link = &buckets_[bucketOf(meta_[page].hash)];
  while (*link != page)
    link = &meta_[*link].bucketNext;
  *link = meta_[page].bucketNext;
  meta_[page].bucketNext = 0;
}

void PagePool::prefetchLookup(const uint64_t *hashes, int32_t count) const {
  for (int32_t i = 0; i < count; ++i)
    __builtin_prefetch(&buckets_[bucketOf(hashes[i])]);
  for (int32_t i = 0; i < count; ++i)
    prefetchRecord(buckets_[bucketOf(hashes[i])]);
}

void PagePool::prefetchInsert(const PageId *pages, int32_t count,
                              const TokenId *tokens) const {
  for (int32_t i = 0; i < count; ++i) {
    if (pages[i] < 0)
      continue;
    __builtin_prefetch(&tokens_[size_t(pages[i]) * options_.pageSize], 1);
    if (i + 1 < count)
      __builtin_prefetch(
          &hints_[hintOf(keyOf(pages[i]), tokens[(i + 1) * options_.pageSize])],
          1);
  }
}

/// Unlinking a victim reads its bucket and the records before it in the chain.
void PagePool::prefetchVictims(int64_t count) const {
  if (usesHeap())
    return;
  int32_t oldest = lists_[0].oldest ? lists_[0].oldest : lists_[1].oldest;
  int64_t left = count;
  for (PageId page = oldest; page && left-- > 0; page = meta_[page].next)
    __builtin_prefetch(&buckets_[bucketOf(meta_[page].hash)]);
  left = count;
  for (PageId page = oldest; page && left-- > 0; page = meta_[page].next)
    prefetchRecord(buckets_[bucketOf(meta_[page].hash)]);
}

void PagePool::insert(PageId page, uint64_t hash, uint64_t parentHash,
                      uint64_t parentKey, const TokenId *tokens, bool isRoot) {
  PageMeta &meta = meta_[page];
  meta.hash = hash;
  meta.parentKey = parentKey;
  meta.flags |= kCached | (isRoot ? uint32_t(kRoot) : 0u);
  std::memcpy(&tokens_[size_t(page) * options_.pageSize], tokens,
              sizeof(TokenId) * options_.pageSize);
  linkBucket(page);
  hints_[hintOf(parentKey, tokens[0])] = page;
  ++cached_;
  if (options_.policy == EvictionPolicy::FIFO)
    scores_[page] = ++tick_;
  if (options_.listener)
    options_.listener->pageStored(options_.group, page, hash, parentHash);
}

PageId PagePool::lookup(uint64_t hash, uint64_t parentKey,
                        const TokenId *tokens) const {
  size_t bytes = sizeof(TokenId) * options_.pageSize;
  for (PageId page = buckets_[bucketOf(hash)]; page != 0;
       page = meta_[page].bucketNext) {
    const PageMeta &meta = meta_[page];
    if (meta.hash == hash && meta.parentKey == parentKey &&
        !isPartlyFilled(page) &&
        std::memcmp(tokensOf(page), tokens, bytes) == 0)
      return page;
  }
  return kNoPage;
}

int32_t PagePool::agreeingTokens(PageId page, const TokenId *tokens,
                                 int32_t count) const {
  const TokenId *stored = tokensOf(page);
  int32_t limit = std::min(count, cachedTokens(page));
  return int32_t(std::mismatch(stored, stored + limit, tokens).first - stored);
}

PageId PagePool::lookupPartial(uint64_t hash, uint64_t parentKey,
                               const TokenId *tokens, int32_t count,
                               int32_t &agreeing) const {
  PageId best = kNoPage;
  agreeing = 0;
  auto consider = [&](PageId page) {
    if (meta_[page].parentKey != parentKey)
      return;
    if (int32_t agrees = agreeingTokens(page, tokens, count);
        agrees > agreeing) {
      agreeing = agrees;
      best = page;
    }
  };
  if (count < 1)
    return kNoPage;
  consider(hints_[hintOf(parentKey, tokens[0])]);
  for (PageId page = buckets_[bucketOf(hash)]; page != 0;
       page = meta_[page].bucketNext)
    if (isPartlyFilled(page) && meta_[page].hash == hash)
      consider(page);
  return best;
}

/// Drops the idle siblings that `tokens` begin with, and the oldest idle one
/// when there are too many; false when none could go.
bool PagePool::makeRoomForPartial(uint64_t hash, uint64_t parentKey,
                                  const TokenId *tokens, int32_t count) {
  int siblings = 0;
  PageId oldest = kNoPage;
  for (PageId page = buckets_[bucketOf(hash)], next; page != 0; page = next) {
    const PageMeta &meta = meta_[page];
    next = meta.bucketNext;
    if (!isPartlyFilled(page) || meta.hash != hash ||
        meta.parentKey != parentKey)
      continue;
    int32_t fill = fillOf(page);
    bool isIdle = meta.flags & kIdle;
    if (isIdle && fill <= count &&
        agreeingTokens(page, tokens, count) == fill) {
      reclaim(page);
      continue;
    }
    ++siblings;
    if (isIdle)
      oldest = page; // New ones go to the front.
  }
  if (siblings < kMaxSiblings)
    return true;
  if (oldest == kNoPage)
    return false;
  reclaim(oldest);
  return true;
}

void PagePool::insertPartial(PageId page, uint64_t hash, uint64_t parentKey,
                             const TokenId *tokens, int32_t count,
                             bool isRoot) {
  if (!makeRoomForPartial(hash, parentKey, tokens, count))
    return;
  PageMeta &meta = meta_[page];
  meta.hash = hash;
  meta.parentKey = parentKey;
  meta.flags |= kCached | kPartlyFilled | (isRoot ? uint32_t(kRoot) : 0u);
  extendPartial(page, tokens, count);
  linkBucket(page);
  ++cached_;
  ++partlyFilled_;
  if (options_.policy == EvictionPolicy::FIFO)
    scores_[page] = ++tick_;
}

void PagePool::extendPartial(PageId page, const TokenId *tokens,
                             int32_t count) {
  std::copy_n(tokens, count, &tokens_[size_t(page) * options_.pageSize]);
  fillOf(page) = count;
}

void PagePool::removePartial(PageId page) { leaveCache(page); }

/// Page named by an exact parent key, or kNoPage for roots, digests and
/// parents that were reclaimed.
PageId PagePool::parentPage(PageId page) const {
  const PageMeta &meta = meta_[page];
  if (!options_.exactChain || !(meta.flags & kCached) || (meta.flags & kRoot))
    return kNoPage;
  PageId parent = PageId(uint32_t(meta.parentKey));
  return keyOf(parent) == meta.parentKey && isCached(parent) ? parent : kNoPage;
}

void PagePool::recordHit(PageId page) {
  PageMeta &meta = meta_[page];
  reuseGapMs_.add(nowMs_ - meta.touchedMs);
  meta.touchedMs = nowMs_;
  markShared(page);
}

//===----------------------------------------------------------------------===//
// Growth and moves
//===----------------------------------------------------------------------===//

Status PagePool::resize(int64_t numPages) {
  int64_t reserved = options_.guardPage ? 2 : 1;
  if (numPages < reserved || numPages > options_.maxPages)
    return Status::error(StatusCode::InvalidArgument,
                         "expected %lld to %lld pages, got %lld",
                         static_cast<long long>(reserved),
                         static_cast<long long>(options_.maxPages),
                         static_cast<long long>(numPages));
  int64_t used = std::min(numPages_, fresh_);
  for (PageId page = PageId(numPages); page < used; ++page)
    if (meta_[page].refs != 0)
      return Status::error(StatusCode::FailedPrecondition,
                           "expected pages from %lld on to be unreferenced, "
                           "page %d has %u references (compact first)",
                           static_cast<long long>(numPages), page,
                           meta_[page].refs);
  int64_t usableBefore = usable();
  // Idle pages above the new end leave the cache, and with them what stands
  // before them in the order: their own tails among it.
  for (PageId page = PageId(numPages); page < used; ++page)
    while (meta_[page].flags & kIdle)
      reclaim(usesHeap() && (meta_[page].flags & kInOrder) ? page
                                                           : orderVictim());
  numPages_ = numPages;
  if (usable() >= usableBefore) {
    free_ += usable() - usableBefore;
    return Status::ok();
  }
  // Relink the free list without the pages above the end.
  PageId head = freeHead_;
  int64_t listed = 0;
  int32_t *link = &freeHead_;
  while (head != 0) {
    PageId next = meta_[head].next;
    if (head < numPages_) {
      *link = head;
      link = &meta_[head].next;
      ++listed;
    } else {
      meta_[head].flags = 0;
      meta_[head].next = 0;
    }
    head = next;
  }
  *link = 0;
  fresh_ = std::min(fresh_, numPages_);
  int64_t end = usable() + 1;
  free_ = listed + std::max<int64_t>(0, end - fresh_);
  return Status::ok();
}

void PagePool::takeFree(const PageId *pages, int64_t count) {
  PageId last = 0;
  for (int64_t i = 0; i < count; ++i)
    last = std::max(last, pages[i]);
  while (fresh_ <= last) {
    --free_; // Counted as fresh, counted again by pushFree.
    pushFree(PageId(fresh_++));
  }
  for (int64_t i = 0; i < count; ++i)
    meta_[pages[i]].flags = 0;
  int32_t *link = &freeHead_;
  for (PageId page = freeHead_; page != 0;) {
    PageId next = meta_[page].next;
    if (meta_[page].flags & kOnFreeList) {
      *link = page;
      link = &meta_[page].next;
    } else {
      meta_[page].next = 0;
    }
    page = next;
  }
  *link = 0;
  free_ -= count;
  for (int64_t i = 0; i < count; ++i)
    startPage(pages[i]);
}

void PagePool::move(const PageId *from, const PageId *to, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    PageMeta &source = meta_[from[i]];
    PageMeta &target = meta_[to[i]];
    uint32_t generation = target.generation + 1;
    if (source.flags & kCached)
      unlinkBucket(from[i]);
    target = source;
    target.generation = generation;
    if (source.flags & kCached) {
      std::memcpy(&tokens_[size_t(to[i]) * options_.pageSize],
                  tokensOf(from[i]), sizeof(TokenId) * options_.pageSize);
      linkBucket(to[i]);
      if (!isPartlyFilled(to[i]))
        hints_[hintOf(target.parentKey, tokensOf(to[i])[0])] = to[i];
    }
    if (scores_)
      scores_[to[i]] = scores_[from[i]];
    source.refs = 0;
    source.pins = 0;
    source.bucketNext = 0;
    // Marks the old place until the children have followed.
    source.flags = kOnFreeList;
    source.next = int32_t(i);
  }
  // Children name their parent by place. The generation of a moved place is
  // not bumped yet, so no other page on the free list can match.
  if (options_.exactChain)
    for (PageId page = 1; page < std::min(fresh_, numPages_); ++page) {
      PageMeta &meta = meta_[page];
      if (!(meta.flags & kCached) || (meta.flags & kRoot))
        continue;
      PageId parent = PageId(uint32_t(meta.parentKey));
      if (meta_[parent].flags != kOnFreeList || keyOf(parent) != meta.parentKey)
        continue;
      PageId moved = to[meta_[parent].next];
      meta.parentKey = keyOf(moved);
      if (!isPartlyFilled(page))
        hints_[hintOf(meta.parentKey, tokensOf(page)[0])] = page;
    }
  for (int64_t i = 0; i < count; ++i) {
    ++meta_[from[i]].generation;
    pushFree(from[i]);
  }
}

void PagePool::fillStats(GroupStats &stats) const {
  stats.totalPages = numPages_;
  stats.usablePages = usable();
  stats.livePages = usable() - available();
  stats.cachedPages = cached_;
  stats.partlyFilledPages = partlyFilled_;
  stats.reclaimablePages = idle_;
  stats.freePages = free_;
  stats.pinnedPages = pinned_;
  stats.allocations = allocations_;
  stats.releases = releases_;
  stats.evictions = evictions_;
  stats.lifetimeMs = lifetimeMs_;
  stats.idleMs = idleMs_;
  stats.reuseGapMs = reuseGapMs_;
}
