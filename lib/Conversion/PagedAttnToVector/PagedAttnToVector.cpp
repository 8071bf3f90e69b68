//===- PagedAttnToVector.cpp - Level 2 to 3b ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The pass: tile ops on memrefs become microkernels of native vectors.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Conversion/Passes.h"

#include "RowOps.h"
#include "TilePages.h"
#include "Update.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_CONVERTPAGEDATTNTOVECTORPASS
#include "paged_attn/Conversion/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

/// Rows of the buffers from outside must be contiguous to be vectors.
static LogicalResult checkRows(Operation *op) {
  Value buffer = TypeSwitch<Operation *, Value>(op)
                     .Case([](LoadQueryOp op) { return op.getQuery(); })
                     .Case([](LoadTileOp op) { return op.getPool(); })
                     .Case([](FinalizeOp op) { return op.getOut(); })
                     .Default([](Operation *) { return Value(); });
  SmallVector<int64_t> strides;
  int64_t offset;
  if (!buffer || (succeeded(cast<MemRefType>(buffer.getType())
                                .getStridesAndOffset(strides, offset)) &&
                  strides.back() == 1))
    return success();
  return op->emitOpError("expected a buffer whose last dimension is "
                         "contiguous, got ")
         << buffer.getType() << " (convert-paged-attn-to-linalg takes it)";
}

namespace {
struct ConvertPagedAttnToVectorPass
    : public paged_attn::impl::ConvertPagedAttnToVectorPassBase<
          ConvertPagedAttnToVectorPass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) final {
    return checkVectorTarget(context, vectorBits, registers);
  }

  void runOnOperation() final {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *op) {
      if (isa<LoadQueryOp, LoadTileOp, OnlineUpdateOp, CombineOp, FinalizeOp>(
              op))
        ops.push_back(op);
    });
    for (Operation *op : ops)
      if (op->getNumResults() != 0) {
        op->emitOpError("expected memrefs, got tensors (bufferize first)");
        return signalPassFailure();
      }
    int8Queries.clear();
    for (Operation *op : ops)
      if (failed(checkRows(op)))
        return signalPassFailure();
    // Updates first: they take the loads that they read through along.
    SmallPtrSet<Operation *, 16> erased;
    for (Operation *op : ops)
      if (auto update = dyn_cast<OnlineUpdateOp>(op))
        lowerUpdate(update, erased);
    for (Operation *op : ops)
      if (!erased.contains(op))
        lowerRest(op);
    WalkResult left = getOperation()->walk([](AttentionOp op) {
      op.emitOpError("expected tile ops, got attention (run paged-attn-tile "
                     "first)");
      return WalkResult::interrupt();
    });
    if (left.wasInterrupted())
      signalPassFailure();
  }

private:
  VectorTarget target() { return {vectorBits / 32, registers}; }

  void lowerUpdate(OnlineUpdateOp op, SmallPtrSetImpl<Operation *> &erased) {
    VectorBuilder builder(op, target());
    erased.insert(op);
    if (!isStreaming(op)) {
      emitBlockUpdate(builder, op);
      op.erase();
      return;
    }
    TileReads reads = findTileReads(op);
    emitStreamUpdate(builder, op, reads, findInt8Query(op, reads));
    op.erase();
    for (LoadTileOp load : {reads.keys, reads.values}) {
      if (!load)
        continue;
      Value buffer = load.getOut();
      erased.insert(load);
      load.erase();
      eraseBuffer(buffer);
    }
  }

  /// The query of `op` for dot products of bytes, split once behind its
  /// load_query; null where the target or the keys do not take them.
  const Int8Query *findInt8Query(OnlineUpdateOp op, TileReads reads) {
    if (!int8Dot || !reads.keys || !isInt8DotTile(reads.keys, target()))
      return nullptr;
    Value query = op.getQuery();
    if (int8Queries.contains(query))
      return &int8Queries[query];
    for (Operation *user : query.getUsers()) {
      auto load = dyn_cast<LoadQueryOp>(user);
      if (!load || load.getOut() != query)
        continue;
      VectorBuilder builder(load, target());
      builder.setInsertionPointAfter(load);
      return &(int8Queries[query] = emitInt8Query(builder, query));
    }
    return nullptr;
  }

  /// A scratch buffer that nobody reads or writes any more.
  static void eraseBuffer(Value buffer) {
    for (Operation *user : llvm::make_early_inc_range(buffer.getUsers()))
      if (isa<memref::DeallocOp>(user))
        user->erase();
    if (buffer.use_empty())
      buffer.getDefiningOp()->erase();
  }

  void lowerRest(Operation *op) {
    VectorBuilder builder(op, target());
    TypeSwitch<Operation *>(op)
        .Case([&](LoadQueryOp op) { emitLoadQuery(builder, op); })
        .Case([&](LoadTileOp op) { emitPackTile(builder, op); })
        .Case([&](CombineOp op) { emitCombine(builder, op); })
        .Case([&](FinalizeOp op) { emitFinalize(builder, op); });
    op->erase();
  }

  /// By the buffer of the query they split.
  llvm::MapVector<Value, Int8Query> int8Queries;
};
} // namespace
