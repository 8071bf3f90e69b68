//===- TilePages.h - The pages under a tile ---------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. A tile of W positions is cut into chunks: whole pages, or a part
// of one. A chunk is a view of the pool with rows of contiguous elements,
// whatever the layout.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOVECTOR_TILEPAGES_H
#define LIB_CONVERSION_PAGEDATTNTOVECTOR_TILEPAGES_H

#include "VectorBuilder.h"

namespace mlir::paged_attn {

/// How a `load_tile` reaches its pages.
class TilePages {
public:
  TilePages(VectorBuilder &builder, LoadTileOp op);

  int64_t numKeys() const { return keys; }   ///< W
  int64_t headDim() const { return dim; }    ///< Dk or Dv of the tile
  int64_t numSlots() const { return slots; } ///< positions of a chunk
  int64_t numChunks() const { return keys / slots; }
  int64_t pack() { return op.getLayout().getPack(); }
  /// Whether the slots of a chunk are contiguous, not its head dim.
  bool isTransposed() { return op.getLayout().isTransposed(); }
  Type elementType() const { return shape.elementType; }

  /// First and last (exclusive) position of the tile inside [begin, end),
  /// counted from its start; 0 and W where the tile has no boundary.
  std::pair<Value, Value> usedRange();
  /// The same in chunks.
  std::pair<Value, Value> usedChunks();

  /// Where chunk `chunk` starts.
  Slot firstSlotOf(Value chunk);
  /// Chunk `chunk`: [slots, D], or transposed [D / pack, slots * pack].
  Value view(Value chunk);
  /// The chunk one tile later, or the last one that holds a position below
  /// `end`: only for addresses to request.
  Value laterView(Value chunk);

  /// Entries d ... d + pack of `width` slots of a transposed chunk, each as
  /// f32; `group` counts d in packs.
  SmallVector<Value> loadSlots(Value view, Value group, Value slot,
                               int64_t width);

private:
  Value pageOf(Value position);
  Value viewOf(Value page, Value firstSlot);

  VectorBuilder &b;
  LoadTileOp op;
  PoolShape shape;
  int64_t keys, dim, slots;
};

/// Lowers a `load_tile` that no microkernel reads through.
void emitPackTile(VectorBuilder &builder, LoadTileOp op);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOVECTOR_TILEPAGES_H
