//===- PagedAttnToLinalg.cpp - Level 2 to 3a ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tile ops become linalg on static tiles.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Conversion/Passes.h"

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
#define GEN_PASS_DEF_CONVERTPAGEDATTNTOLINALGPASS
#include "paged_attn/Conversion/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

namespace {
struct ConvertPagedAttnToLinalgPass : public paged_attn::impl::ConvertPagedAttnToLinalgPassBase<ConvertPagedAttnToLinalgPass> {
  using Base::Base;
  void runOnOperation() final {}
};
} // namespace
