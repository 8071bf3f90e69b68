//===- LowerMath.cpp - Level 4: exp2, tanh and log2 as polynomials --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Replaces math.exp2, math.tanh and math.log2 on f32 scalars and vectors by
// arithmetic and math.fma, so that no call of libm stands in a kernel (on a CPU
// without FMA the code generator splits those: EmitObject.cpp). f16 and bf16
// go through f32. The bounds in Passes.td are checked by a test.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/IR/TypeUtilities.h"

#include <limits>

namespace mlir::paged_attn {
#define GEN_PASS_DEF_LOWERMATHPASS
#include "paged_attn/Transforms/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int32_t kMantissaBits = 23;

/// On a math.exp2 whose operand is known to be at most 0, or NaN.
constexpr StringLiteral kNonPositiveName = "paged_attn.nonpositive";

/// Adding and subtracting 1.5 * 2^23 rounds |x| < 2^22 to the nearest integer,
/// which then stands in the low bits of the sum.
constexpr float kRoundShift = 12582912.0f;

/// 2^f on [-0.5, 0.5], Chebyshev of degree 6 with c0 = 1, so 2^0 is exact.
constexpr float kExp2[] = {1.0f,
                           0.6931471825f,
                           0.2402265072f,
                           0.05550327152f,
                           0.009618056938f,
                           0.0013400428f,
                           0.0001546144485f};

/// tanh(x) = x + x z p(z), z = x^2, for |x| < kTanhSmall: Chebyshev of degree 5
/// in z, on [0, kTanhSmall^2].
constexpr float kTanhSmall = 0.625f;
constexpr float kTanh[] = {-0.3333333317f, 0.1333330356f,    -0.05395925958f,
                           0.02176891865f, -0.008343945513f, 0.002292744813f};

/// log2(m) = s q(s^2), s = (m - 1) / (m + 1), for m in [sqrt(1/2), sqrt(2)):
/// 2 / (ln 2 (2 k + 1)), the series of atanh.
constexpr float kLog2[] = {2.885390082f, 0.961796694f, 0.577078016f,
                           0.412198583f, 0.320598898f};

/// Emits arithmetic on values of one shape: f32 or i32 scalars or vectors.
class MathEmitter {
public:
  MathEmitter(ImplicitLocOpBuilder &builder, Type f32Like, bool keepExp2)
      : b(builder), keepExp2(keepExp2), floatType(f32Like),
        intType(withElementType(f32Like, builder.getI32Type())) {}

  Value exp2(Value x);
  Value exp2NonPositive(Value x);
  Value tanh(Value x);
  Value log2(Value x);
  Value exp(Value x) { return exp2(mul(x, constant(1.4426950409f))); }
  Value log(Value x) { return mul(log2(x), constant(0.6931471806f)); }

  /// `like` with another element type: scalar or vector.
  static Type withElementType(Type like, Type element) {
    if (auto vector = dyn_cast<VectorType>(like))
      return vector.clone(element);
    return element;
  }

private:
  Value constant(float value) {
    return splat(floatType, b.getF32FloatAttr(value));
  }
  Value constant(int32_t value) {
    return splat(intType, b.getI32IntegerAttr(value));
  }
  Value splat(Type type, TypedAttr value) {
    if (auto vector = dyn_cast<VectorType>(type))
      value = DenseElementsAttr::get(vector, Attribute(value));
    return arith::ConstantOp::create(b, value);
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, x, y); }
  Value bits(Value x) { return arith::BitcastOp::create(b, intType, x); }
  Value fromBits(Value x) { return arith::BitcastOp::create(b, floatType, x); }
  /// `x <predicate> bound ? yes : no`.
  Value choose(arith::CmpFPredicate predicate, Value x, float bound, Value yes,
               Value no) {
    Value is = arith::CmpFOp::create(b, predicate, x, constant(bound));
    return arith::SelectOp::create(b, is, yes, no);
  }
  /// c0 + c1 x + c2 x^2 + ..., by Horner.
  Value polynomial(Value x, ArrayRef<float> coefficients) {
    Value sum = constant(coefficients.back());
    for (float c : llvm::reverse(coefficients.drop_back()))
      sum = math::FmaOp::create(b, sum, x, constant(c));
    return sum;
  }

  ImplicitLocOpBuilder &b;
  bool keepExp2; ///< exp2 is an instruction of the target
  Type floatType, intType;
};

/// 2^x = 2^n 2^f, n the nearest integer. n is added to the exponent of 2^f as
/// an integer, which reaches all of [-126, 128).
Value MathEmitter::exp2(Value x) {
  if (keepExp2)
    return math::Exp2Op::create(b, x);
  Value shifted = add(x, constant(kRoundShift));
  Value fraction = sub(x, sub(shifted, constant(kRoundShift)));
  Value power = polynomial(fraction, kExp2);
  Value exponent =
      arith::ShLIOp::create(b, bits(shifted), constant(kMantissaBits));
  Value result = fromBits(arith::AddIOp::create(b, bits(power), exponent));
  result =
      choose(arith::CmpFPredicate::OLT, x, -126.0f, constant(0.0f), result);
  // x + inf is inf above the range and NaN for NaN.
  return choose(arith::CmpFPredicate::OLT, x, 128.0f, result,
                add(x, constant(kInfinity)));
}

/// The same for x <= 0 or NaN in fewer steps: rounded with the bias of the
/// exponent added, n makes the factor 2^n, by which a NaN stays one.
Value MathEmitter::exp2NonPositive(Value x) {
  constexpr float kShift = kRoundShift + 127.0f;
  Value shifted = add(x, constant(kShift));
  Value fraction = sub(x, sub(shifted, constant(kShift)));
  Value factor = fromBits(
      arith::ShLIOp::create(b, bits(shifted), constant(kMantissaBits)));
  Value result = mul(polynomial(fraction, kExp2), factor);
  return choose(arith::CmpFPredicate::OLT, x, -126.0f, constant(0.0f), result);
}

/// tanh(x) = sign(x) (1 - e) / (1 + e), e = 2^(-2 |x| log2(e)); near 0, where
/// that cancels, an odd polynomial.
Value MathEmitter::tanh(Value x) {
  constexpr float kMinusTwoLog2E = -2.885390082f;
  Value sign = arith::AndIOp::create(
      b, bits(x), constant(std::numeric_limits<int32_t>::min()));
  Value magnitude = fromBits(arith::AndIOp::create(
      b, bits(x), constant(std::numeric_limits<int32_t>::max())));
  Value e = exp2(mul(magnitude, constant(kMinusTwoLog2E)));
  Value one = constant(1.0f);
  Value large = arith::DivFOp::create(b, sub(one, e), add(one, e));

  Value square = mul(x, x);
  Value small =
      math::FmaOp::create(b, mul(x, square), polynomial(square, kTanh), x);
  Value result =
      choose(arith::CmpFPredicate::OLT, magnitude, kTanhSmall, small, large);
  return fromBits(arith::OrIOp::create(b, bits(result), sign));
}

/// log2(x) = e + log2(m), x = 2^e m.
Value MathEmitter::log2(Value x) {
  constexpr float kSmallestNormal = std::numeric_limits<float>::min();
  constexpr float kTwo23 = 8388608.0f;
  constexpr int32_t kSqrtHalfBits = 0x3f3504f3;
  Value normal = choose(arith::CmpFPredicate::OLT, x, kSmallestNormal,
                        mul(x, constant(kTwo23)), x);
  Value bias = choose(arith::CmpFPredicate::OLT, x, kSmallestNormal,
                      constant(-23.0f), constant(0.0f));

  Value shift = constant(kMantissaBits);
  Value exponent = arith::ShRSIOp::create(
      b, arith::SubIOp::create(b, bits(normal), constant(kSqrtHalfBits)),
      shift);
  Value mantissa = fromBits(arith::SubIOp::create(
      b, bits(normal), arith::ShLIOp::create(b, exponent, shift)));
  exponent = add(arith::SIToFPOp::create(b, floatType, exponent), bias);

  Value one = constant(1.0f);
  Value s = arith::DivFOp::create(b, sub(mantissa, one), add(mantissa, one));
  Value result =
      math::FmaOp::create(b, s, polynomial(mul(s, s), kLog2), exponent);

  Value invalid = choose(arith::CmpFPredicate::OEQ, x, 0.0f,
                         constant(-kInfinity), constant(kNaN));
  result = choose(arith::CmpFPredicate::OGT, x, 0.0f, result, invalid);
  return choose(arith::CmpFPredicate::OEQ, x, kInfinity, x, result);
}

/// Replaces `op`, whose operand is f32, f16 or bf16, scalar or vector.
void lower(RewriterBase &rewriter, Operation *op, bool keepExp2) {
  Type type = op->getResult(0).getType();
  ImplicitLocOpBuilder b(op->getLoc(), op);
  Type wide = MathEmitter::withElementType(type, b.getF32Type());
  Value x = op->getOperand(0);
  if (type != wide)
    x = arith::ExtFOp::create(b, wide, x);
  MathEmitter emitter(b, wide, keepExp2);
  bool isNonPositive = op->hasAttr(kNonPositiveName);
  Value result = isNonPositive           ? emitter.exp2NonPositive(x)
                 : isa<math::Exp2Op>(op) ? emitter.exp2(x)
                 : isa<math::TanhOp>(op) ? emitter.tanh(x)
                 : isa<math::Log2Op>(op) ? emitter.log2(x)
                 : isa<math::ExpOp>(op)  ? emitter.exp(x)
                                         : emitter.log(x);
  if (type != wide)
    result = arith::TruncFOp::create(b, type, result);
  rewriter.replaceOp(op, result);
}

/// With `keepExp2`, the target's, exp and log go by way of base 2.
bool isLowered(Operation *op, bool keepExp2) {
  bool isLowered =
      isa<math::TanhOp, math::Log2Op>(op) ||
      (keepExp2 ? isa<math::ExpOp, math::LogOp>(op) : isa<math::Exp2Op>(op));
  if (!isLowered)
    return false;
  Type type = op->getResult(0).getType();
  auto vector = dyn_cast<VectorType>(type);
  if (!vector && isa<ShapedType>(type))
    return false;
  Type element = getElementTypeOrSelf(type);
  return element.isF32() || element.isF16() || element.isBF16();
}

struct LowerMathPass
    : public paged_attn::impl::LowerMathPassBase<LowerMathPass> {
  using Base::Base;

  void runOnOperation() final {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isLowered(op, keepExp2))
        ops.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (Operation *op : ops)
      lower(rewriter, op, keepExp2);
  }
};

} // namespace
