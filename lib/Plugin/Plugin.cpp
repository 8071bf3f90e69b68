//===- Plugin.cpp - What a stock mlir-opt loads ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The two entry points of an MLIR plugin: the dialect with its extensions
// (bufferization and the rest), and every pass and pipeline of this project.
//
//   mlir-opt --load-dialect-plugin=PagedAttnPlugin.so
//     --load-pass-plugin=PagedAttnPlugin.so
//     --pass-pipeline='builtin.module(func.func(paged-attn-select-mode))'
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/Extensions.h"
#include "paged_attn/IR/PagedAttn.h"
#include "paged_attn/Register.h"

#include "mlir/IR/DialectRegistry.h"
#include "mlir/Tools/Plugins/DialectPlugin.h"
#include "mlir/Tools/Plugins/PassPlugin.h"

static const char kName[] = "PagedAttn";

/// Upstream dialects are the loading tool's business.
static void registerDialects(mlir::DialectRegistry *registry) {
  registry->insert<mlir::paged_attn::PagedAttnDialect>();
  mlir::paged_attn::registerAllExtensions(*registry);
}

extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT mlir::DialectPluginLibraryInfo
mlirGetDialectPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, kName, PAGED_ATTN_VERSION, registerDialects};
}

extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT mlir::PassPluginLibraryInfo
mlirGetPassPluginInfo() {
  return {MLIR_PLUGIN_API_VERSION, kName, PAGED_ATTN_VERSION,
          mlir::paged_attn::registerPagedAttnPasses};
}
