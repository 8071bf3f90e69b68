//===- StateOps.cpp - Online softmax as linalg ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3a: online_update, combine and finalize. Every op writes a slice
// it owns after the last read of the old value, so that one-shot
// bufferization needs no copy: the factor 2^(m - m') is made before m is
// overwritten.
//
//===----------------------------------------------------------------------===//

#include "TileOps.h"

#include "../../Transforms/IndexMath.h"
#include "../SoftmaxMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::paged_attn;

constexpr double kNegInf = -std::numeric_limits<double>::infinity();

/// Dimensions that an operand of `LinalgMath::elementwise` has.
constexpr int64_t kRows[] = {0}, kColumns[] = {1}, kAll[] = {0, 1};

static ArrayRef<int64_t> shapeOf(Value value) {
  return cast<RankedTensorType>(value.getType()).getShape();
}

namespace {

/// Rows [first, first + count) of tile buffers.
struct RowSlice {
  OpBuilder &builder;
  Location loc;
  OpFoldResult first;
  int64_t count;

  Value take(Value source) {
    LinalgMath linalg(builder, loc);
    ArrayRef<int64_t> shape = shapeOf(source);
    SmallVector<OpFoldResult> offsets{first}, sizes{linalg.index(count)};
    SmallVector<int64_t> result{count};
    for (int64_t size : shape.drop_front()) {
      offsets.push_back(linalg.index(0));
      sizes.push_back(linalg.index(size));
      result.push_back(size);
    }
    return linalg.extract(source, offsets, sizes, result);
  }
  Value put(Value piece, Value target) {
    LinalgMath linalg(builder, loc);
    ArrayRef<int64_t> shape = shapeOf(target);
    SmallVector<OpFoldResult> offsets{first}, sizes{linalg.index(count)};
    for (int64_t size : shape.drop_front()) {
      offsets.push_back(linalg.index(0));
      sizes.push_back(linalg.index(size));
    }
    return linalg.insert(piece, target, offsets, sizes);
  }
};

/// The state of some rows.
struct RowState {
  Value acc, m, l;
};

} // namespace

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

/// Softcap, ALiBi and mask of scores [rows, W]; the scores themselves when
/// there is none.
static Value emitScores(OpBuilder &builder, OnlineUpdateOp op, RowSlice rows,
                        Value scores) {
  Location loc = op.getLoc();
  bool isBoundary = op.getMaskKind() == MaskKind::Boundary;
  if (!op.getSoftcap() && !op.getSlopes() && !isBoundary)
    return scores;
  int64_t width = shapeOf(scores)[1];
  SmallVector<int32_t> iota(llvm::to_vector(llvm::seq<int32_t>(0, width)));
  auto iotaType = RankedTensorType::get({width}, builder.getI32Type());
  Value columns = arith::ConstantOp::create(
      builder, loc, DenseElementsAttr::get(iotaType, ArrayRef<int32_t>(iota)));
  Value base = arith::IndexCastOp::create(builder, loc, builder.getI32Type(),
                                          op.getPos());
  SmallVector<Value> ins{rows.take(op.getQPositions()), columns};
  SmallVector<ArrayRef<int64_t>> dims{kRows, kColumns};
  if (op.getSlopes()) {
    ins.push_back(rows.take(op.getSlopes()));
    dims.push_back(kRows);
  }
  dims.push_back(kAll);
  auto body = [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
    Value j = arith::AddIOp::create(b, loc, args[1], base);
    Value slope = op.getSlopes() ? args[2] : Value();
    return emitScore(
        b, loc, op,
        {args.back(), args[0], j, slope, op.getBegin(), op.getEnd()});
  };
  return LinalgMath(builder, loc).elementwise(ins, scores, dims, body);
}

//===----------------------------------------------------------------------===//
// online_update
//===----------------------------------------------------------------------===//

/// One block of rows:
///   1. S = Q K, softcap, bias, mask
///   2. t = max_c S;  a = 2^(m - max(m, t));  m = max(m, t)
///   3. P = 2^(S - m);  l = a l + sum_c P
///   4. acc = a acc + P V
static RowState updateRows(OpBuilder &builder, OnlineUpdateOp op, RowSlice rows,
                           RowState state) {
  Location loc = op.getLoc();
  LinalgMath linalg(builder, loc);
  int64_t block = rows.count, width = shapeOf(op.getKeys())[1];
  Value query = rows.take(op.getQuery());
  Value scores = linalg.fill(0.0, linalg.scratch({block, width}));
  scores = linalg::MatmulOp::create(builder, loc, TypeRange{scores.getType()},
                                    ValueRange{query, op.getKeys()}, scores)
               .getResult(0);
  scores = emitScores(builder, op, rows, scores);

  Value top = linalg.fill(kNegInf, linalg.scratch({block}));
  top = linalg.reduceColumns(
      scores, top, [](OpBuilder &b, Location loc, ValueRange args) -> Value {
        return arith::MaximumFOp::create(b, loc, args[0], args[1]);
      });
  Value decay = linalg.elementwise(
      {state.m, top}, linalg.scratch({block}), {kRows, kRows, kRows},
      [](OpBuilder &b, Location loc, ValueRange args) -> Value {
        Value m = emitMax(b, loc, args[0], args[1]);
        return emitExp2Difference(b, loc, args[0], emitFinite(b, loc, m));
      });
  state.m = linalg.elementwise(
      top, state.m, {kRows, kRows},
      [](OpBuilder &b, Location loc, ValueRange args) -> Value {
        return emitMax(b, loc, args[0], args[1]);
      });
  Value finite = linalg.elementwise(
      state.m, top, {kRows, kRows},
      [](OpBuilder &b, Location loc, ValueRange args) -> Value {
        return emitFinite(b, loc, args[0]);
      });
  Value weights = linalg.elementwise(
      finite, scores, {kRows, kAll},
      [](OpBuilder &b, Location loc, ValueRange args) -> Value {
        return emitExp2Difference(b, loc, args[1], args[0]);
      });
  auto scaleBy = [](OpBuilder &b, Location loc, ValueRange args) -> Value {
    return arith::MulFOp::create(b, loc, args[1], args[0]);
  };
  state.l = linalg.elementwise(decay, state.l, {kRows, kRows}, scaleBy);
  state.l = linalg.reduceColumns(
      weights, state.l,
      [](OpBuilder &b, Location loc, ValueRange args) -> Value {
        return arith::AddFOp::create(b, loc, args[0], args[1]);
      });
  state.acc = linalg.elementwise(decay, state.acc, {kRows, kAll}, scaleBy);
  state.acc =
      linalg::MatmulOp::create(builder, loc, TypeRange{state.acc.getType()},
                               ValueRange{weights, op.getValues()}, state.acc)
          .getResult(0);
  return state;
}

FailureOr<SmallVector<Value>>
paged_attn::lowerOnlineUpdate(RewriterBase &rewriter, OnlineUpdateOp op) {
  Location loc = op.getLoc();
  IndexMath math(rewriter, loc);
  int64_t block = op.getRowBlock();
  auto body = [&](OpBuilder &nested, Location loc, Value row,
                  ValueRange carried) {
    RowSlice rows{nested, loc, row, block};
    RowState state{rows.take(carried[0]), rows.take(carried[1]),
                   rows.take(carried[2])};
    state = updateRows(nested, op, rows, state);
    scf::YieldOp::create(nested, loc,
                         ValueRange{rows.put(state.acc, carried[0]),
                                    rows.put(state.m, carried[1]),
                                    rows.put(state.l, carried[2])});
  };
  auto loop = scf::ForOp::create(
      rewriter, loc, math.constant(0), op.getRows(), math.constant(block),
      ValueRange{op.getAcc(), op.getM(), op.getL()}, body);
  return SmallVector<Value>(loop.getResults());
}

//===----------------------------------------------------------------------===//
// combine
//===----------------------------------------------------------------------===//

/// The factor 2^(x - max(m, m_k)) of both states, made before m changes.
static Value emitCombineFactor(LinalgMath &linalg, Value m, Value other,
                               bool ofOther, int64_t rows) {
  return linalg.elementwise(
      {m, other}, linalg.scratch({rows}), {kRows, kRows, kRows},
      [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
        Value top = emitFinite(b, loc, emitMax(b, loc, args[0], args[1]));
        return emitExp2Difference(b, loc, args[ofOther ? 1 : 0], top);
      });
}

FailureOr<SmallVector<Value>> paged_attn::lowerCombine(RewriterBase &rewriter,
                                                       CombineOp op) {
  Location loc = op.getLoc();
  IndexMath math(rewriter, loc);
  int64_t rows = shapeOf(op.getAcc())[0], dim = shapeOf(op.getAcc())[1];
  Value count = rewriter.createOrFold<tensor::DimOp>(loc, op.getAccs(), 0);
  auto weighted = [](OpBuilder &b, Location loc, ValueRange args) -> Value {
    // own factor, other's factor, other's value, own value
    Value other = arith::MulFOp::create(b, loc, args[1], args[2]);
    Value own = arith::MulFOp::create(b, loc, args[0], args[3]);
    return arith::AddFOp::create(b, loc, own, other);
  };
  auto body = [&](OpBuilder &nested, Location loc, Value k,
                  ValueRange carried) {
    LinalgMath linalg(nested, loc);
    OpFoldResult zero = linalg.index(0), one = linalg.index(1);
    OpFoldResult numRows = linalg.index(rows), width = linalg.index(dim);
    Value acc = linalg.extract(op.getAccs(), {k, zero, zero},
                               {one, numRows, width}, {rows, dim});
    Value m = linalg.extract(op.getMs(), {k, zero}, {one, numRows}, {rows});
    Value l = linalg.extract(op.getLs(), {k, zero}, {one, numRows}, {rows});
    Value own = emitCombineFactor(linalg, carried[1], m, false, rows);
    Value other = emitCombineFactor(linalg, carried[1], m, true, rows);
    Value newAcc = linalg.elementwise({own, other, acc}, carried[0],
                                      {kRows, kRows, kAll, kAll}, weighted);
    Value newM = linalg.elementwise(
        m, carried[1], {kRows, kRows},
        [](OpBuilder &b, Location loc, ValueRange args) -> Value {
          return emitMax(b, loc, args[0], args[1]);
        });
    Value newL = linalg.elementwise({own, other, l}, carried[2],
                                    {kRows, kRows, kRows, kRows}, weighted);
    scf::YieldOp::create(nested, loc, ValueRange{newAcc, newM, newL});
  };
  auto loop = scf::ForOp::create(
      rewriter, loc, math.constant(0), count, math.constant(1),
      ValueRange{op.getAcc(), op.getM(), op.getL()}, body);
  return SmallVector<Value>(loop.getResults());
}

//===----------------------------------------------------------------------===//
// finalize
//===----------------------------------------------------------------------===//

FailureOr<SmallVector<Value>> paged_attn::lowerFinalize(RewriterBase &rewriter,
                                                        FinalizeOp op) {
  Location loc = op.getLoc();
  IndexMath math(rewriter, loc);
  int64_t group = shapeOf(op.getOut())[1], dim = shapeOf(op.getOut())[2];
  Type outType = getElementTypeOrSelf(op.getOut());
  Value count = rewriter.createOrFold<tensor::DimOp>(loc, op.getOut(), 0);
  SmallVector<Value> inits{op.getOut()};
  if (op.getLse())
    inits.push_back(op.getLse());
  auto body = [&](OpBuilder &nested, Location loc, Value token,
                  ValueRange carried) {
    LinalgMath linalg(nested, loc);
    IndexMath math(nested, loc);
    RowSlice rows{nested, loc, getAsOpFoldResult(math.mul(token, group)),
                  group};
    SmallVector<Value> state{rows.take(op.getM()), rows.take(op.getL())};
    SmallVector<ArrayRef<int64_t>> dims(op.getSinks() ? 4 : 3, kRows);
    if (op.getSinks())
      state.push_back(rows.take(op.getSinks()));
    auto withSink = [&](auto emit) {
      return [&, emit](OpBuilder &b, Location loc, ValueRange args) -> Value {
        return emit(b, loc, args[0], args[1],
                    op.getSinks() ? args[2] : Value());
      };
    };
    Value factor = linalg.elementwise(state, linalg.scratch({group}), dims,
                                      withSink(emitOutputFactor));
    OpFoldResult zero = linalg.index(0), one = linalg.index(1);
    OpFoldResult heads = linalg.index(group), width = linalg.index(dim);
    SmallVector<Value> done;
    Value out = linalg.extract(carried[0], {token, zero, zero},
                               {one, heads, width}, {group, dim});
    out = linalg.elementwise(
        {rows.take(op.getAcc()), factor}, out, {kAll, kRows, kAll},
        [&](OpBuilder &b, Location loc, ValueRange args) -> Value {
          Value o = arith::MulFOp::create(b, loc, args[0], args[1]);
          return emitFloatCast(b, loc, o, outType);
        });
    done.push_back(linalg.insert(out, carried[0], {token, zero, zero},
                                 {one, heads, width}));
    if (op.getLse()) {
      Value lse =
          linalg.extract(carried[1], {token, zero}, {one, heads}, {group});
      lse = linalg.elementwise(state, lse, dims, withSink(emitLse));
      done.push_back(
          linalg.insert(lse, carried[1], {token, zero}, {one, heads}));
    }
    scf::YieldOp::create(nested, loc, done);
  };
  auto loop = scf::ForOp::create(rewriter, loc, math.constant(0), count,
                                 math.constant(1), inits, body);
  return SmallVector<Value>(loop.getResults());
}
