//===- VectorizeTranspose.cpp - Level 3a to 4: transposes by shuffles -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// out[b][a] = f(in[a][b]): blocks of rows are loaded, converted, transposed in
// registers by log2(lanes) stages that interleave two vectors each, stored.
//
//===----------------------------------------------------------------------===//

#include "Vectorize.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// One stage: x'[2i], x'[2i + 1] = halves of x[i], x[i + n / 2] interleaved.
void paged_attn::transposeInRegisters(ImplicitLocOpBuilder &b,
                                      SmallVectorImpl<Value> &rows) {
  int64_t n = rows.size();
  SmallVector<int64_t> low, high;
  for (int64_t i = 0; i < n / 2; ++i) {
    low.append({i, n + i});
    high.append({n / 2 + i, n + n / 2 + i});
  }
  for (unsigned stage = 0; stage < llvm::Log2_64(n); ++stage) {
    SmallVector<Value> next;
    for (int64_t i = 0; i < n / 2; ++i) {
      next.push_back(
          vector::ShuffleOp::create(b, rows[i], rows[i + n / 2], low));
      next.push_back(
          vector::ShuffleOp::create(b, rows[i], rows[i + n / 2], high));
    }
    rows = next;
  }
}

namespace {

/// A shuffle of `x` and `y` with the result `mask[0], mask[1], ...`.
Value shuffle(ImplicitLocOpBuilder &b, Value x, Value y,
              ArrayRef<int64_t> mask) {
  return vector::ShuffleOp::create(b, x, y, mask);
}

/// The first `width` elements of `x`, or `x` widened by undefined elements.
Value resize(ImplicitLocOpBuilder &b, Value x, int64_t first, int64_t width) {
  int64_t size = cast<VectorType>(x.getType()).getDimSize(0);
  if (first == 0 && size == width)
    return x;
  SmallVector<int64_t> mask;
  for (int64_t i = first; i < first + width; ++i)
    mask.push_back(i < size ? i : int64_t(vector::ShuffleOp::kPoisonIndex));
  return shuffle(b, x, x, mask);
}

/// Emits the blocks of one transpose of `in` [S, D] to `out` [D, S].
class TransposeEmitter {
public:
  TransposeEmitter(ImplicitLocOpBuilder &builder, linalg::LinalgOp op,
                   int64_t lanes)
      : b(builder), op(op), in(op.getDpsInputs()[0]), out(op.getDpsInits()[0]),
        lanes(lanes) {}

  void emit() {
    auto type = cast<MemRefType>(in.getType());
    forEachBlock(b, type.getDimSize(0), lanes, [&](Value row, int64_t numRows) {
      forEachBlock(
          b, type.getDimSize(1), lanes, [&](Value column, int64_t numColumns) {
            for (Piece piece : cutIntoPieces(0, numColumns, lanes))
              emitBlock(row, numRows, addIndex(b, column, piece.offset),
                        piece.width);
          });
    });
  }

private:
  void emitBlock(Value row, int64_t numRows, Value column, int64_t width);
  Value loadRow(Value row, Value column, int64_t width);

  ImplicitLocOpBuilder &b;
  linalg::LinalgOp op;
  Value in, out;
  int64_t lanes;
};

/// f(in[row][column, column + width)).
Value TransposeEmitter::loadRow(Value row, Value column, int64_t width) {
  Type element = cast<MemRefType>(in.getType()).getElementType();
  Value loaded = vector::LoadOp::create(b, VectorType::get(width, element), in,
                                        ValueRange{row, column});
  BodyEmitter body(b, op, width);
  body.map(op.getRegionInputArgs()[0], loaded);
  body.emit(/*skipped=*/SmallPtrSet<Operation *, 1>());
  return body.vector(op.getBlock()->getTerminator()->getOperand(0));
}

void TransposeEmitter::emitBlock(Value row, int64_t numRows, Value column,
                                 int64_t width) {
  int64_t size = llvm::PowerOf2Ceil(std::max(numRows, width));
  SmallVector<Value> vectors;
  for (int64_t i = 0; i < numRows; ++i)
    vectors.push_back(
        resize(b, loadRow(addIndex(b, row, i), column, width), 0, size));
  auto type = cast<VectorType>(vectors.front().getType());
  if (numRows < size)
    vectors.append(size - numRows,
                   arith::ConstantOp::create(b, b.getZeroAttr(type)));
  transposeInRegisters(b, vectors);
  for (int64_t i = 0; i < width; ++i)
    for (Piece piece : cutIntoPieces(0, numRows, lanes))
      vector::StoreOp::create(
          b, resize(b, vectors[i], piece.offset, piece.width), out,
          ValueRange{addIndex(b, column, i), addIndex(b, row, piece.offset)});
}

/// Whether `op` copies a matrix and swaps its dimensions.
bool isTransposingCopy(linalg::LinalgOp op) {
  if (op.getNumLoops() != 2 || op.getNumParallelLoops() != 2 ||
      op.getNumDpsInputs() != 1 || op.getNumDpsInits() != 1)
    return false;
  AffineMap inMap = op.getMatchingIndexingMap(op.getDpsInputOperand(0));
  AffineMap outMap = op.getMatchingIndexingMap(op.getDpsInitOperand(0));
  return inMap.isPermutation() && outMap.isPermutation() && inMap != outMap &&
         op.getRegionOutputArgs()[0].use_empty();
}

} // namespace

LogicalResult paged_attn::vectorizeTranspose(RewriterBase &rewriter,
                                             linalg::LinalgOp op,
                                             const VectorTarget &target) {
  if (!isTransposingCopy(op))
    return rewriter.notifyMatchFailure(op, "expected a transposing copy");
  auto inType = cast<MemRefType>(op.getDpsInputs()[0].getType());
  auto outType = cast<MemRefType>(op.getDpsInits()[0].getType());
  if (!inType.hasStaticShape() || inType.getNumElements() == 0)
    return rewriter.notifyMatchFailure(op, "expected a static shape");
  if (!hasVectorElements(inType) || !hasVectorElements(outType))
    return rewriter.notifyMatchFailure(op, "expected contiguous rows");
  std::string reason;
  if (op.hasIndexSemantics() || failed(BodyEmitter::check(op, reason)))
    return rewriter.notifyMatchFailure(op, "expected an elementwise body");
  ImplicitLocOpBuilder builder(op.getLoc(), op);
  TransposeEmitter(builder, op, target.lanes).emit();
  rewriter.eraseOp(op);
  return success();
}
