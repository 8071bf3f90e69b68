//===- TileOps.h - Tile ops as linalg on static tiles -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3a: one function per tile op, and the small builders they share.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_CONVERSION_PAGEDATTNTOLINALG_TILEOPS_H
#define PAGED_ATTN_LIB_CONVERSION_PAGEDATTNTOLINALG_TILEOPS_H

#include "paged_attn/IR/PagedAttn.h"

#include "mlir/IR/Builders.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::paged_attn {

/// Builders of linalg on tensors at one location.
class LinalgMath {
public:
  using Body = function_ref<Value(OpBuilder &, Location, ValueRange)>;

  LinalgMath(OpBuilder &builder, Location loc) : builder(builder), loc(loc) {}

  /// A scalar f32 constant.
  Value constant(double value);
  /// A buffer of its own of f32.
  Value scratch(ArrayRef<int64_t> shape);
  Value fill(double value, Value out);
  /// out = body(ins..., out) over all elements; `body` gets scalars, the last
  /// of them the old element of `out`. Each map of `dims` names the dimensions
  /// that an operand has: {0, 1}, {0} or {1}; the last is that of `out`.
  Value elementwise(ValueRange ins, Value out, ArrayRef<ArrayRef<int64_t>> dims,
                    Body body);
  /// out[r] = combine(in[r, c]) over c, started from out[r].
  Value reduceColumns(Value in, Value out, Body combine);
  /// A unit-stride slice whose dimensions of extent `drop` vanish.
  Value extract(Value source, ArrayRef<OpFoldResult> offsets,
                ArrayRef<OpFoldResult> sizes, ArrayRef<int64_t> shape);
  Value insert(Value piece, Value target, ArrayRef<OpFoldResult> offsets,
               ArrayRef<OpFoldResult> sizes);
  OpFoldResult index(int64_t value) { return builder.getIndexAttr(value); }

  OpBuilder &builder;
  Location loc;
};

/// Converts between float types.
Value emitFloatCast(OpBuilder &builder, Location loc, Value value, Type type);

FailureOr<SmallVector<Value>> lowerLoadQuery(RewriterBase &, LoadQueryOp op);
FailureOr<SmallVector<Value>> lowerLoadTile(RewriterBase &, LoadTileOp op);
FailureOr<SmallVector<Value>> lowerOnlineUpdate(RewriterBase &,
                                                OnlineUpdateOp op);
FailureOr<SmallVector<Value>> lowerCombine(RewriterBase &, CombineOp op);
FailureOr<SmallVector<Value>> lowerFinalize(RewriterBase &, FinalizeOp op);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_CONVERSION_PAGEDATTNTOLINALG_TILEOPS_H
