//===- Update.h - online_update as microkernels -----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. Few rows (decode) stream: K and V are read from the pages where
// they stand, once per block of rows. Many rows (prefill) work on packed
// tiles, phase by phase, so that a panel stays in the first-level cache.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOVECTOR_UPDATE_H
#define LIB_CONVERSION_PAGEDATTNTOVECTOR_UPDATE_H

#include "Int8Dot.h"

namespace mlir::paged_attn {

/// The tiles that an `online_update` reads straight from their pages; null
/// where it reads the packed tile.
struct TileReads {
  LoadTileOp keys;
  LoadTileOp values;
};

/// Whether `op` has so few rows that packing a tile would cost more than the
/// update itself.
bool isStreaming(OnlineUpdateOp op);

/// The load_tile ops of `op` that it can read through: those whose buffer
/// nobody else reads, in an order that pages can be used in.
TileReads findTileReads(OnlineUpdateOp op);

/// `int8Query` is the query of `op` for keys that isInt8DotTile holds for;
/// null otherwise.
void emitStreamUpdate(VectorBuilder &builder, OnlineUpdateOp op,
                      TileReads reads, const Int8Query *int8Query);
void emitBlockUpdate(VectorBuilder &builder, OnlineUpdateOp op);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOVECTOR_UPDATE_H
