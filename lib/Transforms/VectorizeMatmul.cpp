//===- VectorizeMatmul.cpp - Level 3a to 4: products in registers ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// linalg.matmul on f32 memrefs: for each strip of columns and each block of
// rows a loop over k whose accumulators are iter_args. A comes in as scalars,
// broadcast; B as contiguous vectors. A fill of C with 0 right before is folded
// in.
//
//===----------------------------------------------------------------------===//

#include "Vectorize.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/Matchers.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::paged_attn;

namespace {

/// Emits the loops of one product. R: rows of A and C, N: columns of B and C.
class MatmulEmitter {
public:
  MatmulEmitter(ImplicitLocOpBuilder &builder, linalg::LinalgOp op,
                const VectorTarget &target, bool startsAtZero)
      : b(builder), lhs(op.getDpsInputs()[0]), rhs(op.getDpsInputs()[1]),
        out(op.getDpsInits()[0]), target(target), startsAtZero(startsAtZero) {
    auto type = cast<MemRefType>(out.getType());
    numRows = type.getDimSize(0);
    numColumns = type.getDimSize(1);
    depth = cast<MemRefType>(rhs.getType()).getDimSize(0);
  }

  void emit();

private:
  void emitStrip(Value column, ArrayRef<Piece> pieces);
  void emitBlock(Value row, int64_t rows, Value column, ArrayRef<Piece> pieces);
  /// What `width` sums start from.
  Value emitStart(Value row, Value column, int64_t width);
  /// One step of k: `sums[i * pieces + j] += A[row + i, k] B[k, piece j]`.
  void emitStep(Value row, Value k, Value column, ArrayRef<Piece> pieces,
                MutableArrayRef<Value> sums);
  VectorType vectorOf(int64_t width) {
    return VectorType::get(width, b.getF32Type());
  }

  ImplicitLocOpBuilder &b;
  Value lhs, rhs, out;
  VectorTarget target;
  bool startsAtZero; ///< C counts as 0 whatever it holds
  int64_t numRows, numColumns, depth;
};

/// Steps of k in one trip of the loop.
int64_t unrollOf(int64_t depth) {
  return depth % 4 == 0 ? 4 : depth % 2 == 0 ? 2 : 1;
}

/// Rows of a block with `numVectors` vectors a row: as even as possible, at
/// most 24 of 32 or 12 of 16 registers accumulate (the rest holds B and A).
int64_t blockRows(int64_t numRows, int64_t numVectors,
                  const VectorTarget &target) {
  constexpr int64_t kMostRows = 8;
  int64_t most = std::min(target.registers * 3 / 4 / numVectors, kMostRows);
  int64_t numBlocks = llvm::divideCeil(numRows, most);
  return llvm::divideCeil(numRows, numBlocks);
}

void MatmulEmitter::emit() {
  // A strip of one or two rows needs more vectors to keep both FMA units busy.
  int64_t vectors = target.registers == 32 ? 4 : 2;
  if (numRows <= 2)
    vectors *= 2;
  int64_t strip = vectors * target.lanes;
  forEachBlock(b, numColumns, strip, [&](Value column, int64_t count) {
    SmallVector<Piece> pieces = cutIntoPieces(0, count, target.lanes);
    for (ArrayRef<Piece> rest = pieces; !rest.empty();) {
      size_t taken = std::min<size_t>(rest.size(), vectors);
      emitStrip(column, rest.take_front(taken));
      rest = rest.drop_front(taken);
    }
  });
}

void MatmulEmitter::emitStrip(Value column, ArrayRef<Piece> pieces) {
  int64_t rows = blockRows(numRows, pieces.size(), target);
  forEachBlock(b, numRows, rows, [&](Value row, int64_t count) {
    emitBlock(row, count, column, pieces);
  });
}

void MatmulEmitter::emitBlock(Value row, int64_t rows, Value column,
                              ArrayRef<Piece> pieces) {
  SmallVector<Value> sums;
  for (int64_t i = 0; i < rows; ++i)
    for (const Piece &piece : pieces)
      sums.push_back(emitStart(addIndex(b, row, i),
                               addIndex(b, column, piece.offset), piece.width));

  int64_t unroll = unrollOf(depth);
  auto loop =
      scf::ForOp::create(b, indexConstant(b, 0), indexConstant(b, depth),
                         indexConstant(b, unroll), sums);
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> next(loop.getRegionIterArgs());
    for (int64_t step = 0; step < unroll; ++step)
      emitStep(row, addIndex(b, loop.getInductionVar(), step), column, pieces,
               next);
    scf::YieldOp::create(b, next);
  }

  auto result = loop.getResults().begin();
  for (int64_t i = 0; i < rows; ++i)
    for (const Piece &piece : pieces)
      vector::StoreOp::create(
          b, *result++, out,
          ValueRange{addIndex(b, row, i), addIndex(b, column, piece.offset)});
}

Value MatmulEmitter::emitStart(Value row, Value column, int64_t width) {
  VectorType type = vectorOf(width);
  if (startsAtZero)
    return arith::ConstantOp::create(b, b.getZeroAttr(type));
  return vector::LoadOp::create(b, type, out, ValueRange{row, column});
}

void MatmulEmitter::emitStep(Value row, Value k, Value column,
                             ArrayRef<Piece> pieces,
                             MutableArrayRef<Value> sums) {
  SmallVector<Value> rhsVectors;
  for (const Piece &piece : pieces)
    rhsVectors.push_back(vector::LoadOp::create(
        b, vectorOf(piece.width), rhs,
        ValueRange{k, addIndex(b, column, piece.offset)}));
  int64_t rows = sums.size() / pieces.size();
  for (int64_t i = 0; i < rows; ++i) {
    Value element =
        memref::LoadOp::create(b, lhs, ValueRange{addIndex(b, row, i), k});
    for (auto [j, piece] : llvm::enumerate(pieces)) {
      Value factor =
          vector::BroadcastOp::create(b, vectorOf(piece.width), element);
      Value &sum = sums[i * pieces.size() + j];
      sum = vector::FMAOp::create(b, factor, rhsVectors[j], sum);
    }
  }
}

/// The op right before `op` that fills `out` with 0, if there is one.
linalg::FillOp findZeroFill(linalg::LinalgOp op, Value out) {
  auto fill = dyn_cast_or_null<linalg::FillOp>(op->getPrevNode());
  if (fill && fill.getOutputs()[0] == out &&
      matchPattern(fill.getInputs()[0], m_PosZeroFloat()))
    return fill;
  return {};
}

/// C += A B with the plain maps, f32 throughout.
bool isPlainMatmul(linalg::LinalgOp op) {
  auto matmul = dyn_cast<linalg::MatmulOp>(op.getOperation());
  if (!matmul || matmul.hasUserDefinedMaps())
    return false;
  return llvm::all_of(op->getOperandTypes(), [](Type type) {
    return cast<MemRefType>(type).getElementType().isF32();
  });
}

} // namespace

LogicalResult paged_attn::vectorizeMatmul(RewriterBase &rewriter,
                                          linalg::LinalgOp op,
                                          const VectorTarget &target) {
  if (!isPlainMatmul(op))
    return rewriter.notifyMatchFailure(op, "expected a plain f32 matmul");
  auto rhsType = cast<MemRefType>(op.getDpsInputs()[1].getType());
  auto outType = cast<MemRefType>(op.getDpsInits()[0].getType());
  if (!rhsType.hasStaticShape() || !outType.hasStaticShape())
    return rewriter.notifyMatchFailure(op, "expected static shapes");
  if (outType.getNumElements() == 0)
    return rewriter.notifyMatchFailure(op, "expected rows and columns");
  if (!hasVectorElements(rhsType) || !hasVectorElements(outType))
    return rewriter.notifyMatchFailure(op, "expected contiguous rows");
  ImplicitLocOpBuilder builder(op.getLoc(), op);
  linalg::FillOp fill = findZeroFill(op, op.getDpsInits()[0]);
  MatmulEmitter(builder, op, target, /*startsAtZero=*/bool(fill)).emit();
  rewriter.eraseOp(op);
  if (fill)
    rewriter.eraseOp(fill);
  return success();
}
