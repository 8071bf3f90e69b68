//===- RowOps.h - What stands before and after the KV loop ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. load_query, combine and finalize on native vectors.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOVECTOR_ROWOPS_H
#define LIB_CONVERSION_PAGEDATTNTOVECTOR_ROWOPS_H

#include "VectorBuilder.h"

namespace mlir::paged_attn {

void emitLoadQuery(VectorBuilder &builder, LoadQueryOp op);
void emitCombine(VectorBuilder &builder, CombineOp op);
void emitFinalize(VectorBuilder &builder, FinalizeOp op);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOVECTOR_ROWOPS_H
