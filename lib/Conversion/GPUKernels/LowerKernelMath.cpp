//===- LowerKernelMath.cpp - Math of kernels as instructions --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3c to 4 on NVPTX and AMDGPU: exp2 and fma, so that no call into a
// vendor's device library is left.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Conversion/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_LOWERKERNELMATHPASS
#include "paged_attn/Conversion/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;

namespace {

/// 2^x on f32: ex2.approx.ftz.f32 or v_exp_f32, both exact at 0 and 0 for -inf.
struct LowerExp2 final : public OpRewritePattern<math::Exp2Op> {
  LowerExp2(MLIRContext *context, bool isNvidia)
      : OpRewritePattern(context), isNvidia(isNvidia) {}

  LogicalResult matchAndRewrite(math::Exp2Op op,
                                PatternRewriter &rewriter) const final {
    if (!op.getType().isF32())
      return rewriter.notifyMatchFailure(op, "not a scalar of f32");
    if (isNvidia)
      rewriter.replaceOpWithNewOp<LLVM::CallIntrinsicOp>(
          op, op.getType(),
          rewriter.getStringAttr("llvm.nvvm.ex2.approx.ftz.f"),
          op.getOperand());
    else
      rewriter.replaceOpWithNewOp<ROCDL::ROCDLExp2>(op, op.getType(),
                                                    op.getOperand());
    return success();
  }

  bool isNvidia;
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
    if (target != "nvptx" && target != "amdgpu") {
      getOperation()->emitError("expected target to be nvptx or amdgpu, got '")
          << target << "'";
      return signalPassFailure();
    }
    RewritePatternSet patterns(&getContext());
    patterns.add<LowerExp2>(&getContext(), target == "nvptx");
    patterns.add<LowerFma>(&getContext());
    walkAndApplyPatterns(getOperation(), std::move(patterns));
  }
};

} // namespace
