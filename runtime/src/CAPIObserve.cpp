//===- CAPIObserve.cpp - C API: snapshots and observability ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Swapping, snapshots, stats, events, dumps.
//
//===----------------------------------------------------------------------===//

#include "CAPISupport.h"

using namespace paged_attn;

struct PagedAttnEventReplay {
  EventReplay replay;
};

namespace {

static_assert(sizeof(PagedAttnHistogram) == sizeof(Histogram));

PagedAttnHistogram toC(const Histogram &histogram) {
  PagedAttnHistogram out;
  std::copy(histogram.counts, histogram.counts + Histogram::kBuckets,
            out.counts);
  out.total = histogram.total;
  out.sum = histogram.sum;
  return out;
}

/// Text or bytes of a call into a buffer.
template <typename Container, typename Call>
Status intoBuffer(PagedAttnBuffer *out, Call &&call) {
  if (!out)
    return nullArgument("a buffer");
  Container made;
  PAGED_ATTN_RETURN_IF_ERROR(call(made));
  return toBuffer(made.data(), made.size(), out);
}

Status importInto(KVCacheManager &manager, const uint8_t *bytes, size_t size,
                  int64_t *sequences, int32_t capacity, int32_t *count) {
  if (!count || (capacity > 0 && !sequences))
    return nullArgument("sequences and count");
  int32_t found;
  PAGED_ATTN_RETURN_IF_ERROR(countSequences(bytes, size, found));
  if (found > capacity)
    return Status::error(StatusCode::OutOfRange,
                         "expected room for %d sequences, got %d", found,
                         capacity);
  std::vector<SeqId> handles;
  PAGED_ATTN_RETURN_IF_ERROR(manager.importManager(bytes, size, handles));
  std::copy(handles.begin(), handles.end(), sequences);
  *count = found;
  return Status::ok();
}

/// Events are converted through a small array on the stack.
constexpr int64_t kEventChunk = 64;

} // namespace

extern "C" {

//===----------------------------------------------------------------------===//
// Tiers and snapshots
//===----------------------------------------------------------------------===//

PagedAttnStatus pagedAttnSwapOut(PagedAttnManager *manager, int64_t sequence,
                                 const char *path) {
  return onManager(manager, [&](KVCacheManager &m) {
    return m.swapOut(sequence, path ? SwapTarget::File : SwapTarget::Host,
                     path);
  });
}

PagedAttnStatus pagedAttnSwapIn(PagedAttnManager *manager, int64_t sequence) {
  return onManager(manager,
                   [&](KVCacheManager &m) { return m.swapIn(sequence); });
}

PagedAttnStatus pagedAttnExportSequence(const PagedAttnManager *manager,
                                        int64_t sequence,
                                        PagedAttnBuffer *bytes) {
  return onManager(manager, [&](const KVCacheManager &m) {
    return intoBuffer<std::vector<uint8_t>>(
        bytes, [&](auto &out) { return m.exportSequence(sequence, out); });
  });
}

PagedAttnStatus pagedAttnImportSequence(PagedAttnManager *manager,
                                        const uint8_t *bytes, size_t size,
                                        int64_t *sequence) {
  return onManager(manager, [&](KVCacheManager &m) {
    return sequence ? m.importSequence(bytes, size, *sequence)
                    : nullArgument("sequence");
  });
}

PagedAttnStatus pagedAttnExportManager(const PagedAttnManager *manager,
                                       PagedAttnBuffer *bytes) {
  return onManager(manager, [&](const KVCacheManager &m) {
    return intoBuffer<std::vector<uint8_t>>(
        bytes, [&](auto &out) { return m.exportManager(out); });
  });
}

PagedAttnStatus pagedAttnImportManager(PagedAttnManager *manager,
                                       const uint8_t *bytes, size_t size,
                                       int64_t *sequences, int32_t capacity,
                                       int32_t *count) {
  return onManager(manager, [&](KVCacheManager &m) {
    return importInto(m, bytes, size, sequences, capacity, count);
  });
}

PagedAttnStatus pagedAttnSave(const PagedAttnManager *manager,
                              const char *path) {
  return onManager(manager, [&](const KVCacheManager &m) {
    return path ? m.save(path) : nullArgument("a path");
  });
}

PagedAttnStatus pagedAttnLoad(PagedAttnManager *manager, const char *path,
                              int64_t *sequences, int32_t capacity,
                              int32_t *count) {
  return onManager(manager, [&](KVCacheManager &m) {
    if (!path)
      return nullArgument("a path");
    MappedFile file(posixFileSystem());
    PAGED_ATTN_RETURN_IF_ERROR(file.open(path));
    return importInto(m, file.data(), file.size(), sequences, capacity, count);
  });
}

//===----------------------------------------------------------------------===//
// Observability
//===----------------------------------------------------------------------===//

PagedAttnStatus pagedAttnStats(const PagedAttnManager *manager,
                               PagedAttnStats *stats) {
  return onManager(manager, [&](const KVCacheManager &m) {
    PAGED_ATTN_RETURN_IF_ERROR(checkOut(stats, "stats"));
    ManagerStats now;
    PAGED_ATTN_RETURN_IF_ERROR(m.stats(now));
    PagedAttnStats out = {};
    out.sequences = now.sequences;
    out.swappedSequences = now.swappedSequences;
    out.cachedTokens = now.cachedTokens;
    out.prefixQueries = now.prefixQueries;
    out.queriedTokens = now.queriedTokens;
    out.hitTokens = now.hitTokens;
    out.partialHits = now.partialHits;
    out.copies = now.copies;
    out.moves = now.moves;
    out.swapOuts = now.swapOuts;
    out.swapIns = now.swapIns;
    out.hitRate = now.hitRate;
    writeStruct(out, stats);
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnGroupStats(const PagedAttnManager *manager,
                                    int32_t group, PagedAttnGroupStats *stats) {
  return onManager(manager, [&](const KVCacheManager &m) {
    PAGED_ATTN_RETURN_IF_ERROR(checkOut(stats, "stats"));
    ManagerStats all;
    PAGED_ATTN_RETURN_IF_ERROR(m.stats(all));
    if (group < 0 || group >= all.numGroups)
      return Status::error(StatusCode::NotFound,
                           "expected a group in [0, %d), got %d", all.numGroups,
                           group);
    const GroupStats &now = all.groups[group];
    PagedAttnGroupStats out = {};
    out.totalPages = now.totalPages;
    out.usablePages = now.usablePages;
    out.livePages = now.livePages;
    out.cachedPages = now.cachedPages;
    out.reclaimablePages = now.reclaimablePages;
    out.freePages = now.freePages;
    out.pinnedPages = now.pinnedPages;
    out.runs = now.runs;
    out.mappedPages = now.mappedPages;
    out.wastedSlots = now.wastedSlots;
    out.fragmentation = now.fragmentation;
    out.allocations = now.allocations;
    out.releases = now.releases;
    out.evictions = now.evictions;
    out.lifetimeMs = ::toC(now.lifetimeMs);
    out.idleMs = ::toC(now.idleMs);
    out.reuseGapMs = ::toC(now.reuseGapMs);
    out.partlyFilledPages = now.partlyFilledPages;
    writeStruct(out, stats);
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnReadEvents(const PagedAttnManager *manager,
                                    uint64_t first, PagedAttnEvent *out,
                                    int64_t capacity, int64_t *count,
                                    uint64_t *next) {
  return onManager(manager, [&](const KVCacheManager &m) {
    if (!count || !next || (capacity > 0 && !out))
      return nullArgument("out, count and next");
    int64_t written = 0, got;
    uint64_t at = first;
    do {
      CacheEvent events[kEventChunk];
      PAGED_ATTN_RETURN_IF_ERROR(m.readEvents(
          at, events, std::min(kEventChunk, capacity - written), got, at));
      for (int64_t i = 0; i < got; ++i)
        out[written++] = PagedAttnEvent{
            events[i].sequence,  int32_t(events[i].kind), events[i].group,
            events[i].page,      events[i].movedTo,       events[i].hash,
            events[i].parentHash};
    } while (got == kEventChunk);
    *count = written;
    *next = at;
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnPrometheusText(const PagedAttnManager *manager,
                                        PagedAttnBuffer *text) {
  return onManager(manager, [&](const KVCacheManager &m) {
    return intoBuffer<std::string>(
        text, [&](auto &out) { return m.prometheusText(out); });
  });
}

PagedAttnStatus pagedAttnDumpText(const PagedAttnManager *manager,
                                  int32_t group, PagedAttnBuffer *text) {
  return onManager(manager, [&](const KVCacheManager &m) {
    return intoBuffer<std::string>(
        text, [&](auto &out) { return m.dumpText(group, out); });
  });
}

PagedAttnStatus pagedAttnDumpSvg(const PagedAttnManager *manager, int32_t group,
                                 PagedAttnBuffer *svg) {
  return onManager(manager, [&](const KVCacheManager &m) {
    return intoBuffer<std::string>(
        svg, [&](auto &out) { return m.dumpSvg(group, out); });
  });
}

PagedAttnStatus pagedAttnCheckInvariants(const PagedAttnManager *manager) {
  return onManager(
      manager, [&](const KVCacheManager &m) { return m.checkInvariants(); });
}

PagedAttnStatus pagedAttnBookkeepingBytes(const PagedAttnManager *manager,
                                          int32_t group, int64_t *bytes) {
  return onManager(manager, [&](const KVCacheManager &m) {
    if (!bytes)
      return nullArgument("bytes");
    *bytes = m.bookkeepingBytes(group);
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnEventReplayCreate(PagedAttnEventReplay **replay) {
  return toC(guarded([&]() -> Status {
    if (!replay)
      return nullArgument("replay");
    *replay = new PagedAttnEventReplay;
    return Status::ok();
  }));
}

void pagedAttnEventReplayDestroy(PagedAttnEventReplay *replay) {
  delete replay;
}

PagedAttnStatus pagedAttnEventReplayApply(PagedAttnEventReplay *replay,
                                          const PagedAttnEvent *events,
                                          int64_t count) {
  return toC(guarded([&]() -> Status {
    if (!replay || (count > 0 && !events))
      return nullArgument("replay and events");
    for (int64_t i = 0; i < count; ++i) {
      CacheEvent event{events[i].sequence,  EventKind(events[i].kind),
                       events[i].group,     events[i].page,
                       events[i].movedTo,   events[i].hash,
                       events[i].parentHash};
      PAGED_ATTN_RETURN_IF_ERROR(replay->replay.apply(&event, 1));
    }
    return Status::ok();
  }));
}

uint64_t pagedAttnEventReplayHashOf(const PagedAttnEventReplay *replay,
                                    int32_t group, int32_t page) {
  return replay ? replay->replay.hashOf(group, page) : 0;
}

int64_t pagedAttnEventReplayNumCached(const PagedAttnEventReplay *replay,
                                      int32_t group) {
  return replay ? replay->replay.numCached(group) : 0;
}

} // extern "C"
