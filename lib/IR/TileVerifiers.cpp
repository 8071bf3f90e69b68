//===- TileVerifiers.cpp - Constraints of the tile ops --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2: shapes of tiles and softmax states. Every constraint of the td is
// marked // Cn.
//
//===----------------------------------------------------------------------===//

#include "VerifierUtils.h"

using namespace mlir;
using namespace mlir::paged_attn;
using namespace mlir::paged_attn::verifier;

static constexpr StringRef kHeadDim = "elements in the head dim";

/// A tile's dimension and the one that it has to equal.
using SizePair = std::pair<Size, Size>;

/// In each pair the first equals the second.
static LogicalResult expectAllSame(Operation *op, ArrayRef<SizePair> pairs) {
  for (auto [got, like] : pairs)
    if (failed(expectSame(op, got, like)))
      return failure();
  return success();
}

/// All dimensions are known and not empty.
static LogicalResult expectTile(Operation *op, ArrayRef<Size> sizes) {
  for (Size size : sizes)
    if (failed(expectStatic(op, size)) || failed(expectPositive(op, size)))
      return failure();
  return success();
}

/// The rows [R] of a tile hold the tokens and heads [nt, G] of `slice`.
static LogicalResult expectRowsFor(Operation *op, Size rows, StringRef name,
                                   Value slice) {
  ArrayRef<int64_t> shape = cast<ShapedType>(slice.getType()).getShape();
  if (ShapedType::isDynamic(shape[0]) || ShapedType::isDynamic(shape[1]) ||
      shape[0] * shape[1] <= rows.value)
    return success();
  return op->emitOpError("expected ")
         << rows.operand << " to have at least " << shape[0] * shape[1]
         << " rows for the tokens and heads of " << name << ", got "
         << rows.value;
}

LogicalResult LoadQueryOp::verify() {
  Size rows = sizeOf("out", "rows", getOut(), 0);
  Size dim = sizeOf("out", kHeadDim, getOut(), 1);
  if (failed(verifyTensorsOrMemRefs(*this)) ||  // C2
      failed(expectTile(*this, {rows, dim})) || // C1
      failed(expectSame(*this, dim,
                        sizeOf("query", kHeadDim, getQuery(), 2)))) // C1
    return failure();
  return expectRowsFor(*this, rows, "query", getQuery()); // C1
}

/// The head dims of tile and pool.
static LogicalResult verifyTileHeadDim(LoadTileOp op, Size tile, Size pool) {
  if (op.getPart() == Part::Key)
    return expectSame(op, tile, pool); // C2
  if (ShapedType::isDynamic(pool.value) || tile.value <= pool.value)
    return success();
  return op.emitOpError("expected out to have at most ") // C2
         << pool.value << " " << kHeadDim << " like pool, got " << tile.value;
}

LogicalResult LoadTileOp::verify() {
  Pool pool{"pool", getPool(), getLayout()};
  bool isKey = getPart() == Part::Key;
  Size dim = sizeOf("out", kHeadDim, getOut(), isKey ? 0 : 1);
  Size keys = sizeOf("out", "keys", getOut(), isKey ? 1 : 0);
  if (failed(verifyTensorsOrMemRefs(*this)) ||                           // C4
      failed(verifyPool(*this, pool)) ||                                 // C1
      failed(verifyLayer(*this, getLayer(), pool.layout.hasDim('l'))) || // C1
      failed(verifyScale(*this, "scale", getScale(), pool)) ||           // C5
      failed(expectTile(*this, {dim, keys})))                            // C2
    return failure();
  PoolShape shape = pool.getShape();
  if (failed(verifyTileHeadDim(*this, dim, {"pool", kHeadDim, shape.headDim})))
    return failure();
  int64_t pageSize = shape.pageSize;
  if (ShapedType::isDynamic(pageSize) || keys.value % pageSize == 0 ||
      pageSize % keys.value == 0)
    return success();
  return emitOpError("expected out to have a multiple or a divisor of ") // C3
         << pageSize << " keys, got " << keys.value;
}

LogicalResult OnlineUpdateOp::verify() {
  Size rows = sizeOf("query", "rows", getQuery(), 0);
  Size keyDim = sizeOf("query", kHeadDim, getQuery(), 1);
  Size keys = sizeOf("keys", "keys", getKeys(), 1);
  Size valueDim = sizeOf("values", kHeadDim, getValues(), 1);
  SmallVector<SizePair> pairs = {
      {sizeOf("keys", kHeadDim, getKeys(), 0), keyDim},
      {sizeOf("values", "keys", getValues(), 0), keys},
      {sizeOf("q_positions", "rows", getQPositions(), 0), rows},
      {sizeOf("acc", "rows", getAcc(), 0), rows},
      {sizeOf("acc", kHeadDim, getAcc(), 1), valueDim},
      {sizeOf("m", "rows", getM(), 0), rows},
      {sizeOf("l", "rows", getL(), 0), rows}};
  if (Value slopes = getSlopes())
    pairs.push_back({sizeOf("slopes", "rows", slopes, 0), rows});
  if (failed(verifyTensorsOrMemRefs(*this)) ||                     // C3
      failed(expectTile(*this, {rows, keyDim, keys, valueDim})) || // C1
      failed(expectAllSame(*this, pairs)))                         // C1
    return failure();
  for (auto [got, like] : pairs)
    if (failed(expectStatic(*this, got))) // C1
      return failure();
  int64_t rowBlock = getRowBlock();
  int64_t numRows = cast<ShapedType>(getQuery().getType()).getDimSize(0);
  if (rowBlock < 1 || numRows % rowBlock != 0) // C4
    return emitOpError("expected row_block to divide the ")
           << numRows << " rows, got " << rowBlock;
  std::optional<APFloat> softcap = getSoftcap();
  if (!softcap ||
      (softcap->isFinite() && !softcap->isNegative() && !softcap->isZero()))
    return success();
  return emitOpError("expected a finite, positive softcap, got ") // C2
         << getSoftcapAttr();
}

LogicalResult CombineOp::verify() {
  Size states = sizeOf("accs", "states", getAccs(), 0);
  Size rows = sizeOf("acc", "rows", getAcc(), 0);
  Size dim = sizeOf("acc", kHeadDim, getAcc(), 1);
  if (failed(verifyTensorsOrMemRefs(*this)) || // C2
      failed(expectTile(*this, {rows, dim})))  // C1
    return failure();
  return expectAllSame(*this, // C1
                       {{sizeOf("ms", "states", getMs(), 0), states},
                        {sizeOf("ls", "states", getLs(), 0), states},
                        {sizeOf("accs", "rows", getAccs(), 1), rows},
                        {sizeOf("ms", "rows", getMs(), 1), rows},
                        {sizeOf("ls", "rows", getLs(), 1), rows},
                        {sizeOf("accs", kHeadDim, getAccs(), 2), dim},
                        {sizeOf("m", "rows", getM(), 0), rows},
                        {sizeOf("l", "rows", getL(), 0), rows}});
}

LogicalResult FinalizeOp::verify() {
  Size rows = sizeOf("acc", "rows", getAcc(), 0);
  Size dim = sizeOf("acc", kHeadDim, getAcc(), 1);
  SmallVector<SizePair> pairs = {{sizeOf("m", "rows", getM(), 0), rows},
                                 {sizeOf("l", "rows", getL(), 0), rows},
                                 {sizeOf("out", kHeadDim, getOut(), 2), dim}};
  if (Value sinks = getSinks())
    pairs.push_back({sizeOf("sinks", "rows", sinks, 0), rows});
  for (unsigned dim : {0, 1})
    if (Value lse = getLse()) {
      StringRef unit = dim == 0 ? "tokens" : "query heads";
      pairs.push_back(
          {sizeOf("lse", unit, lse, dim), sizeOf("out", unit, getOut(), dim)});
    }
  if (failed(verifyTensorsOrMemRefs(*this)) ||  // C2
      failed(expectTile(*this, {rows, dim})) || // C1
      failed(expectAllSame(*this, pairs)))      // C1
    return failure();
  return expectRowsFor(*this, rows, "out", getOut()); // C1
}
