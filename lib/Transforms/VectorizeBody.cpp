//===- VectorizeBody.cpp - Level 3a to 4: bodies of linalg ops ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Emits the body of a linalg op on vectors. A value is varying when it depends
// on the last loop, uniform otherwise; uniform values stay scalar until a
// varying one meets them.
//
//===----------------------------------------------------------------------===//

#include "Vectorize.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace mlir::paged_attn;

namespace {

bool isLastIndex(linalg::LinalgOp op, Operation *index) {
  auto indexOp = dyn_cast_or_null<linalg::IndexOp>(index);
  return indexOp && int64_t(indexOp.getDim()) == op.getNumLoops() - 1;
}

/// Whether `cast` makes an i32 of the last loop's counter.
bool isCastOfLastIndex(linalg::LinalgOp op, Operation *cast) {
  auto indexCast = dyn_cast<arith::IndexCastOp>(cast);
  return indexCast && indexCast.getType().isInteger(32) &&
         isLastIndex(op, indexCast.getIn().getDefiningOp());
}

} // namespace

bool paged_attn::usesLastLoop(AffineMap map) {
  return map.isFunctionOfDim(map.getNumDims() - 1);
}

LogicalResult BodyEmitter::check(linalg::LinalgOp op, std::string &reason) {
  llvm::SmallDenseSet<Value> varying;
  for (OpOperand &operand : op->getOpOperands())
    if (usesLastLoop(op.getMatchingIndexingMap(&operand)))
      varying.insert(op.getMatchingBlockArgument(&operand));

  for (Operation &inner : op.getBlock()->without_terminator()) {
    if (isLastIndex(op, &inner)) {
      if (!llvm::all_of(inner.getUsers(), [&](Operation *user) {
            return isCastOfLastIndex(op, user);
          })) {
        reason = "expected the last index to be cast to i32";
        return failure();
      }
      continue;
    }
    bool castsIndex = isCastOfLastIndex(op, &inner);
    if (inner.getNumResults() != 1 || inner.getNumRegions() != 0 ||
        (!OpTrait::hasElementwiseMappableTraits(&inner) &&
         !isa<arith::ConstantOp, linalg::IndexOp>(inner))) {
      reason = "expected elementwise ops in the body";
      return failure();
    }
    if (!castsIndex && llvm::none_of(inner.getOperands(), [&](Value value) {
          return varying.contains(value);
        }))
      continue;
    Value result = inner.getResult(0);
    if (!isLaneType(result.getType()) && !result.getType().isInteger(1)) {
      reason = "expected elements of at most 32 bits in the body";
      return failure();
    }
    varying.insert(result);
  }
  return success();
}

void BodyEmitter::emitIndex(linalg::IndexOp index) {
  if (!isLastIndex(op, index)) {
    values.map(index.getResult(), loops[index.getDim()]);
    return;
  }
  auto type = VectorType::get(width, b.getI32Type());
  auto lanes = llvm::to_vector(llvm::seq<int32_t>(0, width));
  Value first = arith::IndexCastOp::create(b, b.getI32Type(), loops.back());
  Value steps = arith::ConstantOp::create(
      b, DenseElementsAttr::get(type, ArrayRef<int32_t>(lanes)));
  Value lane = arith::AddIOp::create(
      b, vector::BroadcastOp::create(b, type, first), steps);
  values.map(index.getResult(), lane);
}

bool BodyEmitter::isVarying(Value value) {
  return isa<VectorType>(values.lookupOrDefault(value).getType());
}

Value BodyEmitter::vector(Value value) {
  Value mapped = values.lookupOrDefault(value);
  if (isa<VectorType>(mapped.getType()))
    return mapped;
  return vector::BroadcastOp::create(
      b, VectorType::get(width, mapped.getType()), mapped);
}

void BodyEmitter::emit(const SmallPtrSetImpl<Operation *> &skipped) {
  for (Operation &inner : op.getBlock()->without_terminator()) {
    if (skipped.contains(&inner))
      continue;
    if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
      emitIndex(index);
      continue;
    }
    if (isCastOfLastIndex(op, &inner)) {
      values.map(inner.getResult(0), values.lookup(inner.getOperand(0)));
      continue;
    }
    if (llvm::none_of(inner.getOperands(),
                      [&](Value value) { return isVarying(value); })) {
      b.clone(inner, values);
      continue;
    }
    SmallVector<Value> operands;
    for (Value operand : inner.getOperands())
      operands.push_back(vector(operand));
    Type type = VectorType::get(width, inner.getResult(0).getType());
    OpBuilder &builder = b;
    Operation *wide =
        builder.create(inner.getLoc(), inner.getName().getIdentifier(),
                       operands, type, inner.getAttrs());
    values.map(inner.getResult(0), wide->getResult(0));
  }
}
