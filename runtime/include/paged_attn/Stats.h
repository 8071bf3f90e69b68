//===- Stats.h - Counters, histograms and events ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a serving engine watches: page counts, hit rates, histograms of page
// ages, and the sequenced log of what entered and left the prefix cache.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_STATS_H
#define PAGED_ATTN_STATS_H

#include "paged_attn/Types.h"

#include <cstdint>

namespace paged_attn {

/// Histogram over powers of two: bucket i counts values in [2^(i-1), 2^i),
/// bucket 0 counts zeros.
struct Histogram {
  static constexpr int kBuckets = 33;
  uint64_t counts[kBuckets] = {};
  uint64_t total = 0; ///< number of samples
  uint64_t sum = 0;   ///< sum of samples

  void add(uint32_t value) {
    int bucket = value == 0 ? 0 : 32 - __builtin_clz(value);
    ++counts[bucket];
    ++total;
    sum += value;
  }
};

/// Counters of one group. Pages: live + cached + free = usable.
struct GroupStats {
  int64_t totalPages = 0;        ///< pages of the pool, reserved ones included
  int64_t usablePages = 0;       ///< without null and guard page
  int64_t livePages = 0;         ///< referenced by a sequence, match or pin
  int64_t cachedPages = 0;       ///< in the prefix cache (live ones included)
  int64_t partlyFilledPages = 0; ///< cached ones that are not in the event log
  int64_t reclaimablePages = 0;  ///< cached and referenced by nobody
  int64_t freePages = 0;         ///< hold nothing
  int64_t pinnedPages = 0;
  int64_t runs = 0;         ///< runs of consecutive pages over sequences
  int64_t mappedPages = 0;  ///< page-table entries over sequences
  int64_t wastedSlots = 0;  ///< empty slots of last pages
  double fragmentation = 0; ///< (runs - tables) / (mapped - tables), 0 best
  uint64_t allocations = 0; ///< pages handed out
  uint64_t releases = 0;    ///< pages that lost their last reference
  uint64_t evictions = 0;   ///< cached pages reclaimed
  Histogram lifetimeMs;     ///< hand-out to reclaim
  Histogram idleMs;         ///< last use to eviction
  Histogram reuseGapMs;     ///< last use to the next hit
};

/// Counters of a manager.
struct ManagerStats {
  int32_t numGroups = 0;
  GroupStats groups[kMaxGroups];
  int64_t sequences = 0; ///< live, swapped ones included
  int64_t swappedSequences = 0;
  int64_t cachedTokens = 0;   ///< tokens of live sequences
  uint64_t prefixQueries = 0; ///< match_prefix calls
  uint64_t queriedTokens = 0;
  uint64_t hitTokens = 0;   ///< tokens served from the cache
  uint64_t partialHits = 0; ///< matches that copied a page
  uint64_t copies = 0;      ///< page copies asked for
  uint64_t moves = 0;       ///< page moves of compactions
  uint64_t swapOuts = 0;
  uint64_t swapIns = 0;
  double hitRate = 0; ///< hitTokens / queriedTokens
};

/// Kind of a cache event.
enum class EventKind : uint8_t {
  Stored,  ///< a full page entered the prefix cache
  Removed, ///< a page left it
  Cleared, ///< all idle pages of a group left it
  Moved,   ///< a page changed its physical place
};

/// One entry of the event log. `hash` chains over the tokens, the salt and the
/// extra keys only, so routers in other processes can compare it.
struct CacheEvent {
  uint64_t sequence = 0; ///< number of the event, from 0 without holes
  EventKind kind = EventKind::Stored;
  int32_t group = 0;
  PageId page = kNoPage;
  PageId movedTo = kNoPage; ///< `Moved` only
  uint64_t hash = 0;        ///< chained hash of the page
  uint64_t parentHash = 0;  ///< chained hash before the page
};

} // namespace paged_attn

#endif // PAGED_ATTN_STATS_H
