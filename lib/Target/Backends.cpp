//===- Backends.cpp - The code generators that targets need ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The parts of LLVM's X86 and AArch64 that emit objects and assembly.
//
//===----------------------------------------------------------------------===//

#include "Backends.h"

#include "llvm/Support/TargetSelect.h"

void mlir::paged_attn::initializeBackends() {
  static const bool areReady = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
    return true;
  }();
  static_cast<void>(areReady);
}
