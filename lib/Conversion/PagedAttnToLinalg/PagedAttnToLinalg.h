//===- PagedAttnToLinalg.h - Patterns of the conversion ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The patterns of convert-paged-attn-to-linalg, one group per file.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOLINALG_PAGEDATTNTOLINALG_H
#define LIB_CONVERSION_PAGEDATTNTOLINALG_PAGEDATTNTOLINALG_H

namespace mlir {
class RewritePatternSet;
} // namespace mlir

namespace mlir::paged_attn {

/// append, gather, copy_pages and merge_states: loops over slots that one-shot
/// bufferization makes in place. An op on memrefs is first wrapped in
/// bufferization.to_tensor and bufferization.materialize_in_destination.
void populateAuxiliaryOpPatterns(RewritePatternSet &patterns);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOLINALG_PAGEDATTNTOLINALG_H
