//===- RowTile.cpp - Attention of one tile of query rows ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2: what a work item computes, the same in every mode. KV ranges come
// from the mask: pages outside are never visited.
//
//===----------------------------------------------------------------------===//

#include "RowTile.h"

#include "../IndexMath.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// log2(e): scores are kept in the log2 domain.
constexpr double kLog2E = 1.4426950408889634;

//===----------------------------------------------------------------------===//
// Sequences and slices
//===----------------------------------------------------------------------===//

static Value readIndex(OpBuilder &builder, Location loc, Value tensor,
                       ValueRange indices) {
  Value value = tensor::ExtractOp::create(builder, loc, tensor, indices);
  return IndexMath(builder, loc).toIndex(value);
}

SequenceValues paged_attn::readSequence(OpBuilder &builder, AttentionOp op,
                                        Value sequence) {
  Location loc = op.getLoc();
  IndexMath math(builder, loc);
  SequenceValues values;
  values.sequence = sequence;
  values.kvLen = readIndex(builder, loc, op.getKvLens(), sequence);
  if (Value starts = op.getQueryStarts()) {
    values.firstRow = readIndex(builder, loc, starts, sequence);
    Value next = readIndex(builder, loc, starts, math.add(sequence, 1));
    values.numRows = math.sub(next, values.firstRow);
  } else {
    Value tokens = builder.createOrFold<tensor::DimOp>(loc, op.getQuery(), 0);
    Value count = builder.createOrFold<tensor::DimOp>(loc, op.getKvLens(), 0);
    values.numRows = math.div(tokens, count);
    values.firstRow = math.mul(sequence, values.numRows);
  }
  values.position =
      op.getQueryOffsets()
          ? readIndex(builder, loc, op.getQueryOffsets(), sequence)
          : math.sub(values.kvLen, values.numRows);
  return values;
}

/// Offsets and sizes of rows and query heads in out (rank 3) or lse (rank 2).
static void rowSlice(OpBuilder &builder, AttentionOp op, Value firstRow,
                     Value numRows, Value kvHead, int64_t innerDim,
                     SmallVectorImpl<OpFoldResult> &offsets,
                     SmallVectorImpl<OpFoldResult> &sizes) {
  IndexMath math(builder, op.getLoc());
  int64_t group = op.getGroupSize();
  offsets.push_back(getAsOpFoldResult(firstRow));
  offsets.push_back(getAsOpFoldResult(math.mul(kvHead, group)));
  sizes.push_back(getAsOpFoldResult(numRows));
  sizes.push_back(builder.getIndexAttr(group));
  if (innerDim) {
    offsets.push_back(builder.getIndexAttr(0));
    sizes.push_back(builder.getIndexAttr(innerDim));
  }
}

static SmallVector<OpFoldResult> unitStrides(OpBuilder &builder, size_t rank) {
  return SmallVector<OpFoldResult>(rank, builder.getIndexAttr(1));
}

OutSlice paged_attn::extractRows(OpBuilder &builder, AttentionOp op,
                                 OutSlice outs, Value firstRow, Value numRows,
                                 Value kvHead) {
  auto extract = [&](Value source, int64_t innerDim) -> Value {
    SmallVector<OpFoldResult> offsets, sizes;
    rowSlice(builder, op, firstRow, numRows, kvHead, innerDim, offsets, sizes);
    return tensor::ExtractSliceOp::create(builder, op.getLoc(), source, offsets,
                                          sizes,
                                          unitStrides(builder, sizes.size()));
  };
  return {extract(outs.out, op.getValueDim()),
          outs.lse ? extract(outs.lse, 0) : Value()};
}

OutSlice paged_attn::insertRows(OpBuilder &builder, AttentionOp op,
                                OutSlice slice, OutSlice outs, Value firstRow,
                                Value numRows, Value kvHead) {
  auto insert = [&](Value source, Value target, int64_t innerDim) -> Value {
    SmallVector<OpFoldResult> offsets, sizes;
    rowSlice(builder, op, firstRow, numRows, kvHead, innerDim, offsets, sizes);
    return tensor::InsertSliceOp::create(builder, op.getLoc(), source, target,
                                         offsets, sizes,
                                         unitStrides(builder, sizes.size()));
  };
  return {insert(slice.out, outs.out, op.getValueDim()),
          outs.lse ? insert(slice.lse, outs.lse, 0) : Value()};
}

void paged_attn::insertRowsInParallel(OpBuilder &builder, AttentionOp op,
                                      OutSlice slice, OutSlice outs,
                                      Value firstRow, Value numRows,
                                      Value kvHead) {
  SmallVector<OpFoldResult> offsets, sizes, lseOffsets, lseSizes;
  rowSlice(builder, op, firstRow, numRows, kvHead, op.getValueDim(), offsets,
           sizes);
  rowSlice(builder, op, firstRow, numRows, kvHead, 0, lseOffsets, lseSizes);
  auto forall = cast<scf::ForallOp>(builder.getInsertionBlock()->getParentOp());
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToEnd(forall.getTerminator().getBody());
  tensor::ParallelInsertSliceOp::create(builder, op.getLoc(), slice.out,
                                        outs.out, offsets, sizes,
                                        unitStrides(builder, 3));
  if (outs.lse)
    tensor::ParallelInsertSliceOp::create(builder, op.getLoc(), slice.lse,
                                          outs.lse, lseOffsets, lseSizes,
                                          unitStrides(builder, 2));
}

//===----------------------------------------------------------------------===//
// KV ranges
//===----------------------------------------------------------------------===//

namespace {

/// Visible positions of a tile's rows. Bounds grow with the row, so the first
/// and the last row give the union and the intersection.
struct KVRange {
  Value begin, end;                 ///< union: seen by some row
  Value interiorBegin, interiorEnd; ///< intersection: seen by every row
  Value sinkBegin, sinkEnd;         ///< sink tokens below `begin`; null without
};

/// The state (acc, m, l) that a KV loop carries.
using State = SmallVector<Value, 3>;

/// Emits one row tile.
class RowTileEmitter {
public:
  RowTileEmitter(OpBuilder &builder, AttentionOp op, const RowTile &tile,
                 const TileSizes &sizes)
      : builder(builder), loc(op.getLoc()), math(builder, loc), op(op),
        tile(tile), sizes(sizes), mask(op.getMaskOrDefault()) {}

  TileState emitEmptyState();
  TileState emitState(std::optional<KVLimits> limits);
  OutSlice emitEnd(const TileState &state, OutSlice outs);

private:
  /// Cuts [begin, end) to `limits`; [0, 0) where nothing is left.
  void limit(Value &begin, Value &end, const KVLimits &limits);
  Value scratch(ArrayRef<int64_t> shape, Type type);
  Value filled(ArrayRef<int64_t> shape, double value);
  Value loadQuery();
  Value pageRow();
  Value rowPositions();
  Value perHeadRows(Value perHead);
  Value firstVisible(Value position);
  Value endVisible(Value position);
  KVRange kvRange();
  State tileLoop(Value lower, Value upper, MaskKind kind, Value begin,
                 Value end, State state);
  Value loadTile(OpBuilder &builder, Part part, MaskKind kind, Value pos,
                 Value begin, Value end);
  float scoreFactor();

  OpBuilder &builder;
  Location loc;
  IndexMath math;
  AttentionOp op;
  RowTile tile;
  TileSizes sizes;
  MaskAttr mask;
  Value query, pages, positions, slopes;
};

} // namespace

/// A buffer of its own: equal tensor.empty ops would be merged into one.
Value RowTileEmitter::scratch(ArrayRef<int64_t> shape, Type type) {
  return bufferization::AllocTensorOp::create(
      builder, loc, RankedTensorType::get(shape, type), ValueRange());
}

Value RowTileEmitter::filled(ArrayRef<int64_t> shape, double value) {
  Type f32 = builder.getF32Type();
  Value constant =
      arith::ConstantOp::create(builder, loc, builder.getFloatAttr(f32, value));
  return linalg::FillOp::create(builder, loc, constant, scratch(shape, f32))
      .getResult(0);
}

/// What the query is multiplied with so that scores come out in the log2
/// domain, or, with softcap, as the argument of tanh.
float RowTileEmitter::scoreFactor() {
  double scale = op.getScaleOrDefault();
  if (std::optional<APFloat> softcap = op.getSoftcap())
    return scale / softcap->convertToFloat();
  return scale * kLog2E;
}

Value RowTileEmitter::loadQuery() {
  int64_t dim = op.getKeyDim();
  Value row = math.add(tile.sequence.firstRow, tile.token);
  SmallVector<OpFoldResult> offsets, extents;
  rowSlice(builder, op, row, tile.numTokens, tile.kvHead, dim, offsets,
           extents);
  Value slice = tensor::ExtractSliceOp::create(
      builder, loc, op.getQuery(), offsets, extents, unitStrides(builder, 3));
  Value out = scratch({sizes.rows, dim}, builder.getF32Type());
  return LoadQueryOp::create(builder, loc, out.getType(), slice, out,
                             builder.getF32FloatAttr(scoreFactor()))
      .getResult(0);
}

/// The sequence's row of the page table, [n].
Value RowTileEmitter::pageRow() {
  Value sequence = tile.sequence.sequence;
  if (Value indptr = op.getPageIndptr()) {
    Value first = readIndex(builder, loc, indptr, sequence);
    Value next = readIndex(builder, loc, indptr, math.add(sequence, 1));
    OpFoldResult count = getAsOpFoldResult(math.sub(next, first));
    return tensor::ExtractSliceOp::create(
        builder, loc, op.getPageIndices(), OpFoldResult(first), count,
        OpFoldResult(builder.getIndexAttr(1)));
  }
  Value table = op.getPageTable();
  auto type = cast<RankedTensorType>(table.getType());
  OpFoldResult columns = tensor::getMixedSize(builder, loc, table, 1);
  return tensor::ExtractSliceOp::create(
      builder, loc,
      RankedTensorType::get({type.getDimSize(1)}, type.getElementType()), table,
      ArrayRef<OpFoldResult>{sequence, builder.getIndexAttr(0)},
      ArrayRef<OpFoldResult>{builder.getIndexAttr(1), columns},
      unitStrides(builder, 2));
}

/// Row r stands at the position of token r / G.
Value RowTileEmitter::rowPositions() {
  Type i32 = builder.getI32Type();
  Value first = math.add(tile.sequence.position, tile.token);
  Value out = scratch({sizes.rows}, i32);
  auto body = [&](OpBuilder &nested, Location loc, ValueRange) {
    IndexMath math(nested, loc);
    Value row = linalg::IndexOp::create(nested, loc, 0);
    Value position = math.add(first, math.div(row, op.getGroupSize()));
    linalg::YieldOp::create(nested, loc, math.cast(position, i32));
  };
  return linalg::GenericOp::create(
             builder, loc, out.getType(), ValueRange(), out,
             ArrayRef<AffineMap>{builder.getMultiDimIdentityMap(1)},
             utils::IteratorType::parallel, body)
      .getResult(0);
}

/// Per-head values [Hq] as one per row, times log2(e).
Value RowTileEmitter::perHeadRows(Value perHead) {
  int64_t group = op.getGroupSize();
  Value firstHead = math.mul(tile.kvHead, group);
  Value out = scratch({sizes.rows}, builder.getF32Type());
  auto body = [&](OpBuilder &nested, Location loc, ValueRange) {
    IndexMath math(nested, loc);
    Value row = linalg::IndexOp::create(nested, loc, 0);
    Value head = math.add(firstHead, math.rem(row, group));
    Value value = tensor::ExtractOp::create(nested, loc, perHead, head);
    Value factor =
        arith::ConstantOp::create(nested, loc, nested.getF32FloatAttr(kLog2E));
    linalg::YieldOp::create(
        nested, loc,
        ValueRange{arith::MulFOp::create(nested, loc, value, factor)});
  };
  return linalg::GenericOp::create(
             builder, loc, out.getType(), ValueRange(), out,
             ArrayRef<AffineMap>{builder.getMultiDimIdentityMap(1)},
             utils::IteratorType::parallel, body)
      .getResult(0);
}

/// First position that window and chunk let a row at `position` see, sink
/// tokens apart.
Value RowTileEmitter::firstVisible(Value position) {
  Value zero = math.constant(0), first = zero;
  if (int64_t window = mask.getWindow())
    first = math.max(zero, math.add(position, 1 - window));
  if (int64_t chunk = mask.getChunk())
    first = math.max(first, math.mul(math.signedDiv(position, chunk), chunk));
  return first;
}

/// End of the positions that a row at `position` can see.
Value RowTileEmitter::endVisible(Value position) {
  Value end = tile.sequence.kvLen;
  if (mask.getCausal())
    end = math.min(end, math.add(position, 1));
  if (int64_t chunk = mask.getChunk()) {
    Value next = math.add(math.signedDiv(position, chunk), 1);
    end = math.min(end, math.mul(next, chunk));
  }
  return math.max(end, math.constant(0));
}

KVRange RowTileEmitter::kvRange() {
  Value zero = math.constant(0);
  Value first = math.add(tile.sequence.position, tile.token);
  Value last = math.sub(math.add(first, tile.numTokens), math.constant(1));
  Value isEmpty = math.compare(arith::CmpIPredicate::sle, tile.numTokens, zero);
  KVRange range;
  Value begin = firstVisible(first);
  Value end = math.select(isEmpty, zero, endVisible(last));
  // Rows that stand apart from the cache (offsets) may see nothing of it; then
  // no tile is visited.
  Value seesNothing = math.compare(arith::CmpIPredicate::sge, begin, end);
  range.begin = math.select(seesNothing, zero, begin);
  range.end = math.select(seesNothing, zero, end);
  range.interiorBegin = firstVisible(last);
  range.interiorEnd = endVisible(first);
  if (int64_t sinkTokens = mask.getSinkTokens()) {
    Value chunkBegin = zero;
    if (int64_t chunk = mask.getChunk())
      chunkBegin =
          math.max(zero, math.mul(math.signedDiv(first, chunk), chunk));
    Value sinkEnd = math.min(math.min(math.constant(sinkTokens), begin), end);
    Value hasNone =
        math.compare(arith::CmpIPredicate::sge, chunkBegin, sinkEnd);
    range.sinkBegin = math.select(hasNone, zero, chunkBegin);
    range.sinkEnd = math.select(hasNone, zero, sinkEnd);
  }
  return range;
}

Value RowTileEmitter::loadTile(OpBuilder &builder, Part part, MaskKind kind,
                               Value pos, Value begin, Value end) {
  bool isKey = part == Part::Key;
  SmallVector<int64_t> shape{isKey ? op.getKeyDim() : sizes.keys,
                             isKey ? sizes.keys : op.getValueDim()};
  Value out = bufferization::AllocTensorOp::create(
      builder, loc, RankedTensorType::get(shape, builder.getF32Type()),
      ValueRange());
  LayoutAttr layout = isKey || !op.getValues() ? op.getKeyLayout()
                                               : op.getValueLayoutOrDefault();
  Value pool = isKey ? op.getKeys() : op.getValuePool();
  Value scale = isKey || op.isLatent() ? op.getKeyScale() : op.getValueScale();
  return LoadTileOp::create(builder, loc, out.getType(), part, kind, pool,
                            pages, tile.kvHead, pos, begin, end, op.getLayer(),
                            scale, out, layout)
      .getResult(0);
}

/// One loop over KV tiles [lower, upper); positions outside [begin, end) are
/// dropped when `kind` is boundary.
State RowTileEmitter::tileLoop(Value lower, Value upper, MaskKind kind,
                               Value begin, Value end, State state) {
  auto body = [&](OpBuilder &nested, Location loc, Value index,
                  ValueRange carried) {
    IndexMath math(nested, loc);
    Value pos = math.mul(index, sizes.keys);
    Value rows = math.mul(tile.numTokens, op.getGroupSize());
    Value keys = loadTile(nested, Part::Key, kind, pos, begin, end);
    Value values = loadTile(nested, Part::Value, kind, pos, begin, end);
    auto update = OnlineUpdateOp::create(
        nested, loc, TypeRange(carried),
        MaskKindAttr::get(nested.getContext(), kind), query, keys, values, pos,
        begin, end, rows, positions, slopes, carried[0], carried[1], carried[2],
        kind == MaskKind::Boundary ? op.getMaskAttr() : MaskAttr(),
        op.getSoftcapAttr(), nested.getI64IntegerAttr(sizes.rowBlock));
    scf::YieldOp::create(nested, loc, update.getResults());
  };
  auto loop = scf::ForOp::create(builder, loc, lower, upper, math.constant(1),
                                 state, body);
  return State(loop.getResults());
}

TileState RowTileEmitter::emitEmptyState() {
  return {filled({sizes.rows, op.getValueDim()}, 0.0),
          filled({sizes.rows}, -std::numeric_limits<double>::infinity()),
          filled({sizes.rows}, 0.0)};
}

void RowTileEmitter::limit(Value &begin, Value &end, const KVLimits &limits) {
  Value low = math.max(begin, limits.begin), high = math.min(end, limits.end);
  Value isEmpty = math.compare(arith::CmpIPredicate::sge, low, high);
  Value zero = math.constant(0);
  begin = math.select(isEmpty, zero, low);
  end = math.select(isEmpty, zero, high);
}

TileState RowTileEmitter::emitState(std::optional<KVLimits> limits) {
  pages = pageRow();
  query = loadQuery();
  positions = rowPositions();
  if (op.getAlibiSlopes())
    slopes = perHeadRows(op.getAlibiSlopes());
  TileState start = emitEmptyState();
  State state{start.acc, start.m, start.l};

  KVRange range = kvRange();
  if (limits) {
    limit(range.begin, range.end, *limits);
    if (range.sinkEnd)
      limit(range.sinkBegin, range.sinkEnd, *limits);
  }
  int64_t keys = sizes.keys;
  Value last = math.ceilDiv(range.end, keys);
  Value first = math.min(math.div(range.begin, keys), last);
  Value interior = first;
  if (range.sinkEnd)
    state = tileLoop(math.div(range.sinkBegin, keys),
                     math.ceilDiv(range.sinkEnd, keys), MaskKind::Boundary,
                     range.sinkBegin, range.sinkEnd, state);
  if (mask.hasLowerBound()) {
    interior = math.min(
        math.max(math.ceilDiv(range.interiorBegin, keys), first), last);
    state = tileLoop(first, interior, MaskKind::Boundary, range.begin,
                     range.end, state);
  }
  Value interiorEnd =
      math.max(math.min(math.div(range.interiorEnd, keys), last), interior);
  state = tileLoop(interior, interiorEnd, MaskKind::None, range.begin,
                   range.end, state);
  state = tileLoop(interiorEnd, last, MaskKind::Boundary, range.begin,
                   range.end, state);
  return {state[0], state[1], state[2]};
}

OutSlice RowTileEmitter::emitEnd(const TileState &state, OutSlice outs) {
  Value sinks = op.getSinks() ? perHeadRows(op.getSinks()) : Value();
  SmallVector<Value> targets = outs.values();
  auto finalize = FinalizeOp::create(
      builder, loc, TypeRange(ValueRange(targets)), state.acc, state.m, state.l,
      sinks, outs.out, outs.lse);
  return OutSlice::get(finalize.getResults());
}

TileState paged_attn::emitEmptyState(OpBuilder &builder, AttentionOp op,
                                     const TileSizes &sizes) {
  return RowTileEmitter(builder, op, RowTile(), sizes).emitEmptyState();
}

TileState paged_attn::emitRowState(OpBuilder &builder, AttentionOp op,
                                   const RowTile &tile, const TileSizes &sizes,
                                   std::optional<KVLimits> limits) {
  return RowTileEmitter(builder, op, tile, sizes).emitState(limits);
}

OutSlice paged_attn::emitRowEnd(OpBuilder &builder, AttentionOp op,
                                Value kvHead, const TileSizes &sizes,
                                const TileState &state, OutSlice outs) {
  RowTile tile;
  tile.kvHead = kvHead;
  return RowTileEmitter(builder, op, tile, sizes).emitEnd(state, outs);
}

OutSlice paged_attn::emitRowTile(OpBuilder &builder, AttentionOp op,
                                 const RowTile &tile, const TileSizes &sizes,
                                 OutSlice outs) {
  RowTileEmitter emitter(builder, op, tile, sizes);
  return emitter.emitEnd(emitter.emitState(std::nullopt), outs);
}
