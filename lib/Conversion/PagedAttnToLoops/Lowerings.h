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

/// Rows, heads, visible keys: one row of scores after the other.
void emitAttention(Emitter &emitter, AttentionOp op);
/// Tokens in order of their rows.
void emitAppend(Emitter &emitter, AppendOp op);
/// Positions past kv_len become 0.
void emitGather(Emitter &emitter, GatherOp op);
/// Pairs in order, every dimension but the page.
void emitCopyPages(Emitter &emitter, CopyPagesOp op);
/// Rows and heads; parts in order.
void emitMergeStates(Emitter &emitter, MergeStatesOp op);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOLOOPS_LOWERINGS_H
