//===- PackTile.cpp - Pages to a packed f32 tile --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. A key tile is [D, W], a value tile [W, D]: pages that are stored
// the same way are widened and copied, the others transposed in registers.
//
//===----------------------------------------------------------------------===//

#include "TilePages.h"
#include "Widen.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::paged_attn;

constexpr int64_t kLineBytes = 64;

namespace {

/// Packs the chunks of one tile.
class TilePacker {
public:
  TilePacker(VectorBuilder &builder, LoadTileOp op)
      : b(builder), op(op), pages(builder, op),
        isKey(op.getPart() == Part::Key) {}

  void emit();

private:
  void packChunk(Value chunk);
  void prefetchPage(Value view);
  Value loadRow(Value view, Value slot, Value d, int64_t width, Value key);
  SmallVector<Value> loadSlots(Value view, Value group, Value slot,
                               int64_t width, Value firstKey);
  void packTransposedPage(Value view, Value firstKey);
  void packPlainPage(Value view, Value firstKey);
  void copyRows(Value view, Value firstKey);
  void transposeBlock(Value view, Value slot, int64_t numSlots, Value d,
                      int64_t width, Value firstKey);
  void zeroOutside();

  VectorBuilder &b;
  LoadTileOp op;
  TilePages pages;
  bool isKey;
  Value scales; ///< [W]; null without
};

} // namespace

void TilePacker::emit() {
  scales = emitTileScales(b, op, pages);
  auto [first, last] = pages.usedChunks();
  b.loopBy(first, last, 1, [&](Value chunk) { packChunk(chunk); });
  if (!isKey && op.getMaskKind() == MaskKind::Boundary)
    zeroOutside();
}

/// Requests every line of a page: it arrives while this tile is worked on.
void TilePacker::prefetchPage(Value view) {
  auto type = cast<MemRefType>(view.getType());
  int64_t perLine =
      kLineBytes * 8 / type.getElementType().getIntOrFloatBitWidth();
  b.loopBy(b.index(0), b.index(type.getDimSize(0)), 1, [&](Value row) {
    b.loopBy(b.index(0), b.index(type.getDimSize(1)), perLine,
             [&](Value column) { b.prefetch(view, {row, column}); });
  });
}

/// `width` entries from `d` on of the slot whose key is `key`, dequantised.
Value TilePacker::loadRow(Value view, Value slot, Value d, int64_t width,
                          Value key) {
  Value row = b.loadVector(view, {slot, d}, width);
  return scales ? b.mulF(row, b.loadSplat(scales, key, width)) : row;
}

/// TilePages::loadSlots, dequantised.
SmallVector<Value> TilePacker::loadSlots(Value view, Value group, Value slot,
                                         int64_t width, Value firstKey) {
  SmallVector<Value> entries = pages.loadSlots(view, group, slot, width);
  if (!scales)
    return entries;
  Value factors = b.loadVector(scales, b.add(firstKey, slot), width);
  for (Value &entry : entries)
    entry = b.mulF(entry, factors);
  return entries;
}

void TilePacker::packChunk(Value chunk) {
  prefetchPage(pages.laterView(chunk));
  Value view = pages.view(chunk);
  Value firstKey = b.mul(chunk, b.index(pages.numSlots()));
  if (pages.isTransposed())
    packTransposedPage(view, firstKey);
  else
    packPlainPage(view, firstKey);
}

/// A chunk [D / pack, slots * pack].
void TilePacker::packTransposedPage(Value view, Value firstKey) {
  int64_t packs = pages.pack(), slots = pages.numSlots();
  if (isKey) {
    b.loopBy(b.index(0), b.index(pages.headDim() / packs), 1, [&](Value group) {
      Value row = b.mul(group, b.index(packs));
      for (Piece piece : cutIntoPieces(0, slots, b.lanes())) {
        Value slot = b.index(piece.offset);
        SmallVector<Value> entries =
            loadSlots(view, group, slot, piece.width, firstKey);
        for (auto [k, entry] : llvm::enumerate(entries))
          b.storeVector(entry, op.getOut(),
                        {b.at(row, k), b.add(firstKey, slot)});
      }
    });
    return;
  }
  // Values: blocks of `width` entries by `lanes` slots, transposed.
  int64_t width =
      llvm::bit_floor<uint64_t>(std::min(b.lanes(), pages.headDim()));
  width = std::max(packs, width - width % packs);
  auto block = [&](Value d, int64_t count) {
    for (Piece piece : cutIntoPieces(0, slots, b.lanes())) {
      SmallVector<Value> rows;
      Value slot = b.index(piece.offset);
      for (int64_t i = 0; i < count; i += packs) {
        Value group = b.div(b.at(d, i), b.index(packs));
        llvm::append_range(rows,
                           loadSlots(view, group, slot, piece.width, firstKey));
      }
      rows.resize(count); // of the last pack, what the tile has
      int64_t size = llvm::PowerOf2Ceil(std::max(count, piece.width));
      for (Value &row : rows)
        row = b.slice(row, 0, size);
      rows.append(size - rows.size(), b.splat(0.0f, size));
      b.transpose(rows);
      for (int64_t j = 0; j < piece.width; ++j) {
        Value key = b.add(firstKey, b.at(slot, j));
        for (Piece part : cutIntoPieces(0, count, b.lanes()))
          b.storeVector(b.slice(rows[j], part.offset, part.width), op.getOut(),
                        {key, b.at(d, part.offset)});
      }
    }
  };
  forEachBlock(b, pages.headDim(), width, block);
}

/// A chunk [slots, D].
void TilePacker::packPlainPage(Value view, Value firstKey) {
  if (!isKey)
    return copyRows(view, firstKey);
  forEachBlock(b, pages.headDim(), b.lanes(), [&](Value d, int64_t count) {
    for (Piece piece : cutIntoPieces(0, count, b.lanes()))
      for (Piece block : cutIntoPieces(0, pages.numSlots(), b.lanes()))
        transposeBlock(view, b.index(block.offset), block.width,
                       b.at(d, piece.offset), piece.width, firstKey);
  });
}

void TilePacker::copyRows(Value view, Value firstKey) {
  SmallVector<Piece> pieces = cutIntoPieces(0, pages.headDim(), b.lanes());
  b.loopBy(b.index(0), b.index(pages.numSlots()), 1, [&](Value slot) {
    Value key = b.add(firstKey, slot);
    for (Piece piece : pieces) {
      Value column = b.index(piece.offset);
      b.storeVector(loadRow(view, slot, column, piece.width, key), op.getOut(),
                    {key, column});
    }
  });
}

/// Entries [d, d + width) of `numSlots` slots to rows of the key tile.
void TilePacker::transposeBlock(Value view, Value slot, int64_t numSlots,
                                Value d, int64_t width, Value firstKey) {
  int64_t size = std::max(numSlots, width); // both are powers of two
  SmallVector<Value> rows;
  for (int64_t i = 0; i < numSlots; ++i)
    rows.push_back(b.slice(
        loadRow(view, b.at(slot, i), d, width, b.add(firstKey, b.at(slot, i))),
        0, size));
  rows.append(size - numSlots, b.splat(0.0f, size));
  b.transpose(rows);
  for (int64_t i = 0; i < width; ++i)
    b.storeVector(b.slice(rows[i], 0, numSlots), op.getOut(),
                  {b.at(d, i), b.add(firstKey, slot)});
}

/// Rows of a value tile outside [begin, end): they may hold anything, and
/// 0 * NaN is NaN.
void TilePacker::zeroOutside() {
  auto [first, last] = pages.usedRange();
  auto zero = [&](Value key) { b.fillRow(op.getOut(), key, 0.0f); };
  b.loopBy(b.index(0), first, 1, zero);
  b.loopBy(last, b.index(pages.numKeys()), 1, zero);
}

void paged_attn::emitPackTile(VectorBuilder &builder, LoadTileOp op) {
  TilePacker(builder, op).emit();
}
