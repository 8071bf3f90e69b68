//===- Canonicalize.cpp - Folds of the attention op -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an attention op can be simplified to at level 0 without knowing a
// target.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/PagedAttn.h"

#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mlir::paged_attn;

LogicalResult AttentionOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &) {
  return failure();
}

void AttentionOp::getCanonicalizationPatterns(RewritePatternSet &,
                                              MLIRContext *) {}
