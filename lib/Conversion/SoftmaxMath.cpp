//===- SoftmaxMath.cpp - Scalars of online softmax ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3: what every target shares; see the header.
//
//===----------------------------------------------------------------------===//

#include "SoftmaxMath.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"

#include <limits>

using namespace mlir;
using namespace mlir::paged_attn;

constexpr double kLog2E = 1.4426950408889634;
constexpr double kLn2 = 0.6931471805599453;
constexpr double kNegInf = -std::numeric_limits<double>::infinity();

static Value constant(OpBuilder &builder, Location loc, double value) {
  return arith::ConstantOp::create(builder, loc,
                                   builder.getF32FloatAttr(value));
}

Value paged_attn::emitMax(OpBuilder &builder, Location loc, Value a, Value b) {
  Value isGreater =
      arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGT, a, b);
  return arith::SelectOp::create(builder, loc, isGreater, a, b);
}

Value paged_attn::emitFinite(OpBuilder &builder, Location loc, Value x) {
  float lowest = std::numeric_limits<float>::lowest();
  Value least =
      arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(lowest));
  Value zero =
      arith::ConstantOp::create(builder, loc, builder.getF32FloatAttr(0.0));
  Value isFinite =
      arith::CmpFOp::create(builder, loc, arith::CmpFPredicate::OGE, x, least);
  return arith::SelectOp::create(builder, loc, isFinite, x, zero);
}

Value paged_attn::emitExp2Difference(OpBuilder &builder, Location loc, Value a,
                                     Value b) {
  Value difference = arith::SubFOp::create(builder, loc, a, b);
  return math::Exp2Op::create(builder, loc, difference);
}

/// Whether the mask and [begin, end) let the row see the key: an i1.
static Value emitVisible(OpBuilder &b, Location loc, MaskAttr mask,
                         const ScoreInputs &inputs) {
  Value p = inputs.p, j = inputs.j;
  Type i32 = b.getI32Type();
  // Positions are below 2^31 - 1: a larger size hides nothing.
  auto constant = [&](int64_t value) -> Value {
    int64_t most = std::numeric_limits<int32_t>::max();
    return arith::ConstantOp::create(
        b, loc, b.getI32IntegerAttr(std::min(value, most)));
  };
  auto compare = [&](arith::CmpIPredicate predicate, Value x,
                     Value y) -> Value {
    return arith::CmpIOp::create(b, loc, predicate, x, y);
  };
  auto both = [&](Value x, Value y) -> Value {
    return arith::AndIOp::create(b, loc, x, y);
  };
  Value begin = arith::IndexCastOp::create(b, loc, i32, inputs.begin);
  Value end = arith::IndexCastOp::create(b, loc, i32, inputs.end);
  Value visible = both(compare(arith::CmpIPredicate::sge, j, begin),
                       compare(arith::CmpIPredicate::slt, j, end));
  if (!mask)
    return visible;
  if (mask.getCausal())
    visible = both(visible, compare(arith::CmpIPredicate::sle, j, p));
  if (int64_t window = mask.getWindow()) {
    // j > p - W as p - j < W, which cannot overflow.
    Value distance = arith::SubIOp::create(b, loc, p, j);
    Value inside =
        compare(arith::CmpIPredicate::slt, distance, constant(window));
    if (int64_t sinks = mask.getSinkTokens())
      inside = arith::OrIOp::create(
          b, loc, inside,
          compare(arith::CmpIPredicate::slt, j, constant(sinks)));
    visible = both(visible, inside);
  }
  if (int64_t chunk = mask.getChunk()) {
    // j / C == p / C as 0 <= j - (p - p % C) < C.
    Value rest = arith::RemSIOp::create(b, loc, p, constant(chunk));
    Value first = arith::SubIOp::create(b, loc, p, rest);
    Value distance = arith::SubIOp::create(b, loc, j, first);
    visible = both(visible, both(compare(arith::CmpIPredicate::sge, j, first),
                                 compare(arith::CmpIPredicate::slt, distance,
                                         constant(chunk))));
  }
  return visible;
}

Value paged_attn::emitScore(OpBuilder &b, Location loc, OnlineUpdateOp op,
                            const ScoreInputs &inputs) {
  Value s = inputs.product;
  if (std::optional<APFloat> softcap = op.getSoftcap()) {
    Value factor = constant(b, loc, softcap->convertToFloat() * kLog2E);
    Value bounded = math::TanhOp::create(b, loc, s);
    s = arith::MulFOp::create(b, loc, bounded, factor);
  }
  if (inputs.slope) {
    Value distance = arith::SubIOp::create(b, loc, inputs.j, inputs.p);
    Value wide = arith::SIToFPOp::create(b, loc, b.getF32Type(), distance);
    Value bias = arith::MulFOp::create(b, loc, inputs.slope, wide);
    s = arith::AddFOp::create(b, loc, s, bias);
  }
  if (op.getMaskKind() != MaskKind::Boundary)
    return s;
  Value visible = emitVisible(b, loc, op.getMaskAttr(), inputs);
  return arith::SelectOp::create(b, loc, visible, s, constant(b, loc, kNegInf));
}

/// The sum and its maximum with a sink in: denominator = l 2^(m - M) + 2^(sink
/// - M), M = max(m, sink). Without one: l and m.
static std::pair<Value, Value> emitDenominator(OpBuilder &b, Location loc,
                                               Value m, Value l, Value sink) {
  if (!sink)
    return {l, m};
  Value top = emitMax(b, loc, m, sink);
  Value safe = emitFinite(b, loc, top);
  Value own =
      arith::MulFOp::create(b, loc, l, emitExp2Difference(b, loc, m, safe));
  Value sum = arith::AddFOp::create(b, loc, own,
                                    emitExp2Difference(b, loc, sink, safe));
  return {sum, top};
}

Value paged_attn::emitOutputFactor(OpBuilder &b, Location loc, Value m, Value l,
                                   Value sink) {
  auto [sum, top] = emitDenominator(b, loc, m, l, sink);
  Value numerator = constant(b, loc, 1.0);
  if (sink)
    numerator = emitExp2Difference(b, loc, m, emitFinite(b, loc, top));
  Value zero = constant(b, loc, 0.0);
  Value isEmpty =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, sum, zero);
  Value quotient = arith::DivFOp::create(b, loc, numerator, sum);
  return arith::SelectOp::create(b, loc, isEmpty, zero, quotient);
}

Value paged_attn::emitLse(OpBuilder &b, Location loc, Value m, Value l,
                          Value sink) {
  auto [sum, top] = emitDenominator(b, loc, m, l, sink);
  Value logarithm = math::Log2Op::create(b, loc, sum);
  Value total = arith::AddFOp::create(b, loc, top, logarithm);
  Value lse = arith::MulFOp::create(b, loc, total, constant(b, loc, kLn2));
  Value isEmpty = arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, sum,
                                        constant(b, loc, 0.0));
  return arith::SelectOp::create(b, loc, isEmpty, constant(b, loc, kNegInf),
                                 lse);
}
