//===- Append.cpp - Loops that write new keys and values ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 0 to loops: paged_attn.append.
//
//===----------------------------------------------------------------------===//

#include "Lowerings.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Copies elements of one head of row `token` of `source` [T, Hkv, D] into its
/// slot.
static void emitHead(Emitter &emitter, Value source, const PoolView &pool,
                     Value token, Slot slot, Value head,
                     const Elements &elements) {
  Type type = cast<MemRefType>(pool.buffer.getType()).getElementType();
  auto copy = [&](Value d) {
    Value value = emitter.load(source, {token, head, d});
    if (value.getType() != type)
      value = emitter.fromF32(emitter.toF32(value), type);
    memref::StoreOp::create(emitter, value, pool.buffer,
                            pool.indices(emitter, slot, head, d));
  };
  emitter.loop(elements.first, emitter.dim(source, 2), elements.step, copy);
}

static PoolView keyView(AppendOp op) {
  return {op.getKeyPool(), op.getKeyLayout(), Part::Key, op.getLayer(),
          /*scale=*/{}};
}

void paged_attn::emitAppendHead(Emitter &emitter, AppendOp op, Value token,
                                Slot slot, Value head,
                                const Elements &elements) {
  emitHead(emitter, op.getKeys(), keyView(op), token, slot, head, elements);
  if (!op.getValues())
    return;
  PoolView values{op.getValueTarget(), op.getValueLayoutOrDefault(),
                  Part::Value, op.getLayer(), /*scale=*/{}};
  emitHead(emitter, op.getValues(), values, token, slot, head, elements);
}

Value paged_attn::emitAppendPageSize(Emitter &emitter, AppendOp op) {
  return keyView(op).pageSize(emitter);
}

/// Calls `write` with the slot of every new token.
static void forEachToken(Emitter &emitter, AppendOp op, Value pageSize,
                         function_ref<void(Value token, Slot)> write) {
  Value zero = emitter.index(0), numTokens = emitter.dim(op.getKeys(), 0);
  if (Value slots = op.getSlots()) {
    emitter.loop(zero, numTokens, [&](Value token) {
      Value slot = emitter.loadIndex(slots, token);
      Value taken = emitter.compare(arith::CmpIPredicate::sge, slot, zero);
      emitter.when(taken, [&] {
        write(token,
              {emitter.div(slot, pageSize), emitter.rem(slot, pageSize)});
      });
    });
    return;
  }
  Rows rows(emitter, op.getKvLens(), op.getQueryStarts(), numTokens);
  PageTable table{op.getPageTable(), op.getPageIndices(), op.getPageIndptr()};
  emitter.loop(zero, rows.getNumSequences(), [&](Value sequence) {
    Value begin = rows.begin(emitter, sequence);
    Value end = rows.begin(emitter, emitter.add(sequence, emitter.index(1)));
    // Row t of the sequence stands at L - n + (t - begin) = L - end + t.
    Value shift = emitter.sub(rows.kvLen(emitter, sequence), end);
    emitter.loop(begin, end, [&](Value token) {
      Value position = emitter.add(shift, token);
      write(token, table.locate(emitter, sequence, position, pageSize));
    });
  });
}

void paged_attn::emitAppend(Emitter &emitter, AppendOp op) {
  Value zero = emitter.index(0), numHeads = emitter.dim(op.getKeys(), 1);
  forEachToken(emitter, op, emitAppendPageSize(emitter, op),
               [&](Value token, Slot slot) {
                 emitter.loop(zero, numHeads, [&](Value head) {
                   emitAppendHead(emitter, op, token, slot, head,
                                  {zero, emitter.index(1)});
                 });
               });
}
