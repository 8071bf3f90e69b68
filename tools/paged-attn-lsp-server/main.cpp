//===- main.cpp - paged-attn-lsp-server -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The language server of .mlir files that hold this dialect at any level of
// the ladder: diagnostics, hover, completion and definitions in an editor.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Register.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-lsp-server/MlirLspServerMain.h"

int main(int argc, char **argv) {
  mlir::DialectRegistry registry;
  mlir::paged_attn::registerAllDialects(registry);
  return mlir::failed(mlir::MlirLspServerMain(argc, argv, registry));
}
