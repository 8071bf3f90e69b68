//===- SoftmaxMath.h - Scalars of online softmax ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3: the formulas of online_update and finalize on f32 scalars in
// the log2 domain, which every target shares.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_SOFTMAXMATH_H
#define LIB_CONVERSION_SOFTMAXMATH_H

#include "paged_attn/IR/PagedAttn.h"

#include "mlir/IR/Builders.h"

namespace mlir::paged_attn {

/// x, or 0 where x is -inf: 2^(-inf - safe(-inf)) is then 0, not NaN.
Value emitFinite(OpBuilder &builder, Location loc, Value x);
/// max of two values that are not NaN.
Value emitMax(OpBuilder &builder, Location loc, Value a, Value b);
/// 2 ^ (a - b).
Value emitExp2Difference(OpBuilder &builder, Location loc, Value a, Value b);

/// One score of an online_update. Operands of the op are given as they are
/// where the score is computed.
struct ScoreInputs {
  Value product;    ///< dot(query[r, :], keys[:, c]), f32
  Value p, j;       ///< positions of row and key, i32
  Value slope;      ///< of ALiBi, f32, or null
  Value begin, end; ///< range of the op, index
};

/// Softcap, ALiBi and, in a boundary tile, -inf where j is not visible.
Value emitScore(OpBuilder &builder, Location loc, OnlineUpdateOp op,
                const ScoreInputs &inputs);

/// 2^(m - M) / denominator, 0 where it is 0, with M = max(m, sink) and the
/// denominator l 2^(m - M) + 2^(sink - M); without a sink (null): 1 / l.
Value emitOutputFactor(OpBuilder &builder, Location loc, Value m, Value l,
                       Value sink);
/// ln(2) (M + log2(denominator)), -inf where the denominator is 0.
Value emitLse(OpBuilder &builder, Location loc, Value m, Value l, Value sink);

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_SOFTMAXMATH_H
