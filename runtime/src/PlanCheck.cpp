//===- PlanCheck.cpp - Checking and storing of plans ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// `verifyPlan` works from the mask's definition (docs/Semantics.md) and knows
// nothing of how plans are made. Plans are stored as a header, plain arrays and
// an XXH3 checksum.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Plan.h"

#include <algorithm>
#include <cstring>
#include <new>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace paged_attn;

namespace {

Status wrong(const char *what, int64_t place, int64_t got) {
  return Status::error(
      StatusCode::FailedPrecondition, "plan: %s %lld, got %lld", what,
      static_cast<long long>(place), static_cast<long long>(got));
}

//===----------------------------------------------------------------------===//
// Verification
//===----------------------------------------------------------------------===//

/// Keys of [0, kvLen) that a row sees, from the definition of `visible`.
struct Visible {
  int64_t sinks;      ///< keys [0, sinks)
  int64_t begin, end; ///< and [begin, end), begin >= sinks
};

Visible visibleKeys(const PlanOptions &o, int64_t p, int64_t kvLen) {
  Visible v{0, 0, kvLen};
  if (o.causal)
    v.end = std::min(v.end, p + 1); // j <= p
  switch (o.windowKind) {
  case WindowKind::Full:
    break;
  case WindowKind::SinkWindow: // j > p - W, or j < K
    v.sinks = std::min<int64_t>(o.sinkTokens, v.end);
    [[fallthrough]];
  case WindowKind::Sliding:
    v.begin = std::max<int64_t>(v.sinks, p - o.window + 1);
    break;
  case WindowKind::Chunked: // j / C == p / C
    v.begin = p / o.window * o.window;
    v.end = std::min(v.end, v.begin + o.window);
    break;
  }
  v.begin = std::min(v.begin, v.end);
  v.sinks = std::min(v.sinks, v.begin);
  return v;
}

Status checkItem(const Plan &plan, size_t index) {
  const PlanOptions &o = plan.options;
  const WorkItem &item = plan.items[index];
  auto at = int64_t(index);
  if (item.sequence < 0 || item.sequence >= int64_t(plan.qLens.size()))
    return wrong("expected a sequence of the batch in item", at, item.sequence);
  if (item.head < 0 || item.head >= o.numKVHeads)
    return wrong("expected a KV head in item", at, item.head);
  int32_t qLen = plan.qLens[size_t(item.sequence)];
  int32_t kvLen = plan.kvLens[size_t(item.sequence)];
  if (item.queryBegin < 0 || item.queryEnd <= item.queryBegin ||
      item.queryEnd > qLen || item.queryEnd - item.queryBegin > o.queryTile)
    return wrong("expected rows of the sequence in item", at, item.queryEnd);
  if (item.kvBegin < 0 || item.kvEnd < item.kvBegin || item.kvEnd > kvLen ||
      item.kvBegin % o.pageSize != 0)
    return wrong("expected page-aligned KV tokens in item", at, item.kvEnd);
  if (item.partial < -1 || item.partial >= plan.numPartials)
    return wrong("expected a partial state in item", at, item.partial);
  return Status::ok();
}

bool sameRows(const WorkItem &a, const WorkItem &b) {
  return a.sequence == b.sequence && a.head == b.head &&
         a.queryBegin == b.queryBegin && a.queryEnd == b.queryEnd;
}

/// Items of one tile and head, ordered by KV range: disjoint, and together all
/// that its rows see.
Status checkTile(const Plan &plan, const WorkItem *const *items, size_t count) {
  const WorkItem &first = *items[0];
  int64_t qLen = plan.qLens[size_t(first.sequence)];
  int64_t kvLen = plan.kvLens[size_t(first.sequence)];
  for (size_t i = 1; i < count; ++i)
    if (items[i]->kvBegin < items[i - 1]->kvEnd)
      return wrong("a key is in two items, sequence", first.sequence,
                   items[i]->kvBegin);
  for (size_t i = 0; i < count; ++i)
    if (count == 1 ? items[i]->partial != -1
                   : items[i]->partial != items[0]->partial + int32_t(i) ||
                         items[i]->partial < 0)
      return wrong("partial states out of order, sequence", first.sequence,
                   items[i]->partial);
  auto covered = [&](int64_t begin, int64_t end) {
    for (size_t i = 0; i < count && begin < end; ++i)
      if (items[i]->kvBegin <= begin && begin < items[i]->kvEnd)
        begin = items[i]->kvEnd;
    return begin >= end;
  };
  // From row to row both ends of what is visible only grow, and neighbours
  // touch, so the first and the last row tell what all of them see.
  int64_t p = kvLen - qLen;
  Visible head = visibleKeys(plan.options, p + first.queryBegin, kvLen);
  Visible tail = visibleKeys(plan.options, p + first.queryEnd - 1, kvLen);
  if (!covered(0, tail.sinks) || !covered(head.begin, tail.end))
    return wrong("a visible key is in no item, sequence", first.sequence,
                 tail.end);
  return Status::ok();
}

/// Finds tiles, checks each, and that tiles cover all rows of all heads once.
Status checkCover(const Plan &plan, std::vector<const WorkItem *> &items) {
  std::sort(items.begin(), items.end(),
            [](const WorkItem *a, const WorkItem *b) {
              if (a->sequence != b->sequence)
                return a->sequence < b->sequence;
              if (a->head != b->head)
                return a->head < b->head;
              if (a->queryBegin != b->queryBegin)
                return a->queryBegin < b->queryBegin;
              return a->kvBegin < b->kvBegin;
            });
  size_t at = 0;
  for (int32_t b = 0; b < int32_t(plan.qLens.size()); ++b)
    // Without rows there is nothing to look for, however many heads.
    for (int32_t h = 0;
         h < plan.options.numKVHeads && plan.qLens[size_t(b)] > 0; ++h)
      for (int32_t row = 0; row < plan.qLens[size_t(b)];) {
        if (at == items.size() || items[at]->sequence != b ||
            items[at]->head != h || items[at]->queryBegin != row)
          return wrong("a row is in no item, sequence", b, row);
        size_t end = at + 1;
        while (end < items.size() && sameRows(*items[end], *items[at]))
          ++end;
        PAGED_ATTN_RETURN_IF_ERROR(checkTile(plan, &items[at], end - at));
        row = items[at]->queryEnd;
        at = end;
      }
  if (at != items.size())
    return wrong("an item too many, sequence", items[at]->sequence,
                 items[at]->queryBegin);
  return Status::ok();
}

Status checkMerges(const Plan &plan) {
  std::vector<const WorkItem *> owner(size_t(plan.numPartials), nullptr);
  for (const WorkItem &item : plan.items)
    if (item.partial >= 0) {
      if (owner[size_t(item.partial)])
        return wrong("two items write partial state", item.partial,
                     item.sequence);
      owner[size_t(item.partial)] = &item;
    }
  int64_t merged = 0;
  for (const MergeItem &merge : plan.merges) {
    if (merge.numPartials < 2 || merge.firstPartial < 0 ||
        merge.numPartials > plan.numPartials - merge.firstPartial)
      return wrong("a merge outside the partial states", merge.firstPartial,
                   merge.numPartials);
    for (int32_t i = 0; i < merge.numPartials; ++i) {
      const WorkItem *item = owner[size_t(merge.firstPartial + i)];
      if (!item || item->sequence != merge.sequence ||
          item->head != merge.head || item->queryBegin != merge.queryBegin ||
          item->queryEnd != merge.queryEnd)
        return wrong("a merge takes another tile's partial state",
                     merge.firstPartial + i, merge.sequence);
      owner[size_t(merge.firstPartial + i)] = nullptr; // Once only.
    }
    merged += merge.numPartials;
  }
  return merged == plan.numPartials
             ? Status::ok()
             : wrong("expected merges of all partial states", plan.numPartials,
                     merged);
}

Status checkWorkers(const Plan &plan) {
  if (plan.options.numWorkers < 1 || plan.options.numKVHeads < 1 ||
      plan.options.pageSize < 1 || plan.options.queryTile < 1 ||
      (plan.options.windowKind != WindowKind::Full && plan.options.window < 1))
    return wrong("expected options >= 1, workers", plan.options.numWorkers,
                 plan.options.pageSize);
  if (plan.workerBegin.size() != size_t(plan.options.numWorkers) + 1 ||
      plan.workerBegin.front() != 0 ||
      plan.workerBegin.back() != int64_t(plan.items.size()) ||
      !std::is_sorted(plan.workerBegin.begin(), plan.workerBegin.end()))
    return wrong("expected a list per worker", plan.options.numWorkers,
                 int64_t(plan.workerBegin.size()));
  if (plan.numPartials < 0 || size_t(plan.numPartials) > plan.items.size())
    return wrong("expected partial states of items", int64_t(plan.items.size()),
                 plan.numPartials);
  return Status::ok();
}

} // namespace

Status paged_attn::verifyPlan(const Plan &plan, const int32_t *qLens,
                              const int32_t *kvLens, int32_t count) {
  if (plan.qLens.size() != size_t(count) || plan.kvLens.size() != size_t(count))
    return wrong("expected a plan of sequences", count,
                 int64_t(plan.qLens.size()));
  for (int32_t b = 0; b < count; ++b)
    if (plan.qLens[size_t(b)] != qLens[b] ||
        plan.kvLens[size_t(b)] != kvLens[b] || qLens[b] < 0 ||
        kvLens[b] < qLens[b])
      return wrong("the plan is for other lengths, sequence", b, kvLens[b]);
  PAGED_ATTN_RETURN_IF_ERROR(checkWorkers(plan));
  for (size_t i = 0; i < plan.items.size(); ++i)
    PAGED_ATTN_RETURN_IF_ERROR(checkItem(plan, i));
  try {
    std::vector<const WorkItem *> items;
    items.reserve(plan.items.size());
    for (const WorkItem &item : plan.items)
      items.push_back(&item);
    PAGED_ATTN_RETURN_IF_ERROR(checkCover(plan, items));
    return checkMerges(plan);
  } catch (const std::bad_alloc &) {
    return Status::error(StatusCode::ResourceExhausted, "out of host memory");
  }
}

//===----------------------------------------------------------------------===//
// Bytes
//===----------------------------------------------------------------------===//

namespace {

constexpr char kPlanMagic[8] = {'P', 'G', 'A', 'T', 'T', 'N', 'P', 'L'};
constexpr uint32_t kPlanVersion = 1;

struct PlanHeader {
  char magic[8];
  uint32_t version;
  int32_t numKVHeads, pageSize, queryTile, numWorkers;
  int32_t splits, splitTokens, causal, windowKind, window, sinkTokens;
  int32_t numPartials;
  double perItem, perKVToken, perRowKVToken, perPartialRow;
  double makespan, lowerBound;
  uint64_t numSequences, numItems, numMerges;
  uint64_t checksum; ///< of all bytes before it and all after it
};
static_assert(sizeof(PlanHeader) == 136);

uint64_t checksumOf(const uint8_t *bytes, size_t size) {
  uint64_t before = XXH3_64bits(bytes, offsetof(PlanHeader, checksum));
  return XXH3_64bits_withSeed(bytes + sizeof(PlanHeader),
                              size - sizeof(PlanHeader), before);
}

template <typename T>
void append(std::vector<uint8_t> &bytes, const std::vector<T> &values) {
  const auto *from = reinterpret_cast<const uint8_t *>(values.data());
  bytes.insert(bytes.end(), from, from + values.size() * sizeof(T));
}

template <typename T>
void extract(const uint8_t *&at, uint64_t count, std::vector<T> &values) {
  values.resize(size_t(count));
  if (count > 0)
    std::memcpy(values.data(), at, size_t(count) * sizeof(T));
  at += count * sizeof(T);
}

PlanHeader headerOf(const Plan &plan) {
  const PlanOptions &o = plan.options;
  PlanHeader header = {};
  std::memcpy(header.magic, kPlanMagic, sizeof(kPlanMagic));
  header.version = kPlanVersion;
  header.numKVHeads = o.numKVHeads;
  header.pageSize = o.pageSize;
  header.queryTile = o.queryTile;
  header.numWorkers = o.numWorkers;
  header.splits = int32_t(o.splits);
  header.splitTokens = o.splitTokens;
  header.causal = o.causal;
  header.windowKind = int32_t(o.windowKind);
  header.window = o.window;
  header.sinkTokens = o.sinkTokens;
  header.numPartials = plan.numPartials;
  header.perItem = o.cost.perItem;
  header.perKVToken = o.cost.perKVToken;
  header.perRowKVToken = o.cost.perRowKVToken;
  header.perPartialRow = o.cost.perPartialRow;
  header.makespan = plan.makespan;
  header.lowerBound = plan.lowerBound;
  header.numSequences = plan.qLens.size();
  header.numItems = plan.items.size();
  header.numMerges = plan.merges.size();
  return header;
}

void setOptions(const PlanHeader &header, Plan &plan) {
  PlanOptions &o = plan.options;
  o.numKVHeads = header.numKVHeads;
  o.pageSize = header.pageSize;
  o.queryTile = header.queryTile;
  o.numWorkers = header.numWorkers;
  o.splits = SplitMode(header.splits);
  o.splitTokens = header.splitTokens;
  o.causal = header.causal != 0;
  o.windowKind = WindowKind(header.windowKind);
  o.window = header.window;
  o.sinkTokens = header.sinkTokens;
  o.cost = PlanCost{header.perItem, header.perKVToken, header.perRowKVToken,
                    header.perPartialRow};
  plan.numPartials = header.numPartials;
  plan.makespan = header.makespan;
  plan.lowerBound = header.lowerBound;
}

Status damaged(const char *what, uint64_t got) {
  return Status::error(StatusCode::DataLoss, "plan bytes: %s, got %llu", what,
                       static_cast<unsigned long long>(got));
}

/// Bytes that the counts of a header ask for, or 0 when they are absurd.
uint64_t expectedBytes(const PlanHeader &header, size_t size) {
  if (header.numSequences > size || header.numItems > size ||
      header.numMerges > size || header.numWorkers < 1 ||
      uint64_t(header.numWorkers) > size)
    return 0;
  return sizeof(header) + 2 * sizeof(int32_t) * header.numSequences +
         sizeof(WorkItem) * header.numItems +
         sizeof(int32_t) * (uint64_t(header.numWorkers) + 1) +
         sizeof(MergeItem) * header.numMerges;
}

Status checkPlanHeader(const uint8_t *bytes, size_t size, PlanHeader &header) {
  if (size < sizeof(header))
    return damaged("expected at least 136 bytes", size);
  std::memcpy(&header, bytes, sizeof(header));
  if (std::memcmp(header.magic, kPlanMagic, sizeof(kPlanMagic)) != 0)
    return Status::error(StatusCode::DataLoss,
                         "expected the bytes of a plan, got others");
  if (header.version != kPlanVersion)
    return damaged("expected version 1", header.version);
  if (expectedBytes(header, size) != size)
    return damaged("a length that the counts do not give", size);
  uint64_t checksum = checksumOf(bytes, size);
  if (checksum != header.checksum)
    return damaged("corrupt: wrong checksum", checksum);
  if (header.splits < 0 || header.splits > int32_t(SplitMode::Fixed) ||
      header.windowKind < 0 ||
      header.windowKind > int32_t(WindowKind::SinkWindow))
    return damaged("unknown options", uint64_t(header.splits));
  return Status::ok();
}

Status decode(const uint8_t *bytes, size_t size, Plan &plan) {
  PlanHeader header;
  PAGED_ATTN_RETURN_IF_ERROR(checkPlanHeader(bytes, size, header));
  Plan made;
  setOptions(header, made);
  const uint8_t *at = bytes + sizeof(header);
  extract(at, header.numSequences, made.qLens);
  extract(at, header.numSequences, made.kvLens);
  extract(at, header.numItems, made.items);
  extract(at, uint64_t(header.numWorkers) + 1, made.workerBegin);
  extract(at, header.numMerges, made.merges);
  Status status = verifyPlan(made, made.qLens.data(), made.kvLens.data(),
                             int32_t(made.qLens.size()));
  if (status.code() == StatusCode::FailedPrecondition)
    return Status::error(StatusCode::DataLoss, "%s", status.message());
  PAGED_ATTN_RETURN_IF_ERROR(status);
  std::swap(plan, made);
  return Status::ok();
}

} // namespace

Status paged_attn::savePlan(const Plan &plan, std::vector<uint8_t> &bytes) {
  try {
    PlanHeader header = headerOf(plan);
    std::vector<uint8_t> made(sizeof(header));
    append(made, plan.qLens);
    append(made, plan.kvLens);
    append(made, plan.items);
    append(made, plan.workerBegin);
    append(made, plan.merges);
    std::memcpy(made.data(), &header, sizeof(header));
    header.checksum = checksumOf(made.data(), made.size());
    std::memcpy(made.data(), &header, sizeof(header));
    bytes.swap(made);
    return Status::ok();
  } catch (const std::bad_alloc &) {
    return Status::error(StatusCode::ResourceExhausted, "out of host memory");
  }
}

Status paged_attn::loadPlan(const uint8_t *bytes, size_t size, Plan &plan) {
  try {
    return decode(bytes, size, plan);
  } catch (const std::bad_alloc &) {
    return Status::error(StatusCode::ResourceExhausted, "out of host memory");
  }
}
