//===- SplitDecode.h - Decode cut along the keys ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 1 to 2, for few long sequences.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TRANSFORMS_TILE_SPLITDECODE_H
#define PAGED_ATTN_LIB_TRANSFORMS_TILE_SPLITDECODE_H

#include "WorkItems.h"

namespace mlir::paged_attn {

/// Tokens of a split that `options` ask for, a multiple of the keys of a tile;
/// 0: no splits.
int64_t splitTokens(AttentionOp op, const TilePassOptions &options);

/// Emits decode in two work loops and sets the results of `work`:
///   1. (query tile, KV head, split): the state of the keys of one split, put
///      into a scratch buffer; where no sequence has a second split, the outs
///      at once
///   2. (query tile, KV head): the states combined in order, then the outs; no
///      items where no sequence has a second split
/// Splits begin at multiples of `splitTokens`, so that the bits of a sequence
/// depend on neither its neighbours nor the number of threads.
void emitSplitDecode(OpBuilder &builder, AttentionOp op, WorkEmitter &work,
                     const TileSizes &sizes, int64_t splitTokens);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TRANSFORMS_TILE_SPLITDECODE_H
