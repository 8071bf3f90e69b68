//===- Problem.cpp - A random attention problem in memory -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Places pages and fills the buffers of a problem.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/Problem.h"

#include "Parallel.h"
#include "Random.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <unistd.h>

namespace paged_attn::oracle {

namespace {

/// First key of a random stream: what the data are for.
enum Role : uint64_t {
  kQuery,
  kKey,
  kValue,
  kPageOrder,
  kAlibi,
  kSink,
  kKeyScale,
  kValueScale
};

/// Physical page of each logical page; -1 for pages that the mask hides.
using PageLists = std::vector<std::vector<int64_t>>;

bool pageIsSeen(const ProblemSpec &spec, int64_t b, int64_t page) {
  int64_t first = page * spec.pageSize;
  int64_t last = std::min(first + spec.pageSize, spec.kvLens[b]);
  for (int64_t p = spec.kvLens[b] - spec.qLens[b]; p < spec.kvLens[b]; ++p)
    for (int64_t j = first; j < last; ++j)
      if (spec.mask.visible(p, j))
        return true;
  return false;
}

std::vector<int64_t> orderPages(const Problem &problem) {
  std::vector<int64_t> order(problem.spec.pages());
  std::iota(order.begin(), order.end(), 0);
  if (problem.spec.pageOrder == PageOrder::Identity)
    return order;
  Random random{problem.seed, kPageOrder};
  for (size_t i = order.size(); i > 1; --i) // Fisher-Yates
    std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

PageLists placePages(const Problem &problem) {
  const ProblemSpec &spec = problem.spec;
  std::vector<int64_t> order = orderPages(problem);
  PageLists lists(spec.batch());
  int64_t next = 0;
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (int64_t page = 0; page < spec.pagesOf(b); ++page, ++next) {
      bool hidden = spec.poison == Poison::Masked && !pageIsSeen(spec, b, page);
      lists[b].push_back(hidden ? -1 : order[next]);
    }
  return lists;
}

void fillTables(Problem &problem, const PageLists &lists) {
  const ProblemSpec &spec = problem.spec;
  IndexType type = spec.indexType;
  bool dense = spec.tableKind == TableKind::Dense;
  Buffer &pages = dense ? problem.pageTable : problem.pageIndices;
  int64_t columns = spec.columns();
  for (int64_t i = 0, n = pages.numBytes() / byteWidth(type); i < n; ++i)
    storeIndex(type, pages.data(), i, spec.unusedPage);
  int64_t start = 0;
  for (int64_t b = 0; b < spec.batch(); ++b) {
    int64_t row = dense ? b * columns : start;
    for (size_t page = 0; page < lists[b].size(); ++page)
      if (lists[b][page] >= 0)
        storeIndex(type, pages.data(), row + page, lists[b][page]);
    start += lists[b].size();
    if (!dense)
      storeIndex(type, problem.pageIndptr.data(), b + 1, start);
  }
}

void fillLengths(Problem &problem) {
  const ProblemSpec &spec = problem.spec;
  int64_t start = 0;
  for (int64_t b = 0; b < spec.batch(); ++b) {
    storeIndex(spec.indexType, problem.kvLens.data(), b, spec.kvLens[b]);
    start += spec.qLens[b];
    if (spec.hasQueryStarts)
      storeIndex(spec.indexType, problem.queryStarts.data(), b + 1, start);
  }
}

/// Fills a buffer of `type` with one value, by pieces on all threads.
template <typename Bits>
void fillBits(Buffer &buffer, Bits bits) {
  constexpr int64_t kPiece = 1 << 20;
  int64_t count = buffer.numBytes() / sizeof(Bits);
  parallelFor((count + kPiece - 1) / kPiece, 0, [&](int64_t piece) {
    Bits *first = buffer.as<Bits>() + piece * kPiece;
    std::fill_n(first, std::min(kPiece, count - piece * kPiece), bits);
  });
}

void fillValue(Buffer &buffer, ElementType type, float value) {
  uint32_t bits = 0;
  storeElement(type, &bits, 0, value);
  if (byteWidth(type) == 4)
    return fillBits<uint32_t>(buffer, bits);
  uint16_t half;
  std::memcpy(&half, &bits, sizeof(half));
  if (byteWidth(type) == 2)
    return fillBits<uint16_t>(buffer, half);
  uint8_t byte;
  std::memcpy(&byte, &bits, sizeof(byte));
  fillBits<uint8_t>(buffer, byte);
}

/// Standard deviation of what a pool stores: with factors, small enough for
/// `type` and with few saturated elements.
double storedSigma(const ProblemSpec &spec, ElementType type, ScaleKind scale) {
  if (scale == ScaleKind::None)
    return spec.sigma;
  return type == ElementType::I8 ? 40 : 1;
}

/// A factor that brings stored data back to about `spec.sigma`.
float drawFactor(const ProblemSpec &spec, const MutablePoolView &view,
                 Random random) {
  double stored = storedSigma(spec, view.type, view.scaleKind);
  return static_cast<float>(spec.sigma / stored * (0.5 + random.uniform()));
}

/// Factors of one pool; those of slots that hold no token are poisoned.
void fillScale(Problem &problem, Buffer &buffer, const MutablePoolView &view,
               Role role, const PageLists &lists) {
  const ProblemSpec &spec = problem.spec;
  float *factors = buffer.as<float>();
  if (view.scaleKind == ScaleKind::None)
    return;
  if (view.scaleKind != ScaleKind::Token) {
    for (int64_t i = 0, n = buffer.numBytes() / int64_t(sizeof(float)); i < n;
         ++i)
      factors[i] =
          drawFactor(spec, view, Random{problem.seed, role, uint64_t(i)});
    return;
  }
  if (spec.poison != Poison::None)
    fillValue(buffer, ElementType::F32, spec.poisonValue);
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (int64_t j = 0; j < spec.kvLens[b]; ++j) {
      int64_t page = lists[b][j / spec.pageSize];
      int64_t row = page * spec.pageSize + j % spec.pageSize;
      for (int64_t head = 0; page >= 0 && head < spec.numKvHeads; ++head)
        factors[row * spec.numKvHeads + head] =
            drawFactor(spec, view,
                       Random{problem.seed, role, uint64_t(b), uint64_t(j),
                              uint64_t(head)});
    }
}

/// Writes the rows of the live slots of a pool; a row's data come from
/// (seed, role, sequence, position, head).
void fillPool(Problem &problem, const MutablePoolView &view, Role role,
              const PageLists &lists) {
  const ProblemSpec &spec = problem.spec;
  std::vector<int64_t> depthOffsets(view.depth); // spares a division each
  for (int64_t d = 0; d < view.depth; ++d)
    depthOffsets[d] = view.shape.depthOffset(d);
  double sigma = storedSigma(spec, view.type, view.scaleKind);
  auto fillRow = [&](int64_t b, int64_t position, int64_t head) {
    int64_t page = lists[b][position / spec.pageSize];
    int64_t row = view.rowOffset(page, position % spec.pageSize, head);
    Random random{problem.seed, role, uint64_t(b), uint64_t(position),
                  uint64_t(head)};
    for (int64_t d = 0; d < view.depth; ++d)
      storeElement(view.type, view.data, row + depthOffsets[d],
                   random.normal() * sigma);
  };
  auto fillPage = [&](int64_t b, int64_t page) {
    int64_t first = page * spec.pageSize;
    int64_t last = std::min(first + spec.pageSize, spec.kvLens[b]);
    for (int64_t position = first; position < last; ++position)
      for (int64_t head = 0; head < spec.numKvHeads; ++head)
        fillRow(b, position, head);
  };
  std::vector<std::pair<int64_t, int64_t>> pages;
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (size_t page = 0; page < lists[b].size(); ++page)
      if (lists[b][page] >= 0)
        pages.emplace_back(b, page);
  parallelFor(pages.size(), 0,
              [&](int64_t i) { fillPage(pages[i].first, pages[i].second); });
}

void fillPools(Problem &problem, const PageLists &lists) {
  const ProblemSpec &spec = problem.spec;
  if (spec.poison != Poison::None) {
    fillValue(problem.keyPool, spec.keyType, spec.poisonValue);
    if (problem.valuePool)
      fillValue(problem.valuePool, spec.valueType, spec.poisonValue);
  }
  fillPool(problem, problem.mutableKeys(), kKey, lists);
  fillScale(problem, problem.keyScale, problem.mutableKeys(), kKeyScale, lists);
  if (spec.poolKind == PoolKind::Latent)
    return;
  fillPool(problem, problem.mutableValues(), kValue, lists);
  fillScale(problem, problem.valueScale, problem.mutableValues(), kValueScale,
            lists);
}

void fillQuery(Problem &problem) {
  const ProblemSpec &spec = problem.spec;
  if (spec.poison != Poison::None)
    fillValue(problem.query, spec.queryType, spec.poisonValue);
  int64_t rowElements = spec.numHeads * spec.keyDim;
  parallelFor(spec.numTokens() - spec.paddingRows, 0, [&](int64_t row) {
    Random random{problem.seed, kQuery, uint64_t(row)};
    for (int64_t i = 0; i < rowElements; ++i)
      storeElement(spec.queryType, problem.query.data(), row * rowElements + i,
                   random.normal() * spec.sigma);
  });
}

/// Slopes fall by halves from head to head, as ALiBi's do, and start again
/// after `kSlopeOctaves` so that no head loses the bias.
void fillHeadVectors(Problem &problem) {
  constexpr int64_t kSlopeOctaves = 8;
  Random slopes{problem.seed, kAlibi}, sinks{problem.seed, kSink};
  for (int64_t h = 0; h < problem.spec.numHeads; ++h) {
    double slope = slopes.uniform() * problem.spec.alibiSlope;
    if (problem.alibiSlopes)
      problem.alibiSlopes.as<float>()[h] =
          static_cast<float>(std::ldexp(slope, -int(h % kSlopeOctaves)));
    float sink = static_cast<float>(sinks.normal());
    if (problem.sinks)
      problem.sinks.as<float>()[h] = sink;
  }
}

/// Shapes of the pools; the spec has been validated.
void setShapes(Problem &problem) {
  const ProblemSpec &spec = problem.spec;
  std::string error;
  PoolExtents extents{spec.pages(), spec.pageSize, spec.numKvHeads, spec.keyDim,
                      spec.keyLayout.hasLayer() ? spec.numLayers : 1};
  problem.keyShape = *PoolShape::make(spec.keyLayout, extents, error);
  problem.valueShape = problem.keyShape;
  if (spec.poolKind != PoolKind::Separate)
    return;
  extents.depth = spec.valueDim;
  extents.layers = spec.valueLayout.hasLayer() ? spec.numLayers : 1;
  problem.valueShape = *PoolShape::make(spec.valueLayout, extents, error);
}

/// Bytes of the factors of a pool.
int64_t scaleBytes(const ProblemSpec &spec, ScaleKind kind) {
  int64_t count = 1;
  if (kind != ScaleKind::Tensor)
    count = spec.numKvHeads;
  if (kind == ScaleKind::Token)
    count *= spec.pages() * spec.pageSize;
  return count * int64_t(sizeof(float));
}

/// One buffer to allocate, if `wanted`.
struct Request {
  Buffer &buffer;
  int64_t numBytes;
  bool wanted = true;
  Backing backing = Backing::Normal;
};

bool allocateBuffers(Problem &problem) {
  const ProblemSpec &spec = problem.spec;
  int64_t tokens = spec.numTokens(), heads = spec.numHeads, b = spec.batch();
  int64_t index = byteWidth(spec.indexType);
  bool dense = spec.tableKind == TableKind::Dense;
  Backing pool = spec.hugePages ? Backing::HugePages : Backing::Normal;
  Request requests[] = {
      {problem.query, tokens * heads * spec.keyDim * byteWidth(spec.queryType)},
      {problem.keyPool,
       problem.keyShape.numElements() * byteWidth(spec.keyType), true, pool},
      {problem.valuePool,
       problem.valueShape.numElements() * byteWidth(spec.valueType),
       spec.poolKind == PoolKind::Separate, pool},
      {problem.keyScale, scaleBytes(spec, spec.keyScale),
       spec.keyScale != ScaleKind::None},
      {problem.valueScale, scaleBytes(spec, spec.valueScale),
       spec.valueScale != ScaleKind::None},
      {problem.pageTable, b * spec.columns() * index, dense},
      {problem.pageIndices, spec.neededPages() * index, !dense},
      {problem.pageIndptr, (b + 1) * index, !dense},
      {problem.kvLens, b * index},
      {problem.queryStarts, (b + 1) * index, spec.hasQueryStarts},
      {problem.alibiSlopes, heads * 4, spec.hasAlibi},
      {problem.sinks, heads * 4, spec.hasSinks},
      {problem.out,
       tokens * heads * spec.valueDim * byteWidth(spec.outputType)},
      {problem.lse, tokens * heads * 4, spec.wantsLse}};
  for (Request &request : requests)
    if (request.wanted) {
      request.buffer = Buffer::allocate(request.numBytes, request.backing);
      if (!request.buffer)
        return false;
    }
  return true;
}

std::string mebibytes(int64_t bytes) {
  return std::to_string(bytes >> 20) + " MiB";
}

/// View of one pool of `problem`, const or not.
template <typename View, typename ProblemRef>
View viewOf(ProblemRef &problem, bool value) {
  const ProblemSpec &spec = problem.spec;
  bool own = value && spec.poolKind == PoolKind::Separate;
  View view;
  view.data = own ? problem.valuePool.data() : problem.keyPool.data();
  view.type = own ? spec.valueType : spec.keyType;
  view.shape = own ? problem.valueShape : problem.keyShape;
  view.pair = value && spec.poolKind == PoolKind::Pair ? 1 : 0;
  view.layer = view.shape.layout().hasLayer() ? spec.layer : 0;
  view.depth = value ? spec.valueDim : spec.keyDim;
  bool ofValue = value && spec.poolKind != PoolKind::Latent;
  view.scaleKind = ofValue ? spec.valueScale : spec.keyScale;
  view.scale =
      (ofValue ? problem.valueScale : problem.keyScale).template as<float>();
  return view;
}

} // namespace

PoolView Problem::keys() const { return viewOf<PoolView>(*this, false); }
PoolView Problem::values() const { return viewOf<PoolView>(*this, true); }
MutablePoolView Problem::mutableKeys() {
  return viewOf<MutablePoolView>(*this, false);
}
MutablePoolView Problem::mutableValues() {
  return viewOf<MutablePoolView>(*this, true);
}

int64_t Problem::queryStart(int64_t b) const {
  if (queryStarts)
    return loadIndex(spec.indexType, queryStarts.data(), b);
  return b * (spec.numTokens() / spec.batch());
}

int64_t Problem::kvLen(int64_t b) const {
  return loadIndex(spec.indexType, kvLens.data(), b);
}

int64_t Problem::physicalPage(int64_t b, int64_t page) const {
  if (pageTable)
    return loadIndex(spec.indexType, pageTable.data(),
                     b * spec.columns() + page);
  int64_t start = loadIndex(spec.indexType, pageIndptr.data(), b);
  return loadIndex(spec.indexType, pageIndices.data(), start + page);
}

void Problem::resetOutputs() {
  // All bits set are a NaN in every type.
  std::memset(out.data(), 0xff, out.numBytes());
  if (lse)
    std::memset(lse.data(), 0xff, lse.numBytes());
}

std::optional<Problem> makeProblem(const ProblemSpec &spec, uint64_t seed,
                                   std::string &error) {
  error = spec.validate();
  if (!error.empty())
    return std::nullopt;
  int64_t memory = int64_t(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  if (spec.totalBytes() > memory) {
    error = "expected a problem that fits into " + mebibytes(memory) +
            " of memory, got " + mebibytes(spec.totalBytes());
    return std::nullopt;
  }
  Problem problem;
  problem.spec = spec;
  // Resolved once: the defaults walk all sequences.
  problem.spec.numPages = spec.pages();
  problem.spec.numColumns = spec.columns();
  problem.seed = seed;
  setShapes(problem);
  if (!allocateBuffers(problem)) {
    error = "expected to allocate " + mebibytes(spec.totalBytes()) +
            ", got no memory from the system";
    return std::nullopt;
  }
  PageLists lists = placePages(problem);
  fillTables(problem, lists);
  fillLengths(problem);
  fillPools(problem, lists);
  fillQuery(problem);
  fillHeadVectors(problem);
  problem.resetOutputs();
  return problem;
}

} // namespace paged_attn::oracle
