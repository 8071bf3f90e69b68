//===- IndexMath.h - Index arithmetic that folds ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Short spellings for the index arithmetic of tiling. Every operation folds
// when its operands are constant. Division is unsigned: operands are counts.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TRANSFORMS_INDEXMATH_H
#define PAGED_ATTN_LIB_TRANSFORMS_INDEXMATH_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"

namespace mlir::paged_attn {

/// Index values at one location.
class IndexMath {
public:
  IndexMath(OpBuilder &builder, Location loc) : builder(builder), loc(loc) {}

  Value constant(int64_t value) const {
    return arith::ConstantIndexOp::create(builder, loc, value);
  }
  Value add(Value a, Value b) const { return fold<arith::AddIOp>(a, b); }
  Value add(Value a, int64_t b) const { return add(a, constant(b)); }
  Value sub(Value a, Value b) const { return fold<arith::SubIOp>(a, b); }
  Value mul(Value a, int64_t b) const {
    return b == 1 ? a : fold<arith::MulIOp>(a, constant(b));
  }
  Value mul(Value a, Value b) const { return fold<arith::MulIOp>(a, b); }
  Value div(Value a, int64_t b) const {
    return b == 1 ? a : fold<arith::DivUIOp>(a, constant(b));
  }
  Value div(Value a, Value b) const { return fold<arith::DivUIOp>(a, b); }
  /// a / b towards zero for an `a` that may be negative.
  Value signedDiv(Value a, int64_t b) const {
    return fold<arith::DivSIOp>(a, constant(b));
  }
  Value rem(Value a, int64_t b) const {
    return b == 1 ? constant(0) : fold<arith::RemUIOp>(a, constant(b));
  }
  /// ceil(a / b) for a of at least 0.
  Value ceilDiv(Value a, int64_t b) const { return div(add(a, b - 1), b); }
  Value ceilDiv(Value a, Value b) const {
    return div(sub(add(a, b), constant(1)), b);
  }
  /// Signed minimum and maximum.
  Value min(Value a, Value b) const { return fold<arith::MinSIOp>(a, b); }
  Value max(Value a, Value b) const { return fold<arith::MaxSIOp>(a, b); }
  /// a limited to [0, b].
  Value clamp(Value a, Value b) const { return min(max(a, constant(0)), b); }
  Value select(Value condition, Value a, Value b) const {
    return builder.createOrFold<arith::SelectOp>(loc, condition, a, b);
  }
  Value compare(arith::CmpIPredicate predicate, Value a, Value b) const {
    return builder.createOrFold<arith::CmpIOp>(loc, predicate, a, b);
  }
  /// Converts between index and integer types.
  Value cast(Value value, Type type) const {
    if (value.getType() == type)
      return value;
    return builder.createOrFold<arith::IndexCastOp>(loc, type, value);
  }
  Value toIndex(Value value) const {
    return cast(value, builder.getIndexType());
  }

private:
  template <typename OpTy>
  Value fold(Value a, Value b) const {
    return builder.createOrFold<OpTy>(loc, a, b);
  }

  OpBuilder &builder;
  Location loc;
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TRANSFORMS_INDEXMATH_H
