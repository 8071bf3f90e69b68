//===- Lanes.cpp - How rows of a tile lie in a subgroup -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3c; see the header.
//
//===----------------------------------------------------------------------===//

#include "Lanes.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Bytes of the widest load of all targets.
constexpr int64_t kMostLoadBytes = 16;
/// Registers of a lane for the query rows and accumulators of its tile. Scores,
/// keys, values and addresses take at least as many; no target has more than
/// 256.
constexpr int64_t kMostRowRegisters = 48;

int64_t RowLayout::numChunks() const {
  return llvm::divideCeil(dim, width * lanesPerRow);
}

/// Elements of one load of a row of `tile`.
static int64_t chooseWidth(const LaneOptions &options, LoadTileOp tile,
                           int64_t dim) {
  LayoutAttr layout = tile.getLayout();
  if (layout.getDims().back() != 'd' || layout.getPack() > 1)
    return 1;
  int64_t bits = getElementTypeOrSelf(tile.getPool()).getIntOrFloatBitWidth();
  int64_t width = std::min(options.loadElements, kMostLoadBytes * 8 / bits);
  while (dim % width)
    width /= 2;
  return width;
}

static int64_t floorPowerOfTwo(int64_t value) {
  return int64_t(1) << llvm::Log2_64(value);
}

TileLayouts TileLayouts::choose(const LaneOptions &options, LoadTileOp key,
                                LoadTileOp value, int64_t numRows) {
  TileLayouts layouts;
  RowLayout &k = layouts.key, &v = layouts.value;
  k.dim = cast<ShapedType>(key.getOut().getType()).getDimSize(0);
  v.dim = cast<ShapedType>(value.getOut().getType()).getDimSize(1);
  k.width = chooseWidth(options, key, k.dim);
  v.width = chooseWidth(options, value, v.dim);
  auto lanes = [&] {
    int64_t pieces = std::min(k.dim / k.width, v.dim / v.width);
    return std::min(options.subgroupSize, floorPowerOfTwo(pieces));
  };
  k.lanesPerRow = v.lanesPerRow = lanes();
  while (k.lanesPerRow < options.subgroupSize && k.width * v.width > 1 &&
         layouts.countRegisters(numRows) > kMostRowRegisters) {
    RowLayout &wider = k.width >= v.width ? k : v;
    wider.width /= 2;
    k.lanesPerRow = v.lanesPerRow = lanes();
  }
  return layouts;
}

int64_t TileLayouts::countRegisters(int64_t numRows) const {
  return numRows *
         (key.numChunks() * key.width + value.numChunks() * value.width);
}

int64_t TileLayouts::fitRows(const LaneOptions &options, LoadTileOp key,
                             LoadTileOp value, int64_t numRows) {
  int64_t rows = std::min(options.rows, numRows);
  while (rows > 1 && choose(options, key, value, rows).countRegisters(rows) >
                         kMostRowRegisters)
    rows = llvm::divideCeil(rows, 2);
  return rows;
}

//===----------------------------------------------------------------------===//
// Lanes
//===----------------------------------------------------------------------===//

Lanes::Lanes(Emitter &emitter, int64_t subgroupSize, int64_t lanesPerRow)
    : e(emitter), subgroupSize(subgroupSize), lanesPerRow(lanesPerRow) {
  lane = gpu::ThreadIdOp::create(e, gpu::Dimension::x);
  laneInGroup = group = e.index(0);
  if (lanesPerRow == subgroupSize) {
    laneInGroup = lane;
    return;
  }
  Value size = e.index(lanesPerRow);
  laneInGroup = e.createOrFold<arith::RemUIOp>(lane, size);
  group = e.createOrFold<arith::DivUIOp>(lane, size);
}

Type Lanes::chunkType(const RowLayout &layout) {
  Type f32 = e.getF32Type();
  return layout.width == 1 ? f32 : Type(VectorType::get({layout.width}, f32));
}

Value Lanes::splat(const RowLayout &layout, Value value) {
  if (layout.width == 1)
    return value;
  return vector::BroadcastOp::create(e, chunkType(layout), value);
}

Value Lanes::firstElement(const RowLayout &layout, int64_t chunk) {
  Value unit = e.add(e.index(chunk * layout.lanesPerRow), laneInGroup);
  return e.mul(unit, e.index(layout.width));
}

/// Null when the whole chunk lies in the row.
Value Lanes::isInside(const RowLayout &layout, int64_t chunk, Value element) {
  if (!layout.isRagged() || chunk + 1 < layout.numChunks())
    return {};
  return e.compare(arith::CmpIPredicate::slt, element, e.index(layout.dim));
}

Value Lanes::load(Value buffer, const RowLayout &layout, int64_t chunk,
                  function_ref<SmallVector<Value>(Value d)> indices) {
  Value element = firstElement(layout, chunk);
  Value inside = isInside(layout, chunk, element);
  if (inside) // stay in the row, drop the value
    element = e.min(element, e.index(layout.dim - layout.width));
  Type wide = chunkType(layout);
  Type stored = cast<MemRefType>(buffer.getType()).getElementType();
  Value value;
  if (layout.width == 1)
    value = e.load(buffer, indices(element));
  else
    value = vector::LoadOp::create(e, VectorType::get({layout.width}, stored),
                                   buffer, indices(element));
  if (value.getType() != wide)
    value = arith::ExtFOp::create(e, wide, value);
  return inside ? e.select(inside, value, splat(layout, e.f32(0.0f))) : value;
}

void Lanes::store(Value value, Value buffer, const RowLayout &layout,
                  int64_t chunk,
                  function_ref<SmallVector<Value>(Value d)> indices) {
  Type stored = cast<MemRefType>(buffer.getType()).getElementType();
  Type type = layout.width == 1 ? stored
                                : Type(VectorType::get({layout.width}, stored));
  if (value.getType() != type)
    value = arith::TruncFOp::create(e, type, value);
  Value element = firstElement(layout, chunk);
  auto write = [&] {
    if (layout.width == 1)
      memref::StoreOp::create(e, value, buffer, indices(element));
    else
      vector::StoreOp::create(e, value, buffer, indices(element));
  };
  if (Value inside = isInside(layout, chunk, element))
    e.when(inside, write);
  else
    write();
}

Value Lanes::dot(const RowLayout &layout, ValueRange a, ValueRange b) {
  Value sum;
  for (auto [x, y] : llvm::zip_equal(a, b)) {
    Value product =
        arith::MulFOp::create(e, x, y, arith::FastMathFlags::contract);
    sum = sum ? arith::AddFOp::create(e, sum, product,
                                      arith::FastMathFlags::contract)
              : product;
  }
  if (layout.width > 1)
    sum = vector::ReductionOp::create(e, vector::CombiningKind::ADD, sum);
  for (int64_t distance = lanesPerRow / 2; distance > 0; distance /= 2)
    sum = arith::AddFOp::create(e, sum, exchange(sum, distance));
  return sum;
}

Value Lanes::exchange(Value value, int64_t distance) {
  auto scalar = [&](Value x) -> Value {
    return gpu::ShuffleOp::create(e, x, distance, subgroupSize,
                                  gpu::ShuffleMode::XOR)
        .getShuffleResult();
  };
  auto type = dyn_cast<VectorType>(value.getType());
  if (!type)
    return scalar(value);
  SmallVector<Value> elements;
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    elements.push_back(scalar(vector::ExtractOp::create(e, value, i)));
  return vector::FromElementsOp::create(e, type, elements);
}
