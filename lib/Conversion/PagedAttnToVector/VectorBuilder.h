//===- VectorBuilder.h - Loops over native vectors --------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. What the microkernels are written with: f32 vectors of at most the
// native width, loaded from memrefs of any stored type, reduced
// and transposed by shuffles.
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEDATTNTOVECTOR_VECTORBUILDER_H
#define LIB_CONVERSION_PAGEDATTNTOVECTOR_VECTORBUILDER_H

#include "../../Transforms/Vectorize.h"
#include "../PageAccess.h"

#include "mlir/Dialect/Vector/IR/VectorOps.h"

namespace mlir::paged_attn {

/// Emits arithmetic on f32 vectors; scalars and loops come from Emitter.
class VectorBuilder : public Emitter {
public:
  VectorBuilder(Operation *op, const VectorTarget &target)
      : Emitter(op->getLoc(), op), target(target) {}

  int64_t lanes() const { return target.lanes; }
  const VectorTarget &getTarget() const { return target; }
  VectorType vectorOf(int64_t width) {
    return VectorType::get(width, getF32Type());
  }
  static int64_t widthOf(Value vector) {
    return cast<VectorType>(vector.getType()).getDimSize(0);
  }

  /// `width` neighbours from `indices` on, widened to f32.
  Value loadVector(Value memref, ValueRange indices, int64_t width);
  /// Rounds an f32 vector to the memref's element type and writes it.
  void storeVector(Value vector, Value memref, ValueRange indices);
  /// Writes `value` to elements [0, size) of row `row` of a memref [R, size].
  void fillRow(Value memref, Value row, float value);

  Value splat(float value, int64_t width);
  Value splat(int32_t value, int64_t width);
  Value broadcast(Value scalar, int64_t width);
  /// An f32 element, broadcast.
  Value loadSplat(Value memref, ValueRange indices, int64_t width);
  /// 0, 1, ..., width - 1 as i32.
  Value iota(int64_t width);

  /// Lane by lane, on f32 scalars or vectors.
  Value addF(Value a, Value b) { return arith::AddFOp::create(*this, a, b); }
  Value subF(Value a, Value b) { return arith::SubFOp::create(*this, a, b); }
  Value mulF(Value a, Value b) { return arith::MulFOp::create(*this, a, b); }
  Value fma(Value a, Value b, Value c) {
    return vector::FMAOp::create(*this, a, b, c);
  }
  /// a > b ? a : b, one instruction; with a NaN: b.
  Value maxF(Value a, Value b);
  /// 2^x for x <= 0 or NaN; 0 for -inf.
  Value exp2NonPositive(Value x);
  /// x, or 0 where x is -inf, so that 2^(-inf - finite(-inf)) is 0.
  Value finite(Value x);

  Value shuffle(Value a, Value b, ArrayRef<int64_t> mask) {
    return vector::ShuffleOp::create(*this, a, b, mask);
  }
  /// Lanes [first, first + width) of `x`; lanes past its end are undefined.
  Value slice(Value x, int64_t first, int64_t width);
  /// `x` with zeros behind it up to `width` lanes.
  Value padWithZeros(Value x, int64_t width);
  /// Combines all lanes to one scalar, halving the width each time.
  Value reduce(Value x, function_ref<Value(Value, Value)> combine);
  Value sumLanes(Value x);
  Value maxLanes(Value x);
  /// Transposes n vectors of n lanes, n a power of two.
  void transpose(SmallVectorImpl<Value> &rows);

  /// scf.for over [begin, end) by `step`, carrying `inits`.
  SmallVector<Value>
  loopBy(Value begin, Value end, int64_t step, ValueRange inits,
         function_ref<SmallVector<Value>(Value, ValueRange)> body);
  /// The same without values.
  void loopBy(Value begin, Value end, int64_t step,
              function_ref<void(Value)> body);
  /// base + offset, folded.
  Value at(Value base, int64_t offset) { return addIndex(*this, base, offset); }
  /// A scratch buffer of f32, aligned to a cache line.
  Value scratch(ArrayRef<int64_t> shape);
  /// One line of the cache that holds the element.
  void prefetch(Value memref, ValueRange indices);

private:
  VectorTarget target;
};

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEDATTNTOVECTOR_VECTORBUILDER_H
