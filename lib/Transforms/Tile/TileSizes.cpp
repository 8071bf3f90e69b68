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
/// about as much as 16 rows of it, so that 128 rows keep it near a tenth.
constexpr int64_t kPrefillRows = 128;
/// Rows to choose from by the L2 cache: multiples of 8, and of 6 for the
/// register blocks of the microkernels (docs/Targets.md).
constexpr int64_t kRowChoices[] = {384, 240, 192, 120, 96, 48, 24};
/// With more cores than this, tiles of more than kPrefillRows would leave some
/// of them idle on prompts of some hundred tokens.
constexpr int64_t kFewCores = 8;
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
                           const TilePassOptions &options) {
  int64_t rows = llvm::alignTo(tokens * op.getGroupSize(), rowBlock);
  return {tokens, rows, rowBlock,
          chooseKeys(op, options.kvTokens, options.l1KiB)};
}

/// The most rows whose query, scores and sums lie in two thirds of the L2 cache
/// beside a tile of keys and values (all f32).
static int64_t choosePrefillRows(AttentionOp op,
                                 const TilePassOptions &options) {
  if (!options.l2KiB)
    return kPrefillRows;
  int64_t keys = chooseKeys(op, options.kvTokens, options.l1KiB);
  int64_t dims = op.getKeyDim() + op.getValueDim();
  int64_t room = options.l2KiB * 1024 / 4 * 2 / 3 - keys * dims; // elements
  for (int64_t rows : kRowChoices)
    if (rows * (dims + keys) <= room &&
        (rows <= kPrefillRows || options.cores <= kFewCores))
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
  return makeSizes(op, tokens, std::min(op.getGroupSize(), kRowBlock), options);
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
  return makeSizes(op, tokens, kRowBlock, options);
}
