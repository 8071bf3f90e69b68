//===- LowerMath.cpp - Level 4 ------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// exp2, tanh and log2 as polynomials.
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
#define GEN_PASS_DEF_LOWERMATHPASS
#include "paged_attn/Transforms/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

namespace {
struct LowerMathPass : public paged_attn::impl::LowerMathPassBase<LowerMathPass> {
  using Base::Base;
  void runOnOperation() final {}
};
} // namespace
