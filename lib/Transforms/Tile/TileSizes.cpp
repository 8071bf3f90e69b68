//===- TileSizes.cpp - Sizes of the tiles of an attention op --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 1 to 2: how many tokens, rows and keys a tile has.
//
//===----------------------------------------------------------------------===//

#include "TileSizes.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Rows that a register block takes at once: 8 accumulator rows times two
/// vectors, or two blocks of 4 rows times four, fill 16 of 32 registers.
constexpr int64_t kRowBlock = 8;
/// Rows of a prefill tile whose target is not known: packing a KV tile costs
/// about as much as 6 to 16 rows of it, so that 384 rows keep it at a few
/// hundredths.
constexpr int64_t kPrefillRows = 384;
/// Prefill rows come in blocks of 6 (microkernels) or 8 (linalg).
constexpr int64_t kPrefillRowMultiple = 24;
/// Rows to choose from by the L2 cache.
constexpr int64_t kRowChoices[] = {kPrefillRows, 288, 192, 144, 96, 72, 48, 24};
/// Part of the L2 cache that a tile may take, in 16ths: 384 rows of head dim
/// 128 in 1 MiB, the best there.
constexpr int64_t kCacheShare = 9;
/// With more cores than this, tiles of more than kRowsForMany rows would leave
/// some of them idle on prompts of some hundred tokens.
constexpr int64_t kFewCores = 8, kRowsForMany = 144;
/// Keys of a KV tile: four 512-bit vectors of scores per row.
constexpr int64_t kMostKeys = 64, kLeastKeys = 16;
/// Below this a part of a page is too small to be a tile.
constexpr int64_t kLeastPart = 8;
/// Above this a page is too large to be one tile, whatever its parts are.
constexpr int64_t kMostWholePage = 1024;

/// Largest divisor of `value` that is at most `limit`.
static int64_t largestDivisor(int64_t value, int64_t limit) {
  int64_t divisor = std::min(value, limit);
  while (value % divisor)
    --divisor;
  return divisor;
}

/// Keys of a tile for pages of `pageSize` slots: whole pages, or a part of one.
static int64_t chooseKeys(AttentionOp op, int64_t requested, int64_t l1KiB) {
  int64_t pageSize = op.getPageSize();
  int64_t target = requested;
  if (!target) {
    int64_t dim = std::max(op.getKeyDim(), op.getValueDim());
    // A packed f32 tile of keys, or of values, fills the L1 cache.
    target = std::clamp(l1KiB * 256 / dim, kLeastKeys, kMostKeys);
  }
  if (pageSize >= target) {
    int64_t part = largestDivisor(pageSize, target);
    bool isPart = part >= std::min(kLeastPart, target);
    return isPart || pageSize > kMostWholePage ? part : pageSize;
  }
  int64_t pages = target / pageSize;
  for (int64_t n = pages; 2 * n > pages; --n)
    if (n * pageSize % kLeastKeys == 0)
      return n * pageSize;
  return pages * pageSize;
}

static TileSizes makeSizes(AttentionOp op, int64_t tokens, int64_t rowBlock,
                           int64_t rowMultiple,
                           const TilePassOptions &options) {
  int64_t rows = llvm::alignTo(tokens * op.getGroupSize(), rowMultiple);
  return {tokens, rows, rowBlock,
          chooseKeys(op, options.kvTokens, options.l1KiB)};
}

/// The most rows whose query, scores and sums lie in a part of the L2 cache
/// beside a tile of keys and values (all f32).
static int64_t choosePrefillRows(AttentionOp op,
                                 const TilePassOptions &options) {
  if (!options.l2KiB)
    return kPrefillRows;
  int64_t keys = chooseKeys(op, options.kvTokens, options.l1KiB);
  int64_t dims = op.getKeyDim() + op.getValueDim();
  int64_t elements = options.l2KiB * 1024 / sizeof(float);
  int64_t room = elements * kCacheShare / 16 - keys * dims;
  for (int64_t rows : kRowChoices)
    if (rows * (dims + keys) <= room &&
        (rows <= kRowsForMany || options.cores <= kFewCores))
      return rows;
  return *std::prev(std::end(kRowChoices));
}

/// New tokens of every sequence where the types say so, else `otherwise`.
static int64_t staticQueryTokens(AttentionOp op, int64_t otherwise) {
  int64_t tokens = op.getNumTokens(), sequences = op.getNumSequences();
  if (op.getQueryStarts() || ShapedType::isDynamic(tokens) ||
      ShapedType::isDynamic(sequences) || sequences == 0)
    return otherwise;
  return std::clamp<int64_t>(tokens / sequences, 1, otherwise);
}

TileSizes paged_attn::decodeTileSizes(AttentionOp op,
                                      const TilePassOptions &options) {
  int64_t tokens = staticQueryTokens(op, options.decodeTokens);
  int64_t rowBlock = std::min(op.getGroupSize(), kRowBlock);
  return makeSizes(op, tokens, rowBlock, rowBlock, options);
}

TileSizes paged_attn::prefillTileSizes(AttentionOp op,
                                       const TilePassOptions &options) {
  int64_t tokens = options.queryTokens;
  if (!tokens)
    tokens = std::max<int64_t>(1, choosePrefillRows(op, options) /
                                      op.getGroupSize());
  tokens = staticQueryTokens(op, tokens);
  if (op.getMode() == Mode::Mixed) // a decoding sequence is one tile
    tokens = std::max<int64_t>(tokens, options.decodeTokens);
  return makeSizes(op, tokens, kRowBlock, kPrefillRowMultiple, options);
}
