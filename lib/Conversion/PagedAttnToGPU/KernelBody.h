//===- KernelBody.h - A work item as the code of a subgroup -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3c. Walks the body of an scf.forall over work items and emits
// what one subgroup does for it:
//
//   1. scalars stay scalars, the same in every lane
//   2. slices of buffers become offsets into kernel arguments (View)
//   3. tiles become values of each lane (Lanes.h): of the query, the row
//      positions and the softmax state; keys and values are loaded where they
//      are used, from pages straight into registers
//
// Tiles of more than LaneOptions::rows rows are shared out over blocks of rows,
// the third dimension of the grid.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOGPU_KERNELBODY_H
#define LIB_CONVERSION_PAGEDATTNTOGPU_KERNELBODY_H

#include "Lanes.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace mlir::paged_attn {

/// A slice of a buffer that is an argument of the kernel.
struct View {
  Value buffer;
  SmallVector<Value> offsets; ///< one per dimension of the buffer
  SmallVector<Value> sizes;   ///< the same
  SmallVector<unsigned> dims; ///< dimensions of the buffer that the slice has

  /// Indices into the buffer of an element of the slice.
  SmallVector<Value> at(Emitter &emitter, ValueRange indices) const;
};

/// Softmax state of this lane: acc [rows * chunks], m and l [rows].
struct LaneState {
  SmallVector<Value> acc, m, l;
};

/// A kernel under construction.
class KernelBody {
public:
  /// `kernel` has an empty body; arguments are added as they are needed.
  KernelBody(gpu::GPUFuncOp kernel, const LaneOptions &options);

  /// Emits the body of `forall`.
  LogicalResult emitForall(scf::ForallOp forall);
  /// Emits a fill of a slice of a buffer, one block per index of its first
  /// dimension.
  LogicalResult emitFill(linalg::FillOp fill);

  /// Blocks of rows that the tiles of `forall` need, the grid's z; after
  /// emitForall.
  int64_t countRowBlocks(scf::ForallOp forall) const;

  /// Values of the host function that the arguments stand for, in order.
  ArrayRef<Value> getOperands() const { return operands; }

private:
  // Lookup: what a value of the host function or of level 2 is in the kernel.
  Value scalar(Value value);
  View view(Value value);
  SmallVector<Value> &parts(Value tile) { return tiles[tile]; }
  Value argument(Value hostValue);

  // The walk.
  LogicalResult emitBlock(Block &block);
  LogicalResult emit(Operation *op);
  LogicalResult emitScalar(Operation *op);
  LogicalResult emitFor(scf::ForOp op);
  LogicalResult emitIf(scf::IfOp op);
  LogicalResult emitWhile(scf::WhileOp op);
  void emitSlice(tensor::ExtractSliceOp op);
  Value emitDim(Value source, int64_t dim);
  void emitTileFill(linalg::FillOp op);
  void emitRowValues(linalg::GenericOp op);
  /// Flat values of `carried`; views are left out.
  SmallVector<Value> flatten(ValueRange carried);
  /// Gives `targets` the values of `flat` and the views of `sources`.
  void unflatten(ValueRange targets, ValueRange sources, ValueRange flat);

  // Tile ops (KernelTileOps.cpp).
  void emitLoadQuery(LoadQueryOp op);
  void emitOnlineUpdate(OnlineUpdateOp op);
  LaneState updateKeys(OnlineUpdateOp op, Value firstColumn, LaneState state);
  void emitFinalize(FinalizeOp op);
  LaneState mergeGroups(LaneState state);
  SmallVector<Value> loadRow(LoadTileOp tile, const RowLayout &layout,
                             Slot slot);
  Slot locate(LoadTileOp tile, Value position);
  int64_t rowsOf(Value tile);
  Value rowIndex(int64_t row);

  LaneOptions options;
  Emitter e;
  gpu::GPUFuncOp kernel;
  std::unique_ptr<Lanes> lanes;
  TileLayouts layouts;
  Value item;     ///< of the block: its x
  Value firstRow; ///< of the block in its tiles
  Value hasRows;  ///< null, or whether the block has rows of the current tile
  SmallVector<Value> operands;
  DenseMap<Value, Value> scalars;
  DenseMap<Value, View> views;
  DenseMap<Value, SmallVector<Value>> tiles;
};

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOGPU_KERNELBODY_H
