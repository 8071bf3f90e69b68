//===- Bufferization.cpp - In-place bufferization of every op -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// External models of BufferizableOpInterface: an op on tensors becomes the
// same op on memrefs, its outs written in place.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/Extensions.h"
#include "paged_attn/IR/PagedAttn.h"

#include "mlir/Dialect/Bufferization/IR/BufferizableOpInterface.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Bufferization/IR/DstBufferizableOpInterfaceImpl.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mlir::paged_attn;
using namespace mlir::bufferization;

namespace {

/// A score region takes the buffers of tensor captures and reads them as
/// tensors, which bufferize with its body.
void bufferizeCaptures(RewriterBase &rewriter, AttentionOp op) {
  if (op.getScore().empty())
    return;
  Block &body = op.getScore().front();
  rewriter.setInsertionPointToStart(&body);
  unsigned first = body.getNumArguments() - op.getCaptures().size();
  for (auto [argument, capture] : llvm::zip_equal(
           body.getArguments().drop_front(first), op.getCaptures())) {
    Type type = argument.getType();
    if (!isa<TensorType>(type))
      continue;
    argument.setType(capture.getType());
    auto tensor = ToTensorOp::create(rewriter, op.getLoc(), type, argument,
                                     /*restrict=*/true);
    rewriter.replaceAllUsesExcept(argument, tensor, tensor);
  }
}

/// Clones the op with buffers for tensors and without results; the results
/// are the outs' buffers.
template <typename OpTy>
struct DestinationModel
    : public DstBufferizableOpInterfaceExternalModel<DestinationModel<OpTy>,
                                                     OpTy> {
  LogicalResult bufferize(Operation *op, RewriterBase &rewriter,
                          const BufferizationOptions &options,
                          BufferizationState &state) const {
    auto destination = cast<DestinationStyleOpInterface>(op);
    SmallVector<Value> operands, outs;
    for (OpOperand &operand : op->getOpOperands()) {
      if (!isa<TensorType>(operand.get().getType())) {
        operands.push_back(operand.get());
        continue;
      }
      FailureOr<Value> buffer =
          getBuffer(rewriter, operand.get(), options, state);
      if (failed(buffer))
        return failure();
      operands.push_back(*buffer);
      if (destination.isDpsInit(&operand))
        outs.push_back(*buffer);
    }
    OperationState newState(op->getLoc(), op->getName(), operands, TypeRange(),
                            op->getAttrs());
    newState.propertiesAttr = op->getPropertiesAsAttribute();
    for (Region &region : op->getRegions())
      newState.addRegion()->takeBody(region);
    rewriter.setInsertionPoint(op);
    Operation *onBuffers = rewriter.create(newState);
    if (auto attention = dyn_cast<AttentionOp>(onBuffers))
      bufferizeCaptures(rewriter, attention);
    rewriter.setInsertionPointAfter(onBuffers);
    replaceOpWithBufferizedValues(rewriter, op, outs);
    return success();
  }
};

template <typename... OpTys>
void attachModels(MLIRContext *context) {
  (OpTys::template attachInterface<DestinationModel<OpTys>>(*context), ...);
}

} // namespace

void paged_attn::registerBufferizableOpInterfaceModels(
    DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, PagedAttnDialect *) {
    attachModels<AttentionOp, AppendOp, GatherOp, CopyPagesOp, MergeStatesOp,
                 LoadQueryOp, LoadTileOp, OnlineUpdateOp, CombineOp,
                 FinalizeOp>(context);
  });
}

void paged_attn::registerAllExtensions(DialectRegistry &registry) {
  registerBufferizableOpInterfaceModels(registry);
  registerRuntimeVerifiableOpInterfaceModels(registry);
  registerTilingInterfaceModels(registry);
  registerTileOpTilingInterfaceModels(registry);
}
