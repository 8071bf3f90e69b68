//===- Lowerings.h - One function per op --------------------------*- C++
//-*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each emits the scalar loops of one op on memrefs before the op. The caller
// has checked that the operands are memrefs and erases the op.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOLOOPS_LOWERINGS_H
#define LIB_CONVERSION_PAGEDATTNTOLOOPS_LOWERINGS_H

#include "../PageAccess.h"

namespace mlir::paged_attn {

/// Elements first, first + step, ... of a row: all of them in one thread, every
/// n-th in each of n lanes.
struct Elements {
  Value first, step;
};

/// Rows, heads, visible keys: one row of scores after the other.
void emitAttention(Emitter &emitter, AttentionOp op);
/// Tokens in order of their rows.
void emitAppend(Emitter &emitter, AppendOp op);
/// Elements of one head of one token.
void emitAppendHead(Emitter &emitter, AppendOp op, Value token, Slot slot,
                    Value head, const Elements &elements);
/// Slots of a page of the pools of `op`.
Value emitAppendPageSize(Emitter &emitter, AppendOp op);
/// Positions past kv_len become 0.
void emitGather(Emitter &emitter, GatherOp op);
/// Pairs in order, every dimension but the page.
void emitCopyPages(Emitter &emitter, CopyPagesOp op);
/// Rows and heads; parts in order.
void emitMergeStates(Emitter &emitter, MergeStatesOp op);

/// Elements of one row and head; every caller writes the lse.
void emitMergeHead(Emitter &emitter, MergeStatesOp op, Value token, Value head,
                   const Elements &elements);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOLOOPS_LOWERINGS_H
