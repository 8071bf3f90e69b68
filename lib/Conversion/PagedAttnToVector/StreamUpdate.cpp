//===- StreamUpdate.cpp - online_update of few rows -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. For each block of rows: S = Q K, softmax, O += P V. Keys that are
// transposed in the page stand in the lanes at once; others are multiplied
// entry by entry and their sums brought into lanes by a tree of shuffles.
//
//===----------------------------------------------------------------------===//

#include "LaneSums.h"
#include "Products.h"
#include "Softmax.h"
#include "TilePages.h"
#include "Update.h"
#include "Widen.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Rows above which a tile is packed: packing costs about as much as 16 rows.
constexpr int64_t kMostStreamingRows = 64, kMostBlockRows = 8;
constexpr int64_t kLineBytes = 64;

bool paged_attn::isStreaming(OnlineUpdateOp op) {
  int64_t rows = cast<ShapedType>(op.getQuery().getType()).getDimSize(0);
  return rows <= kMostStreamingRows &&
         int64_t(op.getRowBlock()) <= kMostBlockRows;
}

/// The load_tile that writes `buffer` when `reader` alone reads it.
static LoadTileOp findTileLoad(Value buffer, OnlineUpdateOp reader) {
  if (!buffer.getDefiningOp<memref::AllocOp>())
    return {};
  LoadTileOp load;
  for (Operation *user : buffer.getUsers()) {
    if (user == reader || isa<memref::DeallocOp>(user))
      continue;
    auto candidate = dyn_cast<LoadTileOp>(user);
    if (load || !candidate || candidate.getOut() != buffer ||
        candidate->getBlock() != reader->getBlock())
      return {};
    load = candidate;
  }
  return load;
}

TileReads paged_attn::findTileReads(OnlineUpdateOp op) {
  TileReads reads{findTileLoad(op.getKeys(), op),
                  findTileLoad(op.getValues(), op)};
  if (reads.values && reads.values.getLayout().isTransposed())
    reads.values = {};
  return reads;
}

namespace {

/// Emits one streaming update.
class StreamEmitter {
public:
  StreamEmitter(VectorBuilder &builder, OnlineUpdateOp op, TileReads reads,
                const Int8Query *int8Query)
      : b(builder), op(op), softmax(builder, op), int8Query(int8Query),
        rows(op.getRowBlock()),
        keys(cast<ShapedType>(op.getKeys().getType()).getDimSize(1)),
        keyDim(cast<ShapedType>(op.getQuery().getType()).getDimSize(1)),
        valueDim(cast<ShapedType>(op.getAcc().getType()).getDimSize(1)) {
    Value keyScales, valueScales;
    if (reads.keys) {
      keyPages.emplace(builder, reads.keys);
      keyScales = emitTileScales(builder, reads.keys, *keyPages);
    }
    if (reads.values) {
      valuePages.emplace(builder, reads.values);
      valueScales = emitTileScales(builder, reads.values, *valuePages);
    }
    softmax.setScales(keyScales, valueScales);
  }

  void emit();

private:
  void emitScores(Value row);
  void scorePackedTile(Value row);
  void scoreWholeTile(Value row);
  void scoreChunk(Value row, Value chunk);
  void scoreSlots(Value row, ArrayRef<Value> views, ArrayRef<Value> later,
                  Value firstKey);
  void scorePlainChunk(Value row, Value chunk);
  void storeSums(ArrayRef<Value> sums, ArrayRef<int64_t> widths,
                 ArrayRef<Value> columns);

  void emitOutput(Value row);
  SmallVector<Value> addPackedTile(RowBlock weights, ArrayRef<Piece> pieces,
                                   SmallVector<Value> sums);
  SmallVector<Value> addWholeTile(RowBlock weights, ArrayRef<Piece> pieces,
                                  SmallVector<Value> sums);
  SmallVector<Value> addUsedSlots(RowBlock weights, ArrayRef<Piece> pieces,
                                  SmallVector<Value> sums);
  void addSlot(RowBlock weights, Value key, Value view, Value slot,
               ArrayRef<Piece> pieces, MutableArrayRef<Value> sums);
  void prefetchRow(Value later, Value slot, ArrayRef<Piece> pieces);
  bool isWhole() { return op.getMaskKind() == MaskKind::None; }

  VectorBuilder &b;
  OnlineUpdateOp op;
  Softmax softmax;
  const Int8Query *int8Query;
  int64_t rows, keys, keyDim, valueDim;
  std::optional<TilePages> keyPages, valuePages;
  Value scores; ///< [rows, W]
};

} // namespace

void StreamEmitter::emit() {
  scores = b.scratch({rows, softmax.numColumns()});
  b.loopBy(b.index(0), op.getRows(), rows, [&](Value row) {
    emitScores(row);
    for (int64_t i = 0; i < rows; ++i)
      softmax.emitRow(scores, b.index(i), b.at(row, i));
    emitOutput(row);
  });
}

//===----------------------------------------------------------------------===//
// S = Q K
//===----------------------------------------------------------------------===//

void StreamEmitter::emitScores(Value row) {
  if (!keyPages)
    return scorePackedTile(row);
  if (keyPages->isTransposed() && isWhole())
    return scoreWholeTile(row);
  auto [first, last] = keyPages->usedChunks();
  b.loopBy(first, last, 1, [&](Value chunk) {
    if (keyPages->isTransposed())
      scoreChunk(row, chunk);
    else
      scorePlainChunk(row, chunk);
  });
}

void StreamEmitter::storeSums(ArrayRef<Value> sums, ArrayRef<int64_t> widths,
                              ArrayRef<Value> columns) {
  for (int64_t i = 0; i < rows; ++i)
    for (size_t v = 0; v < widths.size(); ++v)
      b.storeVector(sums[i * widths.size() + v], scores,
                    {b.index(i), columns[v]});
}

/// Keys are the rows' columns of the packed tile [D, W].
void StreamEmitter::scorePackedTile(Value row) {
  SmallVector<Piece> pieces = cutIntoPieces(0, keys, b.lanes());
  int64_t most = vectorsPerBlock(b.getTarget(), rows, pieces.size());
  for (ArrayRef<Piece> rest = pieces; !rest.empty();) {
    ArrayRef<Piece> block = rest.take_front(most);
    rest = rest.drop_front(block.size());
    SmallVector<int64_t> widths;
    SmallVector<Value> columns;
    for (const Piece &piece : block) {
      widths.push_back(piece.width);
      columns.push_back(b.index(piece.offset));
    }
    auto load = [&](Value d, int64_t, unsigned v) -> SmallVector<Value> {
      return {b.loadVector(op.getKeys(), {d, columns[v]}, widths[v])};
    };
    storeSums(
        emitScoreSums(b, {op.getQuery(), row, rows}, keyDim, 1, widths, load),
        widths, columns);
  }
}

/// All chunks of an interior tile in one loop over the head dim.
void StreamEmitter::scoreWholeTile(Value row) {
  int64_t slots = keyPages->numSlots();
  int64_t perChunk = cutIntoPieces(0, slots, b.lanes()).size();
  int64_t most =
      vectorsPerBlock(b.getTarget(), rows, perChunk * keyPages->numChunks());
  int64_t chunks = std::max<int64_t>(1, most / perChunk);
  for (int64_t first = 0; first < keyPages->numChunks(); first += chunks) {
    SmallVector<Value> views, later;
    for (int64_t c = first; c < std::min(first + chunks, keyPages->numChunks());
         ++c) {
      views.push_back(keyPages->view(b.index(c)));
      later.push_back(keyPages->laterView(b.index(c)));
    }
    scoreSlots(row, views, later, b.index(first * slots));
  }
}

/// Whether `bytes` bytes from `offset` on are the first of their cache line
/// that are read.
static bool startsLine(int64_t offset, int64_t bytes) {
  return offset % kLineBytes < bytes;
}

void StreamEmitter::scoreChunk(Value row, Value chunk) {
  Value view = keyPages->view(chunk), later = keyPages->laterView(chunk);
  scoreSlots(row, view, later, b.mul(chunk, b.index(keyPages->numSlots())));
}

/// Scores of the transposed chunks `views`, whose first key is `firstKey`.
void StreamEmitter::scoreSlots(Value row, ArrayRef<Value> views,
                               ArrayRef<Value> later, Value firstKey) {
  if (int8Query)
    return emitInt8Scores(b, *int8Query, row, rows, *keyPages,
                          {views, later, firstKey}, scores);
  int64_t slots = keyPages->numSlots(), pack = keyPages->pack();
  SmallVector<Piece> pieces = cutIntoPieces(0, slots, b.lanes());
  int64_t bytes = keyPages->elementType().getIntOrFloatBitWidth() / 8;
  SmallVector<int64_t> widths;
  SmallVector<Value> columns;
  for (size_t c = 0; c < views.size(); ++c)
    for (const Piece &piece : pieces) {
      widths.push_back(piece.width);
      columns.push_back(b.at(firstKey, c * slots + piece.offset));
    }
  // Wide pages: as many vectors at a time as there are registers for.
  size_t most = vectorsPerBlock(b.getTarget(), rows, widths.size());
  for (size_t start = 0; start < widths.size(); start += most) {
    size_t count = std::min(most, widths.size() - start);
    auto load = [&](Value group, int64_t step, unsigned v) {
      size_t c = (start + v) / pieces.size();
      const Piece &piece = pieces[(start + v) % pieces.size()];
      Value slot = b.index(piece.offset);
      int64_t offset = piece.offset * pack * bytes;
      if (startsLine(step * slots * pack * bytes + offset,
                     piece.width * pack * bytes))
        b.prefetch(later[c], {group, b.index(piece.offset * pack)});
      return keyPages->loadSlots(views[c], group, slot, piece.width);
    };
    ArrayRef<int64_t> someWidths = ArrayRef(widths).slice(start, count);
    storeSums(emitScoreSums(b, {op.getQuery(), row, rows}, keyDim, pack,
                            someWidths, load),
              someWidths, ArrayRef(columns).slice(start, count));
  }
}

/// Scores of a chunk [slots, D]: `lanes` sums at a time.
void StreamEmitter::scorePlainChunk(Value row, Value chunk) {
  Value view = keyPages->view(chunk), later = keyPages->laterView(chunk);
  Value firstKey = b.mul(chunk, b.index(keyPages->numSlots()));
  for (Piece piece : cutIntoPieces(0, keyPages->numSlots(), b.lanes())) {
    KeyRows keyRows{view, later, b.index(piece.offset), piece.width};
    SmallVector<Value> sums =
        emitLaneSums(b, {op.getQuery(), row, rows}, keyRows, keyDim);
    for (auto [i, sum] : llvm::enumerate(sums))
      b.storeVector(sum, scores, {b.index(i), b.at(firstKey, piece.offset)});
  }
}

//===----------------------------------------------------------------------===//
// O += P V
//===----------------------------------------------------------------------===//

void StreamEmitter::emitOutput(Value row) {
  SmallVector<Piece> all = cutIntoPieces(0, valueDim, b.lanes());
  int64_t most = vectorsPerBlock(b.getTarget(), rows, all.size());
  RowBlock weights{scores, b.index(0), rows};
  for (ArrayRef<Piece> rest = all; !rest.empty();) {
    ArrayRef<Piece> pieces = rest.take_front(most);
    rest = rest.drop_front(pieces.size());
    SmallVector<Value> sums;
    for (int64_t i = 0; i < rows; ++i)
      for (const Piece &piece : pieces)
        sums.push_back(b.loadVector(
            op.getAcc(), {b.at(row, i), b.index(piece.offset)}, piece.width));
    if (!valuePages)
      sums = addPackedTile(weights, pieces, sums);
    else if (isWhole())
      sums = addWholeTile(weights, pieces, sums);
    else
      sums = addUsedSlots(weights, pieces, sums);
    for (int64_t i = 0; i < rows; ++i)
      for (auto [v, piece] : llvm::enumerate(pieces))
        b.storeVector(sums[i * pieces.size() + v], op.getAcc(),
                      {b.at(row, i), b.index(piece.offset)});
  }
}

/// Adds the value row `slot` of `view`, whose weights stand at `key`.
void StreamEmitter::addSlot(RowBlock weights, Value key, Value view, Value slot,
                            ArrayRef<Piece> pieces,
                            MutableArrayRef<Value> sums) {
  SmallVector<Value> values;
  for (const Piece &piece : pieces)
    values.push_back(
        b.loadVector(view, {slot, b.index(piece.offset)}, piece.width));
  emitOutputStep(b, weights, key, values, sums);
}

/// Requests the lines of `pieces` in row `slot` of a later page.
void StreamEmitter::prefetchRow(Value later, Value slot,
                                ArrayRef<Piece> pieces) {
  int64_t bytes = valuePages->elementType().getIntOrFloatBitWidth() / 8;
  int64_t perLine = kLineBytes / bytes;
  for (const Piece &piece : pieces)
    if (piece.offset % perLine == 0)
      b.prefetch(later, {slot, b.index(piece.offset)});
}

SmallVector<Value> StreamEmitter::addPackedTile(RowBlock weights,
                                                ArrayRef<Piece> pieces,
                                                SmallVector<Value> sums) {
  return b.loopBy(b.index(0), b.index(keys), 1, sums,
                  [&](Value key, ValueRange carried) {
                    SmallVector<Value> next(carried);
                    addSlot(weights, key, op.getValues(), key, pieces, next);
                    return next;
                  });
}

SmallVector<Value> StreamEmitter::addWholeTile(RowBlock weights,
                                               ArrayRef<Piece> pieces,
                                               SmallVector<Value> sums) {
  int64_t slots = valuePages->numSlots();
  SmallVector<Value> views, later;
  for (int64_t c = 0; c < valuePages->numChunks(); ++c) {
    views.push_back(valuePages->view(b.index(c)));
    later.push_back(valuePages->laterView(b.index(c)));
  }
  return b.loopBy(
      b.index(0), b.index(slots), 1, sums, [&](Value slot, ValueRange carried) {
        SmallVector<Value> next(carried);
        for (auto [c, view] : llvm::enumerate(views)) {
          addSlot(weights, b.at(slot, c * slots), view, slot, pieces, next);
          prefetchRow(later[c], slot, pieces);
        }
        return next;
      });
}

/// Only slots in [begin, end): the others are never read.
SmallVector<Value> StreamEmitter::addUsedSlots(RowBlock weights,
                                               ArrayRef<Piece> pieces,
                                               SmallVector<Value> sums) {
  Value slots = b.index(valuePages->numSlots());
  auto [first, last] = valuePages->usedRange();
  auto [firstChunk, lastChunk] = valuePages->usedChunks();
  return b.loopBy(
      firstChunk, lastChunk, 1, sums,
      [&, first = first, last = last](Value chunk, ValueRange carried) {
        Value view = valuePages->view(chunk);
        Value later = valuePages->laterView(chunk);
        Value base = b.mul(chunk, slots);
        Value from = b.max(b.sub(first, base), b.index(0));
        Value to = b.min(b.sub(last, base), slots);
        return b.loopBy(
            from, to, 1, carried, [&](Value slot, ValueRange inner) {
              SmallVector<Value> next(inner);
              addSlot(weights, b.add(base, slot), view, slot, pieces, next);
              prefetchRow(later, slot, pieces);
              return next;
            });
      });
}

void paged_attn::emitStreamUpdate(VectorBuilder &builder, OnlineUpdateOp op,
                                  TileReads reads, const Int8Query *int8Query) {
  StreamEmitter(builder, op, reads, int8Query).emit();
}
