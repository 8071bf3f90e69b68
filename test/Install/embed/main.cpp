//===- main.cpp - An embedding compiler in thirty lines -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Registers the dialect in its own context, parses a decode step of level 0,
// runs paged-attn-select-mode and looks at the op through its C++ class.
// Exit status: 0 when the mode became decode.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/Extensions.h"
#include "paged_attn/IR/PagedAttn.h"
#include "paged_attn/Transforms/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Pass/PassManager.h"

using namespace mlir;

static const char kModule[] = R"mlir(
func.func @decode(%q: tensor<2x4x16xf32>, %k: tensor<?x8x2x16xf32>,
    %v: tensor<?x8x2x16xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %out: tensor<2x4x16xf32>) -> tensor<2x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<2x4x16xf32>)
      keys(%k : tensor<?x8x2x16xf32>) values(%v : tensor<?x8x2x16xf32>)
      table(%table : tensor<2x?xi32>) lens(%lens : tensor<2xi32>)
      outs(%out : tensor<2x4x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<2x4x16xf32>
  return %0 : tensor<2x4x16xf32>
}
)mlir";

int main() {
  DialectRegistry registry;
  registry.insert<func::FuncDialect, paged_attn::PagedAttnDialect>();
  paged_attn::registerAllExtensions(registry);
  MLIRContext context(registry);

  OwningOpRef<ModuleOp> module =
      parseSourceString<ModuleOp>(kModule, ParserConfig(&context));
  if (!module)
    return 1;
  PassManager manager(&context);
  manager.addNestedPass<func::FuncOp>(paged_attn::createSelectModePass());
  if (failed(manager.run(*module)))
    return 1;

  bool isDecode = false;
  module->walk([&](paged_attn::AttentionOp op) {
    isDecode = op.getMode() == paged_attn::Mode::Decode;
  });
  if (!isDecode)
    llvm::errs() << "expected mode decode, got:\n" << *module;
  return isDecode ? 0 : 1;
}
