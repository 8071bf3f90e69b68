//===- PagedAttnToLinalg.cpp - Level 2 to 3a ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The pass: tile ops become linalg on static tiles, in place; append, gather,
// copy_pages and merge_states become loops over slots.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Conversion/Passes.h"

#include "PagedAttnToLinalg.h"
#include "TileOps.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_CONVERTPAGEDATTNTOLINALGPASS
#include "paged_attn/Conversion/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

/// Lowers one op; failure after an error at the op.
static FailureOr<SmallVector<Value>> lowerTileOp(RewriterBase &rewriter,
                                                 Operation *op) {
  return TypeSwitch<Operation *, FailureOr<SmallVector<Value>>>(op)
      .Case([&](LoadQueryOp op) { return lowerLoadQuery(rewriter, op); })
      .Case([&](LoadTileOp op) { return lowerLoadTile(rewriter, op); })
      .Case([&](OnlineUpdateOp op) { return lowerOnlineUpdate(rewriter, op); })
      .Case([&](CombineOp op) { return lowerCombine(rewriter, op); })
      .Case([&](FinalizeOp op) { return lowerFinalize(rewriter, op); })
      .Default([](Operation *) { return failure(); });
}

namespace {
struct ConvertPagedAttnToLinalgPass
    : public paged_attn::impl::ConvertPagedAttnToLinalgPassBase<
          ConvertPagedAttnToLinalgPass> {
  using Base::Base;

  void runOnOperation() final {
    RewritePatternSet patterns(&getContext());
    populateAuxiliaryOpPatterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    if (!tileOps)
      return;
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<LoadQueryOp, LoadTileOp, OnlineUpdateOp, CombineOp, FinalizeOp>(
              op))
        ops.push_back(op);
    });
    IRRewriter rewriter(&getContext());
    for (Operation *op : ops) {
      if (op->getNumResults() == 0) {
        op->emitOpError("expected tensors, got memrefs");
        return signalPassFailure();
      }
      rewriter.setInsertionPoint(op);
      FailureOr<SmallVector<Value>> results = lowerTileOp(rewriter, op);
      if (failed(results))
        return signalPassFailure();
      rewriter.replaceOp(op, *results);
    }
    WalkResult left = getOperation()->walk([](AttentionOp op) {
      op.emitOpError("expected tile ops, got attention (run paged-attn-tile "
                     "first)");
      return WalkResult::interrupt();
    });
    if (left.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
