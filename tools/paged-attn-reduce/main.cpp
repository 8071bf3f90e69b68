//===- main.cpp - paged-attn-reduce ---------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shrinks a module of any level of the ladder to the smallest one that a test
// script still calls interesting (exit status 1).
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Register.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Tools/mlir-reduce/MlirReduceMain.h"

int main(int argc, char **argv) {
  mlir::paged_attn::registerAllPasses();
  mlir::DialectRegistry registry;
  mlir::paged_attn::registerAllDialects(registry);
  mlir::MLIRContext context(registry);
  return mlir::failed(mlir::mlirReduceMain(argc, argv, context));
}
