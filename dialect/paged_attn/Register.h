//===- Register.h - Everything this project adds to MLIR --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a tool or an embedding compiler calls once.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_REGISTER_H
#define PAGED_ATTN_REGISTER_H

namespace mlir {
class DialectRegistry;
} // namespace mlir

namespace mlir::paged_attn {

/// This dialect, its extensions and every upstream dialect and extension.
void registerAllDialects(DialectRegistry &registry);

/// The passes and pipelines of this project only.
void registerPagedAttnPasses();

/// The same and every upstream pass.
void registerAllPasses();

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_REGISTER_H
