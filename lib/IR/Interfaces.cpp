//===- Interfaces.cpp - Effects and result shapes of every op -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory effects (memrefs only: reads of the ins, reads and writes of the
// outs) and shape reification (each result has its out's shape).
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/PagedAttn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace mlir::paged_attn;

using Effects =
    SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>>;

/// Ins are read; outs are read (a sequence of q_len 0 keeps its rows, pools
/// keep their other slots) and written. Tensors have no effects.
static void destinationEffects(DestinationStyleOpInterface op,
                               Effects &effects) {
  for (OpOperand &operand : op->getOpOperands()) {
    if (!isa<MemRefType>(operand.get().getType()))
      continue;
    effects.emplace_back(MemoryEffects::Read::get(), &operand);
    if (op.isDpsInit(&operand))
      effects.emplace_back(MemoryEffects::Write::get(), &operand);
  }
}

/// Each result has the shape of the out that it is tied to.
static LogicalResult
reifyFromOuts(DestinationStyleOpInterface op, OpBuilder &builder,
              ReifiedRankedShapedTypeDims &reifiedReturnShapes) {
  for (OpResult result : op->getResults())
    reifiedReturnShapes.push_back(tensor::getMixedSizes(
        builder, op.getLoc(), op.getTiedOpOperand(result)->get()));
  return success();
}

#define PAGED_ATTN_INTERFACES(Op)                                              \
  void Op::getEffects(Effects &effects) {                                      \
    destinationEffects(*this, effects);                                        \
  }                                                                            \
  LogicalResult Op::reifyResultShapes(OpBuilder &builder,                      \
                                      ReifiedRankedShapedTypeDims &shapes) {   \
    return reifyFromOuts(*this, builder, shapes);                              \
  }

PAGED_ATTN_INTERFACES(AttentionOp)
PAGED_ATTN_INTERFACES(AppendOp)
PAGED_ATTN_INTERFACES(GatherOp)
PAGED_ATTN_INTERFACES(CopyPagesOp)
PAGED_ATTN_INTERFACES(MergeStatesOp)
PAGED_ATTN_INTERFACES(LoadQueryOp)
PAGED_ATTN_INTERFACES(LoadTileOp)
PAGED_ATTN_INTERFACES(OnlineUpdateOp)
PAGED_ATTN_INTERFACES(CombineOp)
PAGED_ATTN_INTERFACES(FinalizeOp)
