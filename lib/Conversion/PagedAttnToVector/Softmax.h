//===- Softmax.h - Scores of a row to weights -------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. The part of online_update between its two products.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOVECTOR_SOFTMAX_H
#define LIB_CONVERSION_PAGEDATTNTOVECTOR_SOFTMAX_H

#include "VectorBuilder.h"

namespace mlir::paged_attn {

/// Softmax over the tile of one `online_update`.
class Softmax {
public:
  Softmax(VectorBuilder &builder, OnlineUpdateOp op);

  /// Columns that a scores buffer needs: W, rounded up to whole vectors.
  int64_t numColumns() const { return llvm::alignTo(keys, b.lanes()); }

  /// Factors of a quantised tile's keys and values, [W] rounded up to whole
  /// vectors, null without: scores are multiplied by the first, the weights in
  /// `scores` by the second.
  void setScales(Value ofKeys, Value ofValues) {
    keyScales = ofKeys;
    valueScales = ofValues;
  }

  /// Turns row `scoreRow` of `scores`, the products of tile row `row` with all
  /// keys, into weights 2^(x - m'), 0 for hidden keys, and brings m, l and acc
  /// of the row up to date. Hidden keys' scores may hold anything.
  void emitRow(Value scores, Value scoreRow, Value row);

private:
  Value adjust(Value score, Value column, Value row, Value position);
  Value visible(Value keyPosition, Value position);
  Value moveMaximum(Value row, Value m, Value largest);

  VectorBuilder &b;
  OnlineUpdateOp op;
  int64_t keys; ///< W
  Value keyScales, valueScales;
};

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOVECTOR_SOFTMAX_H
