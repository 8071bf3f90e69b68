//===- Extensions.h - External interface models of the dialect --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bufferization, tiling and run-time verification of the ops, attached by an
// embedding compiler to its own registry.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_IR_EXTENSIONS_H
#define PAGED_ATTN_IR_EXTENSIONS_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace mlir::paged_attn {

/// Outs are bufferized in place; ins are only read.
void registerBufferizableOpInterfaceModels(DialectRegistry &registry);

/// `-generate-runtime-verification` checks lengths, starts and the page ids
/// that attention, append and gather use.
void registerRuntimeVerifiableOpInterfaceModels(DialectRegistry &registry);

/// attention on tensors is tiled over T and Hkv.
void registerTilingInterfaceModels(DialectRegistry &registry);

/// online_update on tensors is tiled over rows and keys; keys also as a
/// partial reduction (outer parallel) that combine merges.
void registerTileOpTilingInterfaceModels(DialectRegistry &registry);

/// Everything above, for one call.
void registerAllExtensions(DialectRegistry &registry);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_IR_EXTENSIONS_H
