//===- VectorBuilder.cpp - Loops over native vectors ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. See the header.
//
//===----------------------------------------------------------------------===//

#include "VectorBuilder.h"

#include "Widen.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

#include <limits>

using namespace mlir;
using namespace mlir::paged_attn;

/// Bytes of a cache line, to which scratch buffers are aligned.
constexpr int64_t kLineBytes = 64;
/// Into the second-level cache: prefetcht1 of x86.
constexpr int64_t kLocality = 2;

Value VectorBuilder::loadVector(Value memref, ValueRange indices,
                                int64_t width) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  Value loaded = vector::LoadOp::create(*this, VectorType::get(width, element),
                                        memref, indices);
  return widenVector(*this, loaded);
}

void VectorBuilder::storeVector(Value vector, Value memref,
                                ValueRange indices) {
  Type element = cast<MemRefType>(memref.getType()).getElementType();
  if (!element.isF32())
    vector = arith::TruncFOp::create(
        *this, VectorType::get(widthOf(vector), element), vector);
  vector::StoreOp::create(*this, vector, memref, indices);
}

void VectorBuilder::fillRow(Value memref, Value row, float value) {
  int64_t size = cast<MemRefType>(memref.getType()).getDimSize(1);
  for (Piece piece : cutIntoPieces(0, size, lanes()))
    storeVector(splat(value, piece.width), memref, {row, index(piece.offset)});
}

Value VectorBuilder::splat(float value, int64_t width) {
  return arith::ConstantOp::create(
      *this, DenseElementsAttr::get(vectorOf(width), value));
}

Value VectorBuilder::splat(int32_t value, int64_t width) {
  return arith::ConstantOp::create(
      *this,
      DenseElementsAttr::get(VectorType::get(width, getI32Type()), value));
}

Value VectorBuilder::broadcast(Value scalar, int64_t width) {
  return vector::BroadcastOp::create(
      *this, VectorType::get(width, scalar.getType()), scalar);
}

Value VectorBuilder::loadSplat(Value memref, ValueRange indices,
                               int64_t width) {
  return broadcast(load(memref, indices), width);
}

Value VectorBuilder::iota(int64_t width) {
  SmallVector<int32_t> lanes = llvm::to_vector(llvm::seq<int32_t>(0, width));
  return arith::ConstantOp::create(
      *this, DenseElementsAttr::get(VectorType::get(width, getI32Type()),
                                    ArrayRef<int32_t>(lanes)));
}

Value VectorBuilder::maxF(Value a, Value b) {
  return select(compare(arith::CmpFPredicate::OGT, a, b), a, b);
}

Value VectorBuilder::exp2NonPositive(Value x) {
  auto op = math::Exp2Op::create(*this, x);
  op->setAttr("paged_attn.nonpositive", getUnitAttr());
  return op;
}

Value VectorBuilder::finite(Value x) {
  auto constant = [&](float value) -> Value {
    if (auto type = dyn_cast<VectorType>(x.getType()))
      return splat(value, type.getDimSize(0));
    return f32(value);
  };
  Value isInfinite = compare(arith::CmpFPredicate::OEQ, x,
                             constant(-std::numeric_limits<float>::infinity()));
  return select(isInfinite, constant(0.0f), x);
}

Value VectorBuilder::slice(Value x, int64_t first, int64_t width) {
  int64_t size = widthOf(x);
  if (first == 0 && size == width)
    return x;
  SmallVector<int64_t> mask;
  for (int64_t i = first; i < first + width; ++i)
    mask.push_back(i < size ? i : int64_t(vector::ShuffleOp::kPoisonIndex));
  return shuffle(x, x, mask);
}

Value VectorBuilder::padWithZeros(Value x, int64_t width) {
  int64_t size = widthOf(x);
  if (size == width)
    return x;
  SmallVector<int64_t> mask;
  for (int64_t i = 0; i < width; ++i)
    mask.push_back(i < size ? i : size);
  return shuffle(x, splat(0.0f, size), mask);
}

Value VectorBuilder::reduce(Value x,
                            function_ref<Value(Value, Value)> combine) {
  for (int64_t width = widthOf(x) / 2; width > 0; width /= 2)
    x = combine(slice(x, 0, width), slice(x, width, width));
  return vector::ExtractOp::create(*this, x, int64_t(0));
}

Value VectorBuilder::sumLanes(Value x) {
  return reduce(x, [&](Value a, Value b) { return addF(a, b); });
}

Value VectorBuilder::maxLanes(Value x) {
  return reduce(x, [&](Value a, Value b) { return maxF(a, b); });
}

void VectorBuilder::transpose(SmallVectorImpl<Value> &rows) {
  transposeInRegisters(*this, rows);
}

SmallVector<Value> VectorBuilder::loopBy(
    Value begin, Value end, int64_t step, ValueRange inits,
    function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(*this, begin, end, index(step), inits);
  InsertionGuard guard(*this);
  setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next =
      body(loop.getInductionVar(), loop.getRegionIterArgs());
  if (!inits.empty())
    scf::YieldOp::create(*this, next);
  return llvm::to_vector_of<Value>(loop.getResults());
}

void VectorBuilder::loopBy(Value begin, Value end, int64_t step,
                           function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(*this, begin, end, index(step));
  InsertionGuard guard(*this);
  setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

Value VectorBuilder::scratch(ArrayRef<int64_t> shape) {
  auto type = MemRefType::get(shape, getF32Type());
  return memref::AllocOp::create(*this, type, getI64IntegerAttr(kLineBytes));
}

void VectorBuilder::prefetch(Value memref, ValueRange indices) {
  memref::PrefetchOp::create(*this, memref, indices, /*isWrite=*/false,
                             kLocality, /*isDataCache=*/true);
}
