//===- Expand.h - Operations that a CPU lacks -------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Private to lib/Target.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TARGET_EXPAND_H
#define PAGED_ATTN_LIB_TARGET_EXPAND_H

#include "paged_attn/Target/TargetInfo.h"

namespace llvm {
class Module;
} // namespace llvm

namespace mlir::paged_attn {

/// Replaces, in `module`, operations that the code generator would turn into
/// calls of a run-time library: llvm.fma without the instruction becomes a
/// product and a sum (rounded twice), conversions of f16 without the
/// instruction become integer arithmetic (the same bits; NaN stays NaN).
void expandMissing(llvm::Module &module, const TargetInfo &info);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TARGET_EXPAND_H
