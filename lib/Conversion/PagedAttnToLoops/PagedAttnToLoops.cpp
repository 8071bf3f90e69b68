//===- PagedAttnToLoops.cpp - Level 0 to loops ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The executable specification: every op of level 0 and 1 on memrefs becomes
// scalar loops. One file per op holds its loops.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Conversion/Passes.h"

#include "Lowerings.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/FunctionInterfaces.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_CONVERTPAGEDATTNTOLOOPSPASS
#include "paged_attn/Conversion/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

/// Replaces one op by its loops.
static LogicalResult lower(Operation *op) {
  if (llvm::any_of(op->getOperandTypes(), llvm::IsaPred<TensorType>))
    return op->emitOpError(
        "expected memrefs, got tensors; run one-shot-bufferize first");
  Emitter emitter(op->getLoc(), op);
  LogicalResult result =
      TypeSwitch<Operation *, LogicalResult>(op)
          .Case([&](AttentionOp op) {
            return emitAttention(emitter, op), success();
          })
          .Case([&](AppendOp op) { return emitAppend(emitter, op), success(); })
          .Case([&](GatherOp op) { return emitGather(emitter, op), success(); })
          .Case([&](CopyPagesOp op) {
            return emitCopyPages(emitter, op), success();
          })
          .Case([&](MergeStatesOp op) {
            return emitMergeStates(emitter, op), success();
          })
          .Default([](Operation *op) {
            return op->emitOpError("expected an op of level 0 or 1, got a tile "
                                   "op; loops are made before tiling");
          });
  if (succeeded(result))
    op->erase();
  return result;
}

namespace {
struct ConvertPagedAttnToLoopsPass
    : public paged_attn::impl::ConvertPagedAttnToLoopsPassBase<
          ConvertPagedAttnToLoopsPass> {
  using Base::Base;

  void runOnOperation() final {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<PagedAttnDialect>(op->getDialect()) && !isa<YieldOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops)
      if (failed(lower(op)))
        signalPassFailure();
  }
};
} // namespace
