//===- BlockUpdate.cpp - online_update of many rows -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. Three phases over all rows of the tile: S = Q K, softmax, O += P V.
// Each walks the rows in register blocks against one panel of the packed tile.
// On boundary tiles a block takes only the keys that its rows can see.
//
//===----------------------------------------------------------------------===//

#include "Products.h"
#include "Softmax.h"
#include "Update.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

#include <limits>

using namespace mlir;
using namespace mlir::paged_attn;

/// Vectors of a panel: with blocks of 6 rows, 24 of 32 or 12 of 16 registers
/// accumulate.
static int64_t panelVectors(const VectorTarget &target) {
  return target.registers == 32 ? 4 : 2;
}

/// Rows of a register block: the most that divide the tile's rows.
static int64_t chooseBlockRows(int64_t rows) {
  for (int64_t count : {6, 5, 4, 3, 2})
    if (rows % count == 0)
      return count;
  return 1;
}

namespace {

/// Emits one update in phases.
class BlockEmitter {
public:
  BlockEmitter(VectorBuilder &builder, OnlineUpdateOp op)
      : b(builder), op(op), softmax(builder, op), keys(sizeOf(op.getKeys(), 1)),
        keyDim(sizeOf(op.getQuery(), 1)), valueDim(sizeOf(op.getAcc(), 1)),
        tileRows(sizeOf(op.getQuery(), 0)),
        blockRows(chooseBlockRows(tileRows)) {}

  void emit();

private:
  static int64_t sizeOf(Value buffer, unsigned dim) {
    return cast<ShapedType>(buffer.getType()).getDimSize(dim);
  }
  /// Calls `body` for each block of rows that need an update.
  void forEachRowBlock(function_ref<void(Value row)> body);
  std::pair<Value, Value> visibleKeys(Value row);
  void scorePanel(ArrayRef<Piece> pieces);
  void scoreBlock(Value row, ArrayRef<Piece> pieces);
  void scoreVisible(Value row, ArrayRef<Piece> pieces);
  void weighRows();
  void addPanel(ArrayRef<Piece> pieces);

  bool isBoundary() { return op.getMaskKind() == MaskKind::Boundary; }

  VectorBuilder &b;
  OnlineUpdateOp op;
  Softmax softmax;
  int64_t keys, keyDim, valueDim, tileRows, blockRows;
  Value scores; ///< [R, W]
};

} // namespace

void BlockEmitter::forEachRowBlock(function_ref<void(Value row)> body) {
  b.loopBy(b.index(0), op.getRows(), blockRows, body);
}

/// Calls `body` for panels of at most `most` pieces, as even as possible.
static void forEachPanel(ArrayRef<Piece> pieces, size_t most,
                         function_ref<void(ArrayRef<Piece>)> body) {
  most = llvm::divideCeil(pieces.size(), llvm::divideCeil(pieces.size(), most));
  while (!pieces.empty()) {
    ArrayRef<Piece> panel = pieces.take_front(most);
    body(panel);
    pieces = pieces.drop_front(panel.size());
  }
}

void BlockEmitter::emit() {
  size_t most = panelVectors(b.getTarget());
  scores = b.scratch({tileRows, softmax.numColumns()});
  SmallVector<Piece> keyPieces = cutIntoPieces(0, keys, b.lanes());
  forEachPanel(keyPieces, most,
               [&](ArrayRef<Piece> panel) { scorePanel(panel); });
  weighRows();
  SmallVector<Piece> valuePieces = cutIntoPieces(0, valueDim, b.lanes());
  forEachPanel(valuePieces, most,
               [&](ArrayRef<Piece> panel) { addPanel(panel); });
}

/// Keys [first, last) of the tile that some row of the block at `row` may see,
/// at least: keys outside are hidden from all of them.
std::pair<Value, Value> BlockEmitter::visibleKeys(Value row) {
  Value zero = b.index(0), all = b.index(keys);
  if (!isBoundary())
    return {zero, all};
  auto clamp = [&](Value position) {
    return b.min(b.max(b.sub(position, op.getPos()), zero), all);
  };
  Value begin = op.getBegin(), end = op.getEnd();
  MaskAttr mask = op.getMaskAttr();
  if (mask && mask.getCausal()) {
    Value last = b.loadIndex(op.getQPositions(), b.at(row, blockRows - 1));
    end = b.min(end, b.at(last, 1));
  }
  if (mask && mask.getWindow() && !mask.getSinkTokens()) {
    Value first = b.loadIndex(op.getQPositions(), row);
    begin = b.max(begin, b.at(first, 1 - mask.getWindow()));
  }
  Value first = clamp(begin);
  return {first, b.max(clamp(end), first)};
}

//===----------------------------------------------------------------------===//
// S = Q K
//===----------------------------------------------------------------------===//

void BlockEmitter::scorePanel(ArrayRef<Piece> panel) {
  forEachRowBlock([&](Value row) {
    if (isBoundary())
      scoreVisible(row, panel);
    else
      scoreBlock(row, panel);
  });
}

void BlockEmitter::scoreBlock(Value row, ArrayRef<Piece> pieces) {
  SmallVector<int64_t> widths;
  for (const Piece &piece : pieces)
    widths.push_back(piece.width);
  auto load = [&](Value d, int64_t, unsigned v) -> SmallVector<Value> {
    return {
        b.loadVector(op.getKeys(), {d, b.index(pieces[v].offset)}, widths[v])};
  };
  SmallVector<Value> sums = emitScoreSums(b, {op.getQuery(), row, blockRows},
                                          keyDim, 1, widths, load);
  for (int64_t i = 0; i < blockRows; ++i)
    for (auto [v, piece] : llvm::enumerate(pieces))
      b.storeVector(sums[i * pieces.size() + v], scores,
                    {b.at(row, i), b.index(piece.offset)});
}

/// Only as many vectors of the panel as hold a visible key.
void BlockEmitter::scoreVisible(Value row, ArrayRef<Piece> panel) {
  Value last = visibleKeys(row).second;
  // Vectors that begin before `last`.
  Value count = b.index(0);
  for (const Piece &piece : panel) {
    Value isSeen =
        b.compare(arith::CmpIPredicate::slt, b.index(piece.offset), last);
    count = b.select(isSeen, b.at(count, 1), count);
  }
  SmallVector<int64_t> cases =
      llvm::to_vector(llvm::seq<int64_t>(1, panel.size() + 1));
  auto choice =
      scf::IndexSwitchOp::create(b, TypeRange(), count, cases, cases.size());
  OpBuilder::InsertionGuard guard(b);
  for (auto [index, region] : llvm::enumerate(choice.getCaseRegions())) {
    b.setInsertionPointToStart(&region.emplaceBlock());
    scoreBlock(row, panel.take_front(index + 1));
    scf::YieldOp::create(b);
  }
  b.setInsertionPointToStart(&choice.getDefaultRegion().emplaceBlock());
  scf::YieldOp::create(b);
}

//===----------------------------------------------------------------------===//
// Softmax and O += P V
//===----------------------------------------------------------------------===//

void BlockEmitter::weighRows() {
  if (!isBoundary()) {
    b.loopBy(b.index(0), op.getRows(), 1,
             [&](Value row) { softmax.emitRow(scores, row, row); });
    return;
  }
  forEachRowBlock([&](Value row) {
    auto [first, last] = visibleKeys(row);
    Value seesKeys = b.compare(arith::CmpIPredicate::slt, first, last);
    b.when(seesKeys, [&] {
      b.loopBy(row, b.at(row, blockRows), 1,
               [&](Value each) { softmax.emitRow(scores, each, each); });
    });
  });
}

void BlockEmitter::addPanel(ArrayRef<Piece> pieces) {
  forEachRowBlock([&](Value row) {
    auto [first, last] = visibleKeys(row);
    SmallVector<Value> sums;
    for (int64_t i = 0; i < blockRows; ++i)
      for (const Piece &piece : pieces)
        sums.push_back(b.loadVector(
            op.getAcc(), {b.at(row, i), b.index(piece.offset)}, piece.width));
    auto step = [&](Value key, MutableArrayRef<Value> next) {
      SmallVector<Value> values;
      for (const Piece &piece : pieces)
        values.push_back(b.loadVector(
            op.getValues(), {key, b.index(piece.offset)}, piece.width));
      emitOutputStep(b, {scores, row, blockRows}, key, values, next);
    };
    int64_t unroll = isBoundary() ? 1 : keys % 4 == 0 ? 4 : 1;
    sums =
        b.loopBy(first, last, unroll, sums, [&](Value key, ValueRange carried) {
          SmallVector<Value> next(carried);
          for (int64_t i = 0; i < unroll; ++i)
            step(b.at(key, i), next);
          return next;
        });
    for (int64_t i = 0; i < blockRows; ++i)
      for (auto [v, piece] : llvm::enumerate(pieces))
        b.storeVector(sums[i * pieces.size() + v], op.getAcc(),
                      {b.at(row, i), b.index(piece.offset)});
  });
}

void paged_attn::emitBlockUpdate(VectorBuilder &builder, OnlineUpdateOp op) {
  BlockEmitter(builder, op).emit();
}
