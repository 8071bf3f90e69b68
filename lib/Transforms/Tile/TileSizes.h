//===- TileSizes.h - Sizes of the tiles of an attention op ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 1 to 2: how many tokens, rows and keys a tile has.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TRANSFORMS_TILE_TILESIZES_H
#define PAGED_ATTN_LIB_TRANSFORMS_TILE_TILESIZES_H

#include "paged_attn/IR/PagedAttn.h"
#include "paged_attn/Transforms/Passes.h"

namespace mlir::paged_attn {

/// Sizes of one kind of tile.
struct TileSizes {
  int64_t tokens;   ///< new tokens of a query tile
  int64_t rows;     ///< rows of its buffers: tokens * G, padded to rowBlock
  int64_t rowBlock; ///< rows that are updated together
  int64_t keys;     ///< keys of a KV tile: a multiple or a divisor of the page
};

/// Tiles of sequences that decode: few tokens, the heads of a group as rows.
TileSizes decodeTileSizes(AttentionOp op, const TilePassOptions &options);

/// Tiles of prefill: many rows, so that packing a KV tile pays off.
TileSizes prefillTileSizes(AttentionOp op, const TilePassOptions &options);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TRANSFORMS_TILE_TILESIZES_H
