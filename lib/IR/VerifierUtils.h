//===- VerifierUtils.h - Checks that several verifiers share ----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One helper per kind of check. A helper that fails has emitted an error that
// names the operand, what was expected and what came. Sizes that a type does
// not know (ShapedType::kDynamic) pass every check.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_IR_VERIFIERUTILS_H
#define PAGED_ATTN_LIB_IR_VERIFIERUTILS_H

#include "paged_attn/IR/PagedAttn.h"

namespace mlir::paged_attn::verifier {

/// A size of an operand and its words for messages: "keys", "KV heads", 8.
struct Size {
  StringRef operand;
  StringRef unit;
  int64_t value;
};

/// An operand with one entry or row per sequence, and `extra` more.
struct BatchOperand {
  StringRef operand;
  StringRef unit;
  Value value; ///< null when absent
  int64_t extra;
};

/// A pool operand as its layout reads it.
struct Pool {
  StringRef name;
  Value value;
  LayoutAttr layout;

  ShapedType getType() const { return cast<ShapedType>(value.getType()); }
  /// Sizes; only after verifyPoolRank.
  PoolShape getShape() const { return PoolShape::get(getType(), layout); }
};

/// The size of dimension `dim` of `value`, called `operand` in messages.
Size sizeOf(StringRef operand, StringRef unit, Value value, unsigned dim);

/// `got` equals `like`.
LogicalResult expectSame(Operation *op, Size got, Size like);

/// `got` is at least 1.
LogicalResult expectPositive(Operation *op, Size got);

/// `got` is known.
LogicalResult expectStatic(Operation *op, Size got);

/// All operands that are there stand for the same number of sequences.
LogicalResult verifyBatch(Operation *op, ArrayRef<BatchOperand> operands);

/// T is a multiple of B: for calls without starts.
LogicalResult verifyEvenSplit(Operation *op, Size tokens, Size sequences);

/// One of `names` is given where `given` says so, and only one.
LogicalResult expectOneOf(Operation *op, StringRef names,
                          ArrayRef<StringRef> given);

/// The pool has a dimension per letter of its layout, the pack as the last
/// one, no empty page, and size 2 in the dimension `c`.
LogicalResult verifyPool(Operation *op, Pool pool);

/// `layer` is there exactly when one of the layouts names layers.
LogicalResult verifyLayer(Operation *op, Value layer, bool layoutHasLayers);

/// The pool's element type is a float type of 16 bits or more.
LogicalResult verifyFloatPool(Operation *op, Pool pool);

/// `scale`, which may be null, fits the pool: there for integers, not there for
/// floats of 16 bits and more; one number, one per KV head, or one per token
/// and KV head.
LogicalResult verifyScale(Operation *op, StringRef name, Value scale,
                          Pool pool);

/// All shaped operands are tensors, or all are memrefs. (How many results
/// there are and of which types, DestinationStyleOpInterface verifies.)
LogicalResult verifyTensorsOrMemRefs(Operation *op);

} // namespace mlir::paged_attn::verifier

#endif // PAGED_ATTN_LIB_IR_VERIFIERUTILS_H
