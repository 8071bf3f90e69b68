//===- Products.h - Register-blocked products -------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. The two products of attention, S = Q K and O += P V, on a block of
// rows: every accumulator is a value of its own carried by the loop.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOVECTOR_PRODUCTS_H
#define LIB_CONVERSION_PAGEDATTNTOVECTOR_PRODUCTS_H

#include "VectorBuilder.h"

namespace mlir::paged_attn {

/// Vectors of a row that `rows` rows can accumulate at once: at most 24 of 32
/// or 12 of 16 registers, out of `wanted`, as even as possible.
int64_t vectorsPerBlock(const VectorTarget &target, int64_t rows,
                        int64_t wanted);

/// Rows [row, row + count) of a matrix.
struct RowBlock {
  Value matrix;
  Value row;
  int64_t count;
};

/// sums[i * n + v] of the n key vectors: sum over d of rows[i][d] * K[d][v].
/// `loadKeys(group, step, v)` gives `pack` vectors: entries group * pack ... of
/// key vector v; `step` counts the groups of one trip of the loop.
SmallVector<Value> emitScoreSums(
    VectorBuilder &builder, RowBlock query, int64_t dim, int64_t pack,
    ArrayRef<int64_t> widths,
    function_ref<SmallVector<Value>(Value group, int64_t step, unsigned v)>
        loadKeys);

/// One step of O += P V for all accumulators: sums[i * n + v] += weights[i] *
/// values[v], `weights` row i at `key`.
void emitOutputStep(VectorBuilder &builder, RowBlock weights, Value key,
                    ArrayRef<Value> values, MutableArrayRef<Value> sums);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOVECTOR_PRODUCTS_H
