//===- main.cpp - paged-attn-opt ------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// mlir-opt with this project's dialect, passes and pipelines.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Register.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/mlir-opt/MlirOptMain.h"

int main(int argc, char **argv) {
  mlir::paged_attn::registerAllPasses();
  mlir::DialectRegistry registry;
  mlir::paged_attn::registerAllDialects(registry);
  return mlir::asMainReturnCode(
      mlir::MlirOptMain(argc, argv, "paged attention optimizer\n", registry));
}
