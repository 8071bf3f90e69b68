//===- ProblemSpec.cpp - What one attention problem looks like ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Derived shapes and the checks of a spec.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/ProblemSpec.h"

#include <algorithm>

namespace paged_attn::oracle {

namespace {

/// Lengths, heads and pages above this are refused: products of two of them
/// still fit 63 bits.
constexpr int64_t kMaxCount = std::numeric_limits<int32_t>::max();

std::string complain(const std::string &expected, const std::string &got) {
  return "expected " + expected + ", got " + got;
}
std::string complain(const std::string &expected, int64_t got) {
  return complain(expected, std::to_string(got));
}

/// A field with a smallest value; all share `kMaxCount` as the largest.
struct Bound {
  const char *name;
  int64_t value;
  int64_t least;
};

std::string checkBounds(const std::vector<Bound> &bounds) {
  for (const Bound &bound : bounds) {
    if (bound.value < bound.least)
      return complain(std::string(bound.name) + " of at least " +
                          std::to_string(bound.least),
                      bound.value);
    if (bound.value > kMaxCount)
      return complain(std::string(bound.name) + " of at most " +
                          std::to_string(kMaxCount),
                      bound.value);
  }
  return {};
}

std::string checkScalars(const ProblemSpec &spec) {
  return checkBounds({{"heads", spec.numHeads, 1},
                      {"kv_heads", spec.numKvHeads, 1},
                      {"key head dim", spec.keyDim, 1},
                      {"value head dim", spec.valueDim, 1},
                      {"page_size", spec.pageSize, 1},
                      {"pages", spec.numPages, 0},
                      {"spare pages", spec.sparePages, 0},
                      {"page table columns", spec.numColumns, 0},
                      {"layers", spec.numLayers, 1},
                      {"layer", spec.layer, 0},
                      {"padding rows", spec.paddingRows, 0},
                      {"window", spec.mask.window, 0},
                      {"sink_tokens", spec.mask.sinkTokens, 0},
                      {"chunk", spec.mask.chunk, 0}});
}

std::string checkLengths(const ProblemSpec &spec) {
  if (spec.qLens.size() != spec.kvLens.size())
    return complain("kv_lens to have " + std::to_string(spec.qLens.size()) +
                        " entries like q_lens",
                    static_cast<int64_t>(spec.kvLens.size()));
  for (int64_t b = 0; b < spec.batch(); ++b) {
    std::string of = " of sequence " + std::to_string(b);
    std::string complaint = checkBounds(
        {{"q_len", spec.qLens[b], 0}, {"kv_len", spec.kvLens[b], 0}});
    if (!complaint.empty())
      return complaint + of;
    if (spec.qLens[b] > spec.kvLens[b])
      return complain("q_len" + of + " to be at most its kv_len " +
                          std::to_string(spec.kvLens[b]),
                      spec.qLens[b]);
  }
  return checkBounds({{"query rows", spec.numTokens(), 0}});
}

/// Query starts may be absent only where T / B says it all.
std::string checkStarts(const ProblemSpec &spec) {
  if (spec.hasQueryStarts)
    return {};
  if (spec.batch() == 0)
    return complain("at least 1 sequence without query_starts", 0);
  if (spec.paddingRows > 0)
    return complain("no padding rows without query_starts", spec.paddingRows);
  for (int64_t qLen : spec.qLens)
    if (qLen != spec.qLens[0])
      return complain("equal q_lens without query_starts",
                      std::to_string(spec.qLens[0]) + " and " +
                          std::to_string(qLen));
  return {};
}

std::string checkPools(const ProblemSpec &spec) {
  bool pair = spec.poolKind == PoolKind::Pair;
  if (spec.keyLayout.hasPair() != pair)
    return complain(pair ? "a layout with c for one pool of keys and values"
                         : "a key layout without c for a pool of keys only",
                    "'" + spec.keyLayout.str() + "'");
  if (spec.poolKind == PoolKind::Separate && spec.valueLayout.hasPair())
    return complain("a value layout without c for a pool of values only",
                    "'" + spec.valueLayout.str() + "'");
  if (pair && spec.keyDim != spec.valueDim)
    return complain("equal key and value head dims in one pool",
                    std::to_string(spec.keyDim) + " and " +
                        std::to_string(spec.valueDim));
  if (spec.poolKind == PoolKind::Latent && spec.valueDim > spec.keyDim)
    return complain("a value head dim of at most the key's " +
                        std::to_string(spec.keyDim) + " without a value pool",
                    spec.valueDim);
  if (spec.poolKind != PoolKind::Separate && spec.keyType != spec.valueType)
    return complain("equal key and value types in one pool",
                    std::string(toString(spec.keyType)) + " and " +
                        toString(spec.valueType));
  if (spec.layer >= spec.numLayers)
    return complain("a layer below " + std::to_string(spec.numLayers),
                    spec.layer);
  return {};
}

/// Integers need factors, wide floats take none, and only pools are quantised.
std::string checkScale(const char *name, ElementType type, ScaleKind scale) {
  bool wide = byteWidth(type) > 1, given = scale != ScaleKind::None;
  if ((given && wide) || (!given && type == ElementType::I8))
    return complain(std::string(given ? "no" : "a") + " scale for " + name +
                        " of " + toString(type),
                    given ? "one" : "none");
  return {};
}

std::string checkTypes(const ProblemSpec &spec) {
  for (ElementType type : {spec.queryType, spec.outputType})
    if (byteWidth(type) < 2)
      return complain("query and out of f32, f16 or bf16", toString(type));
  bool latent = spec.poolKind == PoolKind::Latent;
  if (latent && spec.valueScale != ScaleKind::None)
    return complain("no scale for values that keys hold", "one");
  std::string complaint = checkScale("keys", spec.keyType, spec.keyScale);
  if (complaint.empty() && !latent)
    complaint = checkScale("values", spec.valueType, spec.valueScale);
  return complaint;
}

std::string checkShapes(const ProblemSpec &spec) {
  std::string error;
  PoolExtents extents{spec.pages(), spec.pageSize, spec.numKvHeads, spec.keyDim,
                      spec.keyLayout.hasLayer() ? spec.numLayers : 1};
  if (!PoolShape::make(spec.keyLayout, extents, error))
    return error;
  if (spec.poolKind != PoolKind::Separate)
    return {};
  extents.depth = spec.valueDim;
  extents.layers = spec.valueLayout.hasLayer() ? spec.numLayers : 1;
  PoolShape::make(spec.valueLayout, extents, error);
  return error;
}

std::string checkTable(const ProblemSpec &spec) {
  if (spec.pages() < spec.neededPages())
    return complain("at least " + std::to_string(spec.neededPages()) +
                        " pages to hold all sequences",
                    spec.pages());
  int64_t columns = spec.columns();
  for (int64_t b = 0; b < spec.batch(); ++b)
    if (spec.tableKind == TableKind::Dense && columns < spec.pagesOf(b))
      return complain("kv_len of sequence " + std::to_string(b) +
                          " to be at most " +
                          std::to_string(columns * spec.pageSize) +
                          " (page table columns times page size)",
                      spec.kvLens[b]);
  return checkBounds({{"pages", spec.pages(), 0}});
}

std::string checkMath(const ProblemSpec &spec) {
  if (spec.numHeads % spec.numKvHeads != 0)
    return complain("heads to be a multiple of kv_heads " +
                        std::to_string(spec.numKvHeads),
                    spec.numHeads);
  if (spec.mask.sinkTokens > 0 && spec.mask.window == 0)
    return complain("a window with sink_tokens " +
                        std::to_string(spec.mask.sinkTokens),
                    "none");
  if (spec.scale && !std::isfinite(*spec.scale))
    return complain("a finite scale", std::to_string(*spec.scale));
  if (!std::isfinite(spec.softcap) || spec.softcap < 0)
    return complain("a finite softcap of at least 0",
                    std::to_string(spec.softcap));
  if (!std::isfinite(spec.sigma) || spec.sigma < 0)
    return complain("a sigma of at least 0", std::to_string(spec.sigma));
  return {};
}

/// Product of extents that saturates at INT64_MAX; factors are not negative.
int64_t saturatingProduct(std::initializer_list<int64_t> factors) {
  int64_t product = 1;
  for (int64_t factor : factors)
    if (factor == 0)
      return 0;
    else if (__builtin_mul_overflow(product, factor, &product))
      product = std::numeric_limits<int64_t>::max();
  return product;
}

} // namespace

bool Mask::visible(int64_t p, int64_t j) const {
  if (causal && j > p)
    return false;
  if (window > 0 && j <= p - window && j >= sinkTokens)
    return false;
  return chunk == 0 || j / chunk == p / chunk;
}

int64_t ProblemSpec::numTokens() const {
  int64_t tokens = paddingRows;
  for (int64_t qLen : qLens)
    tokens += qLen;
  return tokens;
}

int64_t ProblemSpec::pagesOf(int64_t sequence) const {
  return (kvLens[sequence] + pageSize - 1) / pageSize;
}

int64_t ProblemSpec::neededPages() const {
  int64_t needed = 0;
  for (int64_t b = 0; b < batch(); ++b)
    needed += pagesOf(b);
  return needed;
}

int64_t ProblemSpec::columns() const {
  int64_t needed = 0;
  for (int64_t b = 0; b < batch(); ++b)
    needed = std::max(needed, pagesOf(b));
  return numColumns ? numColumns : needed;
}

int64_t ProblemSpec::pages() const {
  return numPages ? numPages : neededPages() + sparePages;
}

std::string ProblemSpec::validate() const {
  for (auto check : {checkScalars, checkLengths, checkStarts, checkPools,
                     checkTypes, checkShapes, checkTable, checkMath}) {
    std::string complaint = check(*this);
    if (!complaint.empty())
      return complaint;
  }
  return {};
}

int64_t ProblemSpec::totalBytes() const {
  int64_t keyLayers = keyLayout.hasLayer() ? numLayers : 1;
  int64_t valueLayers = valueLayout.hasLayer() ? numLayers : 1;
  int64_t rows = saturatingProduct({pages(), pageSize, numKvHeads});
  int64_t pairs = poolKind == PoolKind::Pair ? 2 : 1;
  auto scaleBytes = [&](ScaleKind kind) {
    return kind == ScaleKind::Token ? saturatingProduct({rows, 4}) : 0;
  };
  int64_t total = 0;
  for (int64_t bytes :
       {saturatingProduct({rows, keyDim, keyLayers, pairs, byteWidth(keyType)}),
        poolKind == PoolKind::Separate
            ? saturatingProduct(
                  {rows, valueDim, valueLayers, byteWidth(valueType)})
            : 0,
        scaleBytes(keyScale), scaleBytes(valueScale),
        saturatingProduct(
            {numTokens(), numHeads, keyDim, byteWidth(queryType)}),
        saturatingProduct(
            {numTokens(), numHeads, valueDim, byteWidth(outputType)}),
        saturatingProduct({numTokens(), numHeads, 4}),
        saturatingProduct({batch(), columns(), byteWidth(indexType)})})
    if (__builtin_add_overflow(total, bytes, &total))
      return std::numeric_limits<int64_t>::max();
  return total;
}

} // namespace paged_attn::oracle
