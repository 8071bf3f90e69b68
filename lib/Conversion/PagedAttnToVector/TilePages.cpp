//===- TilePages.cpp - The pages under a tile -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. See the header.
//
//===----------------------------------------------------------------------===//

#include "TilePages.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::paged_attn;

TilePages::TilePages(VectorBuilder &builder, LoadTileOp op)
    : b(builder), op(op),
      shape(PoolShape::get(cast<ShapedType>(op.getPool().getType()),
                           op.getLayout())) {
  auto out = cast<ShapedType>(op.getOut().getType());
  bool isKey = op.getPart() == Part::Key;
  keys = out.getDimSize(isKey ? 1 : 0);
  dim = out.getDimSize(isKey ? 0 : 1);
  slots = std::min(keys, shape.pageSize);
}

std::pair<Value, Value> TilePages::usedRange() {
  Value zero = b.index(0), all = b.index(keys);
  if (op.getMaskKind() == MaskKind::None)
    return {zero, all};
  auto clamp = [&](Value position) {
    return b.min(b.max(b.sub(position, op.getPos()), zero), all);
  };
  Value first = clamp(op.getBegin());
  return {first, b.max(clamp(op.getEnd()), first)};
}

std::pair<Value, Value> TilePages::usedChunks() {
  auto [first, last] = usedRange();
  return {b.div(first, b.index(slots)),
          b.div(b.at(last, slots - 1), b.index(slots))};
}

/// The physical page of a position.
Value TilePages::pageOf(Value position) {
  Value logical = b.div(position, b.index(shape.pageSize));
  return b.loadIndex(op.getPages(), logical);
}

Slot TilePages::firstSlotOf(Value chunk) {
  Value position = b.add(op.getPos(), b.mul(chunk, b.index(slots)));
  Value firstSlot = slots == shape.pageSize
                        ? b.index(0)
                        : b.rem(position, b.index(shape.pageSize));
  return {pageOf(position), firstSlot};
}

Value TilePages::view(Value chunk) {
  Slot first = firstSlotOf(chunk);
  return viewOf(first.page, first.slot);
}

Value TilePages::laterView(Value chunk) {
  Value position = b.add(b.at(op.getPos(), keys), b.mul(chunk, b.index(slots)));
  Value last = b.max(b.at(op.getEnd(), -1), op.getPos());
  Value firstSlot = slots == shape.pageSize
                        ? b.index(0)
                        : b.rem(position, b.index(shape.pageSize));
  return viewOf(pageOf(b.min(position, last)), firstSlot);
}

Value TilePages::viewOf(Value page, Value firstSlot) {
  LayoutAttr layout = op.getLayout();
  int64_t packs = pack();
  auto constant = [&](int64_t value) { return b.getIndexAttr(value); };
  SmallVector<OpFoldResult> offsets, sizes;
  SmallVector<int64_t> kept;
  for (char letter : layout.getDims()) {
    OpFoldResult offset = constant(0);
    int64_t size = 1;
    if (letter == 'p')
      offset = page;
    else if (letter == 'h')
      offset = op.getHead();
    else if (letter == 'l')
      offset = op.getLayer();
    else if (letter == 'c')
      offset = constant(op.getPart() == Part::Value ? 1 : 0);
    else if (letter == 's')
      offset = getAsOpFoldResult(firstSlot), size = slots;
    else
      size = llvm::divideCeil(dim, packs);
    offsets.push_back(offset);
    sizes.push_back(constant(size));
    if (letter == 's' || letter == 'd')
      kept.push_back(size);
  }
  if (packs > 1) {
    offsets.push_back(constant(0));
    sizes.push_back(constant(packs));
    kept.push_back(packs);
  }
  SmallVector<OpFoldResult> strides(offsets.size(), constant(1));
  auto poolType = cast<MemRefType>(op.getPool().getType());
  auto type = memref::SubViewOp::inferRankReducedResultType(
      kept, poolType, offsets, sizes, strides);
  Value view = memref::SubViewOp::create(b, cast<MemRefType>(type),
                                         op.getPool(), offsets, sizes, strides);
  if (packs == 1)
    return view;
  return memref::CollapseShapeOp::create(
      b, view, ArrayRef<ReassociationIndices>{{0}, {1, 2}});
}

SmallVector<Value> TilePages::loadSlots(Value view, Value group, Value slot,
                                        int64_t width) {
  int64_t packs = pack();
  Value loaded =
      b.loadVector(view, {group, b.mul(slot, b.index(packs))}, width * packs);
  if (packs == 1)
    return {loaded};
  SmallVector<Value> entries;
  for (int64_t k = 0; k < packs; ++k) {
    SmallVector<int64_t> mask;
    for (int64_t i = 0; i < width; ++i)
      mask.push_back(i * packs + k);
    entries.push_back(b.shuffle(loaded, loaded, mask));
  }
  return entries;
}
