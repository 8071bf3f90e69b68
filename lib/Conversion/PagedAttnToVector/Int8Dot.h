//===- Int8Dot.h - Scores of int8 keys by dot products of bytes -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. Keys in the order [d/4][slot][4]: one instruction adds four
// products of bytes to each of the lanes. A query is two int8 parts, high and
// low, of about 15 bits (docs/Numerics.md, E7).
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOVECTOR_INT8DOT_H
#define LIB_CONVERSION_PAGEDATTNTOVECTOR_INT8DOT_H

#include "TilePages.h"

namespace mlir::paged_attn {

/// A query [R, D] in int8: q = step * (128 * high + low). The parts hold four
/// entries in each i32; `starts` are -128 times the sums of the parts, which
/// undo the shift of the keys to unsigned bytes.
struct Int8Query {
  Value parts;  ///< [2, R, D / 4] of i32: high, low
  Value starts; ///< [2, R] of i32
  Value steps;  ///< [R] of f32
};

/// Chunks of a tile and of a later one, whose first key has column `firstKey`.
struct Int8Chunks {
  ArrayRef<Value> views, later;
  Value firstKey;
};

/// Whether the keys of a tile are stored as bytes in the order [d/4][slot][4],
/// in chunks of whole vectors.
bool isInt8DotTile(LoadTileOp op, const VectorTarget &target);

/// Splits `query` [R, D], scratch of the caller, as an Int8Query.
Int8Query emitInt8Query(VectorBuilder &builder, Value query);

/// Writes the scores of rows [row, row + count) of the query, without the
/// factors of the keys, to rows [0, count) of `scores`.
void emitInt8Scores(VectorBuilder &builder, const Int8Query &query, Value row,
                    int64_t count, TilePages &pages, Int8Chunks chunks,
                    Value scores);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOVECTOR_INT8DOT_H
