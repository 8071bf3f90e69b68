//===- PagedOps.h - References of the cache ops -----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What `append`, `gather`, `copy_pages` and `merge_states` must compute, one
// element at a time. Part of the oracle: stands beside the ladder.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_ORACLE_PAGEDOPS_H
#define PAGED_ATTN_ORACLE_PAGEDOPS_H

#include "paged_attn/Oracle/Problem.h"

namespace paged_attn::oracle {

/// Slot (page * S + slot) of every query row of a problem, read from its
/// table: [T], -1 for padding rows. Row i of sequence b goes to position
/// kv_len - q_len + i.
std::vector<int64_t> slotMapping(const Problem &problem);

/// Writes rows[t, h, 0 .. depth) of `rowType` ([T, Hkv, view.depth], dense) to
/// slot slots[t] of the pool, converted to the pool's type (exact to f32, then
/// nearest even). A negative slot skips the row; other slots of the pool keep
/// their bits. Slots must lie inside the pool.
void append(const MutablePoolView &pool, const void *rows, ElementType rowType,
            const std::vector<int64_t> &slots);

/// Copies the first kv_len tokens of sequence b out of a view of the problem's
/// pools: `result` [kv_len, Hkv, view.depth] of the pool's type, dense.
void gather(const Problem &problem, const PoolView &pool, int64_t b,
            void *result);

/// A copy of whole pages inside one pool tensor.
struct PageCopy {
  int64_t source = 0; ///< physical page
  int64_t target = 0; ///< physical page
};

/// Copies every element of the source page (all slots, heads, entries, layers
/// and both of a pair) to the target page, pair by pair in order. `type` gives
/// the width only: bits are copied.
void copyPages(void *pool, const PoolShape &shape, ElementType type,
               const std::vector<PageCopy> &copies);

/// One partial answer over part of the keys.
struct AttentionState {
  std::vector<double> out; ///< [rows, Dv]
  std::vector<double> lse; ///< [rows] natural logarithm, -inf = saw no key
};

/// The answer over all parts: out = sum w_i out_i / sum w_i with
/// w_i = exp(lse_i - max lse), lse = max + log(sum w_i). A part with lse -inf
/// counts for nothing, whatever its `out` holds; a row that no part knows has
/// out 0 and lse -inf. All states have the same shape; at least one state.
AttentionState mergeStates(const std::vector<AttentionState> &states);

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_ORACLE_PAGEDOPS_H
