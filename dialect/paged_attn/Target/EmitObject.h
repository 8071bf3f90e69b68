//===- EmitObject.h - LLVM module to object code ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The one way from LLVM IR to machine code, for the JIT and ahead of time.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TARGET_EMITOBJECT_H
#define PAGED_ATTN_TARGET_EMITOBJECT_H

#include "paged_attn/Target/TargetInfo.h"

namespace llvm {
class Module;
} // namespace llvm

namespace mlir::paged_attn {

/// The last step of `optimizeAndEmit`.
enum class CodeKind {
  LLVMIR,   ///< text of the optimised module
  Assembly, ///< text
  Object,   ///< bytes of a relocatable, position-independent object
};

/// Optimises `module` (O3 with both vectorizers) for `target` and returns its
/// code. The module is changed. Nothing and a one-line `error` on failure.
std::optional<std::string> optimizeAndEmit(llvm::Module &module,
                                           const TargetInfo &target,
                                           CodeKind kind, std::string &error);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_TARGET_EMITOBJECT_H
