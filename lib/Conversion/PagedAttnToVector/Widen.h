//===- Widen.h - Stored elements to f32 lanes -------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. Vectors of every type that a pool stores, widened to f32, and the
// factors of quantised pools.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOVECTOR_WIDEN_H
#define LIB_CONVERSION_PAGEDATTNTOVECTOR_WIDEN_H

#include "VectorBuilder.h"

namespace mlir::paged_attn {

class TilePages;

/// Widens a vector of f32, f16, bf16, f8E4M3FN or i8 (signed) to f32, exactly.
Value widenVector(VectorBuilder &builder, Value vector);

/// Reads the factors of the tile's positions into a buffer [W], rounded up to
/// whole vectors; null for tiles without. Positions in pages that hold none of
/// [begin, end) are left out; those of slots that hold no token may be NaN.
Value emitTileScales(VectorBuilder &builder, LoadTileOp op, TilePages &pages);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOVECTOR_WIDEN_H
