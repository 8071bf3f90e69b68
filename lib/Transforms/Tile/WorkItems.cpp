//===- WorkItems.cpp - Work items of an attention op ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 1 to 2: the loop over work items and what an item's number stands for.
//
//===----------------------------------------------------------------------===//

#include "WorkItems.h"

#include "../IndexMath.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::paged_attn;

Value WorkEmitter::dim(Value value) {
  return builder.createOrFold<tensor::DimOp>(loc, value, 0);
}

void WorkEmitter::forEachItem(
    Value numItems,
    function_ref<void(OpBuilder &, Value, Value, OutSlice)> body) {
  OutSlice outs = paddedOuts();
  SmallVector<OpFoldResult> bounds{getAsOpFoldResult(numItems),
                                   builder.getIndexAttr(op.getNumKVHeads())};
  SmallVector<Value> targets = outs.values();
  auto forall = scf::ForallOp::create(builder, loc, bounds, targets,
                                      /*mapping=*/std::nullopt);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(forall.getTerminator());
  body(builder, forall.getInductionVar(0), forall.getInductionVar(1),
       OutSlice::get(forall.getRegionIterArgs()));
  results.assign(forall->result_begin(), forall->result_end());
}

OutSlice WorkEmitter::paddedOuts() {
  OutSlice outs{op.getOut(), op.getLse()};
  return mayHavePadding() ? padRows(outs) : outs;
}

bool WorkEmitter::mayHavePadding() {
  int64_t tokens = op.getNumTokens(), sequences = op.getNumSequences();
  return op.getQueryStarts() || ShapedType::isDynamic(tokens) ||
         ShapedType::isDynamic(sequences) || sequences == 0 ||
         tokens % sequences != 0;
}

Value WorkEmitter::endOfRows() {
  IndexMath math(builder, loc);
  if (Value starts = op.getQueryStarts())
    return math.toIndex(
        tensor::ExtractOp::create(builder, loc, starts, numSequences()));
  Value safe = math.max(numSequences(), math.constant(1));
  Value perSequence = math.div(dim(op.getQuery()), safe);
  return math.mul(perSequence, numSequences());
}

OutSlice WorkEmitter::padRows(OutSlice outs) {
  IndexMath math(builder, loc);
  Value begin = endOfRows();
  Value count = math.sub(dim(op.getQuery()), begin);
  auto pad = [&](Value target, double value) -> Value {
    auto type = cast<RankedTensorType>(target.getType());
    SmallVector<OpFoldResult> offsets(type.getRank(), builder.getIndexAttr(0));
    SmallVector<OpFoldResult> strides(type.getRank(), builder.getIndexAttr(1));
    SmallVector<OpFoldResult> sizes =
        tensor::getMixedSizes(builder, loc, target);
    offsets[0] = getAsOpFoldResult(begin);
    sizes[0] = getAsOpFoldResult(count);
    Value slice = tensor::ExtractSliceOp::create(builder, loc, target, offsets,
                                                 sizes, strides);
    Value constant = arith::ConstantOp::create(
        builder, loc, builder.getFloatAttr(type.getElementType(), value));
    Value filled =
        linalg::FillOp::create(builder, loc, constant, slice).getResult(0);
    return tensor::InsertSliceOp::create(builder, loc, filled, target, offsets,
                                         sizes, strides);
  };
  return {pad(outs.out, 0.0),
          outs.lse ? pad(outs.lse, -std::numeric_limits<double>::infinity())
                   : Value()};
}

RowTile paged_attn::findQueryTile(OpBuilder &builder, AttentionOp op,
                                  Value item, Value kvHead,
                                  int64_t tileTokens) {
  Location loc = op.getLoc();
  IndexMath math(builder, loc);
  Value zero = math.constant(0);
  Value sequence, firstItem;
  if (Value starts = op.getQueryStarts()) {
    Value origin =
        math.toIndex(tensor::ExtractOp::create(builder, loc, starts, zero));
    auto itemOf = [&](OpBuilder &nested, Value b) {
      IndexMath inner(nested, loc);
      Value start = tensor::ExtractOp::create(nested, loc, starts, b);
      Value row = inner.sub(inner.toIndex(start), origin);
      return inner.add(inner.div(row, tileTokens), b);
    };
    // Binary search of the last b with itemOf(b) <= item in [low, high).
    Value count = builder.createOrFold<tensor::DimOp>(loc, op.getKvLens(), 0);
    Type index = builder.getIndexType();
    auto condition = [&](OpBuilder &nested, Location loc, ValueRange range) {
      IndexMath inner(nested, loc);
      Value isOpen = inner.compare(arith::CmpIPredicate::ult,
                                   inner.add(range[0], 1), range[1]);
      scf::ConditionOp::create(nested, loc, isOpen, range);
    };
    auto halve = [&](OpBuilder &nested, Location loc, ValueRange range) {
      IndexMath inner(nested, loc);
      Value middle = inner.div(inner.add(range[0], range[1]), 2);
      Value isBelow = inner.compare(arith::CmpIPredicate::ule,
                                    itemOf(nested, middle), item);
      scf::YieldOp::create(nested, loc,
                           ValueRange{inner.select(isBelow, middle, range[0]),
                                      inner.select(isBelow, range[1], middle)});
    };
    auto search =
        scf::WhileOp::create(builder, loc, TypeRange{index, index},
                             ValueRange{zero, count}, condition, halve);
    sequence = search.getResult(0);
    firstItem = itemOf(builder, sequence);
  } else {
    Value tokens = builder.createOrFold<tensor::DimOp>(loc, op.getQuery(), 0);
    Value count = builder.createOrFold<tensor::DimOp>(loc, op.getKvLens(), 0);
    Value perSequence = math.ceilDiv(math.div(tokens, count), tileTokens);
    sequence = math.div(item, perSequence);
    firstItem = math.mul(sequence, perSequence);
  }
  SequenceValues values = readSequence(builder, op, sequence);
  Value token = math.mul(math.sub(item, firstItem), tileTokens);
  Value count =
      math.clamp(math.sub(values.numRows, token), math.constant(tileTokens));
  // An item without rows may lie past the end: keep its slices inside.
  Value isEmpty = math.compare(arith::CmpIPredicate::sle, count, zero);
  token = math.select(isEmpty, zero, token);
  return {values, kvHead, token, count};
}

Value paged_attn::countQueryTiles(OpBuilder &builder, AttentionOp op,
                                  WorkEmitter &work, int64_t tileTokens) {
  IndexMath math(builder, op.getLoc());
  Value tokens = work.dim(op.getQuery()), sequences = work.numSequences();
  if (op.getQueryStarts()) {
    Value hasNone =
        math.compare(arith::CmpIPredicate::eq, sequences, math.constant(0));
    Value most = math.add(math.div(tokens, tileTokens), sequences);
    return math.select(hasNone, math.constant(0), most);
  }
  Value safe = math.max(sequences, math.constant(1));
  return math.mul(sequences, math.ceilDiv(math.div(tokens, safe), tileTokens));
}
