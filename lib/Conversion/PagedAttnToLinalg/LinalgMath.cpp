//===- LinalgMath.cpp - Builders of linalg on tensors ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3a: what the lowerings of the tile ops share.
//
//===----------------------------------------------------------------------===//

#include "TileOps.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::paged_attn;

Value LinalgMath::constant(double value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getF32FloatAttr(value));
}

Value LinalgMath::scratch(ArrayRef<int64_t> shape) {
  auto type = RankedTensorType::get(shape, builder.getF32Type());
  return bufferization::AllocTensorOp::create(builder, loc, type, ValueRange());
}

Value LinalgMath::fill(double value, Value out) {
  return linalg::FillOp::create(builder, loc, constant(value), out)
      .getResult(0);
}

Value LinalgMath::elementwise(ValueRange ins, Value out,
                              ArrayRef<ArrayRef<int64_t>> dims, Body body) {
  auto rank = cast<RankedTensorType>(out.getType()).getRank();
  SmallVector<AffineMap> maps;
  for (ArrayRef<int64_t> operand : dims) {
    SmallVector<unsigned> positions(operand.begin(), operand.end());
    maps.push_back(AffineMap::getMultiDimMapWithTargets(rank, positions,
                                                        builder.getContext()));
  }
  SmallVector<utils::IteratorType> iterators(rank,
                                             utils::IteratorType::parallel);
  auto region = [&](OpBuilder &nested, Location loc, ValueRange args) {
    Value result = body(nested, loc, args);
    linalg::YieldOp::create(nested, loc, result);
  };
  return linalg::GenericOp::create(builder, loc, out.getType(), ins, out, maps,
                                   iterators, region)
      .getResult(0);
}

Value LinalgMath::reduceColumns(Value in, Value out, Body combine) {
  AffineMap all = builder.getMultiDimIdentityMap(2);
  AffineMap rows =
      AffineMap::getMultiDimMapWithTargets(2, {0u}, builder.getContext());
  auto region = [&](OpBuilder &nested, Location loc, ValueRange args) {
    Value result = combine(nested, loc, args);
    linalg::YieldOp::create(nested, loc, result);
  };
  return linalg::GenericOp::create(
             builder, loc, out.getType(), in, out,
             ArrayRef<AffineMap>{all, rows},
             ArrayRef<utils::IteratorType>{utils::IteratorType::parallel,
                                           utils::IteratorType::reduction},
             region)
      .getResult(0);
}

Value LinalgMath::extract(Value source, ArrayRef<OpFoldResult> offsets,
                          ArrayRef<OpFoldResult> sizes,
                          ArrayRef<int64_t> shape) {
  auto type = cast<RankedTensorType>(source.getType());
  SmallVector<OpFoldResult> strides(offsets.size(), builder.getIndexAttr(1));
  return tensor::ExtractSliceOp::create(
      builder, loc, RankedTensorType::get(shape, type.getElementType()), source,
      offsets, sizes, strides);
}

Value LinalgMath::insert(Value piece, Value target,
                         ArrayRef<OpFoldResult> offsets,
                         ArrayRef<OpFoldResult> sizes) {
  SmallVector<OpFoldResult> strides(offsets.size(), builder.getIndexAttr(1));
  return tensor::InsertSliceOp::create(builder, loc, piece, target, offsets,
                                       sizes, strides);
}

Value paged_attn::emitFloatCast(OpBuilder &builder, Location loc, Value value,
                                Type type) {
  unsigned from = value.getType().getIntOrFloatBitWidth();
  unsigned to = type.getIntOrFloatBitWidth();
  if (value.getType() == type)
    return value;
  if (from < to)
    return arith::ExtFOp::create(builder, loc, type, value);
  if (from > to)
    return arith::TruncFOp::create(builder, loc, type, value);
  Value wide = arith::ExtFOp::create(builder, loc, builder.getF32Type(), value);
  return arith::TruncFOp::create(builder, loc, type, wide);
}
