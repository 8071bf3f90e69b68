//===- Plan.cpp - Balanced work lists of attention ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows are tiled and the KV range of a tile comes from the mask. Without cuts,
// or with fixed ones, items are dealt longest first to the least loaded worker
// (Graham 1969: at most 4/3 of the optimum). `Balanced` fills one worker after
// the other up to a limit and cuts what does not fit, as Stream-K does for
// matrix products (Osama et al. 2023); the least limit is found by bisection.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Plan.h"

#include <algorithm>
#include <new>
#include <numeric>
#include <queue>

using namespace paged_attn;

namespace {

/// Shorter parts are not cut off: starting and merging them would cost more
/// than a fifth of their work (PlanCost).
constexpr int64_t kMinSplitTokens = 64;
/// Plans without cuts that are this close to the lower bound are taken.
constexpr double kGoodEnough = 1.01;
/// Costs up to here add up without loss over any batch.
constexpr double kMaxCost = 1e12;
/// Halvings of the limit's interval: 2^-16 of it is left.
constexpr int kFillSteps = 16;
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

/// One part of a tile's KV range, for one KV head.
struct Part {
  int32_t tile;
  int32_t head;
  Range range;
  double cost;
  int32_t worker;
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

/// Longest first to the least loaded worker; the makespan.
double dealLongestFirst(std::vector<Part> &parts, int32_t numWorkers) {
  std::vector<int32_t> order(parts.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return parts[size_t(a)].cost != parts[size_t(b)].cost
               ? parts[size_t(a)].cost > parts[size_t(b)].cost
               : a < b;
  });
  using Load = std::pair<double, int32_t>;
  std::priority_queue<Load, std::vector<Load>, std::greater<Load>> loads;
  for (int32_t w = 0; w < numWorkers; ++w)
    loads.push(Load{0, w});
  double makespan = 0;
  for (int32_t index : order) {
    Part &part = parts[size_t(index)];
    Load load = loads.top();
    loads.pop();
    load.first += part.cost;
    part.worker = load.second;
    makespan = std::max(makespan, load.first);
    loads.push(load);
  }
  return makespan;
}

/// Everything between lengths and a plan. Parts are kept in the order of tiles,
/// heads and KV ranges.
class Planner {
public:
  Planner(const PlanOptions &options, const int32_t *qLens,
          const int32_t *kvLens, int32_t count)
      : o(options), qLens(qLens), kvLens(kvLens), count(count) {}

  void makeTiles();
  /// Cuts at multiples of `chunk` and deals longest first; the makespan.
  double cutAndDeal(int64_t chunk);
  /// Cuts where a worker is full; the makespan.
  double fillWorkers();
  double lowerBound() const;
  /// More parts than `cutAndDeal(chunk)` makes.
  double countParts(int64_t chunk) const;
  void write(Plan &plan, double makespan) const;

private:
  void addPart(int32_t tile, int32_t head, Range range, bool isCut,
               int32_t worker);
  bool fill(double limit);
  bool fillUnit(int32_t tile, int32_t head, double limit, int32_t &worker,
                double &load);
  int64_t tokensThatFit(const Tile &tile, double budget) const;
  int64_t rowsOf(int32_t tile) const {
    return tiles[size_t(tile)].queryEnd - tiles[size_t(tile)].queryBegin;
  }

  const PlanOptions &o;
  const int32_t *qLens;
  const int32_t *kvLens;
  int32_t count;
  std::vector<Tile> tiles;
  std::vector<Part> parts;
};

void Planner::makeTiles() {
  for (int32_t b = 0; b < count; ++b)
    for (int64_t q = 0; q < qLens[b]; q += o.queryTile)
      tiles.push_back(
          makeTile(o, b, int32_t(q),
                   int32_t(std::min<int64_t>(q + o.queryTile, qLens[b])),
                   qLens[b], kvLens[b]));
}

void Planner::addPart(int32_t tile, int32_t head, Range range, bool isCut,
                      int32_t worker) {
  auto rows = rowsOf(tile);
  double cost = itemCost(o.cost, rows, range.end - range.begin) +
                (isCut ? double(rows) * o.cost.perPartialRow : 0);
  parts.push_back(Part{tile, head, range, cost, worker});
}

/// Absolute multiples, so that the cuts of a sequence stay where they are when
/// it grows and do not depend on other sequences.
double Planner::cutAndDeal(int64_t chunk) {
  parts.clear();
  std::vector<Range> ranges;
  for (int32_t t = 0; t < int32_t(tiles.size()); ++t) {
    const Tile &tile = tiles[size_t(t)];
    ranges.clear();
    for (int32_t r = 0; r < tile.numRanges; ++r)
      for (int64_t at = tile.ranges[r].begin; at < tile.ranges[r].end;) {
        int64_t end = std::min(tile.ranges[r].end, (at / chunk + 1) * chunk);
        ranges.push_back(Range{at, end});
        at = end;
      }
    if (ranges.empty()) // Nothing to see: the result is zero.
      ranges.push_back(Range{tile.ranges[0].begin, tile.ranges[0].begin});
    for (int32_t h = 0; h < o.numKVHeads; ++h)
      for (const Range &range : ranges)
        addPart(t, h, range, ranges.size() > 1, 0);
  }
  return dealLongestFirst(parts, o.numWorkers);
}

/// Most KV tokens of a tile that cost at most `budget` as one partial item.
int64_t Planner::tokensThatFit(const Tile &tile, double budget) const {
  int64_t rows = tile.queryEnd - tile.queryBegin;
  double left =
      budget - itemCost(o.cost, rows, 0) - double(rows) * o.cost.perPartialRow;
  double perToken = o.cost.perKVToken + double(rows) * o.cost.perRowKVToken;
  return left <= 0 ? 0
                   : int64_t(std::min(left / std::max(perToken, 1e-9),
                                      double(INT32_MAX)));
}

/// Puts one tile and head on the current worker, and on those after it when
/// `limit` is reached. False when there is no worker left.
bool Planner::fillUnit(int32_t t, int32_t head, double limit, int32_t &worker,
                       double &load) {
  const Tile &tile = tiles[size_t(t)];
  int64_t shortest = std::max<int64_t>(kMinSplitTokens, o.pageSize);
  int64_t left = tile.numTokens();
  bool isCut = tile.numRanges > 1;
  for (int32_t r = 0; r < tile.numRanges; ++r) {
    Range rest = tile.ranges[r];
    if (rest.begin == rest.end && left > 0)
      continue;
    do {
      int64_t tokens = rest.end - rest.begin;
      double partial = isCut ? double(rowsOf(t)) * o.cost.perPartialRow : 0;
      if (load + itemCost(o.cost, rowsOf(t), tokens) + partial <= limit) {
        addPart(t, head, rest, isCut, worker);
        load += parts.back().cost;
        break;
      }
      int64_t cut = std::min(rest.begin + tokensThatFit(tile, limit - load),
                             rest.end - shortest);
      cut = cut / o.pageSize * o.pageSize;
      if (cut - rest.begin >= shortest) {
        addPart(t, head, Range{rest.begin, cut}, true, worker);
        isCut = true;
        rest.begin = cut;
      } else if (load == 0) {
        return false; // Not even an empty worker takes it.
      }
      if (++worker == o.numWorkers)
        return false;
      load = 0;
    } while (true);
  }
  return true;
}

/// Gives every worker work up to `limit` in order; false when some is left.
bool Planner::fill(double limit) {
  parts.clear();
  int32_t worker = 0;
  double load = 0;
  for (int32_t t = 0; t < int32_t(tiles.size()); ++t)
    for (int32_t h = 0; h < o.numKVHeads; ++h)
      if (!fillUnit(t, h, limit, worker, load))
        return false;
  return true;
}

double Planner::fillWorkers() {
  double low = lowerBound(), high = std::max(low, 1.0);
  while (!fill(high))
    high *= 2;
  for (int step = 0; step < kFillSteps; ++step) {
    double middle = (low + high) / 2;
    (fill(middle) ? high : low) = middle;
  }
  (void)fill(high);
  std::vector<double> loads(size_t(o.numWorkers), 0);
  for (const Part &part : parts)
    loads[size_t(part.worker)] += part.cost;
  return *std::max_element(loads.begin(), loads.end());
}

/// All work without any cut, shared evenly, and the cost of the shortest item
/// that has to run somewhere.
double Planner::lowerBound() const {
  double total = 0, shortest = 0;
  for (const Tile &tile : tiles) {
    int64_t rows = tile.queryEnd - tile.queryBegin;
    total += itemCost(o.cost, rows, tile.numTokens()) * o.numKVHeads;
    shortest = std::max(
        shortest, itemCost(o.cost, rows,
                           std::min<int64_t>(tile.numTokens(), o.pageSize)));
  }
  return std::max(total / o.numWorkers, shortest);
}

double Planner::countParts(int64_t chunk) const {
  double parts = 0;
  for (const Tile &tile : tiles)
    parts += (double(tile.numTokens()) / double(chunk) + 2 * tile.numRanges) *
             o.numKVHeads;
  return parts;
}

void Planner::write(Plan &plan, double makespan) const {
  plan.makespan = makespan;
  plan.lowerBound = lowerBound();
  plan.items.resize(parts.size());
  plan.workerBegin.assign(size_t(o.numWorkers) + 1, 0);
  for (const Part &part : parts)
    ++plan.workerBegin[size_t(part.worker) + 1];
  std::partial_sum(plan.workerBegin.begin(), plan.workerBegin.end(),
                   plan.workerBegin.begin());
  std::vector<int32_t> place(plan.workerBegin.begin(),
                             plan.workerBegin.end() - 1);
  for (size_t first = 0; first < parts.size();) {
    size_t end = first + 1;
    while (end < parts.size() && parts[end].tile == parts[first].tile &&
           parts[end].head == parts[first].head)
      ++end;
    const Tile &tile = tiles[size_t(parts[first].tile)];
    bool isCut = end - first > 1;
    int32_t head = parts[first].head;
    if (isCut)
      plan.merges.push_back(MergeItem{tile.sequence, head, tile.queryBegin,
                                      tile.queryEnd, plan.numPartials,
                                      int32_t(end - first)});
    for (; first < end; ++first)
      plan.items[size_t(place[size_t(parts[first].worker)]++)] =
          WorkItem{tile.sequence,
                   head,
                   tile.queryBegin,
                   tile.queryEnd,
                   int32_t(parts[first].range.begin),
                   int32_t(parts[first].range.end),
                   isCut ? plan.numPartials++ : -1,
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
  for (double cost : {o.cost.perItem, o.cost.perKVToken, o.cost.perRowKVToken,
                      o.cost.perPartialRow})
    if (!(cost >= 0 && cost <= kMaxCost))
      return Status::error(StatusCode::InvalidArgument,
                           "expected costs in [0, 1e12], got %g", cost);
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
  int64_t whole = INT32_MAX / options.pageSize * int64_t(options.pageSize);
  bool fixed = options.splits == SplitMode::Fixed;
  int64_t chunk = fixed ? options.splitTokens : whole;
  if (double parts = planner.countParts(chunk); parts > double(INT32_MAX))
    return Status::error(StatusCode::InvalidArgument,
                         "expected a plan of less than 2^31 items, got lengths "
                         "and splits for up to %.0f",
                         parts);
  double makespan = planner.cutAndDeal(chunk);
  if (options.splits == SplitMode::Balanced &&
      makespan > planner.lowerBound() * kGoodEnough) {
    double filled = planner.fillWorkers();
    if (filled < makespan)
      makespan = filled;
    else
      (void)planner.cutAndDeal(whole);
  }
  planner.write(made, makespan);
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
