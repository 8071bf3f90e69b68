//===- PageAccess.h - Scalars, loops and the way to a slot ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the lowerings of level 0 share: a builder of scalar loops, and the
// addresses of tokens: sequence -> page -> slot -> element of a pool. Works on
// tensors and memrefs alike; every address is computed in index (64 bits).
//
//===----------------------------------------------------------------------===//

#ifndef LIB_CONVERSION_PAGEACCESS_H
#define LIB_CONVERSION_PAGEACCESS_H

#include "paged_attn/IR/PagedAttn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::paged_attn {

/// Emits scalar arithmetic and loops at one location.
class Emitter : public ImplicitLocOpBuilder {
public:
  using ImplicitLocOpBuilder::ImplicitLocOpBuilder;

  /// A constant of type index.
  Value index(int64_t value);
  /// A constant of type f32; infinities are allowed.
  Value f32(float value);
  Value negativeInfinity();

  /// Signed arithmetic on index.
  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value div(Value a, Value b);
  Value rem(Value a, Value b);
  Value min(Value a, Value b);
  Value max(Value a, Value b);
  Value compare(arith::CmpIPredicate predicate, Value a, Value b);
  Value compare(arith::CmpFPredicate predicate, Value a, Value b);
  Value select(Value condition, Value a, Value b);

  /// Size of dimension `dim` of a tensor or memref, a constant where static.
  Value dim(Value buffer, unsigned dim);
  /// Element of a tensor or memref.
  Value load(Value buffer, ValueRange indices);
  /// Integer element, as index.
  Value loadIndex(Value buffer, ValueRange indices);
  /// Element of any storage type, as f32.
  Value loadF32(Value buffer, ValueRange indices);
  /// Writes an f32 into a memref of f32, f16 or bf16.
  void storeF32(Value value, Value memref, ValueRange indices);

  /// Widens f32, f16, bf16, f8E4M3FN or i8 (signed) to f32.
  Value toF32(Value value);
  /// Rounds f32 to f32, f16 or bf16.
  Value fromF32(Value value, Type type);
  /// An index, negative or not, as f32.
  Value indexToF32(Value value);

  /// scf.for over [begin, end) without values.
  void loop(Value begin, Value end, function_ref<void(Value)> body);
  /// The same over begin, begin + step, ...
  void loop(Value begin, Value end, Value step, function_ref<void(Value)> body);
  /// scf.for over [begin, end) that carries values; the body returns the next.
  SmallVector<Value>
  loop(Value begin, Value end, ValueRange inits,
       function_ref<SmallVector<Value>(Value, ValueRange)> body);
  /// scf.if without values.
  void when(Value condition, function_ref<void()> body);
  /// scf.if with values.
  SmallVector<Value> choose(Value condition,
                            function_ref<SmallVector<Value>()> thenBody,
                            function_ref<SmallVector<Value>()> elseBody);

private:
  Value e4m3ToF32(Value value);
};

/// A token's place: physical page and slot inside it, of type index.
struct Slot {
  Value page;
  Value slot;
};

/// The page table of a call: dense [B, N], or CSR [nnz] and [B + 1].
struct PageTable {
  Value dense;   ///< null for CSR
  Value indices; ///< null for dense
  Value indptr;  ///< null for dense

  /// Where position `position` of `sequence` is; it must be mapped.
  Slot locate(Emitter &emitter, Value sequence, Value position,
              Value pageSize) const;
};

/// Which rows of the packed tokens belong to which sequence.
class Rows {
public:
  /// `lens` [B]; `starts` [B + 1] or null, then every q_len is T / B.
  Rows(Emitter &emitter, Value lens, Value starts, Value numTokens);

  Value getNumSequences() const { return numSequences; }
  /// First row of `sequence`; of sequence B: the first row of no sequence.
  Value begin(Emitter &emitter, Value sequence) const;
  /// kv_len in tokens.
  Value kvLen(Emitter &emitter, Value sequence) const;

private:
  Value lens;
  Value starts;
  Value numSequences;
  Value tokensPerSequence; ///< null with starts
};

/// One half (keys or values) of a pool.
struct PoolView {
  Value buffer;
  LayoutAttr layout;
  Part part;
  Value layer; ///< null unless the layout has `l`
  Value scale; ///< null for pools that are not quantised

  Value pageSize(Emitter &emitter) const;
  Value numHeads(Emitter &emitter) const;
  Value headDim(Emitter &emitter) const;
  /// Indices of entry `d` of a slot's row of `head`.
  SmallVector<Value> indices(Emitter &emitter, Slot slot, Value head,
                             Value d) const;
  /// Factor of a slot's row; null when there is none.
  Value loadScale(Emitter &emitter, Slot slot, Value head) const;
  /// Entry `d`, dequantised by `factor` (may be null), as f32.
  Value load(Emitter &emitter, Slot slot, Value head, Value d,
             Value factor) const;
};

} // namespace mlir::paged_attn

#endif // LIB_CONVERSION_PAGEACCESS_H
