//===- AuxiliaryOps.cpp - The ops beside attention, on tensors ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 0 to 3a: append, gather, copy_pages and merge_states become loops over
// tensors that each write one slice of their destination, the form that
// one-shot bufferization makes in place without a copy.
//
//===----------------------------------------------------------------------===//

#include "PagedAttnToLinalg.h"

#include "../../Transforms/WrapBuffers.h"
#include "../PageAccess.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::paged_attn;

//===----------------------------------------------------------------------===//
// Slices
//===----------------------------------------------------------------------===//

namespace {

/// A slice of a tensor whose dropped dimensions have size 1.
struct Slice {
  SmallVector<OpFoldResult> offsets, sizes;
  SmallVector<bool> dropped;

  /// Takes one index of the dimension, which disappears.
  void addIndex(Emitter &emitter, Value index) {
    offsets.push_back(getAsOpFoldResult(index));
    sizes.push_back(emitter.getIndexAttr(1));
    dropped.push_back(true);
  }
  /// Keeps `size` entries of the dimension from `offset` on.
  void addRange(Value offset, Value size) {
    offsets.push_back(getAsOpFoldResult(offset));
    sizes.push_back(getAsOpFoldResult(size));
    dropped.push_back(false);
  }
  Value extract(Emitter &emitter, Value source) const {
    SmallVector<int64_t> shape;
    for (auto [size, isDropped] : llvm::zip_equal(sizes, dropped))
      if (!isDropped)
        shape.push_back(
            getConstantIntValue(size).value_or(ShapedType::kDynamic));
    auto type = RankedTensorType::get(
        shape, cast<ShapedType>(source.getType()).getElementType());
    return tensor::ExtractSliceOp::create(emitter, type, source, offsets, sizes,
                                          strides(emitter));
  }
  Value insert(Emitter &emitter, Value part, Value target) const {
    return tensor::InsertSliceOp::create(emitter, part, target, offsets, sizes,
                                         strides(emitter));
  }

private:
  SmallVector<OpFoldResult> strides(Emitter &emitter) const {
    return SmallVector<OpFoldResult>(offsets.size(), emitter.getIndexAttr(1));
  }
};

} // namespace

/// The first `numIndices` dimensions at `indices`, all of the others.
static Slice sliceAt(Emitter &emitter, Value tensor, ValueRange indices) {
  Slice slice;
  for (Value index : indices)
    slice.addIndex(emitter, index);
  unsigned rank = cast<ShapedType>(tensor.getType()).getRank();
  for (unsigned dim = indices.size(); dim < rank; ++dim)
    slice.addRange(emitter.index(0), emitter.dim(tensor, dim));
  return slice;
}

/// The row of a slot over all heads. All dimensions of the pool stay, those
/// but `h`, `d` and the pack with size 1: with heads or entries of size 1 too,
/// a slice that drops some of them would be ambiguous.
static Slice sliceOfSlot(Emitter &emitter, const PoolView &pool, Slot slot) {
  Value zero = emitter.index(0), one = emitter.index(1);
  SmallVector<Value> indices = pool.indices(emitter, slot, zero, zero);
  LayoutAttr layout = pool.layout;
  Slice slice;
  for (auto [dim, index] : llvm::enumerate(indices)) {
    bool isPack = dim >= layout.getDims().size();
    if (isPack || dim == layout.getDim('h') || dim == layout.getDim('d'))
      slice.addRange(zero, emitter.dim(pool.buffer, dim));
    else
      slice.addRange(index, one);
  }
  return slice;
}

namespace {

/// Maps loops over heads and entries, ordered as in the pool, to the slice of
/// a slot and to a dense row [Hkv, D].
struct SlotMaps {
  AffineMap slot, row;

  explicit SlotMaps(LayoutAttr layout) {
    MLIRContext *context = layout.getContext();
    SmallVector<AffineExpr> slotExprs;
    AffineExpr head, d;
    unsigned numLoops = 0;
    for (char letter : layout.getDims()) {
      bool isLoop = letter == 'h' || letter == 'd';
      AffineExpr expr = isLoop ? getAffineDimExpr(numLoops++, context)
                               : getAffineConstantExpr(0, context);
      slotExprs.push_back(expr);
      if (isLoop)
        (letter == 'h' ? head : d) = expr;
    }
    if (layout.getPack() > 1) {
      slotExprs.push_back(getAffineDimExpr(numLoops++, context));
      d = d * layout.getPack() + slotExprs.back();
    }
    slot = AffineMap::get(numLoops, 0, slotExprs, context);
    row = AffineMap::get(numLoops, 0, {head, d}, context);
  }
};

} // namespace

/// target[targetMap] = source[sourceMap], converted to the target's type.
static Value emitConvert(Emitter &emitter, Value source, AffineMap sourceMap,
                         Value target, AffineMap targetMap) {
  Type type = cast<ShapedType>(target.getType()).getElementType();
  SmallVector<utils::IteratorType> iterators(sourceMap.getNumDims(),
                                             utils::IteratorType::parallel);
  auto body = [type](OpBuilder &builder, Location loc, ValueRange arguments) {
    Emitter inner(loc, builder);
    Value value = arguments.front();
    if (value.getType() != type)
      value = inner.fromF32(inner.toF32(value), type);
    linalg::YieldOp::create(inner, value);
  };
  return linalg::GenericOp::create(emitter, target.getType(), source, target,
                                   ArrayRef<AffineMap>{sourceMap, targetMap},
                                   iterators, body)
      .getResult(0);
}

//===----------------------------------------------------------------------===//
// append
//===----------------------------------------------------------------------===//

/// Writes row `token` of `source` [T, Hkv, D] into its slot of `pool`.
static Value emitRow(Emitter &emitter, Value source, PoolView pool, Value token,
                     Slot slot) {
  Value row = sliceAt(emitter, source, token).extract(emitter, source);
  Slice slice = sliceOfSlot(emitter, pool, slot);
  Value old = slice.extract(emitter, pool.buffer);
  SlotMaps maps(pool.layout);
  Value written = emitConvert(emitter, row, maps.row, old, maps.slot);
  return slice.insert(emitter, written, pool.buffer);
}

/// Writes one token's keys and values; `pools` are the pools so far.
static SmallVector<Value> emitToken(Emitter &emitter, AppendOp op, Value token,
                                    Slot slot, ValueRange pools) {
  SmallVector<Value> result(pools);
  PoolView keys{result.front(), op.getKeyLayout(), Part::Key, op.getLayer(),
                /*scale=*/{}};
  result.front() = emitRow(emitter, op.getKeys(), keys, token, slot);
  if (!op.getValues())
    return result;
  PoolView values{result.back(), op.getValueLayoutOrDefault(), Part::Value,
                  op.getLayer(), /*scale=*/{}};
  result.back() = emitRow(emitter, op.getValues(), values, token, slot);
  return result;
}

static SmallVector<Value> emitAppendBySlots(Emitter &emitter, AppendOp op,
                                            ValueRange pools, Value pageSize) {
  Value zero = emitter.index(0);
  auto writeToken = [&](Value token, ValueRange pools) {
    Value slot = emitter.loadIndex(op.getSlots(), token);
    Value taken = emitter.compare(arith::CmpIPredicate::sge, slot, zero);
    auto write = [&] {
      Slot place{emitter.div(slot, pageSize), emitter.rem(slot, pageSize)};
      return emitToken(emitter, op, token, place, pools);
    };
    auto skip = [&] { return SmallVector<Value>(pools); };
    return emitter.choose(taken, write, skip);
  };
  return emitter.loop(zero, emitter.dim(op.getKeys(), 0), pools, writeToken);
}

static SmallVector<Value> emitAppendByTable(Emitter &emitter, AppendOp op,
                                            ValueRange pools, Value pageSize) {
  Rows rows(emitter, op.getKvLens(), op.getQueryStarts(),
            emitter.dim(op.getKeys(), 0));
  PageTable table{op.getPageTable(), op.getPageIndices(), op.getPageIndptr()};
  auto writeSequence = [&](Value sequence, ValueRange pools) {
    Value begin = rows.begin(emitter, sequence);
    Value end = rows.begin(emitter, emitter.add(sequence, emitter.index(1)));
    // Row t of the sequence stands at L - n + (t - begin) = L - end + t.
    Value shift = emitter.sub(rows.kvLen(emitter, sequence), end);
    return emitter.loop(begin, end, pools, [&](Value token, ValueRange pools) {
      Value position = emitter.add(shift, token);
      Slot slot = table.locate(emitter, sequence, position, pageSize);
      return emitToken(emitter, op, token, slot, pools);
    });
  };
  return emitter.loop(emitter.index(0), rows.getNumSequences(), pools,
                      writeSequence);
}

static SmallVector<Value> emitAppend(Emitter &emitter, AppendOp op) {
  SmallVector<Value> pools{op.getKeyPool()};
  if (op.getValuePool())
    pools.push_back(op.getValuePool());
  Value pageSize = emitter.dim(op.getKeyPool(), op.getKeyLayout().getDim('s'));
  return op.getSlots() ? emitAppendBySlots(emitter, op, pools, pageSize)
                       : emitAppendByTable(emitter, op, pools, pageSize);
}

//===----------------------------------------------------------------------===//
// gather
//===----------------------------------------------------------------------===//

/// Writes 0 into out[sequence, begin:].
static Value emitZeroTail(Emitter &emitter, Value out, Value sequence,
                          Value begin) {
  Slice slice;
  slice.addIndex(emitter, sequence);
  slice.addRange(begin, emitter.sub(emitter.dim(out, 1), begin));
  for (unsigned dim : {2, 3})
    slice.addRange(emitter.index(0), emitter.dim(out, dim));
  Type type = cast<ShapedType>(out.getType()).getElementType();
  Value zero =
      arith::ConstantOp::create(emitter, emitter.getFloatAttr(type, 0.0));
  Value tail = slice.extract(emitter, out);
  Value filled = linalg::FillOp::create(emitter, zero, tail).getResult(0);
  return slice.insert(emitter, filled, out);
}

static SmallVector<Value> emitGather(Emitter &emitter, GatherOp op) {
  PoolView pool{op.getPool(), op.getLayout(), op.getPart(), op.getLayer(),
                /*scale=*/{}};
  PageTable table{op.getPageTable(), op.getPageIndices(), op.getPageIndptr()};
  SlotMaps maps(op.getLayout());
  Value zero = emitter.index(0), pageSize = pool.pageSize(emitter);

  auto readToken = [&](Value sequence, Value position, Value out) {
    Slot slot = table.locate(emitter, sequence, position, pageSize);
    Value row = sliceOfSlot(emitter, pool, slot).extract(emitter, pool.buffer);
    Slice slice = sliceAt(emitter, out, {sequence, position});
    Value old = slice.extract(emitter, out);
    Value written = emitConvert(emitter, row, maps.slot, old, maps.row);
    return slice.insert(emitter, written, out);
  };
  auto readSequence = [&](Value sequence, ValueRange outs) {
    Value kvLen = emitter.loadIndex(op.getKvLens(), sequence);
    Value end = emitter.min(kvLen, emitter.dim(op.getOut(), 1));
    SmallVector<Value> written =
        emitter.loop(zero, end, outs, [&](Value position, ValueRange outs) {
          return SmallVector<Value>{
              readToken(sequence, position, outs.front())};
        });
    return SmallVector<Value>{
        emitZeroTail(emitter, written.front(), sequence, end)};
  };
  return emitter.loop(zero, emitter.dim(op.getOut(), 0), op.getOut(),
                      readSequence);
}

//===----------------------------------------------------------------------===//
// copy_pages
//===----------------------------------------------------------------------===//

/// Copies page `source` to `target` element by element: a read that is done
/// before the write needs no second buffer, whatever the pages are.
static Value emitCopyPage(Emitter &emitter, Value pool, unsigned pageDim,
                          Value source, Value target,
                          SmallVector<Value> indices) {
  unsigned dim = indices.size();
  if (dim == pageDim) {
    indices.push_back(source);
    return emitCopyPage(emitter, pool, pageDim, source, target, indices);
  }
  if (dim == cast<ShapedType>(pool.getType()).getRank()) {
    Value value = emitter.load(pool, indices);
    indices[pageDim] = target;
    return tensor::InsertOp::create(emitter, value, pool, indices);
  }
  auto body = [&](Value i, ValueRange pools) {
    SmallVector<Value> inner = indices;
    inner.push_back(i);
    return SmallVector<Value>{
        emitCopyPage(emitter, pools.front(), pageDim, source, target, inner)};
  };
  return emitter.loop(emitter.index(0), emitter.dim(pool, dim), pool, body)
      .front();
}

static SmallVector<Value> emitCopyPages(Emitter &emitter, CopyPagesOp op) {
  Value zero = emitter.index(0), one = emitter.index(1);
  unsigned pageDim = op.getLayout().getDim('p');
  auto copyRow = [&](Value row, ValueRange pools) {
    Value source = emitter.loadIndex(op.getPairs(), {row, zero});
    Value target = emitter.loadIndex(op.getPairs(), {row, one});
    Value taken = emitter.compare(arith::CmpIPredicate::sge, source, zero);
    auto copy = [&] {
      return SmallVector<Value>{emitCopyPage(emitter, pools.front(), pageDim,
                                             source, target, /*indices=*/{})};
    };
    auto skip = [&] { return SmallVector<Value>(pools); };
    return emitter.choose(taken, copy, skip);
  };
  return emitter.loop(zero, emitter.dim(op.getPairs(), 0), op.getPool(),
                      copyRow);
}

//===----------------------------------------------------------------------===//
// merge_states
//===----------------------------------------------------------------------===//

namespace {

/// What the parts of one row and head weigh.
struct Weights {
  SmallVector<Value> values; ///< exp(lse_i - lse)
  SmallVector<Value> empty;  ///< lse_i is -inf
  Value lse;
};

} // namespace

/// In base 2, which needs no libm once paged-attn-lower-math has run.
static Weights emitWeights(Emitter &emitter, MergeStatesOp op, Value token,
                           Value head) {
  Weights weights;
  Value minusInfinity = emitter.negativeInfinity(), zero = emitter.f32(0.0f);
  Value m = minusInfinity;
  SmallVector<Value> lses;
  for (Value lse : op.getLses()) {
    lses.push_back(emitter.load(lse, {token, head}));
    weights.empty.push_back(
        emitter.compare(arith::CmpFPredicate::OEQ, lses.back(), minusInfinity));
    m = arith::MaximumFOp::create(emitter, m, lses.back());
  }
  // All empty: no -inf - -inf, and a sum of 1 instead of 0.
  Value allEmpty = emitter.compare(arith::CmpFPredicate::OEQ, m, minusInfinity);
  Value base = emitter.select(allEmpty, zero, m);
  Value sum = zero, log2e = emitter.f32(llvm::numbers::log2ef);
  for (Value lse : lses) {
    Value exponent = arith::MulFOp::create(
        emitter, arith::SubFOp::create(emitter, lse, base), log2e);
    weights.values.push_back(math::Exp2Op::create(emitter, exponent));
    sum = arith::AddFOp::create(emitter, sum, weights.values.back());
  }
  sum = emitter.select(allEmpty, emitter.f32(1.0f), sum);
  for (Value &weight : weights.values)
    weight = arith::DivFOp::create(emitter, weight, sum);
  Value logarithm =
      arith::MulFOp::create(emitter, math::Log2Op::create(emitter, sum),
                            emitter.f32(llvm::numbers::ln2f));
  weights.lse = arith::AddFOp::create(emitter, m, logarithm);
  return weights;
}

/// out[token, head, :] = sum_i weight_i part_i[token, head, :]
static Value emitWeightedSum(Emitter &emitter, MergeStatesOp op, Value token,
                             Value head, const Weights &weights, Value out) {
  SmallVector<Value> rows;
  for (Value part : op.getParts())
    rows.push_back(
        sliceAt(emitter, part, {token, head}).extract(emitter, part));
  Type type = cast<ShapedType>(out.getType()).getElementType();
  auto body = [&](OpBuilder &builder, Location loc, ValueRange arguments) {
    Emitter inner(loc, builder);
    Value zero = inner.f32(0.0f), sum = zero;
    for (auto [weight, empty, value] :
         llvm::zip(weights.values, weights.empty, arguments.drop_back())) {
      Value read = inner.select(empty, zero, inner.toF32(value));
      sum = arith::AddFOp::create(inner, sum,
                                  arith::MulFOp::create(inner, weight, read));
    }
    linalg::YieldOp::create(inner, inner.fromF32(sum, type));
  };
  Slice slice = sliceAt(emitter, out, {token, head});
  Value old = slice.extract(emitter, out);
  SmallVector<AffineMap> maps(rows.size() + 1,
                              emitter.getMultiDimIdentityMap(1));
  auto sum = linalg::GenericOp::create(emitter, old.getType(), rows, old, maps,
                                       utils::IteratorType::parallel, body);
  return slice.insert(emitter, sum.getResult(0), out);
}

static SmallVector<Value> emitMergeStates(Emitter &emitter, MergeStatesOp op) {
  SmallVector<Value> outs{op.getOut()};
  if (op.getLse())
    outs.push_back(op.getLse());
  Value zero = emitter.index(0);
  auto mergeHead = [&](Value token, Value head, ValueRange outs) {
    Weights weights = emitWeights(emitter, op, token, head);
    SmallVector<Value> result{
        emitWeightedSum(emitter, op, token, head, weights, outs.front())};
    if (op.getLse())
      result.push_back(tensor::InsertOp::create(
          emitter, weights.lse, outs.back(), ValueRange{token, head}));
    return result;
  };
  return emitter.loop(zero, emitter.dim(op.getOut(), 0), outs,
                      [&](Value token, ValueRange outs) {
                        return emitter.loop(
                            zero, emitter.dim(op.getOut(), 1), outs,
                            [&](Value head, ValueRange outs) {
                              return mergeHead(token, head, outs);
                            });
                      });
}

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

namespace {

template <typename OpTy>
struct AuxiliaryOpPattern : public OpRewritePattern<OpTy> {
  /// Emits the op's loops and returns what replaces its results.
  using EmitFn = SmallVector<Value> (*)(Emitter &, OpTy);

  AuxiliaryOpPattern(MLIRContext *context, EmitFn emit)
      : OpRewritePattern<OpTy>(context), emit(emit) {}

  LogicalResult matchAndRewrite(OpTy op,
                                PatternRewriter &rewriter) const final {
    if (!op.hasPureTensors())
      op = cast<OpTy>(wrapBuffers(op, rewriter));
    rewriter.setInsertionPoint(op);
    Emitter emitter(op.getLoc(), rewriter);
    rewriter.replaceOp(op, emit(emitter, op));
    return success();
  }

private:
  EmitFn emit;
};

} // namespace

void paged_attn::populateAuxiliaryOpPatterns(RewritePatternSet &patterns) {
  MLIRContext *context = patterns.getContext();
  patterns.add<AuxiliaryOpPattern<AppendOp>>(context, emitAppend);
  patterns.add<AuxiliaryOpPattern<GatherOp>>(context, emitGather);
  patterns.add<AuxiliaryOpPattern<CopyPagesOp>>(context, emitCopyPages);
  patterns.add<AuxiliaryOpPattern<MergeStatesOp>>(context, emitMergeStates);
}
