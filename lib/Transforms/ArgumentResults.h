//===- ArgumentResults.h - Results that are arguments -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 4: functions that were on tensors return the buffers that they write.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TRANSFORMS_ARGUMENTRESULTS_H
#define PAGED_ATTN_LIB_TRANSFORMS_ARGUMENTRESULTS_H

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"

namespace mlir::paged_attn {

/// Drops the memref results of `function` that are its own arguments, in the
/// function and in its callers.
void dropArgumentResults(func::FuncOp function, ModuleOp module);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TRANSFORMS_ARGUMENTRESULTS_H
