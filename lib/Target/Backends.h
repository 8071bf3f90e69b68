//===- Backends.h - The code generators that targets need -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Private to lib/Target.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TARGET_BACKENDS_H
#define PAGED_ATTN_LIB_TARGET_BACKENDS_H

namespace mlir::paged_attn {

/// Makes LLVM's code generators for x86-64 and AArch64 available; as often as
/// one likes, from any thread.
void initializeBackends();

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TARGET_BACKENDS_H
