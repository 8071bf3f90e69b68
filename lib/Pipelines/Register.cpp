//===- Register.cpp - Everything this project adds to MLIR ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dialect, extensions, passes and pipelines in one call each.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Register.h"

#include "paged_attn/Conversion/Passes.h"
#include "paged_attn/IR/Extensions.h"
#include "paged_attn/IR/PagedAttn.h"
#include "paged_attn/Pipelines/Pipelines.h"
#include "paged_attn/Transforms/Passes.h"

#include "mlir/InitAllDialects.h"
#include "mlir/InitAllExtensions.h"
#include "mlir/InitAllPasses.h"

using namespace mlir;

void paged_attn::registerAllDialects(DialectRegistry &registry) {
  mlir::registerAllDialects(registry);
  mlir::registerAllExtensions(registry);
  registry.insert<PagedAttnDialect>();
  paged_attn::registerAllExtensions(registry);
}

void paged_attn::registerPagedAttnPasses() {
  registerPagedAttnTransformsPasses();
  registerPagedAttnConversionPasses();
  registerPipelines();
  registerGPUPipelines();
}

void paged_attn::registerAllPasses() {
  mlir::registerAllPasses();
  registerPagedAttnPasses();
}
