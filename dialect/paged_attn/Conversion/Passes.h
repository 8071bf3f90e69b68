//===- Passes.h - Declarations of the passes of Conversion --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Create functions, option structs and registration, from Passes.td.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_CONVERSION_PASSES_H
#define PAGED_ATTN_CONVERSION_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::spirv {
class ModuleOp;
} // namespace mlir::spirv

namespace mlir::paged_attn {

#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "paged_attn/Conversion/Passes.h.inc"

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_CONVERSION_PASSES_H
