//===- Plan.cpp - Balanced work lists of attention ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows are tiled, the KV range of a tile comes from the mask, and ranges are
// cut at multiples of a chunk. For `Balanced` the chunk with the least makespan
// is taken, over a geometric series of chunks. Items are dealt longest first to
// the least loaded worker (Graham 1969: at most 4/3 of the optimum).
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Plan.h"

#include <algorithm>
#include <new>
#include <numeric>
#include <queue>

using namespace paged_attn;

namespace {

/// Merging and writing of partial states is a share of the cost, so cuts below
/// this many tokens never pay off.
constexpr int64_t kMinSplitTokens = 64;
/// A balanced plan that was advanced is made anew when the busiest worker has
/// this much more than the plan promised, relative to the lower bound.
constexpr double kAllowedDrift = 1.05;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// KV tokens [begin, end) that some row of a tile may see.
struct Range {
  int64_t begin, end;
};

/// Query rows of one sequence and the ranges that they see.
struct Tile {
  int32_t sequence, queryBegin, queryEnd;
  Range ranges[2]; ///< sinks, then the window; begins are page aligned
  int32_t numRanges;
  int64_t numTokens() const {
    int64_t total = 0;
    for (int32_t i = 0; i < numRanges; ++i)
      total += ranges[i].end - ranges[i].begin;
    return total;
  }
};

/// One part of a tile's KV range, for all KV heads.
struct Part {
  int32_t tile;
  Range range;
  int32_t partial; ///< of KV head 0, or -1
  double cost;
};

Tile makeTile(const PlanOptions &o, int32_t sequence, int32_t begin,
              int32_t end, int64_t qLen, int64_t kvLen) {
  Tile tile{sequence, begin, end, {}, 0};
  int64_t first = kvLen - qLen + begin, last = kvLen - qLen + end - 1;
  int64_t to = o.causal ? last + 1 : kvLen, from = 0, sinks = 0;
  if (o.windowKind == WindowKind::Chunked) {
    from = first / o.window * o.window;
    if (!o.causal)
      to = std::min(kvLen, (last / o.window + 1) * o.window);
  } else if (o.windowKind != WindowKind::Full) {
    from = std::max<int64_t>(0, first - o.window + 1);
    sinks = o.windowKind == WindowKind::SinkWindow ? o.sinkTokens : 0;
  }
  from = from / o.pageSize * o.pageSize;
  sinks = std::min({ceilDiv(sinks, o.pageSize) * o.pageSize, from, to});
  if (sinks > 0)
    tile.ranges[tile.numRanges++] = Range{0, sinks};
  tile.ranges[tile.numRanges++] = Range{from, to};
  return tile;
}

double itemCost(const PlanCost &cost, int64_t rows, int64_t tokens) {
  return cost.perItem +
         double(tokens) * (cost.perKVToken + double(rows) * cost.perRowKVToken);
}

/// Everything between lengths and a plan.
class Planner {
public:
  Planner(const PlanOptions &options, const int32_t *qLens,
          const int32_t *kvLens, int32_t count)
      : o(options), qLens(qLens), kvLens(kvLens), count(count) {}

  void makeTiles();
  void cut(int64_t chunk);
  double deal(std::vector<int32_t> *workerOf);
  int64_t bestChunk();
  double lowerBound() const;
  void write(Plan &plan);

private:
  const PlanOptions &o;
  const int32_t *qLens;
  const int32_t *kvLens;
  int32_t count;
  std::vector<Tile> tiles;
  std::vector<Part> parts;
  std::vector<int32_t> order;
};

void Planner::makeTiles() {
  for (int32_t b = 0; b < count; ++b)
    for (int64_t q = 0; q < qLens[b]; q += o.queryTile)
      tiles.push_back(
          makeTile(o, b, int32_t(q),
                   int32_t(std::min<int64_t>(q + o.queryTile, qLens[b])),
                   qLens[b], kvLens[b]));
}

/// Cuts at absolute multiples of `chunk`, so that the cuts of a sequence stay
/// where they are when it grows.
void Planner::cut(int64_t chunk) {
  parts.clear();
  for (size_t t = 0; t < tiles.size(); ++t) {
    const Tile &tile = tiles[t];
    size_t first = parts.size();
    int64_t rows = tile.queryEnd - tile.queryBegin;
    for (int32_t r = 0; r < tile.numRanges; ++r)
      for (int64_t begin = tile.ranges[r].begin; begin < tile.ranges[r].end;) {
        int64_t end = std::min(tile.ranges[r].end, (begin / chunk + 1) * chunk);
        parts.push_back(Part{int32_t(t), Range{begin, end}, -1,
                             itemCost(o.cost, rows, end - begin)});
        begin = end;
      }
    if (parts.size() == first) // Nothing to see: the result is zero.
      parts.push_back(Part{int32_t(t),
                           Range{tile.ranges[0].begin, tile.ranges[0].begin},
                           -1, itemCost(o.cost, rows, 0)});
    bool isCut = parts.size() - first > 1;
    for (size_t i = first; isCut && i < parts.size(); ++i) {
      parts[i].partial = 0;
      parts[i].cost += double(rows) * o.cost.perPartialRow;
    }
  }
}

/// Longest first to the least loaded worker; every part once per KV head.
double Planner::deal(std::vector<int32_t> *workerOf) {
  order.resize(parts.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return parts[size_t(a)].cost != parts[size_t(b)].cost
               ? parts[size_t(a)].cost > parts[size_t(b)].cost
               : a < b;
  });
  using Load = std::pair<double, int32_t>;
  std::priority_queue<Load, std::vector<Load>, std::greater<Load>> loads;
  for (int32_t w = 0; w < o.numWorkers; ++w)
    loads.push(Load{0, w});
  double makespan = 0;
  for (int32_t part : order)
    for (int32_t h = 0; h < o.numKVHeads; ++h) {
      Load load = loads.top();
      loads.pop();
      load.first += parts[part].cost;
      makespan = std::max(makespan, load.first);
      if (workerOf)
        (*workerOf)[size_t(part) * o.numKVHeads + h] = load.second;
      loads.push(load);
    }
  return makespan;
}

int64_t Planner::bestChunk() {
  int64_t longest = 1;
  for (const Tile &tile : tiles)
    longest = std::max(longest, tile.ranges[tile.numRanges - 1].end);
  int64_t whole = ceilDiv(longest, o.pageSize) * o.pageSize;
  int64_t best = whole;
  cut(whole);
  double least = deal(nullptr), bound = lowerBound();
  // Shorter chunks by steps of about sqrt(2); the longest good one is kept.
  for (int64_t parts2 = 2; least > bound; ++parts2) {
    int64_t divisor = (parts2 % 2 ? 3 : 2) * (int64_t(1) << (parts2 / 2 - 1)) /
                      (parts2 % 2 ? 2 : 1);
    int64_t chunk =
        ceilDiv(ceilDiv(whole, std::max<int64_t>(2, divisor)), o.pageSize) *
        o.pageSize;
    if (chunk >= best && parts2 > 2)
      break;
    cut(chunk);
    double makespan = deal(nullptr);
    if (makespan < least * 0.99) {
      least = makespan;
      best = chunk;
    }
    if (chunk <= std::max<int64_t>(kMinSplitTokens, o.pageSize))
      break;
  }
  return best;
}

/// All work without any cut, shared evenly, and the cost of the shortest item
/// that has to run somewhere.
double Planner::lowerBound() const {
  double total = 0, shortest = 0;
  for (const Tile &tile : tiles) {
    int64_t rows = tile.queryEnd - tile.queryBegin;
    total += itemCost(o.cost, rows, tile.numTokens()) * o.numKVHeads;
    int64_t tokens = std::min<int64_t>(tile.numTokens(), o.pageSize);
    if (o.splits == SplitMode::None)
      tokens = tile.numTokens();
    shortest = std::max(shortest, itemCost(o.cost, rows, tokens));
  }
  return std::max(total / o.numWorkers, shortest);
}

void Planner::write(Plan &plan) {
  std::vector<int32_t> workerOf(parts.size() * size_t(o.numKVHeads));
  plan.makespan = deal(&workerOf);
  plan.lowerBound = lowerBound();
  plan.items.resize(workerOf.size());
  plan.workerBegin.assign(size_t(o.numWorkers) + 1, 0);
  for (int32_t worker : workerOf)
    ++plan.workerBegin[size_t(worker) + 1];
  std::partial_sum(plan.workerBegin.begin(), plan.workerBegin.end(),
                   plan.workerBegin.begin());
  // Partial states of one tile and head are neighbours.
  for (size_t first = 0; first < parts.size();) {
    size_t end = first + 1;
    while (end < parts.size() && parts[end].tile == parts[first].tile)
      ++end;
    const Tile &tile = tiles[size_t(parts[first].tile)];
    auto number = int32_t(end - first);
    for (int32_t h = 0; number > 1 && h < o.numKVHeads; ++h)
      plan.merges.push_back(MergeItem{tile.sequence, h, tile.queryBegin,
                                      tile.queryEnd,
                                      plan.numPartials + h * number, number});
    for (size_t i = first; number > 1 && i < end; ++i)
      parts[i].partial = plan.numPartials + int32_t(i - first);
    plan.numPartials += number > 1 ? number * o.numKVHeads : 0;
    for (size_t i = first; i < end; ++i)
      order[i] = number; // Distance of a part's partials from head to head.
    first = end;
  }
  std::vector<int32_t> place(plan.workerBegin.begin(),
                             plan.workerBegin.end() - 1);
  for (size_t i = 0; i < parts.size(); ++i)
    for (int32_t h = 0; h < o.numKVHeads; ++h) {
      const Part &part = parts[i];
      const Tile &tile = tiles[size_t(part.tile)];
      int32_t worker = workerOf[i * size_t(o.numKVHeads) + size_t(h)];
      plan.items[size_t(place[size_t(worker)]++)] =
          WorkItem{tile.sequence,
                   h,
                   tile.queryBegin,
                   tile.queryEnd,
                   int32_t(part.range.begin),
                   int32_t(part.range.end),
                   part.partial < 0 ? -1 : part.partial + h * order[i],
                   0};
    }
}

Status checkOptions(const PlanOptions &o) {
  if (o.numKVHeads < 1 || o.pageSize < 1 || o.queryTile < 1 ||
      o.numWorkers < 1 || o.sinkTokens < 0)
    return Status::error(StatusCode::InvalidArgument,
                         "expected heads, page size, query tile and workers "
                         ">= 1 and sinks >= 0, got %d, %d, %d, %d and %d",
                         o.numKVHeads, o.pageSize, o.queryTile, o.numWorkers,
                         o.sinkTokens);
  if (o.windowKind != WindowKind::Full && o.window < 1)
    return Status::error(StatusCode::InvalidArgument,
                         "expected window >= 1 token, got %d", o.window);
  if (o.splits == SplitMode::Fixed &&
      (o.splitTokens < 1 || o.splitTokens % o.pageSize != 0))
    return Status::error(StatusCode::InvalidArgument,
                         "expected splitTokens to be a multiple of the page "
                         "size %d, got %d",
                         o.pageSize, o.splitTokens);
  return Status::ok();
}

Status checkLengths(const int32_t *qLens, const int32_t *kvLens,
                    int32_t count) {
  for (int32_t b = 0; b < count; ++b)
    if (qLens[b] < 0 || kvLens[b] < qLens[b])
      return Status::error(StatusCode::InvalidArgument,
                           "expected 0 <= q_len <= kv_len of sequence %d, got "
                           "%d and %d",
                           b, qLens[b], kvLens[b]);
  return Status::ok();
}

Status build(const PlanOptions &options, const int32_t *qLens,
             const int32_t *kvLens, int32_t count, Plan &plan) {
  Plan made;
  made.options = options;
  made.qLens.assign(qLens, qLens + count);
  made.kvLens.assign(kvLens, kvLens + count);
  Planner planner(made.options, qLens, kvLens, count);
  planner.makeTiles();
  int64_t chunk = INT32_MAX / options.pageSize * int64_t(options.pageSize);
  if (options.splits == SplitMode::Fixed)
    chunk = options.splitTokens;
  else if (options.splits == SplitMode::Balanced)
    chunk = planner.bestChunk();
  planner.cut(chunk);
  planner.write(made);
  std::swap(plan, made);
  return Status::ok();
}

/// Whether every length only grew by one new KV token.
bool grewByOne(const Plan &plan, const int32_t *qLens, const int32_t *kvLens,
               int32_t count) {
  for (int32_t b = 0; b < count; ++b)
    if (qLens[b] != plan.qLens[size_t(b)] ||
        kvLens[b] != plan.kvLens[size_t(b)] + 1)
      return false;
  return true;
}

/// Whether cuts stay where they are: full causal attention of one tile per
/// sequence, whose last part does not reach a fixed cut.
bool canAdvance(const Plan &plan) {
  const PlanOptions &o = plan.options;
  if (o.windowKind != WindowKind::Full || !o.causal)
    return false;
  for (size_t b = 0; b < plan.qLens.size(); ++b) {
    if (plan.qLens[b] > o.queryTile)
      return false;
    if (o.splits == SplitMode::Fixed && plan.qLens[b] > 0 &&
        plan.kvLens[b] % o.splitTokens == 0)
      return false;
  }
  return true;
}

/// Lengthens the last part of every sequence and recounts the loads.
void advance(Plan &plan) {
  const PlanOptions &o = plan.options;
  plan.makespan = 0;
  double total = 0;
  for (int32_t w = 0; w < o.numWorkers; ++w) {
    double load = 0;
    for (int32_t i = plan.workerBegin[size_t(w)];
         i < plan.workerBegin[size_t(w) + 1]; ++i) {
      WorkItem &item = plan.items[size_t(i)];
      item.kvEnd += item.kvEnd == plan.kvLens[size_t(item.sequence)];
      int32_t rows = item.queryEnd - item.queryBegin;
      load += itemCost(o.cost, rows, item.kvEnd - item.kvBegin) +
              (item.partial < 0 ? 0 : rows * o.cost.perPartialRow);
      if (item.kvEnd > plan.kvLens[size_t(item.sequence)])
        total += itemCost(o.cost, rows, item.kvEnd);
    }
    plan.makespan = std::max(plan.makespan, load);
  }
  for (int32_t &length : plan.kvLens)
    ++length;
  plan.lowerBound = std::max(plan.lowerBound, total / o.numWorkers);
}

} // namespace

Status paged_attn::buildPlan(const PlanOptions &options, const int32_t *qLens,
                             const int32_t *kvLens, int32_t count, Plan &plan) {
  if (count < 0)
    return Status::error(StatusCode::InvalidArgument,
                         "expected count >= 0, got %d", count);
  PAGED_ATTN_RETURN_IF_ERROR(checkOptions(options));
  PAGED_ATTN_RETURN_IF_ERROR(checkLengths(qLens, kvLens, count));
  try {
    return build(options, qLens, kvLens, count, plan);
  } catch (const std::bad_alloc &) {
    return Status::error(StatusCode::ResourceExhausted, "out of host memory");
  }
}

Status paged_attn::updatePlan(const int32_t *qLens, const int32_t *kvLens,
                              int32_t count, Plan &plan, PlanUpdate &done) {
  if (count == int32_t(plan.qLens.size())) {
    if (std::equal(qLens, qLens + count, plan.qLens.begin()) &&
        std::equal(kvLens, kvLens + count, plan.kvLens.begin())) {
      done = PlanUpdate::Kept;
      return Status::ok();
    }
    if (grewByOne(plan, qLens, kvLens, count) && canAdvance(plan)) {
      double promised = plan.quality();
      advance(plan);
      done = PlanUpdate::Advanced;
      if (plan.options.splits != SplitMode::Balanced ||
          plan.quality() <= promised * kAllowedDrift)
        return Status::ok();
    }
  }
  PlanOptions options = plan.options;
  done = PlanUpdate::Rebuilt;
  return buildPlan(options, qLens, kvLens, count, plan);
}
