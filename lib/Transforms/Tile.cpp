//===- Tile.cpp - Level 1 to 2 ------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Cuts attention into work items over KV tiles.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Transforms/Passes.h"

#include "paged_attn/IR/PagedAttn.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_TILEPASS
#include "paged_attn/Transforms/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

namespace {
struct TilePass : public paged_attn::impl::TilePassBase<TilePass> {
  using Base::Base;
  void runOnOperation() final {}
};
} // namespace
