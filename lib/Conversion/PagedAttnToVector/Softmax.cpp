//===- Softmax.cpp - Scores of a row to weights ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. Scores are in the log2 domain. acc and l are rescaled only when
// the maximum of the row moves, which is rare after the first tiles.
//
//===----------------------------------------------------------------------===//

#include "Softmax.h"

#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace mlir::paged_attn;

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kNegInf = -std::numeric_limits<float>::infinity();

Softmax::Softmax(VectorBuilder &builder, OnlineUpdateOp op)
    : b(builder), op(op),
      keys(cast<ShapedType>(op.getKeys().getType()).getDimSize(1)) {}

/// Whether a row at `position` (i32) sees keys at `keyPosition` (vector of
/// i32).
Value Softmax::visible(Value keyPosition, Value position) {
  int64_t width = cast<VectorType>(keyPosition.getType()).getDimSize(0);
  auto splat = [&](Value scalar) { return b.broadcast(scalar, width); };
  // Positions are below 2^31 - 1: a larger size hides nothing.
  auto constant = [&](int64_t value) {
    int64_t most = std::numeric_limits<int32_t>::max();
    return b.splat(int32_t(std::min(value, most)), width);
  };
  auto both = [&](Value x, Value y) -> Value {
    return arith::AndIOp::create(b, x, y);
  };
  auto toI32 = [&](Value value) -> Value {
    return arith::IndexCastOp::create(b, b.getI32Type(), value);
  };
  using Predicate = arith::CmpIPredicate;
  Value j = keyPosition;
  Value result = both(b.compare(Predicate::sge, j, splat(toI32(op.getBegin()))),
                      b.compare(Predicate::slt, j, splat(toI32(op.getEnd()))));
  MaskAttr mask = op.getMaskAttr();
  if (!mask)
    return result;
  Value p = splat(position);
  if (mask.getCausal())
    result = both(result, b.compare(Predicate::sle, j, p));
  if (int64_t window = mask.getWindow()) {
    // j > p - W as p - j < W, which cannot overflow.
    Value distance = arith::SubIOp::create(b, p, j);
    Value inside = b.compare(Predicate::slt, distance, constant(window));
    if (int64_t sinks = mask.getSinkTokens())
      inside = arith::OrIOp::create(
          b, inside, b.compare(Predicate::slt, j, constant(sinks)));
    result = both(result, inside);
  }
  if (int64_t chunk = mask.getChunk()) {
    // j / C == p / C as 0 <= j - (p - p % C) < C.
    int64_t most = std::numeric_limits<int32_t>::max();
    Value size = arith::ConstantOp::create(
        b, b.getI32IntegerAttr(std::min(chunk, most)));
    Value rest = arith::RemSIOp::create(b, position, size);
    Value first = splat(arith::SubIOp::create(b, position, rest));
    Value distance = arith::SubIOp::create(b, j, first);
    result = both(result,
                  both(b.compare(Predicate::sge, j, first),
                       b.compare(Predicate::slt, distance, constant(chunk))));
  }
  return result;
}

/// Softcap, ALiBi and mask of the scores from `column` on.
Value Softmax::adjust(Value score, Value column, Value row, Value position) {
  int64_t width = VectorBuilder::widthOf(score);
  if (std::optional<APFloat> softcap = op.getSoftcap()) {
    Value factor = b.splat(softcap->convertToFloat() * kLog2E, width);
    score = b.mulF(math::TanhOp::create(b, score), factor);
  }
  bool isBoundary = op.getMaskKind() == MaskKind::Boundary;
  if (!op.getSlopes() && !isBoundary)
    return score;
  Value first =
      arith::IndexCastOp::create(b, b.getI32Type(), b.add(op.getPos(), column));
  Value j = arith::AddIOp::create(b, b.broadcast(first, width), b.iota(width));
  if (op.getSlopes()) {
    Value distance = arith::SubIOp::create(b, j, b.broadcast(position, width));
    Value wide = arith::SIToFPOp::create(b, b.vectorOf(width), distance);
    score = b.fma(b.loadSplat(op.getSlopes(), row, width), wide, score);
  }
  if (!isBoundary)
    return score;
  return b.select(visible(j, position), score, b.splat(kNegInf, width));
}

/// The new m: the largest lane, which exceeds the old one. acc and l of the row
/// are multiplied by 2^(m - m').
Value Softmax::moveMaximum(Value row, Value m, Value largest) {
  Value top = b.maxLanes(b.maxF(largest, b.broadcast(m, b.lanes())));
  Value factor = b.exp2NonPositive(b.subF(m, top));
  b.storeF32(top, op.getM(), row);
  b.storeF32(b.mulF(b.load(op.getL(), row), factor), op.getL(), row);
  int64_t dim = cast<ShapedType>(op.getAcc().getType()).getDimSize(1);
  for (Piece piece : cutIntoPieces(0, dim, b.lanes())) {
    Value column = b.index(piece.offset);
    Value acc = b.loadVector(op.getAcc(), {row, column}, piece.width);
    b.storeVector(b.mulF(acc, b.broadcast(factor, piece.width)), op.getAcc(),
                  {row, column});
  }
  return top;
}

void Softmax::emitRow(Value scores, Value scoreRow, Value row) {
  int64_t width = b.lanes();
  Value position = b.load(op.getQPositions(), row);
  SmallVector<Value> x;
  for (int64_t column = 0; column < keys; column += width) {
    Value score = b.loadVector(scores, {scoreRow, b.index(column)}, width);
    if (keyScales)
      score = b.mulF(score, b.loadVector(keyScales, b.index(column), width));
    score = adjust(score, b.index(column), row, position);
    if (column + width > keys) { // lanes past the tile
      SmallVector<bool> inside(width);
      for (int64_t i = 0; i < width; ++i)
        inside[i] = column + i < keys;
      Value mask = arith::ConstantOp::create(
          b, DenseElementsAttr::get(VectorType::get(width, b.getI1Type()),
                                    ArrayRef<bool>(inside)));
      score = b.select(mask, score, b.splat(kNegInf, width));
    }
    x.push_back(score);
  }
  Value largest = x.front();
  for (Value score : ArrayRef<Value>(x).drop_front())
    largest = b.maxF(score, largest);
  Value m = b.load(op.getM(), row);
  Value isAbove =
      b.compare(arith::CmpFPredicate::OGT, largest, b.broadcast(m, width));
  Value moves =
      vector::ReductionOp::create(b, vector::CombiningKind::OR, isAbove);
  Value top =
      b.choose(
           moves,
           [&] { return SmallVector<Value>{moveMaximum(row, m, largest)}; },
           [&] { return SmallVector<Value>{m}; })
          .front();
  Value base = b.broadcast(b.finite(top), width);
  Value sum;
  for (auto [i, score] : llvm::enumerate(x)) {
    Value weight = b.exp2NonPositive(b.subF(score, base));
    sum = sum ? b.addF(sum, weight) : weight;
    Value column = b.index(i * width);
    if (valueScales)
      weight = b.mulF(weight, b.loadVector(valueScales, column, width));
    b.storeVector(weight, scores, {scoreRow, column});
  }
  Value l = b.addF(b.load(op.getL(), row), b.sumLanes(sum));
  b.storeF32(l, op.getL(), row);
}
