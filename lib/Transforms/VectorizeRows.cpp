//===- VectorizeRows.cpp - Level 3a to 4: row operations ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Elementwise ops, and sums and maxima over the last loop: scf.for over all
// loops but the last, vectors along the last. Sums and maxima are kept as a
// vector over a row and reduced across lanes once.
//
//===----------------------------------------------------------------------===//

#include "Vectorize.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

#include <limits>

using namespace mlir;
using namespace mlir::paged_attn;

namespace {

/// Strips of `lanes` elements that one trip of the loop over a row takes.
constexpr int64_t kStripsPerTrip = 4;

/// An output without the last loop: out = combine(out, partial).
struct Reduction {
  OpOperand *out;
  Operation *combiner;
  Value partial; ///< the other operand of `combiner`
  bool isMaximum;
};

/// What an op must look like, and what was found out on the way.
struct RowsForm {
  SmallVector<Reduction> reductions;
  SmallPtrSet<Operation *, 2> combiners;

  LogicalResult match(linalg::LinalgOp op, std::string &reason);

private:
  LogicalResult matchOperand(linalg::LinalgOp op, OpOperand &operand,
                             std::string &reason);
  LogicalResult matchReduction(linalg::LinalgOp op, OpOperand &out,
                               std::string &reason);
};

LogicalResult RowsForm::match(linalg::LinalgOp op, std::string &reason) {
  if (op.getNumLoops() == 0) {
    reason = "expected at least one loop";
    return failure();
  }
  for (OpOperand &operand : op->getOpOperands())
    if (failed(matchOperand(op, operand, reason)))
      return failure();
  for (OpOperand &out : op.getDpsInitsMutable())
    if (!usesLastLoop(op.getMatchingIndexingMap(&out)) &&
        failed(matchReduction(op, out, reason)))
      return failure();
  return BodyEmitter::check(op, reason);
}

LogicalResult RowsForm::matchOperand(linalg::LinalgOp op, OpOperand &operand,
                                     std::string &reason) {
  if (op.isScalar(&operand))
    return success();
  AffineMap map = op.getMatchingIndexingMap(&operand);
  int64_t last = op.getNumLoops() - 1;
  for (auto [position, expr] : llvm::enumerate(map.getResults())) {
    auto dim = dyn_cast<AffineDimExpr>(expr);
    if ((!dim && !isa<AffineConstantExpr>(expr)) ||
        (dim && int64_t(dim.getPosition()) == last &&
         position + 1 != map.getNumResults())) {
      reason = "expected the last loop in the last dimension only";
      return failure();
    }
  }
  if (usesLastLoop(map) &&
      !hasVectorElements(cast<MemRefType>(operand.get().getType()))) {
    reason = "expected contiguous rows of elements of at most 32 bits";
    return failure();
  }
  return success();
}

LogicalResult RowsForm::matchReduction(linalg::LinalgOp op, OpOperand &out,
                                       std::string &reason) {
  reason = "expected an f32 sum or maximum over the last loop";
  if (op.getIteratorTypesArray().back() != utils::IteratorType::reduction)
    return failure();
  BlockArgument old = op.getMatchingBlockArgument(&out);
  Operation *combiner = op.getMatchingYieldValue(&out)->get().getDefiningOp();
  if (!combiner || !old.getType().isF32() || !old.hasOneUse() ||
      *old.user_begin() != combiner || !combiner->hasOneUse() ||
      !isa<arith::AddFOp, arith::MaximumFOp, arith::MaxNumFOp>(combiner))
    return failure();
  Value partial = combiner->getOperand(combiner->getOperand(0) == old ? 1 : 0);
  reductions.push_back(
      {&out, combiner, partial, !isa<arith::AddFOp>(combiner)});
  combiners.insert(combiner);
  return success();
}

/// Emits the loops of one op.
class RowsEmitter {
public:
  RowsEmitter(ImplicitLocOpBuilder &builder, linalg::LinalgOp op,
              const RowsForm &form, int64_t lanes)
      : b(builder), op(op), form(form), lanes(lanes) {}

  void emit();

private:
  void loadUniform();
  SmallVector<Value> emitStrips(Value begin, Value end, int64_t numStrips,
                                ArrayRef<Value> sums);
  void emitStaticRow(int64_t size);
  void emitDynamicRow(Value size);
  /// Computes and stores `width` elements of a row from `column` on; the
  /// vectors that go into the reductions.
  SmallVector<Value> emitPiece(Value column, int64_t width);
  void accumulate(SmallVectorImpl<Value> &sums, ValueRange partials);
  void store(ArrayRef<Value> totals);

  SmallVector<Value> identities();
  Value combine(bool isMaximum, Value x, Value y);
  Value reduceLanes(bool isMaximum, Value vector);
  SmallVector<Value> reduceAll(ArrayRef<Value> sums);
  SmallVector<Value> position(AffineMap map, Value column);

  ImplicitLocOpBuilder &b;
  linalg::LinalgOp op;
  const RowsForm &form;
  int64_t lanes;
  SmallVector<Value> rows; ///< counters of all loops but the last
  SmallVector<std::pair<BlockArgument, Value>> uniform;
};

void RowsEmitter::emit() {
  SmallVector<Range> ranges = op.createLoopRanges(b, op.getLoc());
  OpBuilder::InsertionGuard guard(b);
  for (const Range &range : ArrayRef(ranges).drop_back()) {
    Value size = getValueOrCreateConstantIndexOp(b, b.getLoc(), range.size);
    auto loop =
        scf::ForOp::create(b, indexConstant(b, 0), size, indexConstant(b, 1));
    b.setInsertionPointToStart(loop.getBody());
    rows.push_back(loop.getInductionVar());
  }
  loadUniform();
  OpFoldResult size = ranges.back().size;
  if (std::optional<int64_t> known = getConstantIntValue(size))
    emitStaticRow(*known);
  else
    emitDynamicRow(cast<Value>(size));
}

/// The element of an operand at the present row and `column`.
SmallVector<Value> RowsEmitter::position(AffineMap map, Value column) {
  SmallVector<Value> indices;
  for (AffineExpr expr : map.getResults()) {
    if (auto constant = dyn_cast<AffineConstantExpr>(expr)) {
      indices.push_back(indexConstant(b, constant.getValue()));
      continue;
    }
    size_t loop = cast<AffineDimExpr>(expr).getPosition();
    indices.push_back(loop < rows.size() ? rows[loop] : column);
  }
  return indices;
}

/// Loads what is the same along a row.
void RowsEmitter::loadUniform() {
  for (OpOperand &operand : op->getOpOperands()) {
    BlockArgument argument = op.getMatchingBlockArgument(&operand);
    AffineMap map = op.getMatchingIndexingMap(&operand);
    if (op.isScalar(&operand))
      uniform.push_back({argument, operand.get()});
    else if (op.isDpsInput(&operand) && !usesLastLoop(map) &&
             !argument.use_empty())
      uniform.push_back({argument, memref::LoadOp::create(b, operand.get(),
                                                          position(map, {}))});
  }
}

SmallVector<Value> RowsEmitter::emitPiece(Value column, int64_t width) {
  BodyEmitter body(b, op, width);
  SmallVector<Value> indices(rows);
  indices.push_back(column);
  body.setIndices(indices);
  for (auto [argument, value] : uniform)
    body.map(argument, value);
  for (OpOperand &operand : op->getOpOperands()) {
    BlockArgument argument = op.getMatchingBlockArgument(&operand);
    AffineMap map = op.getMatchingIndexingMap(&operand);
    if (!usesLastLoop(map) || argument.use_empty())
      continue;
    body.map(argument, vector::LoadOp::create(
                           b, VectorType::get(width, argument.getType()),
                           operand.get(), position(map, column)));
  }
  body.emit(form.combiners);
  for (OpOperand &out : op.getDpsInitsMutable()) {
    AffineMap map = op.getMatchingIndexingMap(&out);
    if (usesLastLoop(map))
      vector::StoreOp::create(
          b, body.vector(op.getMatchingYieldValue(&out)->get()), out.get(),
          position(map, column));
  }
  SmallVector<Value> partials;
  for (const Reduction &reduction : form.reductions)
    partials.push_back(body.vector(reduction.partial));
  return partials;
}

Value RowsEmitter::combine(bool isMaximum, Value x, Value y) {
  if (!isMaximum)
    return arith::AddFOp::create(b, x, y);
  // One instruction on most targets, unlike arith.maximumf. A NaN may get lost:
  // softmax meets it again in exp2.
  Value isLarger = arith::CmpFOp::create(b, arith::CmpFPredicate::OGT, x, y);
  return arith::SelectOp::create(b, isLarger, x, y);
}

void RowsEmitter::accumulate(SmallVectorImpl<Value> &sums,
                             ValueRange partials) {
  for (auto [i, partial] : llvm::enumerate(partials))
    sums[i] = combine(form.reductions[i].isMaximum, sums[i], partial);
}

SmallVector<Value> RowsEmitter::identities() {
  auto type = VectorType::get(lanes, b.getF32Type());
  SmallVector<Value> values;
  for (const Reduction &reduction : form.reductions) {
    float identity =
        reduction.isMaximum ? -std::numeric_limits<float>::infinity() : 0.0f;
    values.push_back(arith::ConstantOp::create(
        b,
        DenseElementsAttr::get(type, b.getF32FloatAttr(identity).getValue())));
  }
  return values;
}

/// Halves the vector until one element is left.
Value RowsEmitter::reduceLanes(bool isMaximum, Value vector) {
  int64_t width = cast<VectorType>(vector.getType()).getDimSize(0);
  for (int64_t half = width / 2; half > 0; half /= 2) {
    auto low = llvm::to_vector(llvm::seq<int64_t>(0, half));
    auto high = llvm::to_vector(llvm::seq<int64_t>(half, 2 * half));
    vector =
        combine(isMaximum, vector::ShuffleOp::create(b, vector, vector, low),
                vector::ShuffleOp::create(b, vector, vector, high));
  }
  return vector::ExtractOp::create(b, vector, ArrayRef<int64_t>{0});
}

SmallVector<Value> RowsEmitter::reduceAll(ArrayRef<Value> sums) {
  SmallVector<Value> totals;
  for (auto [reduction, sum] : llvm::zip_equal(form.reductions, sums))
    totals.push_back(reduceLanes(reduction.isMaximum, sum));
  return totals;
}

/// A loop over [begin, end) by `numStrips` strips.
SmallVector<Value> RowsEmitter::emitStrips(Value begin, Value end,
                                           int64_t numStrips,
                                           ArrayRef<Value> sums) {
  auto loop = scf::ForOp::create(
      b, begin, end, indexConstant(b, numStrips * lanes), sums,
      [&](OpBuilder &, Location, Value, ValueRange) {});
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next(loop.getRegionIterArgs());
  for (int64_t strip = 0; strip < numStrips; ++strip)
    accumulate(
        next,
        emitPiece(addIndex(b, loop.getInductionVar(), strip * lanes), lanes));
  scf::YieldOp::create(b, next);
  return SmallVector<Value>(loop.getResults());
}

void RowsEmitter::emitStaticRow(int64_t size) {
  int64_t trip = kStripsPerTrip * lanes;
  int64_t looped = size > trip ? size - size % trip : 0;
  int64_t whole = size - size % lanes;
  SmallVector<Value> totals;
  if (whole > 0) {
    SmallVector<Value> sums = identities();
    if (looped > 0)
      sums = emitStrips(indexConstant(b, 0), indexConstant(b, looped),
                        kStripsPerTrip, sums);
    for (int64_t column = looped; column < whole; column += lanes)
      accumulate(sums, emitPiece(indexConstant(b, column), lanes));
    totals = reduceAll(sums);
  }
  for (Piece piece : cutIntoPieces(whole, size, lanes)) {
    SmallVector<Value> partials =
        reduceAll(emitPiece(indexConstant(b, piece.offset), piece.width));
    if (totals.empty())
      totals = partials;
    else
      accumulate(totals, partials);
  }
  if (size > 0)
    store(totals);
}

void RowsEmitter::emitDynamicRow(Value size) {
  Value rest = arith::RemUIOp::create(b, size, indexConstant(b, lanes));
  Value whole = arith::SubIOp::create(b, size, rest);
  SmallVector<Value> totals = reduceAll(
      emitStrips(indexConstant(b, 0), whole, /*numStrips=*/1, identities()));
  auto loop =
      scf::ForOp::create(b, whole, size, indexConstant(b, 1), totals,
                         [&](OpBuilder &, Location, Value, ValueRange) {});
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> next(loop.getRegionIterArgs());
    accumulate(next, reduceAll(emitPiece(loop.getInductionVar(), /*width=*/1)));
    scf::YieldOp::create(b, next);
  }
  store(SmallVector<Value>(loop.getResults()));
}

/// out = combine(out, total).
void RowsEmitter::store(ArrayRef<Value> totals) {
  for (auto [reduction, total] : llvm::zip_equal(form.reductions, totals)) {
    SmallVector<Value> indices =
        position(op.getMatchingIndexingMap(reduction.out), {});
    Value out = reduction.out->get();
    Value old = memref::LoadOp::create(b, out, indices);
    memref::StoreOp::create(b, combine(reduction.isMaximum, old, total), out,
                            indices);
  }
}

} // namespace

LogicalResult paged_attn::vectorizeRows(RewriterBase &rewriter,
                                        linalg::LinalgOp op,
                                        const VectorTarget &target) {
  RowsForm form;
  std::string reason;
  if (failed(form.match(op, reason)))
    return rewriter.notifyMatchFailure(op, reason);
  ImplicitLocOpBuilder builder(op.getLoc(), op);
  RowsEmitter(builder, op, form, target.lanes).emit();
  rewriter.eraseOp(op);
  return success();
}
