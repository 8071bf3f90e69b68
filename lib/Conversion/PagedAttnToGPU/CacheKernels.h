//===- CacheKernels.h - Kernels of ops without tiles ------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 0 to 3c: append and merge_states on buffers. A block of the grid is
// one token and one head, its lanes take every n-th element.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOGPU_CACHEKERNELS_H
#define LIB_CONVERSION_PAGEDATTNTOGPU_CACHEKERNELS_H

#include "Lanes.h"

#include "mlir/Dialect/GPU/IR/GPUDialect.h"

namespace mlir::paged_attn {

/// Fills the empty body of `kernel`, whose arguments are the operands of `op`.
void emitAppendKernel(gpu::GPUFuncOp kernel, AppendOp op,
                      const LaneOptions &options);
void emitMergeKernel(gpu::GPUFuncOp kernel, MergeStatesOp op,
                     const LaneOptions &options);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOGPU_CACHEKERNELS_H
