//===- Widen.cpp - Stored elements to f32 lanes ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. See the header. A factor belongs to a key: the streaming update
// multiplies scores and weights with it, not every element.
//
//===----------------------------------------------------------------------===//

#include "Widen.h"

#include "TilePages.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Exponent and mantissa of f8E4M3FN stand in the bits of an f16 as they are;
/// the f16 is 2^-8 of the value, subnormals too. NaN is 0x7f.
static Value widenE4M3(VectorBuilder &b, Value vector) {
  int64_t width = VectorBuilder::widthOf(vector);
  auto typeOf = [&](Type element) { return VectorType::get(width, element); };
  Type i16 = b.getI16Type();
  auto constant = [&](int16_t value) -> Value {
    return arith::ConstantOp::create(
        b, DenseElementsAttr::get(typeOf(i16), value));
  };
  Value bits = arith::BitcastOp::create(b, typeOf(b.getI8Type()), vector);
  Value wide = arith::ExtSIOp::create(b, typeOf(i16), bits);
  Value shifted = arith::ShLIOp::create(b, wide, constant(7));
  // Bit 14 is a copy of the sign.
  Value half =
      arith::AndIOp::create(b, shifted, constant(int16_t(uint16_t(0xbf80))));
  Value magnitude = arith::AndIOp::create(b, half, constant(0x3f80));
  Value isNaN =
      b.compare(arith::CmpIPredicate::eq, magnitude, constant(0x3f80));
  half = b.select(isNaN, constant(0x7e00), half);
  Value f16 = arith::BitcastOp::create(b, typeOf(b.getF16Type()), half);
  Value f32 = arith::ExtFOp::create(b, b.vectorOf(width), f16);
  return b.mulF(f32, b.splat(256.0f, width));
}

Value paged_attn::widenVector(VectorBuilder &b, Value vector) {
  Type element = cast<VectorType>(vector.getType()).getElementType();
  VectorType type = b.vectorOf(VectorBuilder::widthOf(vector));
  if (element.isF32())
    return vector;
  if (element.isInteger())
    return arith::SIToFPOp::create(b, type, vector);
  if (isa<Float8E4M3FNType>(element))
    return widenE4M3(b, vector);
  return arith::ExtFOp::create(b, type, vector);
}

Value paged_attn::emitTileScales(VectorBuilder &b, LoadTileOp op,
                                 TilePages &pages) {
  Value scale = op.getScale();
  if (!scale)
    return {};
  int64_t size = llvm::alignTo(pages.numKeys(), b.lanes());
  Value factors = b.scratch({size});
  int64_t rank = cast<ShapedType>(scale.getType()).getRank();
  if (rank < 3) {
    Value factor = rank == 0 ? b.load(scale, {}) : b.load(scale, op.getHead());
    for (int64_t key = 0; key < size; key += b.lanes())
      b.storeVector(b.broadcast(factor, b.lanes()), factors, b.index(key));
    return factors;
  }
  auto [first, last] = pages.usedChunks();
  Value slots = b.index(pages.numSlots());
  b.loopBy(first, last, 1, [&](Value chunk) {
    Slot start = pages.firstSlotOf(chunk);
    Value key = b.mul(chunk, slots);
    b.loop(b.index(0), slots, [&](Value slot) {
      Value factor =
          b.load(scale, {start.page, b.add(start.slot, slot), op.getHead()});
      b.storeF32(factor, factors, b.add(key, slot));
    });
  });
  return factors;
}
