//===- Gather.cpp - Loops that copy pages into a dense buffer -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 0 to loops: paged_attn.gather.
//
//===----------------------------------------------------------------------===//

#include "Lowerings.h"

using namespace mlir;
using namespace mlir::paged_attn;

void paged_attn::emitGather(Emitter &emitter, GatherOp op) {
  PoolView pool{op.getPool(), op.getLayout(), op.getPart(), op.getLayer(),
                /*scale=*/{}};
  PageTable table{op.getPageTable(), op.getPageIndices(), op.getPageIndptr()};
  Value out = op.getOut(), zero = emitter.index(0);
  Value pageSize = pool.pageSize(emitter);

  /// Writes out[sequence, position, :, :] = value(head, d).
  auto write = [&](Value sequence, Value position,
                   function_ref<Value(Value, Value)> value) {
    emitter.loop(zero, emitter.dim(out, 2), [&](Value head) {
      emitter.loop(zero, emitter.dim(out, 3), [&](Value d) {
        emitter.storeF32(value(head, d), out, {sequence, position, head, d});
      });
    });
  };

  emitter.loop(zero, emitter.dim(out, 0), [&](Value sequence) {
    Value size = emitter.dim(out, 1);
    Value kvLen = emitter.loadIndex(op.getKvLens(), sequence);
    Value end = emitter.min(kvLen, size);
    emitter.loop(zero, end, [&](Value position) {
      Slot slot = table.locate(emitter, sequence, position, pageSize);
      write(sequence, position, [&](Value head, Value d) {
        return pool.load(emitter, slot, head, d, /*factor=*/{});
      });
    });
    emitter.loop(end, size, [&](Value position) {
      write(sequence, position,
            [&](Value, Value) { return emitter.f32(0.0f); });
    });
  });
}
