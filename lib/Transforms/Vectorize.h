//===- Vectorize.h - What the files of Vectorize share ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3a to 4. One function per form of linalg op on memrefs; each checks
// everything before it changes the IR.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TRANSFORMS_VECTORIZE_H
#define PAGED_ATTN_LIB_TRANSFORMS_VECTORIZE_H

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/PatternMatch.h"

namespace mlir::paged_attn {

/// The vector unit that code is made for.
struct VectorTarget {
  int64_t lanes;     ///< 32-bit elements of a native vector: 4, 8 or 16
  int64_t registers; ///< vector registers: 16 or 32
};

/// Fails with an error unless the options of a pass describe a vector unit.
LogicalResult checkVectorTarget(MLIRContext *context, int64_t vectorBits,
                                int64_t registers);

/// `width` neighbouring elements from `offset` on; `width` is a power of two.
struct Piece {
  int64_t offset;
  int64_t width;
};

/// Cuts [begin, end) into pieces of `lanes` elements, and the rest into
/// narrower ones, widest first.
SmallVector<Piece> cutIntoPieces(int64_t begin, int64_t end, int64_t lanes);

/// Calls `body(offset, count)` for blocks of `step` out of [0, size): in an
/// `scf.for` when there are several whole ones, then for the rest, which is
/// shorter.
void forEachBlock(ImplicitLocOpBuilder &builder, int64_t size, int64_t step,
                  function_ref<void(Value offset, int64_t count)> body);

/// An index constant.
Value indexConstant(ImplicitLocOpBuilder &builder, int64_t value);

/// `base + offset`, folded when both are known.
Value addIndex(ImplicitLocOpBuilder &builder, Value base, int64_t offset);

/// Transposes n vectors of n elements, n a power of two, by log2(n) stages of
/// shuffles.
void transposeInRegisters(ImplicitLocOpBuilder &builder,
                          SmallVectorImpl<Value> &rows);

/// Whether neighbours along the last dimension of `type` lie side by side and
/// its elements have at most 32 bits (i1 not among them).
bool hasVectorElements(MemRefType type);

/// Whether the element type of a value can stand in a vector of native width.
bool isLaneType(Type element);

/// Whether an operand with this indexing map depends on the last loop.
bool usesLastLoop(AffineMap map);

/// C += A B on f32 memrefs [R, K], [K, N], [R, N] of static shape: register
/// blocks, one accumulator per `iter_args` value. A `linalg.fill` of C with 0
/// right before `op` is erased with it.
LogicalResult vectorizeMatmul(RewriterBase &rewriter, linalg::LinalgOp op,
                              const VectorTarget &target);

/// out[b][a] = f(in[a][b]) of static shape: square blocks, transposed by
/// log2(lanes) stages of shuffles.
LogicalResult vectorizeTranspose(RewriterBase &rewriter, linalg::LinalgOp op,
                                 const VectorTarget &target);

/// Elementwise ops, and reductions over the last loop, of any rank and any
/// shape: vectors along the last loop, `scf.for` over the others.
LogicalResult vectorizeRows(RewriterBase &rewriter, linalg::LinalgOp op,
                            const VectorTarget &target);

/// The body of a linalg op on values of one width: what depends on a vector
/// becomes a vector, the rest stays scalar.
class BodyEmitter {
public:
  /// Whether `op` has a body that this class can emit: elementwise ops,
  /// constants and `linalg.index`, on elements of at most 32 bits wherever
  /// they depend on the last loop. On failure gives the reason.
  static LogicalResult check(linalg::LinalgOp op, std::string &reason);

  BodyEmitter(ImplicitLocOpBuilder &builder, linalg::LinalgOp op, int64_t width)
      : b(builder), op(op), width(width) {}

  /// Sets what stands for a block argument: a vector of `width`, or a scalar.
  void map(BlockArgument argument, Value value) { values.map(argument, value); }
  /// Sets the loop counters, of which the last is that of lane 0.
  void setIndices(ArrayRef<Value> indices) { loops.assign(indices); }
  /// Emits all ops but those in `skipped` and the terminator.
  void emit(const SmallPtrSetImpl<Operation *> &skipped);
  /// The vector that stands for `value` of the body or from outside of it.
  Value vector(Value value);

private:
  void emitIndex(linalg::IndexOp index);
  bool isVarying(Value value);

  ImplicitLocOpBuilder &b;
  linalg::LinalgOp op;
  int64_t width;
  IRMapping values;
  SmallVector<Value> loops;
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TRANSFORMS_VECTORIZE_H
