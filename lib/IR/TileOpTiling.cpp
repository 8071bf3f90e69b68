//===- TileOpTiling.cpp - Tiling of online_update over rows and keys ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// External models of TilingInterface and PartialReductionOpInterface for
// online_update on tensors (level 2). Rows are parallel. Keys are a reduction:
// in order, or as K partial states [K, ...] that `combine` merges. Positions
// are operands, so a tile of keys only moves `pos`.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/Extensions.h"
#include "paged_attn/IR/PagedAttn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/TilingInterface.h"

#include <limits>
#include <numeric>

using namespace mlir;
using namespace mlir::paged_attn;

using Mixed = SmallVector<OpFoldResult>;

namespace {

/// Loops of online_update.
enum Loop : unsigned { kRows = 0, kKeys = 1 };

/// The softmax state (acc, m, l) that a tile updates.
using State = std::array<Value, 3>;

/// Cuts one online_update to rows and keys.
class UpdateTiler {
public:
  UpdateTiler(OpBuilder &builder, OnlineUpdateOp op,
              ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes)
      : builder(builder), loc(op.getLoc()), op(op), row(offsets[kRows]),
        numRows(sizes[kRows]), key(offsets[kKeys]), numKeys(sizes[kKeys]) {}

  /// The tile's rows of the op's own state.
  State sliceState() {
    Mixed position{row}, size{numRows};
    return {slice(op.getAcc(), {row, index(0)}, {numRows, valueDim()}),
            slice(op.getM(), position, size), slice(op.getL(), position, size)};
  }
  /// State `part` of partial states [K, R, Dv], [K, R], [K, R].
  State sliceState(ValueRange partials, OpFoldResult part) {
    return {slicePart(partials[0], {part, row, index(0)},
                      {index(1), numRows, valueDim()}),
            slicePart(partials[1], {part, row}, {index(1), numRows}),
            slicePart(partials[2], {part, row}, {index(1), numRows})};
  }
  TilingResult tileOp(State state);

private:
  OpFoldResult index(int64_t value) { return builder.getIndexAttr(value); }
  OpFoldResult sizeOf(Value value, int64_t dim) {
    return tensor::getMixedSize(builder, loc, value, dim);
  }
  /// Dv. The outs cannot say: for a partial reduction the driver has put the
  /// partial states in their place.
  OpFoldResult valueDim() { return sizeOf(op.getValues(), 1); }
  Value slice(Value source, const Mixed &offsets, const Mixed &sizes);
  /// Drops the first dimension, of size 1.
  Value slicePart(Value source, const Mixed &offsets, const Mixed &sizes);
  /// base + offset, or max(base - offset, 0)
  Value move(Value base, OpFoldResult offset, bool forward);

  OpBuilder &builder;
  Location loc;
  OnlineUpdateOp op;
  OpFoldResult row, numRows, key, numKeys;
  SmallVector<Operation *> slices;
};

} // namespace

Value UpdateTiler::slice(Value source, const Mixed &offsets,
                         const Mixed &sizes) {
  Mixed strides(offsets.size(), index(1));
  auto slice = tensor::ExtractSliceOp::create(builder, loc, source, offsets,
                                              sizes, strides);
  slices.push_back(slice);
  return slice;
}

Value UpdateTiler::slicePart(Value source, const Mixed &offsets,
                             const Mixed &sizes) {
  auto type = cast<RankedTensorType>(source.getType());
  SmallVector<int64_t> shape;
  for (OpFoldResult size : ArrayRef(sizes).drop_front())
    shape.push_back(getConstantIntValue(size).value_or(ShapedType::kDynamic));
  Mixed strides(offsets.size(), index(1));
  auto slice = tensor::ExtractSliceOp::create(
      builder, loc, RankedTensorType::get(shape, type.getElementType()), source,
      offsets, sizes, strides);
  slices.push_back(slice);
  return slice;
}

Value UpdateTiler::move(Value base, OpFoldResult offset, bool forward) {
  if (isZeroInteger(offset))
    return base;
  Value amount = getValueOrCreateConstantIndexOp(builder, loc, offset);
  if (forward)
    return arith::AddIOp::create(builder, loc, base, amount);
  Value left = arith::SubIOp::create(builder, loc, base, amount);
  Value zero = arith::ConstantIndexOp::create(builder, loc, 0);
  return arith::MaxSIOp::create(builder, loc, left, zero);
}

TilingResult UpdateTiler::tileOp(State state) {
  int64_t rowBlock = std::gcd(int64_t(op.getRowBlock()),
                              getConstantIntValue(numRows).value_or(1));
  OpFoldResult zero = index(0);
  Value query =
      slice(op.getQuery(), {row, zero}, {numRows, sizeOf(op.getQuery(), 1)});
  Value keys =
      slice(op.getKeys(), {zero, key}, {sizeOf(op.getKeys(), 0), numKeys});
  Value values =
      slice(op.getValues(), {key, zero}, {numKeys, sizeOf(op.getValues(), 1)});
  Value positions = slice(op.getQPositions(), {row}, {numRows});
  Value slopes = op.getSlopes();
  if (slopes)
    slopes = slice(slopes, {row}, {numRows});
  auto tiled = OnlineUpdateOp::create(
      builder, loc,
      TypeRange{state[0].getType(), state[1].getType(), state[2].getType()},
      op.getMaskKindAttr(), query, keys, values,
      move(op.getPos(), key, /*forward=*/true), op.getBegin(), op.getEnd(),
      move(op.getRows(), row, /*forward=*/false), positions, slopes, state[0],
      state[1], state[2], op.getMaskAttr(), op.getSoftcapAttr(),
      builder.getI64IntegerAttr(rowBlock));
  return {{tiled}, llvm::to_vector_of<Value>(tiled->getResults()), slices};
}

/// Tiles are static tensors: sizes must be known.
static bool canTile(OnlineUpdateOp op, ArrayRef<OpFoldResult> sizes) {
  return op.hasPureTensors() && llvm::all_of(sizes, [](OpFoldResult size) {
           return getConstantIntValue(size).has_value();
         });
}

/// Where a result's tile lies: acc [R, Dv], m and l [R].
static void getStatePosition(OpBuilder &builder, OnlineUpdateOp op,
                             unsigned number, ArrayRef<OpFoldResult> offsets,
                             ArrayRef<OpFoldResult> sizes, Mixed &resultOffsets,
                             Mixed &resultSizes) {
  resultOffsets = {offsets[kRows]};
  resultSizes = {sizes[kRows]};
  if (number > 0)
    return;
  resultOffsets.push_back(builder.getIndexAttr(0));
  resultSizes.push_back(
      tensor::getMixedSize(builder, op.getLoc(), op.getValues(), 1));
}

namespace {

struct UpdateTilingModel
    : public TilingInterface::ExternalModel<UpdateTilingModel, OnlineUpdateOp> {
  SmallVector<utils::IteratorType> getLoopIteratorTypes(Operation *) const {
    return {utils::IteratorType::parallel, utils::IteratorType::reduction};
  }

  SmallVector<Range> getIterationDomain(Operation *op,
                                        OpBuilder &builder) const {
    auto keys = cast<ShapedType>(cast<OnlineUpdateOp>(op).getKeys().getType());
    auto acc = cast<ShapedType>(cast<OnlineUpdateOp>(op).getAcc().getType());
    OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
    return {{zero, builder.getIndexAttr(acc.getDimSize(0)), one},
            {zero, builder.getIndexAttr(keys.getDimSize(1)), one}};
  }

  FailureOr<TilingResult>
  getTiledImplementation(Operation *op, OpBuilder &builder,
                         ArrayRef<OpFoldResult> offsets,
                         ArrayRef<OpFoldResult> sizes) const {
    auto update = cast<OnlineUpdateOp>(op);
    if (!canTile(update, sizes))
      return failure();
    UpdateTiler tiler(builder, update, offsets, sizes);
    return tiler.tileOp(tiler.sliceState());
  }

  LogicalResult
  getResultTilePosition(Operation *op, OpBuilder &builder, unsigned number,
                        ArrayRef<OpFoldResult> offsets,
                        ArrayRef<OpFoldResult> sizes,
                        SmallVector<OpFoldResult> &resultOffsets,
                        SmallVector<OpFoldResult> &resultSizes) const {
    getStatePosition(builder, cast<OnlineUpdateOp>(op), number, offsets, sizes,
                     resultOffsets, resultSizes);
    return success();
  }
};

struct UpdateReductionModel
    : public PartialReductionOpInterface::ExternalModel<UpdateReductionModel,
                                                        OnlineUpdateOp> {
  /// K empty states: acc 0, m -inf, l 0.
  FailureOr<SmallVector<Value>> generateInitialTensorForPartialReduction(
      Operation *op, OpBuilder &builder, Location loc,
      ArrayRef<OpFoldResult> sizes, const SetVector<unsigned> &loops) const {
    auto update = cast<OnlineUpdateOp>(op);
    if (!update.hasPureTensors() || loops.size() != 1 || loops[0] != kKeys)
      return failure();
    float empty[] = {0, -std::numeric_limits<float>::infinity(), 0};
    SmallVector<Value> partials;
    for (auto [out, value] : llvm::zip_equal(update.getDpsInits(), empty)) {
      auto type = cast<RankedTensorType>(out.getType());
      SmallVector<int64_t> shape(type.getShape());
      std::optional<int64_t> numParts = getConstantIntValue(sizes[kKeys]);
      shape.insert(shape.begin(), numParts.value_or(ShapedType::kDynamic));
      SmallVector<Value> dynamicSizes;
      if (!numParts)
        dynamicSizes.push_back(
            getValueOrCreateConstantIndexOp(builder, loc, sizes[kKeys]));
      Value splat = arith::ConstantOp::create(builder, loc,
                                              builder.getF32FloatAttr(value));
      partials.push_back(
          tensor::SplatOp::create(builder, loc, splat, shape, dynamicSizes));
    }
    return partials;
  }

  /// Each part of the keys goes into its own state.
  FailureOr<TilingResult> tileToPartialReduction(
      Operation *op, OpBuilder &builder, Location,
      ReductionTilingStrategy strategy, ValueRange partials,
      ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
      const SetVector<unsigned> &, ArrayRef<OpFoldResult> parts) const {
    auto update = cast<OnlineUpdateOp>(op);
    if (strategy != ReductionTilingStrategy::PartialReductionOuterParallel ||
        !canTile(update, sizes))
      return failure();
    UpdateTiler tiler(builder, update, offsets, sizes);
    return tiler.tileOp(tiler.sliceState(partials, parts.front()));
  }

  FailureOr<MergeResult> mergeReductions(Operation *op, OpBuilder &builder,
                                         Location loc, ValueRange partials,
                                         const SetVector<unsigned> &) const {
    auto update = cast<OnlineUpdateOp>(op);
    auto combine = CombineOp::create(
        builder, loc, update->getResultTypes(), partials[0], partials[1],
        partials[2], update.getAcc(), update.getM(), update.getL());
    return MergeResult{{combine},
                       llvm::to_vector_of<Value>(combine->getResults())};
  }

  LogicalResult getPartialResultTilePosition(
      Operation *op, OpBuilder &builder, unsigned number,
      ReductionTilingStrategy strategy, ArrayRef<OpFoldResult> offsets,
      ArrayRef<OpFoldResult> sizes, const SetVector<unsigned> &,
      ArrayRef<OpFoldResult> parts, SmallVector<OpFoldResult> &resultOffsets,
      SmallVector<OpFoldResult> &resultSizes) const {
    if (strategy != ReductionTilingStrategy::PartialReductionOuterParallel)
      return failure();
    getStatePosition(builder, cast<OnlineUpdateOp>(op), number, offsets, sizes,
                     resultOffsets, resultSizes);
    resultOffsets.insert(resultOffsets.begin(), parts.front());
    resultSizes.insert(resultSizes.begin(), builder.getIndexAttr(1));
    return success();
  }
};

} // namespace

void paged_attn::registerTileOpTilingInterfaceModels(
    DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, PagedAttnDialect *) {
    OnlineUpdateOp::attachInterface<UpdateTilingModel, UpdateReductionModel>(
        *context);
    context->loadDialect<arith::ArithDialect, tensor::TensorDialect>();
  });
}
