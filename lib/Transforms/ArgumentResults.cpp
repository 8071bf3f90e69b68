//===- ArgumentResults.cpp - Results that are arguments -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Levels 4 and 3c: results of functions that are arguments. See the header.
//
//===----------------------------------------------------------------------===//

#include "ArgumentResults.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/SymbolTable.h"

using namespace mlir;

namespace {

/// The argument of `function` that `value` is (behind casts), or nothing.
BlockArgument getArgumentBehindCasts(func::FuncOp function, Value value) {
  while (auto cast = value.getDefiningOp<memref::CastOp>())
    value = cast.getSource();
  auto argument = dyn_cast<BlockArgument>(value);
  if (argument && argument.getOwner() == &function.getBody().front())
    return argument;
  return {};
}

/// Replaces `call` of a function that has lost the results in `dropped`
/// (result number -> argument number).
void updateCall(func::CallOp call, func::FuncOp callee,
                const llvm::SmallDenseMap<unsigned, unsigned> &dropped) {
  OpBuilder builder(call);
  auto newCall =
      func::CallOp::create(builder, call.getLoc(), callee, call.getOperands());
  newCall->setDiscardableAttrs(call->getDiscardableAttrDictionary());
  unsigned next = 0;
  for (OpResult result : call.getResults()) {
    auto it = dropped.find(result.getResultNumber());
    if (it == dropped.end()) {
      result.replaceAllUsesWith(newCall.getResult(next++));
      continue;
    }
    Value operand = call.getOperand(it->second);
    if (operand.getType() != result.getType())
      operand = memref::CastOp::create(builder, call.getLoc(), result.getType(),
                                       operand);
    result.replaceAllUsesWith(operand);
  }
  call.erase();
}

} // namespace

void paged_attn::dropArgumentResults(func::FuncOp function, ModuleOp module) {
  if (!function.getBody().hasOneBlock())
    return;
  auto uses = SymbolTable::getSymbolUses(function, module);
  if (!uses || llvm::any_of(*uses, [](SymbolTable::SymbolUse use) {
        return !isa<func::CallOp>(use.getUser());
      }))
    return;
  Operation *terminator = function.getBody().front().getTerminator();
  llvm::SmallDenseMap<unsigned, unsigned> dropped;
  SmallVector<Value> kept;
  for (auto [index, value] : llvm::enumerate(terminator->getOperands())) {
    BlockArgument argument = getArgumentBehindCasts(function, value);
    if (argument && isa<MemRefType>(value.getType()))
      dropped[index] = argument.getArgNumber();
    else
      kept.push_back(value);
  }
  if (dropped.empty())
    return;
  BitVector erased(function.getNumResults());
  for (auto [result, argument] : dropped)
    erased.set(result);
  terminator->setOperands(kept);
  if (failed(function.eraseResults(erased)))
    return;
  for (SymbolTable::SymbolUse use : *uses)
    updateCall(cast<func::CallOp>(use.getUser()), function, dropped);
}
