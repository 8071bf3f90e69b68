//===- WrapBuffers.h - An op on memrefs as one on tensors -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// How an op of level 0 or 1 on memrefs enters the lowering on tensors.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TRANSFORMS_WRAPBUFFERS_H
#define PAGED_ATTN_LIB_TRANSFORMS_WRAPBUFFERS_H

#include "mlir/IR/PatternMatch.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"

namespace mlir::paged_attn {

/// Puts the same op on tensors of its buffers in the place of `op`, its results
/// materialised in the outs; returns it. `op` is erased.
Operation *wrapBuffers(DestinationStyleOpInterface op, RewriterBase &rewriter);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TRANSFORMS_WRAPBUFFERS_H
