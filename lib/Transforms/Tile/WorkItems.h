//===- WorkItems.h - Work items of an attention op --------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 1 to 2: the loop over work items and what an item's number stands for.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TRANSFORMS_TILE_WORKITEMS_H
#define PAGED_ATTN_LIB_TRANSFORMS_TILE_WORKITEMS_H

#include "RowTile.h"

namespace mlir::paged_attn {

/// What the patterns share: the loop over work items around `body`.
class WorkEmitter {
public:
  WorkEmitter(OpBuilder &builder, AttentionOp op)
      : builder(builder), loc(op.getLoc()), op(op) {}

  /// Emits scf.forall over [0, numItems) x KV heads and replaces the op's
  /// results. `body` gets (item, KV head, outs) and ends with
  /// insertRowsInParallel.
  void
  forEachItem(Value numItems,
              function_ref<void(OpBuilder &, Value, Value, OutSlice)> body);
  Value numSequences() { return dim(op.getKvLens()); }
  /// The first size of `value`.
  Value dim(Value value);
  /// The op's outs, with the rows past the last sequence written.
  OutSlice paddedOuts();
  SmallVector<Value> results; ///< of the op

private:
  /// False when the types say that every row belongs to a sequence.
  bool mayHavePadding();
  /// The row behind the last sequence.
  Value endOfRows();
  /// Writes zeros (lse: -inf) to the rows past the last sequence.
  OutSlice padRows(OutSlice outs);

  OpBuilder &builder;
  Location loc;
  AttentionOp op;
};

/// The query tile that work item `item` stands for. Sequence b owns the items
/// from (starts[b] - starts[0]) / tokens + b on: that many hold its tiles,
/// whatever the alignment, and the last one may be empty.
RowTile findQueryTile(OpBuilder &builder, AttentionOp op, Value item,
                      Value kvHead, int64_t tileTokens);

/// Query tiles of all sequences, at most T / tokens + B.
Value countQueryTiles(OpBuilder &builder, AttentionOp op, WorkEmitter &work,
                      int64_t tileTokens);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TRANSFORMS_TILE_WORKITEMS_H
