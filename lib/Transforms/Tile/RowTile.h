//===- RowTile.h - Attention of one tile of query rows ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2: what a work item computes, the same in every mode.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TRANSFORMS_TILE_ROWTILE_H
#define PAGED_ATTN_LIB_TRANSFORMS_TILE_ROWTILE_H

#include "TileSizes.h"

#include "mlir/IR/Builders.h"

namespace mlir::paged_attn {

/// One sequence as a work item sees it. All values are of type index.
struct SequenceValues {
  Value sequence; ///< b
  Value firstRow; ///< its first row in the packed query
  Value numRows;  ///< q_len, tokens
  Value kvLen;    ///< tokens
  Value position; ///< logical position of its first row
};

/// Rows [token, token + numTokens) of a sequence for one KV head.
struct RowTile {
  SequenceValues sequence;
  Value kvHead;
  Value token;     ///< first token, relative to the sequence
  Value numTokens; ///< at most TileSizes::tokens; 0 computes nothing
};

/// Reads lengths and starts of `sequence`.
SequenceValues readSequence(OpBuilder &builder, AttentionOp op, Value sequence);

/// A slice of the outs that one work item writes: out [n, G, Dv], lse [n, G]
/// (null when there is none).
struct OutSlice {
  Value out;
  Value lse;

  SmallVector<Value> values() const {
    return lse ? SmallVector<Value>{out, lse} : SmallVector<Value>{out};
  }
  static OutSlice get(ValueRange values) {
    return {values[0], values.size() > 1 ? values[1] : Value()};
  }
};

/// Rows [firstRow, firstRow + numRows) and one KV head's query heads of `outs`.
OutSlice extractRows(OpBuilder &builder, AttentionOp op, OutSlice outs,
                     Value firstRow, Value numRows, Value kvHead);
/// Puts `slice` back where `extractRows` took it.
OutSlice insertRows(OpBuilder &builder, AttentionOp op, OutSlice slice,
                    OutSlice outs, Value firstRow, Value numRows, Value kvHead);
/// The same at the end of an scf.forall.
void insertRowsInParallel(OpBuilder &builder, AttentionOp op, OutSlice slice,
                          OutSlice outs, Value firstRow, Value numRows,
                          Value kvHead);

/// Softmax state of a tile's rows: acc [R, Dv], m [R], l [R].
struct TileState {
  Value acc, m, l;
};

/// Keys [begin, end) that a tile looks at, whatever the mask lets it see;
/// `begin` is a multiple of TileSizes::keys, `end` too unless it is the last.
struct KVLimits {
  Value begin, end;
};

/// A state before any key.
TileState emitEmptyState(OpBuilder &builder, AttentionOp op,
                         const TileSizes &sizes);
/// Steps 1 and 2 of emitRowTile, for the keys inside `limits`.
TileState emitRowState(OpBuilder &builder, AttentionOp op, const RowTile &tile,
                       const TileSizes &sizes, std::optional<KVLimits> limits);
/// Step 3 of emitRowTile.
OutSlice emitRowEnd(OpBuilder &builder, AttentionOp op, Value kvHead,
                    const TileSizes &sizes, const TileState &state,
                    OutSlice outs);

/// Emits attention of `tile` into `outs` [numTokens, G, *]:
///   1. read and scale the query rows
///   2. up to four loops over KV tiles: sink tokens, lower boundary, interior
///      (no mask), upper boundary
///   3. divide by the sum and write
OutSlice emitRowTile(OpBuilder &builder, AttentionOp op, const RowTile &tile,
                     const TileSizes &sizes, OutSlice outs);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TRANSFORMS_TILE_ROWTILE_H
