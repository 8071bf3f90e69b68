//===- LoadOps.cpp - load_query and load_tile as linalg -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3a: query rows are scaled, pages are packed into f32 tiles, keys
// as columns. A page is one tensor.extract_slice, whatever the layout.
//
//===----------------------------------------------------------------------===//

#include "TileOps.h"

#include "../../Transforms/IndexMath.h"
#include "../PageAccess.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Dimensions that an operand of `LinalgMath::elementwise` has.
constexpr int64_t kAll[] = {0, 1};

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

FailureOr<SmallVector<Value>> paged_attn::lowerLoadQuery(RewriterBase &rewriter,
                                                         LoadQueryOp op) {
  Location loc = op.getLoc();
  IndexMath math(rewriter, loc);
  LinalgMath linalg(rewriter, loc);
  int64_t group = shapeOf(op.getQuery())[1], dim = shapeOf(op.getQuery())[2];
  double factor = op.getFactor().convertToDouble();
  Value zeros = linalg.fill(0.0, op.getOut());
  Value count = rewriter.createOrFold<tensor::DimOp>(loc, op.getQuery(), 0);
  auto body = [&](OpBuilder &nested, Location loc, Value token,
                  ValueRange carried) {
    IndexMath math(nested, loc);
    LinalgMath linalg(nested, loc);
    SmallVector<OpFoldResult> offsets{token, linalg.index(0), linalg.index(0)};
    SmallVector<OpFoldResult> sizes{linalg.index(1), linalg.index(group),
                                    linalg.index(dim)};
    Value rows = linalg.extract(op.getQuery(), offsets, sizes, {group, dim});
    SmallVector<OpFoldResult> outOffsets{
        getAsOpFoldResult(math.mul(token, group)), linalg.index(0)};
    SmallVector<OpFoldResult> outSizes{linalg.index(group), linalg.index(dim)};
    Value out = linalg.extract(carried[0], outOffsets, outSizes, {group, dim});
    Value scaled = linalg.elementwise(
        rows, out, {kAll, kAll},
        [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
          Value wide = emitFloatCast(b, loc, args[0], b.getF32Type());
          Value scale = LinalgMath(b, loc).constant(factor);
          return arith::MulFOp::create(b, loc, wide, scale);
        });
    Value done = linalg.insert(scaled, carried[0], outOffsets, outSizes);
    scf::YieldOp::create(nested, loc, done);
  };
  auto loop = scf::ForOp::create(rewriter, loc, math.constant(0), count,
                                 math.constant(1), zeros, body);
  return SmallVector<Value>(loop.getResults());
}

//===----------------------------------------------------------------------===//
// load_tile
//===----------------------------------------------------------------------===//

namespace {

/// Packs the chunks (contiguous slots of one page) of a tile.
class TileLoader {
public:
  TileLoader(RewriterBase &rewriter, LoadTileOp op)
      : rewriter(rewriter), loc(op.getLoc()), op(op),
        shape(PoolShape::get(cast<ShapedType>(op.getPool().getType()),
                             op.getLayout())),
        isKey(op.getPart() == Part::Key) {
    ArrayRef<int64_t> out = shapeOf(op.getOut());
    keys = isKey ? out[1] : out[0];
    dim = isKey ? out[0] : out[1];
    slots = std::min(keys, shape.pageSize);
  }

  LogicalResult check();
  Value load();

private:
  Value loadChunk(OpBuilder &builder, Value chunk, Value tile);
  Value packSlice(OpBuilder &builder, Value page, Value firstSlot,
                  Value tileSlot, int64_t packIndex, Value tile);
  Value chunkScale(OpBuilder &builder, Value page, Value firstSlot);
  Value zeroRows(Value tile, Value from, Value to);

  RewriterBase &rewriter;
  Location loc;
  LoadTileOp op;
  PoolShape shape;
  bool isKey;
  int64_t keys;  ///< keys of the tile
  int64_t dim;   ///< head dim of the tile
  int64_t slots; ///< slots of a chunk
};

} // namespace

LogicalResult TileLoader::check() {
  if (dim % op.getLayout().getPack())
    return op.emitOpError("expected a head dim that is a multiple of the pack ")
           << op.getLayout().getPack() << ", got " << dim;
  return success();
}

Value TileLoader::load() {
  IndexMath math(rewriter, loc);
  Value tile = op.getOut();
  int64_t numChunks = keys / slots;
  bool isBoundary = op.getMaskKind() == MaskKind::Boundary;
  Value first = math.constant(0), last = math.constant(keys);
  if (isBoundary) {
    first = math.clamp(math.sub(op.getBegin(), op.getPos()), last);
    last = math.max(
        math.clamp(math.sub(op.getEnd(), op.getPos()), math.constant(keys)),
        first);
  }
  if (numChunks == 1) {
    tile = loadChunk(rewriter, math.constant(0), tile);
  } else {
    auto body = [&](OpBuilder &nested, Location loc, Value chunk,
                    ValueRange carried) {
      scf::YieldOp::create(nested, loc, loadChunk(nested, chunk, carried[0]));
    };
    tile = scf::ForOp::create(rewriter, loc, math.div(first, slots),
                              math.ceilDiv(last, slots), math.constant(1), tile,
                              body)
               .getResult(0);
  }
  if (isBoundary && !isKey) {
    tile = zeroRows(tile, math.constant(0), first);
    tile = zeroRows(tile, last, math.constant(keys));
  }
  return tile;
}

/// Sets rows [from, to) of a value tile to 0: they may hold anything, and
/// 0 * NaN is NaN.
Value TileLoader::zeroRows(Value tile, Value from, Value to) {
  IndexMath math(rewriter, loc);
  LinalgMath linalg(rewriter, loc);
  SmallVector<OpFoldResult> offsets{getAsOpFoldResult(from), linalg.index(0)};
  SmallVector<OpFoldResult> sizes{getAsOpFoldResult(math.sub(to, from)),
                                  linalg.index(dim)};
  std::optional<int64_t> count = getConstantIntValue(sizes[0]);
  Value rows = linalg.extract(tile, offsets, sizes,
                              {count.value_or(ShapedType::kDynamic), dim});
  return linalg.insert(linalg.fill(0.0, rows), tile, offsets, sizes);
}

/// Slots of chunk `chunk` of the tile: one page, or a part of it.
Value TileLoader::loadChunk(OpBuilder &builder, Value chunk, Value tile) {
  IndexMath math(builder, loc);
  Value tileSlot = math.mul(chunk, slots);
  Value position = math.add(op.getPos(), tileSlot);
  Value logical = math.div(position, shape.pageSize);
  Value id = tensor::ExtractOp::create(builder, loc, op.getPages(), logical);
  Value page = math.toIndex(id);
  Value firstSlot = slots == shape.pageSize
                        ? math.constant(0)
                        : math.rem(position, shape.pageSize);
  for (int64_t k = 0; k < op.getLayout().getPack(); ++k)
    tile = packSlice(builder, page, firstSlot, tileSlot, k, tile);
  return tile;
}

/// The factor of a chunk's entries, or one per slot [slots]; null without.
Value TileLoader::chunkScale(OpBuilder &builder, Value page, Value firstSlot) {
  Value scale = op.getScale();
  if (!scale)
    return {};
  int64_t rank = cast<ShapedType>(scale.getType()).getRank();
  if (rank == 3) {
    LinalgMath linalg(builder, loc);
    return linalg.extract(
        scale, {page, getAsOpFoldResult(firstSlot), op.getHead()},
        {linalg.index(1), linalg.index(slots), linalg.index(1)}, {slots});
  }
  SmallVector<Value> head;
  if (rank == 1)
    head.push_back(op.getHead());
  return tensor::ExtractOp::create(builder, loc, scale, head);
}

/// Elements packIndex, packIndex + pack, ... of the head dim.
Value TileLoader::packSlice(OpBuilder &builder, Value page, Value firstSlot,
                            Value tileSlot, int64_t packIndex, Value tile) {
  LinalgMath linalg(builder, loc);
  LayoutAttr layout = op.getLayout();
  int64_t pack = layout.getPack(), width = dim / pack;
  SmallVector<OpFoldResult> offsets, sizes;
  SmallVector<int64_t> sliceShape;
  for (char letter : layout.getDims()) {
    bool isSlot = letter == 's', isDim = letter == 'd';
    OpFoldResult offset = linalg.index(0);
    if (letter == 'p')
      offset = page;
    else if (letter == 'h')
      offset = op.getHead();
    else if (letter == 'l')
      offset = op.getLayer();
    else if (letter == 'c')
      offset = linalg.index(isKey ? 0 : 1);
    else if (isSlot)
      offset = getAsOpFoldResult(firstSlot);
    offsets.push_back(offset);
    int64_t size = isSlot ? slots : isDim ? width : 1;
    sizes.push_back(linalg.index(size));
    if (isSlot || isDim)
      sliceShape.push_back(size);
  }
  if (pack > 1) {
    offsets.push_back(linalg.index(packIndex));
    sizes.push_back(linalg.index(1));
  }
  Value source = linalg.extract(op.getPool(), offsets, sizes, sliceShape);

  // The slice in the tile: every pack-th row (keys) or column (values).
  SmallVector<OpFoldResult> outOffsets{linalg.index(packIndex),
                                       getAsOpFoldResult(tileSlot)};
  SmallVector<OpFoldResult> outSizes{linalg.index(width), linalg.index(slots)};
  SmallVector<OpFoldResult> outStrides{linalg.index(pack), linalg.index(1)};
  SmallVector<int64_t> outShape{width, slots};
  if (!isKey) {
    std::swap(outOffsets[0], outOffsets[1]);
    std::swap(outSizes[0], outSizes[1]);
    std::swap(outStrides[0], outStrides[1]);
    std::swap(outShape[0], outShape[1]);
  }
  Value target = tensor::ExtractSliceOp::create(
      builder, loc, RankedTensorType::get(outShape, builder.getF32Type()), tile,
      outOffsets, outSizes, outStrides);
  bool sameOrder = layout.isTransposed() == isKey;
  SmallVector<int64_t> straight{0, 1}, swapped{1, 0};
  // Loops follow the source: contiguous reads, a transposing write.
  SmallVector<AffineMap> maps{builder.getMultiDimIdentityMap(2)};
  SmallVector<Value> inputs{source};
  Value scale = chunkScale(builder, page, firstSlot);
  if (scale && isa<ShapedType>(scale.getType())) {
    unsigned slotDim = layout.isTransposed() ? 1 : 0;
    maps.push_back(AffineMap::get(2, 0, builder.getAffineDimExpr(slotDim)));
    inputs.push_back(scale);
  }
  maps.push_back(AffineMap::getPermutationMap(sameOrder ? straight : swapped,
                                              builder.getContext()));
  auto widen = [&](OpBuilder &nested, Location loc, ValueRange args) {
    Value wide = Emitter(loc, nested).toF32(args[0]);
    if (scale)
      wide = arith::MulFOp::create(nested, loc, wide,
                                   inputs.size() > 1 ? args[1] : scale);
    linalg::YieldOp::create(nested, loc, wide);
  };
  SmallVector<utils::IteratorType> iterators(2, utils::IteratorType::parallel);
  Value packed =
      linalg::GenericOp::create(builder, loc, target.getType(), inputs, target,
                                maps, iterators, widen)
          .getResult(0);
  return tensor::InsertSliceOp::create(builder, loc, packed, tile, outOffsets,
                                       outSizes, outStrides);
}

FailureOr<SmallVector<Value>> paged_attn::lowerLoadTile(RewriterBase &rewriter,
                                                        LoadTileOp op) {
  TileLoader loader(rewriter, op);
  if (failed(loader.check()))
    return failure();
  return SmallVector<Value>{loader.load()};
}
