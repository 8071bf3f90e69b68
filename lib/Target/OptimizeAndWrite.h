//===- OptimizeAndWrite.h - The end of every code generator -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 5: what CPUs and GPUs share. Private to lib/Target.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TARGET_OPTIMIZEANDWRITE_H
#define PAGED_ATTN_LIB_TARGET_OPTIMIZEANDWRITE_H

#include "paged_attn/Target/EmitObject.h"

namespace llvm {
class TargetMachine;
} // namespace llvm

namespace mlir::paged_attn {

/// O3 with both vectorizers, then the code of `machine`. Nothing and a
/// one-line `error` when it has no such kind of file.
std::optional<std::string> optimizeAndWrite(llvm::Module &module,
                                            llvm::TargetMachine &machine,
                                            CodeKind kind, std::string &error);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TARGET_OPTIMIZEANDWRITE_H
