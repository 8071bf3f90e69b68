//===- LowerKernelMath.cpp - Math of kernels as instructions --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3c to 4: exp2 and fma of each target, so that no call into a vendor's
// device library is left.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

#include <limits>

namespace mlir::paged_attn {
#define GEN_PASS_DEF_LOWERKERNELMATHPASS
#include "paged_attn/Conversion/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;

namespace {

/// 2^x on f32. ex2.approx.ftz.f32 and v_exp_f32 give 0 for -inf, inf for inf
/// and NaN for NaN; SPIR-V promises none of it, so those are selected.
struct LowerExp2 final : public OpRewritePattern<math::Exp2Op> {
  LowerExp2(MLIRContext *context, StringRef target)
      : OpRewritePattern(context), target(target) {}

  LogicalResult matchAndRewrite(math::Exp2Op op,
                                PatternRewriter &rewriter) const final {
    if (!op.getType().isF32())
      return rewriter.notifyMatchFailure(op, "not a scalar of f32");
    Value x = op.getOperand();
    if (target == "nvptx")
      rewriter.replaceOpWithNewOp<LLVM::CallIntrinsicOp>(
          op, op.getType(),
          rewriter.getStringAttr("llvm.nvvm.ex2.approx.ftz.f"), x);
    else if (target == "amdgpu")
      rewriter.replaceOpWithNewOp<ROCDL::ROCDLExp2>(op, op.getType(), x);
    else
      rewriter.replaceOp(op, emitSpirv(rewriter, op.getLoc(), x));
    return success();
  }

private:
  /// 0 below the normal range; above it x + inf, which keeps NaN.
  static Value emitSpirv(OpBuilder &b, Location loc, Value x) {
    auto constant = [&](float value) -> Value {
      return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(value));
    };
    auto isLess = [&](float bound) -> Value {
      return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x,
                                   constant(bound));
    };
    Value power = spirv::GLExp2Op::create(b, loc, x);
    Value low =
        arith::SelectOp::create(b, loc, isLess(-126.0f), constant(0.0f), power);
    Value high = arith::AddFOp::create(
        b, loc, x, constant(std::numeric_limits<float>::infinity()));
    return arith::SelectOp::create(b, loc, isLess(128.0f), low, high);
  }

  StringRef target;
};

struct LowerFma final : public OpRewritePattern<math::FmaOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(math::FmaOp op,
                                PatternRewriter &rewriter) const final {
    rewriter.replaceOpWithNewOp<LLVM::FMAOp>(op, op.getType(), op.getA(),
                                             op.getB(), op.getC());
    return success();
  }
};

struct LowerKernelMathPass
    : public paged_attn::impl::LowerKernelMathPassBase<LowerKernelMathPass> {
  using Base::Base;

  void runOnOperation() final {
    if (target != "nvptx" && target != "amdgpu" && target != "spirv") {
      getOperation()->emitError(
          "expected target to be nvptx, amdgpu or spirv, got '")
          << target << "'";
      return signalPassFailure();
    }
    RewritePatternSet patterns(&getContext());
    patterns.add<LowerExp2>(&getContext(), target);
    if (target != "spirv") // which has fma among its math
      patterns.add<LowerFma>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace
