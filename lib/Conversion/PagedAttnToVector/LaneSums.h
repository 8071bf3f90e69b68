//===- LaneSums.h - Dot products into lanes ---------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. Scores of keys whose entries are contiguous: one accumulator per
// (key, row), `lanes` of them at a time, summed by a tree of shuffles.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOVECTOR_LANESUMS_H
#define LIB_CONVERSION_PAGEDATTNTOVECTOR_LANESUMS_H

#include "Products.h"

namespace mlir::paged_attn {

/// `count` rows [slot, slot + count) of a page, and of the page to request.
struct KeyRows {
  Value view;
  Value later;
  Value slot;
  int64_t count; ///< a power of two of at most `lanes`
};

/// One vector per query row: its scores with each key.
SmallVector<Value> emitLaneSums(VectorBuilder &builder, RowBlock query,
                                KeyRows keys, int64_t dim);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOVECTOR_LANESUMS_H
