//===- PagedAttn.h - The paged_attn dialect ---------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dialect, attributes and ops of every level of the ladder.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_IR_PAGEDATTN_H
#define PAGED_ATTN_IR_PAGEDATTN_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/DestinationStyleOpInterface.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "paged_attn/IR/PagedAttnDialect.h.inc"
#include "paged_attn/IR/PagedAttnEnums.h.inc"

#define GET_ATTRDEF_CLASSES
#include "paged_attn/IR/PagedAttnAttrs.h.inc"

#define GET_OP_CLASSES
#include "paged_attn/IR/PagedAttnOps.h.inc"

namespace mlir::paged_attn {

/// Sizes of a pool as its layout names them; ShapedType::kDynamic where the
/// type does not say. Pages, slots, heads and elements, not bytes.
struct PoolShape {
  int64_t numPages;
  int64_t pageSize;
  int64_t numKVHeads;
  int64_t headDim; ///< packing undone
  Type elementType;

  /// Reads the sizes of `pool`, whose rank must be that of `layout`.
  static PoolShape get(ShapedType pool, LayoutAttr layout);
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_IR_PAGEDATTN_H
