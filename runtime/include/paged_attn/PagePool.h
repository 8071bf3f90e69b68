//===- PagePool.h - Reference-counted pages of one cache group --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pages, their references, the prefix index over their tokens and the order in
// which idle ones are reclaimed. A page is free, active (referenced) or idle
// (cached, referenced by nobody). All arrays are made at creation; no other
// call allocates.
//
// Thread rule: none of its own. A pool that belongs to a KVCacheManager is
// guarded by the manager's mutex; a pool used alone needs outside locking.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_PAGEPOOL_H
#define PAGED_ATTN_PAGEPOOL_H

#include "paged_attn/Stats.h"
#include "paged_attn/Types.h"

#include <memory>

namespace paged_attn {

/// Which idle page is reclaimed first. A page never goes before the cached
/// pages that follow it in a sequence (full groups).
enum class EvictionPolicy : uint8_t {
  LRU,      ///< least recently used; O(1)
  LFU,      ///< least often used, then least recently; O(log idle)
  SLRU,     ///< pages used once before pages used again; O(1)
  FIFO,     ///< first cached; O(log idle)
  Priority, ///< lowest priority, then LRU; time to live; O(log idle)
  Callback, ///< lowest caller-defined score; O(log idle)
};

/// What a scoring callback sees of an idle page.
struct IdlePage {
  PageId page;
  int32_t uses;       ///< hits since it was cached, saturates at 127
  int32_t priority;   ///< 0..100
  uint32_t bornMs;    ///< hand-out, milliseconds of the pool's clock
  uint32_t touchedMs; ///< last use
};

/// Score of a page that became idle; the lowest goes first. Must not call the
/// pool or manager.
using EvictionScore = uint64_t (*)(void *context, const IdlePage &page);

/// Source of the zeroed host arrays of a manager (page records, tables).
struct HostAllocator {
  /// Returns zeroed, 64-byte aligned memory or null.
  void *(*allocate)(void *context, size_t bytes) = nullptr;
  void (*release)(void *context, void *memory, size_t bytes) = nullptr;
  void *context = nullptr;
};

/// Told when pages enter or leave the prefix index.
class PoolListener {
public:
  virtual void pageStored(int32_t group, PageId page, uint64_t hash,
                          uint64_t parentHash) = 0;
  /// `hash` is 0 for a partly filled page, of whose entry nobody was told.
  virtual void pageRemoved(int32_t group, PageId page, uint64_t hash,
                           uint64_t parentKey, bool isRoot) = 0;

protected:
  ~PoolListener() = default;
};

/// How to make a pool.
struct PoolOptions {
  int64_t maxPages = 0;   ///< upper bound for `grow`; sizes the arrays
  int64_t numPages = 0;   ///< pages at the start, null (and guard) included
  int32_t pageSize = 16;  ///< slots in a page
  int32_t group = 0;      ///< passed to the listener
  bool guardPage = false; ///< the page `maxPages - 1` is never handed out
  bool exactChain = true; ///< parents are pages (full groups), not digests
  EvictionPolicy policy = EvictionPolicy::LRU;
  EvictionScore score = nullptr; ///< for `Callback`
  void *scoreContext = nullptr;
  HostAllocator allocator; ///< default: calloc
  PoolListener *listener = nullptr;
};

/// Array from a HostAllocator: zeroed, never resized.
template <typename T>
class HostArray {
public:
  HostArray() = default;
  ~HostArray() { reset(); }
  HostArray(const HostArray &) = delete;
  HostArray &operator=(const HostArray &) = delete;

  bool allocate(const HostAllocator &allocator, size_t count) {
    reset();
    allocator_ = allocator;
    count_ = count;
    data_ = static_cast<T *>(
        allocator_.allocate(allocator_.context, bytes() ? bytes() : 1));
    return data_ != nullptr;
  }
  void reset() {
    if (data_)
      allocator_.release(allocator_.context, data_, bytes() ? bytes() : 1);
    data_ = nullptr;
  }
  T *data() const { return data_; }
  size_t size() const { return count_; }
  size_t bytes() const { return count_ * sizeof(T); }
  T &operator[](size_t i) const { return data_[i]; }
  explicit operator bool() const { return data_ != nullptr; }

private:
  HostAllocator allocator_;
  T *data_ = nullptr;
  size_t count_ = 0;
};

/// Memory whose untouched pages cost nothing: calloc, and huge pages for large
/// arrays, of which every access would miss the translation cache else.
PAGED_ATTN_EXPORT HostAllocator defaultHostAllocator();
/// The allocator of pools: mapped memory on 2 MiB boundaries, with huge pages
/// asked for where the system has them.
PAGED_ATTN_EXPORT HostAllocator hugePageAllocator();

/// Priority of pages that nobody set one for (the default of TensorRT-LLM).
inline constexpr int kDefaultPriority = 35;

class PAGED_ATTN_EXPORT PagePool {
public:
  /// Makes a pool; ResourceExhausted when memory ends.
  static Status create(const PoolOptions &options,
                       std::unique_ptr<PagePool> &pool);
  ~PagePool();

  int64_t numPages() const { return numPages_; }
  int64_t maxPages() const { return options_.maxPages; }
  int64_t numFree() const { return free_; }
  int64_t numIdle() const { return idle_; }
  int64_t numPinned() const { return pinned_; }
  int64_t numCached() const { return cached_; }
  /// Pages that `allocate` can hand out, idle ones included.
  int64_t available() const { return free_ + idle_; }
  /// Pages without the null and guard page.
  int64_t usable() const;
  /// Bookkeeping of all arrays, tokens of cached pages aside, in bytes.
  int64_t bookkeepingBytes() const;

  /// Hands out `count` pages with one reference each into `pages`, or none.
  /// Free pages go first, then idle ones in the policy's order.
  Status allocate(int64_t count, PageId *pages);
  /// The same when `available() >= count` is known.
  void allocateSome(int64_t count, PageId *pages);
  /// One page; needs `available() > 0`.
  PageId allocateOne();
  /// One more reference to an active or idle page.
  void ref(PageId page);
  /// Drops a reference. Drop the tail of a sequence before its head.
  void deref(PageId page);
  /// References a page and the cached pages before it (full groups), so that
  /// the tail of a chain never outlives its head.
  void refChain(PageId page);
  /// Drops what `refChain` took, tail first.
  void derefChain(PageId page);
  /// Holds a cached page and the cached pages before it (full groups) until
  /// `unpin`; at most 1023 times per page. Partly filled pages are refused.
  Status pin(PageId page);
  Status unpin(PageId page);
  /// Reclaims an idle page that nothing but its own sequence ever used; false
  /// when it stays. What stands before a page that stays must stay, too.
  bool discardIfPrivate(PageId page);
  /// Remembers that a second sequence uses this page.
  void markShared(PageId page);

  uint32_t refs(PageId page) const { return meta_[page].refs; }
  /// Whether a page is in the prefix cache, full or partly filled.
  bool isCached(PageId page) const { return meta_[page].flags & kCached; }
  bool isPartlyFilled(PageId page) const {
    return meta_[page].flags & kPartlyFilled;
  }
  /// Leading tokens of a page that the cache holds; 0 when it is not cached.
  /// Slots from there on may be written by the page's one owner.
  int32_t cachedTokens(PageId page) const {
    if (!isCached(page))
      return 0;
    return isPartlyFilled(page) ? fillOf(page) : options_.pageSize;
  }
  /// Keeps a page that has unwritten slots out of the cache until it is free.
  void setHoles(PageId page) { meta_[page].flags |= kHoles; }
  bool hasHoles(PageId page) const { return meta_[page].flags & kHoles; }
  bool isUsable(PageId page) const {
    return page > kNullPage && page < numPages_ && !isGuard(page);
  }
  /// Identity of a cached page as a parent; changes when it is reclaimed.
  uint64_t keyOf(PageId page) const {
    return uint64_t(meta_[page].generation & 0x7fffffffu) << 32 |
           uint32_t(page);
  }

  /// Enters a full active page into the prefix index. `tokens` [pageSize] are
  /// copied. `isRoot` tells that `parentKey` names a domain.
  void insert(PageId page, uint64_t hash, uint64_t parentHash,
              uint64_t parentKey, const TokenId *tokens, bool isRoot);
  /// The cached page with exactly these tokens under this parent, or kNoPage.
  PageId lookup(uint64_t hash, uint64_t parentKey, const TokenId *tokens) const;
  /// Enters the first `count` < pageSize tokens of an active, uncached page,
  /// for `lookupPartial` only. What `tokens` begin with is dropped if idle;
  /// beyond a few pages that begin with the same token, an idle one makes room
  /// or nothing happens. `hash` is that of the tokens before and `tokens[0]`.
  void insertPartial(PageId page, uint64_t hash, uint64_t parentKey,
                     const TokenId *tokens, int32_t count, bool isRoot);
  /// More tokens of a partly filled page; the first ones are the same.
  void extendPartial(PageId page, const TokenId *tokens, int32_t count);
  /// Takes an active, partly filled page out of the cache.
  void removePartial(PageId page);
  /// The cached page under this parent that agrees with most of the `count`
  /// tokens, and how many those are (0: none). Partly filled pages are all
  /// looked at; of full ones the last stored per parent and first token.
  PageId lookupPartial(uint64_t hash, uint64_t parentKey, const TokenId *tokens,
                       int32_t count, int32_t &agreeing) const;
  /// Asks for the memory that look-ups of `hashes` [count] will read, so that
  /// their cache misses overlap. At most `kAhead` at a time pay.
  void prefetchLookup(const uint64_t *hashes, int32_t count) const;
  /// The same for entering `pages` [count], which hold `tokens`.
  void prefetchInsert(const PageId *pages, int32_t count,
                      const TokenId *tokens) const;
  static constexpr int32_t kAhead = 16;
  /// Tokens [pageSize] of a cached page.
  const TokenId *tokensOf(PageId page) const {
    return &tokens_[size_t(page) * options_.pageSize];
  }
  uint64_t hashOf(PageId page) const { return meta_[page].hash; }
  uint64_t parentKeyOf(PageId page) const { return meta_[page].parentKey; }
  /// The cached page before a cached page of a full group, or kNoPage for
  /// roots and windowed groups.
  PageId parentPage(PageId page) const;
  bool isRoot(PageId page) const { return meta_[page].flags & kRoot; }

  /// Removes every idle page from the cache.
  void clearIdle();
  /// Reclaims up to `count` idle pages in policy order; returns how many.
  int64_t evict(int64_t count);
  /// Priority 0..100 of a page; after `ttlMs` (0: forever) it falls to the
  /// default. Kept with quarter-second resolution.
  void setPriority(PageId page, int priority, uint32_t ttlMs);
  /// Priority of a page and what is left of its time to live (0: forever).
  int priorityOf(PageId page, uint32_t &ttlMs) const;

  /// Raises or lowers the number of pages. Lowering needs the pages above the
  /// new end to be free or idle.
  Status resize(int64_t numPages);
  bool isPinned(PageId page) const { return meta_[page].pins != 0; }
  bool isFree(PageId page) const {
    return isUsable(page) &&
           (page >= fresh_ || (meta_[page].flags & kOnFreeList));
  }
  /// Hands out these free pages, each once, with one reference each.
  void takeFree(const PageId *pages, int64_t count);
  /// Renames active pages `from[i]` to the active, uncached pages `to[i]`;
  /// references, identity in the index and pins go along, `from` gets free.
  void move(const PageId *from, const PageId *to, int64_t count);

  void setNow(uint32_t nowMs) { nowMs_ = nowMs; }
  /// Counts a hit of a cached page (histograms, LFU, SLRU).
  void recordHit(PageId page);
  void fillStats(GroupStats &stats) const;
  /// Adds what `refChain(page)` took to `refs` [maxPages].
  void addChain(PageId page, uint32_t *refs) const;
  /// Checks every list, counter and index; the text names what is broken.
  /// `refs` [maxPages] holds the references that the owner knows of, pins
  /// aside; null: not compared.
  Status checkInvariants(const uint32_t *refs) const;

private:
  enum Flag : uint32_t {
    kCached = 1,
    kProtected = 2, ///< SLRU: in the list of pages used again
    kInOrder = 4,   ///< in a list or heap of idle pages
    kRoot = 8,
    kIdle = 16,
    kOnFreeList = 32,
    kPartlyFilled = 64, ///< cached, its fill in the token of its last slot
    kHoles = 128,
  };
  struct PageMeta {
    uint64_t hash;
    uint64_t parentKey;
    uint32_t generation;
    uint32_t refs;
    uint32_t pins : 10;
    uint32_t uses : 7;
    uint32_t priority : 7;
    uint32_t flags : 8;
    int32_t bucketNext; ///< 0 ends the chain
    int32_t prev;       ///< list neighbour, or place in the heap
    int32_t next;       ///< list neighbour, or idle children (heap policies)
    uint32_t bornMs;
    uint32_t touchedMs;
  };
  struct List {
    int32_t oldest = 0;
    int32_t newest = 0;
    int64_t count = 0;
  };

  PagePool() = default;
  bool usesHeap() const {
    return options_.policy != EvictionPolicy::LRU &&
           options_.policy != EvictionPolicy::SLRU;
  }
  bool isGuard(PageId page) const {
    return options_.guardPage && page == options_.maxPages - 1;
  }
  void pushFree(PageId page);
  PageId popFree();
  void startPage(PageId page);
  void reclaim(PageId page);
  void leaveCache(PageId page);
  TokenId &fillOf(PageId page) const {
    return tokens_[size_t(page + 1) * size_t(options_.pageSize) - 1];
  }
  int32_t agreeingTokens(PageId page, const TokenId *tokens,
                         int32_t count) const;
  bool makeRoomForPartial(uint64_t hash, uint64_t parentKey,
                          const TokenId *tokens, int32_t count);
  void unlinkBucket(PageId page);
  void linkBucket(PageId page);
  /// High half of the hash, scaled to the number of buckets (Lemire 2019).
  size_t bucketOf(uint64_t hash) const {
    return size_t((hash >> 32) * uint64_t(buckets_.size()) >> 32);
  }
  void prefetchVictims(int64_t count) const;
  /// Records are 48 bytes, so half of them lie on two cache lines.
  void prefetchRecord(PageId page) const {
    __builtin_prefetch(&meta_[page]);
    __builtin_prefetch(reinterpret_cast<const char *>(&meta_[page] + 1) - 1);
  }
  size_t hintOf(uint64_t parentKey, TokenId token) const;
  void becomeIdle(PageId page);
  void leaveIdle(PageId page);

  // Order of reclaim (Eviction.cpp).
  void orderInsert(PageId page);
  void orderRemove(PageId page);
  PageId orderVictim();
  void listPush(List &list, PageId page);
  void listRemove(List &list, PageId page);
  void balanceSegments();
  uint64_t scoreOf(PageId page);
  void heapInsert(PageId page);
  void heapRemove(PageId page);
  void heapSift(int32_t place);
  void heapSwap(int32_t a, int32_t b);
  void childBecameIdle(PageId page);
  void childLeftIdle(PageId page);
  void expirePriorities();
  Status checkOrder() const;
  Status checkIndexed(PageId page) const;

  PoolOptions options_;
  int64_t numPages_ = 0;
  int64_t fresh_ = 1; ///< pages from here on were never handed out
  int64_t free_ = 0, idle_ = 0, pinned_ = 0, cached_ = 0, partlyFilled_ = 0;
  int32_t freeHead_ = 0;
  uint64_t tick_ = 0;
  uint32_t nowMs_ = 0;
  uint32_t nextExpiry_ = UINT32_MAX; ///< quarter seconds
  HostArray<PageMeta> meta_;
  HostArray<TokenId> tokens_;
  HostArray<int32_t> buckets_, hints_;
  uint64_t hintMask_ = 0;
  List lists_[2]; ///< LRU: [0]; SLRU: probation, protected
  HostArray<uint64_t> scores_;
  HostArray<int32_t> heap_;
  int64_t heapSize_ = 0;
  uint64_t allocations_ = 0, releases_ = 0, evictions_ = 0;
  Histogram lifetimeMs_, idleMs_, reuseGapMs_;
};

} // namespace paged_attn

#endif // PAGED_ATTN_PAGEPOOL_H
