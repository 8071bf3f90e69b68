//===- Lanes.h - How rows of a tile lie in a subgroup -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3c. The lanes of a subgroup form groups of `lanesPerRow`; a group
// holds whole rows (of Q, K, V, the accumulator), each lane some chunks of
// `width` neighbouring elements:
//
//     chunk c of lane i in its group: elements (c * lanesPerRow + i) * width..
//
// Groups take different keys of a tile and keep their own softmax state.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOGPU_LANES_H
#define LIB_CONVERSION_PAGEDATTNTOGPU_LANES_H

#include "../PageAccess.h"

namespace mlir::paged_attn {

/// How one head dim is spread over the lanes of a group.
struct RowLayout {
  int64_t dim = 1;         ///< elements of a row
  int64_t width = 1;       ///< elements of one load; divides dim
  int64_t lanesPerRow = 1; ///< a power of two

  /// Chunks that each lane holds.
  int64_t numChunks() const;
  /// True when some lane has no element in the last chunk.
  bool isRagged() const { return dim % (width * lanesPerRow) != 0; }
};

/// What the conversion is told of the device, and sizes derived from it.
struct LaneOptions {
  int64_t subgroupSize = 32; ///< lanes, a power of two
  int64_t loadElements = 8;  ///< most elements of one load
  int64_t rows = 8;          ///< most rows of a tile that a subgroup holds
};

/// Layouts of key and value rows of one kernel: loads are as wide as pools and
/// options allow, narrower where a row would leave lanes idle and its
/// registers are too many.
struct TileLayouts {
  RowLayout key, value;

  static TileLayouts choose(const LaneOptions &options, LoadTileOp key,
                            LoadTileOp value, int64_t numRows);
  /// Rows out of `numRows` that a subgroup can hold, at most those of the
  /// options, at least 1.
  static int64_t fitRows(const LaneOptions &options, LoadTileOp key,
                         LoadTileOp value, int64_t numRows);
  /// Registers of a lane for query and accumulator of `numRows` rows.
  int64_t countRegisters(int64_t numRows) const;
};

/// Emits values of one lane.
class Lanes {
public:
  Lanes(Emitter &emitter, int64_t subgroupSize, int64_t lanesPerRow);

  int64_t numGroups() const { return subgroupSize / lanesPerRow; }
  Value getLane() const { return lane; }   ///< in the subgroup
  Value getGroup() const { return group; } ///< of this lane

  /// Type of a chunk: f32 or a vector of it.
  Type chunkType(const RowLayout &layout);
  /// `value` in every element of a chunk.
  Value splat(const RowLayout &layout, Value value);
  /// This lane's part of chunk `chunk` of a row of `buffer` as f32, 0 past the
  /// row's end. `indices` gives the place of element d.
  Value load(Value buffer, const RowLayout &layout, int64_t chunk,
             function_ref<SmallVector<Value>(Value d)> indices);
  /// Writes a chunk, converted to the type of `buffer`.
  void store(Value value, Value buffer, const RowLayout &layout, int64_t chunk,
             function_ref<SmallVector<Value>(Value d)> indices);
  /// Sum over all elements of the product of two rows, in every lane.
  Value dot(const RowLayout &layout, ValueRange a, ValueRange b);
  /// `value` of the lane `distance` (a power of two) away; element by element.
  Value exchange(Value value, int64_t distance);

private:
  Value firstElement(const RowLayout &layout, int64_t chunk);
  Value isInside(const RowLayout &layout, int64_t chunk, Value element);

  Emitter &e;
  int64_t subgroupSize, lanesPerRow;
  Value lane, laneInGroup, group;
};

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOGPU_LANES_H
