//===- PageAccess.cpp - Scalars, loops and the way to a slot --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the lowerings of level 0 share; see the header.
//
//===----------------------------------------------------------------------===//

#include "PageAccess.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

#include <limits>

using namespace mlir;
using namespace mlir::paged_attn;

//===----------------------------------------------------------------------===//
// Scalars
//===----------------------------------------------------------------------===//

Value Emitter::index(int64_t value) {
  return arith::ConstantIndexOp::create(*this, value);
}

Value Emitter::f32(float value) {
  return arith::ConstantOp::create(*this, getF32FloatAttr(value));
}

Value Emitter::negativeInfinity() {
  return f32(-std::numeric_limits<float>::infinity());
}

Value Emitter::add(Value a, Value b) {
  return createOrFold<arith::AddIOp>(a, b);
}
Value Emitter::sub(Value a, Value b) {
  return createOrFold<arith::SubIOp>(a, b);
}
Value Emitter::mul(Value a, Value b) {
  return createOrFold<arith::MulIOp>(a, b);
}
Value Emitter::div(Value a, Value b) {
  return createOrFold<arith::DivSIOp>(a, b);
}
Value Emitter::rem(Value a, Value b) {
  return createOrFold<arith::RemSIOp>(a, b);
}
Value Emitter::min(Value a, Value b) {
  return createOrFold<arith::MinSIOp>(a, b);
}
Value Emitter::max(Value a, Value b) {
  return createOrFold<arith::MaxSIOp>(a, b);
}

Value Emitter::compare(arith::CmpIPredicate predicate, Value a, Value b) {
  return createOrFold<arith::CmpIOp>(predicate, a, b);
}

Value Emitter::compare(arith::CmpFPredicate predicate, Value a, Value b) {
  return createOrFold<arith::CmpFOp>(predicate, a, b);
}

Value Emitter::select(Value condition, Value a, Value b) {
  return createOrFold<arith::SelectOp>(condition, a, b);
}

Value Emitter::dim(Value buffer, unsigned dim) {
  auto type = cast<ShapedType>(buffer.getType());
  if (!type.isDynamicDim(dim))
    return index(type.getDimSize(dim));
  if (isa<MemRefType>(type))
    return memref::DimOp::create(*this, buffer, dim);
  return tensor::DimOp::create(*this, buffer, dim);
}

Value Emitter::load(Value buffer, ValueRange indices) {
  if (isa<MemRefType>(buffer.getType()))
    return memref::LoadOp::create(*this, buffer, indices);
  return tensor::ExtractOp::create(*this, buffer, indices);
}

Value Emitter::loadIndex(Value buffer, ValueRange indices) {
  return arith::IndexCastOp::create(*this, getIndexType(),
                                    load(buffer, indices));
}

Value Emitter::loadF32(Value buffer, ValueRange indices) {
  return toF32(load(buffer, indices));
}

void Emitter::storeF32(Value value, Value memref, ValueRange indices) {
  Type type = cast<MemRefType>(memref.getType()).getElementType();
  memref::StoreOp::create(*this, fromF32(value, type), memref, indices);
}

/// Sign, 4 exponent bits (bias 7), 3 mantissa bits; no infinity, NaN is
/// S.1111.111.
Value Emitter::e4m3ToF32(Value value) {
  Type i32 = getI32Type();
  auto constant = [&](int64_t v) -> Value {
    return arith::ConstantOp::create(*this, getI32IntegerAttr(v));
  };
  Value bits = arith::ExtUIOp::create(
      *this, i32, arith::BitcastOp::create(*this, getI8Type(), value));
  Value sign = arith::ShLIOp::create(
      *this, arith::AndIOp::create(*this, bits, constant(0x80)), constant(24));
  Value magnitude = arith::AndIOp::create(*this, bits, constant(0x7f));
  // Normal: the exponent moves from bias 7 to bias 127.
  Value normal = arith::AddIOp::create(
      *this, arith::ShLIOp::create(*this, magnitude, constant(20)),
      constant((127 - 7) << 23));
  // Below 2^-6 the value is magnitude * 2^-9.
  Value subnormal = arith::BitcastOp::create(
      *this, i32,
      arith::MulFOp::create(
          *this, arith::UIToFPOp::create(*this, getF32Type(), magnitude),
          f32(0x1p-9f)));
  Value isSubnormal =
      compare(arith::CmpIPredicate::ult, magnitude, constant(8));
  Value isNaN = compare(arith::CmpIPredicate::eq, magnitude, constant(0x7f));
  Value result = select(isNaN, constant(0x7fc00000),
                        select(isSubnormal, subnormal, normal));
  return arith::BitcastOp::create(*this, getF32Type(),
                                  arith::OrIOp::create(*this, result, sign));
}

Value Emitter::toF32(Value value) {
  Type type = value.getType();
  if (type.isF32())
    return value;
  if (type.isInteger())
    return arith::SIToFPOp::create(*this, getF32Type(), value);
  if (isa<Float8E4M3FNType>(type))
    return e4m3ToF32(value);
  return arith::ExtFOp::create(*this, getF32Type(), value);
}

Value Emitter::fromF32(Value value, Type type) {
  if (type.isF32())
    return value;
  return arith::TruncFOp::create(*this, type, value);
}

Value Emitter::indexToF32(Value value) {
  return arith::SIToFPOp::create(
      *this, getF32Type(),
      arith::IndexCastOp::create(*this, getI64Type(), value));
}

//===----------------------------------------------------------------------===//
// Loops
//===----------------------------------------------------------------------===//

void Emitter::loop(Value begin, Value end, function_ref<void(Value)> body) {
  loop(begin, end, index(1), body);
}

void Emitter::loop(Value begin, Value end, Value step,
                   function_ref<void(Value)> body) {
  auto loop = scf::ForOp::create(*this, begin, end, step);
  InsertionGuard guard(*this);
  setInsertionPointToStart(loop.getBody());
  body(loop.getInductionVar());
}

SmallVector<Value>
Emitter::loop(Value begin, Value end, ValueRange inits,
              function_ref<SmallVector<Value>(Value, ValueRange)> body) {
  auto loop = scf::ForOp::create(*this, begin, end, index(1), inits);
  InsertionGuard guard(*this);
  setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next =
      body(loop.getInductionVar(), loop.getRegionIterArgs());
  scf::YieldOp::create(*this, next);
  return llvm::to_vector_of<Value>(loop.getResults());
}

void Emitter::when(Value condition, function_ref<void()> body) {
  auto ifOp = scf::IfOp::create(*this, condition, /*withElseRegion=*/false);
  InsertionGuard guard(*this);
  setInsertionPointToStart(ifOp.thenBlock());
  body();
}

SmallVector<Value>
Emitter::choose(Value condition, function_ref<SmallVector<Value>()> thenBody,
                function_ref<SmallVector<Value>()> elseBody) {
  auto build = [&](function_ref<SmallVector<Value>()> body) {
    return [this, body](OpBuilder &nested, Location) {
      InsertionGuard guard(*this);
      restoreInsertionPoint(nested.saveInsertionPoint());
      scf::YieldOp::create(*this, body());
    };
  };
  auto ifOp =
      scf::IfOp::create(*this, condition, build(thenBody), build(elseBody));
  return llvm::to_vector_of<Value>(ifOp.getResults());
}

//===----------------------------------------------------------------------===//
// Addresses
//===----------------------------------------------------------------------===//

Slot PageTable::locate(Emitter &emitter, Value sequence, Value position,
                       Value pageSize) const {
  Value logicalPage = emitter.div(position, pageSize);
  Value slot = emitter.rem(position, pageSize);
  if (dense)
    return {emitter.loadIndex(dense, {sequence, logicalPage}), slot};
  Value first = emitter.loadIndex(indptr, sequence);
  return {emitter.loadIndex(indices, emitter.add(first, logicalPage)), slot};
}

Rows::Rows(Emitter &emitter, Value lens, Value starts, Value numTokens)
    : lens(lens), starts(starts), numSequences(emitter.dim(lens, 0)) {
  // B may be 0 at run time: no division by it.
  if (!starts)
    tokensPerSequence =
        emitter.div(numTokens, emitter.max(numSequences, emitter.index(1)));
}

Value Rows::begin(Emitter &emitter, Value sequence) const {
  return starts ? emitter.loadIndex(starts, sequence)
                : emitter.mul(sequence, tokensPerSequence);
}

Value Rows::kvLen(Emitter &emitter, Value sequence) const {
  return emitter.loadIndex(lens, sequence);
}

Value PoolView::pageSize(Emitter &emitter) const {
  return emitter.dim(buffer, layout.getDim('s'));
}

Value PoolView::numHeads(Emitter &emitter) const {
  return emitter.dim(buffer, layout.getDim('h'));
}

Value PoolView::headDim(Emitter &emitter) const {
  return emitter.mul(emitter.dim(buffer, layout.getDim('d')),
                     emitter.index(layout.getPack()));
}

SmallVector<Value> PoolView::indices(Emitter &emitter, Slot slot, Value head,
                                     Value d) const {
  SmallVector<Value> result(layout.getRank());
  result[layout.getDim('p')] = slot.page;
  result[layout.getDim('s')] = slot.slot;
  result[layout.getDim('h')] = head;
  result[layout.getDim('d')] = d;
  if (layout.hasDim('c'))
    result[layout.getDim('c')] = emitter.index(part == Part::Value ? 1 : 0);
  if (layout.hasDim('l'))
    result[layout.getDim('l')] = layer;
  if (layout.getPack() > 1) {
    Value pack = emitter.index(layout.getPack());
    result[layout.getDim('d')] = emitter.div(d, pack);
    result.back() = emitter.rem(d, pack);
  }
  return result;
}

Value PoolView::loadScale(Emitter &emitter, Slot slot, Value head) const {
  if (!scale)
    return {};
  switch (cast<ShapedType>(scale.getType()).getRank()) {
  case 0:
    return emitter.load(scale, {});
  case 1:
    return emitter.load(scale, head);
  default:
    return emitter.load(scale, {slot.page, slot.slot, head});
  }
}

Value PoolView::load(Emitter &emitter, Slot slot, Value head, Value d,
                     Value factor) const {
  Value value = emitter.loadF32(buffer, indices(emitter, slot, head, d));
  return factor ? arith::MulFOp::create(emitter, value, factor) : value;
}
