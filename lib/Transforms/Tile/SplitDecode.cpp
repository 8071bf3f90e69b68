//===- SplitDecode.cpp - Decode cut along the keys ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 1 to 2: one work loop for the states of splits, one that combines
// them.
//
//===----------------------------------------------------------------------===//

#include "SplitDecode.h"

#include "../IndexMath.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Tokens of a split that is chosen here: 1 MiB of f32 keys and values with
/// head dim 128, next to which its state of some KiB is nothing.
constexpr int64_t kSplitTokens = 1024;
/// Work items per core from which on splits cannot even them out further.
constexpr int64_t kItemsPerCore = 4;

/// Whether the types leave a doubt that there are items for all cores.
static bool mayLackItems(AttentionOp op, int64_t cores) {
  int64_t sequences = op.getNumSequences();
  if (ShapedType::isDynamic(sequences))
    sequences = 1;
  return sequences * op.getNumKVHeads() < kItemsPerCore * cores &&
         op.getNumKVHeads() < cores;
}

int64_t paged_attn::splitTokens(AttentionOp op,
                                const TilePassOptions &options) {
  int64_t tokens = options.splitTokens;
  if (tokens < 0)
    tokens = mayLackItems(op, options.cores) ? kSplitTokens : 0;
  return llvm::alignTo(tokens, decodeTileSizes(op, options).keys);
}

namespace {

/// Emits the two loops.
class SplitEmitter {
public:
  SplitEmitter(OpBuilder &builder, AttentionOp op, WorkEmitter &work,
               const TileSizes &sizes, int64_t splitTokens)
      : builder(builder), loc(op.getLoc()), op(op), work(work), sizes(sizes),
        splitTokens(splitTokens) {}

  void emit();

private:
  /// Splits of `kvLen` tokens; a sequence without any has one all the same.
  Value splitsOf(IndexMath math, Value kvLen) {
    return math.max(math.ceilDiv(kvLen, splitTokens), math.constant(1));
  }
  /// Splits of the longest sequence.
  Value mostSplits();
  /// Scratch [tiles, Hkv, splits, R, ...] of f32.
  Value scratch(ArrayRef<int64_t> rowShape);
  /// The states (acc, m, l) of one (tile, head): of split `first` without the
  /// dimension, or of splits [0, count).
  SmallVector<Value> extractStates(OpBuilder &b, ValueRange partials,
                                   Value item, Value kvHead, Value first,
                                   Value count);
  void insertStates(OpBuilder &b, ValueRange states, ValueRange partials,
                    Value item, Value kvHead, Value split);
  void emitStates();
  void emitStateBody(OpBuilder &b, ValueRange items, ValueRange carried);
  /// Copies the rows of the tile's tokens from `state` to `slices`.
  SmallVector<Value> copyState(OpBuilder &b, const TileState &state,
                               ValueRange slices, Value numTokens);
  void emitCombination();
  OutSlice combineToken(OpBuilder &b, ValueRange states, Value token,
                        Value kvHead, OutSlice outs);

  OpBuilder &builder;
  Location loc;
  AttentionOp op;
  WorkEmitter &work;
  TileSizes sizes;
  int64_t splitTokens;
  Value numTiles, numSplits, isWhole;
  SmallVector<Value> outs, partials;
};

SmallVector<OpFoldResult> asMixed(OpBuilder &b, ArrayRef<int64_t> values) {
  SmallVector<OpFoldResult> mixed;
  for (int64_t value : values)
    mixed.push_back(b.getIndexAttr(value));
  return mixed;
}

SmallVector<OpFoldResult> ones(OpBuilder &b, size_t rank) {
  return SmallVector<OpFoldResult>(rank, b.getIndexAttr(1));
}

/// The part of `source` at `offsets`; sizes of 1 that `type` lacks are dropped.
Value take(OpBuilder &b, Location loc, RankedTensorType type, Value source,
           ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> extents) {
  return tensor::ExtractSliceOp::create(b, loc, type, source, offsets, extents,
                                        ones(b, offsets.size()));
}

} // namespace

Value SplitEmitter::mostSplits() {
  IndexMath math(builder, loc);
  auto body = [&](OpBuilder &nested, Location loc, Value b, ValueRange most) {
    IndexMath inner(nested, loc);
    Value length = inner.toIndex(
        tensor::ExtractOp::create(nested, loc, op.getKvLens(), b));
    scf::YieldOp::create(nested, loc, inner.max(most[0], length));
  };
  auto loop =
      scf::ForOp::create(builder, loc, math.constant(0), work.numSequences(),
                         math.constant(1), math.constant(0), body);
  return splitsOf(math, loop.getResult(0));
}

Value SplitEmitter::scratch(ArrayRef<int64_t> rowShape) {
  SmallVector<int64_t> shape{ShapedType::kDynamic, op.getNumKVHeads(),
                             ShapedType::kDynamic};
  llvm::append_range(shape, rowShape);
  return bufferization::AllocTensorOp::create(
      builder, loc, RankedTensorType::get(shape, builder.getF32Type()),
      ValueRange{numTiles, numSplits});
}

SmallVector<Value> SplitEmitter::extractStates(OpBuilder &b,
                                               ValueRange partials, Value item,
                                               Value kvHead, Value first,
                                               Value count) {
  SmallVector<Value> states;
  for (Value partial : partials) {
    ArrayRef<int64_t> shape =
        cast<RankedTensorType>(partial.getType()).getShape().drop_front(3);
    SmallVector<OpFoldResult> offsets{item, kvHead,
                                      first ? OpFoldResult(first)
                                            : OpFoldResult(b.getIndexAttr(0))};
    offsets.append(shape.size(), b.getIndexAttr(0));
    SmallVector<OpFoldResult> extents = ones(b, 2);
    extents.push_back(count ? getAsOpFoldResult(count)
                            : OpFoldResult(b.getIndexAttr(1)));
    llvm::append_range(extents, asMixed(b, shape));
    SmallVector<int64_t> sliced(shape);
    if (count)
      sliced.insert(sliced.begin(), ShapedType::kDynamic);
    states.push_back(take(b, loc, RankedTensorType::get(sliced, b.getF32Type()),
                          partial, offsets, extents));
  }
  return states;
}

void SplitEmitter::insertStates(OpBuilder &b, ValueRange states,
                                ValueRange partials, Value item, Value kvHead,
                                Value split) {
  for (auto [state, partial] : llvm::zip(states, partials)) {
    ArrayRef<int64_t> shape =
        cast<RankedTensorType>(state.getType()).getShape();
    SmallVector<OpFoldResult> offsets{item, kvHead, split};
    offsets.append(shape.size(), b.getIndexAttr(0));
    SmallVector<OpFoldResult> extents = ones(b, 3);
    llvm::append_range(extents, asMixed(b, shape));
    tensor::ParallelInsertSliceOp::create(b, loc, state, partial, offsets,
                                          extents, ones(b, offsets.size()));
  }
}

SmallVector<Value> SplitEmitter::copyState(OpBuilder &b, const TileState &state,
                                           ValueRange slices, Value numTokens) {
  IndexMath math(b, loc);
  int64_t group = op.getGroupSize();
  Value from[] = {state.acc, state.m, state.l};
  auto body = [&](OpBuilder &nested, Location loc, Value token,
                  ValueRange carried) {
    IndexMath inner(nested, loc);
    OpFoldResult row = getAsOpFoldResult(inner.mul(token, group));
    SmallVector<Value> done;
    for (auto [source, target] : llvm::zip(from, carried)) {
      SmallVector<int64_t> shape(
          cast<RankedTensorType>(target.getType()).getShape());
      shape[0] = group;
      auto type = RankedTensorType::get(shape, nested.getF32Type());
      SmallVector<OpFoldResult> offsets{row};
      offsets.append(shape.size() - 1, nested.getIndexAttr(0));
      SmallVector<OpFoldResult> extents = asMixed(nested, shape);
      Value part = take(nested, loc, type, source, offsets, extents);
      Value place = take(nested, loc, type, target, offsets, extents);
      Value copied =
          linalg::CopyOp::create(nested, loc, part, place).getResult(0);
      done.push_back(
          tensor::InsertSliceOp::create(nested, loc, copied, target, offsets,
                                        extents, ones(nested, offsets.size())));
    }
    scf::YieldOp::create(nested, loc, done);
  };
  auto loop = scf::ForOp::create(b, loc, math.constant(0), numTokens,
                                 math.constant(1), slices, body);
  return SmallVector<Value>(loop.getResults());
}

void SplitEmitter::emitStateBody(OpBuilder &b, ValueRange items,
                                 ValueRange carried) {
  IndexMath math(b, loc);
  Value item = items[0], kvHead = items[1], split = items[2];
  size_t numOuts = outs.size();
  RowTile tile = findQueryTile(b, op, item, kvHead, sizes.tokens);
  Value row = math.add(tile.sequence.firstRow, tile.token);
  OutSlice all = OutSlice::get(carried.take_front(numOuts));
  ValueRange buffers = carried.drop_front(numOuts);
  OutSlice part = extractRows(b, op, all, row, tile.numTokens, kvHead);
  SmallVector<Value> states =
      extractStates(b, buffers, item, kvHead, split, Value());

  // Nothing to do past the sequence's last split, and for items without rows.
  Value last = math.select(
      math.compare(arith::CmpIPredicate::sgt, tile.numTokens, math.constant(0)),
      splitsOf(math, tile.sequence.kvLen), math.constant(0));
  Value isNeeded = math.compare(arith::CmpIPredicate::slt, split, last);
  SmallVector<Value> unchanged = part.values();
  llvm::append_range(unchanged, states);
  auto compute = [&](OpBuilder &nested, Location loc) {
    IndexMath inner(nested, loc);
    Value begin = inner.mul(split, splitTokens);
    KVLimits limits{begin, inner.add(begin, splitTokens)};
    TileState state = emitRowState(nested, op, tile, sizes, limits);
    auto finish = [&](OpBuilder &last, Location loc) {
      SmallVector<Value> done =
          emitRowEnd(last, op, kvHead, sizes, state, part).values();
      llvm::append_range(done, states);
      scf::YieldOp::create(last, loc, done);
    };
    auto keep = [&](OpBuilder &last, Location loc) {
      SmallVector<Value> done = part.values();
      llvm::append_range(done, copyState(last, state, states, tile.numTokens));
      scf::YieldOp::create(last, loc, done);
    };
    auto choice = scf::IfOp::create(nested, loc, isWhole, finish, keep);
    scf::YieldOp::create(nested, loc, choice.getResults());
  };
  auto skip = [&](OpBuilder &nested, Location loc) {
    scf::YieldOp::create(nested, loc, unchanged);
  };
  auto done = scf::IfOp::create(b, loc, isNeeded, compute, skip);
  insertRowsInParallel(b, op,
                       OutSlice::get(done.getResults().take_front(numOuts)),
                       all, row, tile.numTokens, kvHead);
  auto forall = cast<scf::ForallOp>(b.getInsertionBlock()->getParentOp());
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToEnd(forall.getTerminator().getBody());
  insertStates(b, done.getResults().drop_front(numOuts), buffers, item, kvHead,
               split);
}

void SplitEmitter::emitStates() {
  SmallVector<Value> targets(outs);
  llvm::append_range(targets, partials);
  SmallVector<OpFoldResult> bounds{getAsOpFoldResult(numTiles),
                                   builder.getIndexAttr(op.getNumKVHeads()),
                                   getAsOpFoldResult(numSplits)};
  auto forall = scf::ForallOp::create(builder, loc, bounds, targets,
                                      /*mapping=*/std::nullopt);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(forall.getTerminator());
  emitStateBody(builder, forall.getInductionVars(), forall.getRegionIterArgs());
  ValueRange results = forall.getResults();
  outs.assign(results.begin(), results.begin() + outs.size());
  partials.assign(results.begin() + outs.size(), results.end());
}

OutSlice SplitEmitter::combineToken(OpBuilder &b, ValueRange states,
                                    Value token, Value kvHead, OutSlice all) {
  IndexMath math(b, loc);
  int64_t group = op.getGroupSize(), dim = op.getValueDim();
  TileSizes one{1, group, group, sizes.keys};
  SmallVector<Value> rows;
  for (Value state : states) {
    SmallVector<int64_t> shape(
        cast<RankedTensorType>(state.getType()).getShape());
    shape[1] = group;
    SmallVector<OpFoldResult> offsets = asMixed(b, {0});
    offsets.push_back(getAsOpFoldResult(math.mul(token, group)));
    offsets.append(shape.size() - 2, b.getIndexAttr(0));
    SmallVector<OpFoldResult> extents{tensor::getMixedSize(b, loc, state, 0)};
    llvm::append_range(extents, asMixed(b, ArrayRef(shape).drop_front()));
    rows.push_back(take(b, loc, RankedTensorType::get(shape, b.getF32Type()),
                        state, offsets, extents));
  }
  TileState start = emitEmptyState(b, op, one);
  auto combine = CombineOp::create(
      b, loc,
      TypeRange{start.acc.getType(), start.m.getType(), start.l.getType()},
      rows[0], rows[1], rows[2], start.acc, start.m, start.l);
  TileState total{combine.getResult(0), combine.getResult(1),
                  combine.getResult(2)};
  auto slice = [&](Value source, int64_t inner) -> Value {
    SmallVector<OpFoldResult> offsets{getAsOpFoldResult(token),
                                      b.getIndexAttr(0)};
    SmallVector<int64_t> shape{1, group};
    if (inner) {
      offsets.push_back(b.getIndexAttr(0));
      shape.push_back(inner);
    }
    auto type = RankedTensorType::get(
        shape, cast<RankedTensorType>(source.getType()).getElementType());
    return take(b, loc, type, source, offsets, asMixed(b, shape));
  };
  auto insert = [&](Value piece, Value target) -> Value {
    ArrayRef<int64_t> shape =
        cast<RankedTensorType>(piece.getType()).getShape();
    SmallVector<OpFoldResult> offsets{getAsOpFoldResult(token)};
    offsets.append(shape.size() - 1, b.getIndexAttr(0));
    return tensor::InsertSliceOp::create(b, loc, piece, target, offsets,
                                         asMixed(b, shape),
                                         ones(b, shape.size()));
  };
  OutSlice part{slice(all.out, dim), all.lse ? slice(all.lse, 0) : Value()};
  OutSlice done = emitRowEnd(b, op, kvHead, one, total, part);
  return {insert(done.out, all.out),
          all.lse ? insert(done.lse, all.lse) : Value()};
}

void SplitEmitter::emitCombination() {
  IndexMath math(builder, loc);
  Value count = math.select(isWhole, math.constant(0), numTiles);
  SmallVector<OpFoldResult> bounds{getAsOpFoldResult(count),
                                   builder.getIndexAttr(op.getNumKVHeads())};
  auto forall = scf::ForallOp::create(builder, loc, bounds, outs,
                                      /*mapping=*/std::nullopt);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPoint(forall.getTerminator());
  Value item = forall.getInductionVar(0), kvHead = forall.getInductionVar(1);
  IndexMath inner(builder, loc);
  RowTile tile = findQueryTile(builder, op, item, kvHead, sizes.tokens);
  Value row = inner.add(tile.sequence.firstRow, tile.token);
  OutSlice all = OutSlice::get(forall.getRegionIterArgs());
  OutSlice part = extractRows(builder, op, all, row, tile.numTokens, kvHead);
  SmallVector<Value> states =
      extractStates(builder, partials, item, kvHead, Value(),
                    splitsOf(inner, tile.sequence.kvLen));
  auto body = [&](OpBuilder &nested, Location loc, Value token,
                  ValueRange carried) {
    OutSlice done =
        combineToken(nested, states, token, kvHead, OutSlice::get(carried));
    scf::YieldOp::create(nested, loc, done.values());
  };
  auto loop =
      scf::ForOp::create(builder, loc, inner.constant(0), tile.numTokens,
                         inner.constant(1), part.values(), body);
  insertRowsInParallel(builder, op, OutSlice::get(loop.getResults()), all, row,
                       tile.numTokens, kvHead);
  outs.assign(forall->result_begin(), forall->result_end());
}

void SplitEmitter::emit() {
  IndexMath math(builder, loc);
  outs = work.paddedOuts().values();
  numTiles = countQueryTiles(builder, op, work, sizes.tokens);
  numSplits = mostSplits();
  isWhole = math.compare(arith::CmpIPredicate::eq, numSplits, math.constant(1));
  partials = {scratch({sizes.rows, op.getValueDim()}), scratch({sizes.rows}),
              scratch({sizes.rows})};
  emitStates();
  emitCombination();
  work.results = outs;
}

void paged_attn::emitSplitDecode(OpBuilder &builder, AttentionOp op,
                                 WorkEmitter &work, const TileSizes &sizes,
                                 int64_t splitTokens) {
  SplitEmitter(builder, op, work, sizes, splitTokens).emit();
}
