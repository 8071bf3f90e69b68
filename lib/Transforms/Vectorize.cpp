//===- Vectorize.cpp - Level 3a to 4: linalg to native vectors ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The pass, and the helpers of the forms in VectorizeMatmul.cpp,
// VectorizeRows.cpp and VectorizeTranspose.cpp. Ops of no form stay linalg.
//
//===----------------------------------------------------------------------===//

#include "Vectorize.h"

#include "paged_attn/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_VECTORIZEPASS
#include "paged_attn/Transforms/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

LogicalResult paged_attn::checkVectorTarget(MLIRContext *context,
                                            int64_t vectorBits,
                                            int64_t registers) {
  if (vectorBits != 128 && vectorBits != 256 && vectorBits != 512)
    return emitError(UnknownLoc::get(context))
           << "expected vector-bits to be 128, 256 or 512, got " << vectorBits;
  if (registers != 16 && registers != 32)
    return emitError(UnknownLoc::get(context))
           << "expected registers to be 16 or 32, got " << registers;
  return success();
}

SmallVector<Piece> paged_attn::cutIntoPieces(int64_t begin, int64_t end,
                                             int64_t lanes) {
  SmallVector<Piece> pieces;
  for (int64_t width = lanes; begin < end; begin += width) {
    while (width > end - begin)
      width /= 2;
    pieces.push_back({begin, width});
  }
  return pieces;
}

Value paged_attn::indexConstant(ImplicitLocOpBuilder &builder, int64_t value) {
  return arith::ConstantIndexOp::create(builder, value);
}

Value paged_attn::addIndex(ImplicitLocOpBuilder &builder, Value base,
                           int64_t offset) {
  if (offset == 0)
    return base;
  if (std::optional<int64_t> known = getConstantIntValue(base))
    return indexConstant(builder, *known + offset);
  return arith::AddIOp::create(builder, base, indexConstant(builder, offset));
}

void paged_attn::forEachBlock(
    ImplicitLocOpBuilder &builder, int64_t size, int64_t step,
    function_ref<void(Value offset, int64_t count)> body) {
  int64_t whole = size - size % step;
  if (whole == step) {
    body(indexConstant(builder, 0), step);
  } else if (whole > step) {
    auto loop = scf::ForOp::create(builder, indexConstant(builder, 0),
                                   indexConstant(builder, whole),
                                   indexConstant(builder, step));
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    body(loop.getInductionVar(), step);
  }
  if (whole < size)
    body(indexConstant(builder, whole), size - whole);
}

bool paged_attn::isLaneType(Type element) {
  return element.isF32() || element.isF16() || element.isBF16() ||
         element.isSignlessInteger(8) || element.isSignlessInteger(16) ||
         element.isSignlessInteger(32);
}

bool paged_attn::hasVectorElements(MemRefType type) {
  if (type.getRank() == 0 || !isLaneType(type.getElementType()))
    return false;
  SmallVector<int64_t> strides;
  int64_t offset;
  return succeeded(type.getStridesAndOffset(strides, offset)) &&
         strides.back() == 1;
}

namespace {

struct VectorizePass
    : public paged_attn::impl::VectorizePassBase<VectorizePass> {
  using Base::Base;

  LogicalResult initialize(MLIRContext *context) final {
    return checkVectorTarget(context, vectorBits, registers);
  }

  void runOnOperation() final {
    VectorTarget target{vectorBits / 32, registers};
    copiesToLinalg();
    IRRewriter rewriter(&getContext());
    // Products first: they take the fill before them along.
    for (linalg::LinalgOp op : collect<linalg::MatmulOp>())
      (void)vectorizeMatmul(rewriter, op, target);
    for (linalg::LinalgOp op : collect<linalg::LinalgOp>())
      if (failed(vectorizeTranspose(rewriter, op, target)))
        (void)vectorizeRows(rewriter, op, target);
  }

private:
  /// A page that is packed unchanged is a memref.copy after bufferization,
  /// which would become a call; as linalg it is vectorized like the others.
  /// A copy onto itself, left by the updates in place, is dropped.
  void copiesToLinalg() {
    SmallVector<memref::CopyOp> copies;
    getOperation()->walk([&](memref::CopyOp op) { copies.push_back(op); });
    for (memref::CopyOp op : copies) {
      if (op.getSource() == op.getTarget()) {
        op.erase();
        continue;
      }
      auto type = dyn_cast<MemRefType>(op.getSource().getType());
      if (!type || !isa<MemRefType>(op.getTarget().getType()))
        continue;
      OpBuilder builder(op);
      linalg::makeMemRefCopyOp(builder, op.getLoc(), op.getSource(),
                               op.getTarget());
      op.erase();
    }
  }

  template <typename OpTy>
  SmallVector<linalg::LinalgOp> collect() {
    SmallVector<linalg::LinalgOp> ops;
    getOperation()->walk([&](OpTy op) {
      auto linalgOp = cast<linalg::LinalgOp>(op.getOperation());
      if (linalgOp.hasPureBufferSemantics())
        ops.push_back(linalgOp);
    });
    return ops;
  }
};

} // namespace
