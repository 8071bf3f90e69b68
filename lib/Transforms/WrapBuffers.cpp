//===- WrapBuffers.cpp - An op on memrefs as one on tensors ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 0 or 1: bufferization.to_tensor before, materialize_in_destination
// after; one-shot bufferization takes both away again.
//
//===----------------------------------------------------------------------===//

#include "WrapBuffers.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;

Operation *paged_attn::wrapBuffers(DestinationStyleOpInterface op,
                                   RewriterBase &rewriter) {
  Location loc = op.getLoc();
  rewriter.setInsertionPoint(op);
  llvm::SmallDenseMap<Value, Value> tensors;
  auto toTensor = [&](Value buffer) -> Value {
    auto type = dyn_cast<MemRefType>(buffer.getType());
    if (!type)
      return buffer;
    Value &tensor = tensors[buffer];
    if (!tensor)
      tensor = bufferization::ToTensorOp::create(
          rewriter, loc, memref::getTensorTypeFromMemRefType(type), buffer,
          /*restrict=*/true,
          /*writable=*/llvm::is_contained(op.getDpsInits(), buffer));
    return tensor;
  };
  OperationState state(loc, op->getName());
  for (Value operand : op->getOperands())
    state.addOperands(toTensor(operand));
  for (Value init : op.getDpsInits())
    state.addTypes(toTensor(init).getType());
  state.addAttributes(op->getDiscardableAttrDictionary().getValue());
  state.propertiesAttr = op->getPropertiesAsAttribute();
  for (Region &region : op->getRegions())
    state.addRegion()->takeBody(region);
  Operation *onTensors = rewriter.create(state);
  for (auto [result, init] :
       llvm::zip_equal(onTensors->getResults(), op.getDpsInits()))
    bufferization::MaterializeInDestinationOp::create(
        rewriter, loc, /*result=*/Type(), result, init, /*restrict=*/true,
        /*writable=*/true);
  rewriter.eraseOp(op);
  return onTensors;
}
