//===- Stats.cpp - Counters, events and their replay ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Gathers the counters of a manager, writes them in the text format of
// Prometheus (version 0.0.4), and hands out and replays the event log.
//
//===----------------------------------------------------------------------===//

#include "ManagerImpl.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

void gatherTables(const ManagerImpl &impl, int32_t group, GroupStats &stats) {
  int64_t tables;
  impl.countRuns(group, stats.runs, stats.mappedPages, tables);
  if (stats.mappedPages > tables)
    stats.fragmentation =
        double(stats.runs - tables) / double(stats.mappedPages - tables);
  int64_t pageSize = impl.spec(group).pageSize;
  for (int32_t slot = 0; slot < impl.options.maxSequences; ++slot)
    if (impl.sequences[slot].state == SequenceState::Live)
      stats.wastedSlots +=
          (pageSize - impl.sequences[slot].numTokens % pageSize) % pageSize;
}

void gather(const ManagerImpl &impl, ManagerStats &stats) {
  stats = impl.counters;
  for (int32_t slot = 0; slot < impl.options.maxSequences; ++slot) {
    const Sequence &sequence = impl.sequences[slot];
    bool swapped = sequence.state == SequenceState::Swapped;
    if (!swapped && sequence.state != SequenceState::Live)
      continue;
    ++stats.sequences;
    stats.swappedSequences += swapped;
    stats.cachedTokens += swapped ? 0 : sequence.numTokens;
  }
  if (stats.queriedTokens > 0)
    stats.hitRate = double(stats.hitTokens) / double(stats.queriedTokens);
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    impl.pools[g]->fillStats(stats.groups[g]);
    gatherTables(impl, g, stats.groups[g]);
  }
}

//===----------------------------------------------------------------------===//
// Prometheus
//===----------------------------------------------------------------------===//

/// Appends a line in printf style.
void line(std::string &text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void line(std::string &text, const char *format, ...) {
  char buffer[256];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof(buffer), format, arguments);
  va_end(arguments);
  text += buffer;
  text += '\n';
}

void metric(std::string &text, const char *name, const char *type,
            const char *help) {
  line(text, "# HELP paged_attn_%s %s", name, help);
  line(text, "# TYPE paged_attn_%s %s", name, type);
}

void counter(std::string &text, const char *name, const char *help,
             uint64_t value) {
  metric(text, name, "counter", help);
  line(text, "paged_attn_%s %" PRIu64, name, value);
}

void gauge(std::string &text, const char *name, const char *help,
           double value) {
  metric(text, name, "gauge", help);
  line(text, "paged_attn_%s %.9g", name, value);
}

void histogram(std::string &text, const ManagerStats &stats, const char *name,
               const char *help, Histogram GroupStats::*which) {
  metric(text, name, "histogram", help);
  for (int32_t g = 0; g < stats.numGroups; ++g) {
    const Histogram &values = stats.groups[g].*which;
    uint64_t below = 0;
    for (int i = 0; i < Histogram::kBuckets; ++i) {
      below += values.counts[i];
      line(text,
           "paged_attn_%s_bucket{group=\"%d\",le=\"%" PRIu64 "\"} %" PRIu64,
           name, g, (uint64_t(1) << i) - 1, below);
    }
    line(text, "paged_attn_%s_bucket{group=\"%d\",le=\"+Inf\"} %" PRIu64, name,
         g, values.total);
    line(text, "paged_attn_%s_sum{group=\"%d\"} %" PRIu64, name, g, values.sum);
    line(text, "paged_attn_%s_count{group=\"%d\"} %" PRIu64, name, g,
         values.total);
  }
}

void pageGauges(std::string &text, const ManagerStats &stats) {
  metric(text, "pages", "gauge",
         "Pages by state; live + reclaimable + free = usable.");
  for (int32_t g = 0; g < stats.numGroups; ++g) {
    const GroupStats &group = stats.groups[g];
    const std::pair<const char *, int64_t> states[] = {
        {"usable", group.usablePages},
        {"live", group.livePages},
        {"cached", group.cachedPages},
        {"reclaimable", group.reclaimablePages},
        {"partly_filled", group.partlyFilledPages},
        {"free", group.freePages},
        {"pinned", group.pinnedPages},
        {"mapped", group.mappedPages}};
    for (const auto &[state, pages] : states)
      line(text, "paged_attn_pages{group=\"%d\",state=\"%s\"} %" PRId64, g,
           state, pages);
  }
  metric(text, "fragmentation", "gauge",
         "Page-table entries that do not follow their neighbour, as a share.");
  for (int32_t g = 0; g < stats.numGroups; ++g)
    line(text, "paged_attn_fragmentation{group=\"%d\"} %.9g", g,
         stats.groups[g].fragmentation);
  metric(text, "wasted_slots", "gauge", "Empty slots of last pages.");
  for (int32_t g = 0; g < stats.numGroups; ++g)
    line(text, "paged_attn_wasted_slots{group=\"%d\"} %" PRId64, g,
         stats.groups[g].wastedSlots);
}

void groupCounter(std::string &text, const ManagerStats &stats,
                  const char *name, const char *help,
                  uint64_t GroupStats::*which) {
  metric(text, name, "counter", help);
  for (int32_t g = 0; g < stats.numGroups; ++g)
    line(text, "paged_attn_%s{group=\"%d\"} %" PRIu64, name, g,
         stats.groups[g].*which);
}

} // namespace

Status KVCacheManager::stats(ManagerStats &stats) const {
  Lock lock(impl_->mutex);
  gather(*impl_, stats);
  return Status::ok();
}

Status KVCacheManager::prometheusText(std::string &text) const {
  return guarded([&]() -> Status {
    ManagerStats now;
    PAGED_ATTN_RETURN_IF_ERROR(stats(now));
    std::string out;
    pageGauges(out, now);
    groupCounter(out, now, "page_allocations_total", "Pages handed out.",
                 &GroupStats::allocations);
    groupCounter(out, now, "page_releases_total",
                 "Pages that lost their last reference.",
                 &GroupStats::releases);
    groupCounter(out, now, "page_evictions_total", "Cached pages reclaimed.",
                 &GroupStats::evictions);
    gauge(out, "sequences", "Live sequences, swapped ones included.",
          double(now.sequences));
    gauge(out, "swapped_sequences", "Sequences swapped out.",
          double(now.swappedSequences));
    gauge(out, "tokens", "Tokens of live sequences.", double(now.cachedTokens));
    counter(out, "prefix_queries_total", "Prefix matches asked for.",
            now.prefixQueries);
    counter(out, "prefix_queried_tokens_total", "Tokens asked for.",
            now.queriedTokens);
    counter(out, "prefix_hit_tokens_total", "Tokens served from the cache.",
            now.hitTokens);
    counter(out, "prefix_partial_hits_total", "Matches that copied a page.",
            now.partialHits);
    counter(out, "page_copies_total", "Page copies asked for.", now.copies);
    counter(out, "page_moves_total", "Page moves of compactions.", now.moves);
    counter(out, "swap_outs_total", "Sequences swapped out.", now.swapOuts);
    counter(out, "swap_ins_total", "Sequences swapped in.", now.swapIns);
    histogram(out, now, "page_lifetime_ms",
              "Hand-out to reclaim, milliseconds.", &GroupStats::lifetimeMs);
    histogram(out, now, "page_idle_ms", "Last use to eviction, milliseconds.",
              &GroupStats::idleMs);
    histogram(out, now, "page_reuse_gap_ms",
              "Last use to the next hit, milliseconds.",
              &GroupStats::reuseGapMs);
    text.swap(out);
    return Status::ok();
  });
}

//===----------------------------------------------------------------------===//
// Events
//===----------------------------------------------------------------------===//

Status KVCacheManager::readEvents(uint64_t first, CacheEvent *out,
                                  int64_t capacity, int64_t &count,
                                  uint64_t &next) const {
  Lock lock(impl_->mutex);
  const ManagerImpl &impl = *impl_;
  uint64_t kept = std::min(impl.nextEvent, uint64_t(impl.options.maxEvents));
  uint64_t oldest = impl.nextEvent - kept;
  if (first < oldest || first > impl.nextEvent)
    return Status::error(StatusCode::OutOfRange,
                         "expected an event in [%" PRIu64 ", %" PRIu64
                         "], got %" PRIu64,
                         oldest, impl.nextEvent, first);
  count = std::clamp<int64_t>(capacity, 0, int64_t(impl.nextEvent - first));
  for (int64_t i = 0; i < count; ++i)
    out[i] =
        impl.events[(first + uint64_t(i)) % uint64_t(impl.options.maxEvents)];
  next = first + uint64_t(count);
  return Status::ok();
}

namespace {

Status contradiction(const CacheEvent &event, const char *what) {
  return Status::error(StatusCode::FailedPrecondition,
                       "event %" PRIu64 " of group %d and page %d: %s",
                       event.sequence, event.group, event.page, what);
}

} // namespace

Status EventReplay::applyOne(const CacheEvent &event) {
  if (event.sequence != next_)
    return contradiction(event, "a hole in the sequence numbers");
  if (event.group < 0 || event.group >= kMaxGroups)
    return contradiction(event, "unknown group");
  auto &pages = pages_[event.group];
  auto found = pages.find(event.page);
  switch (event.kind) {
  case EventKind::Stored:
    if (!pages.emplace(event.page, event.hash).second)
      return contradiction(event, "stored twice");
    break;
  case EventKind::Removed:
    if (found == pages.end() || found->second != event.hash)
      return contradiction(event, "removed, but not cached");
    pages.erase(found);
    break;
  case EventKind::Moved:
    if (found == pages.end() || found->second != event.hash ||
        pages.count(event.movedTo))
      return contradiction(event, "moved, but not cached");
    pages.emplace(event.movedTo, event.hash);
    pages.erase(event.page);
    break;
  case EventKind::Cleared: // A mark; the removals came before it.
    break;
  }
  ++next_;
  return Status::ok();
}

Status EventReplay::apply(const CacheEvent *events, int64_t count) {
  return guarded([&]() -> Status {
    for (int64_t i = 0; i < count; ++i)
      PAGED_ATTN_RETURN_IF_ERROR(applyOne(events[i]));
    return Status::ok();
  });
}

uint64_t EventReplay::hashOf(int32_t group, PageId page) const {
  if (group < 0 || group >= kMaxGroups)
    return 0;
  auto found = pages_[group].find(page);
  return found == pages_[group].end() ? 0 : found->second;
}

int64_t EventReplay::numCached(int32_t group) const {
  return group < 0 || group >= kMaxGroups ? 0 : int64_t(pages_[group].size());
}
