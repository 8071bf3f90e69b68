//===- MergeStates.cpp - Loops that merge attention states ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 0 to loops: paged_attn.merge_states.
//
//===----------------------------------------------------------------------===//

#include "Lowerings.h"

#include "mlir/Dialect/Math/IR/Math.h"

using namespace mlir;
using namespace mlir::paged_attn;

void paged_attn::emitMergeHead(Emitter &emitter, MergeStatesOp op, Value token,
                               Value head, const Elements &elements) {
  Value out = op.getOut();
  Value minusInfinity = emitter.negativeInfinity();
  Value none = emitter.f32(0.0f);
  // m = max_i lse_i, 0 when every part is empty so that no -inf - -inf arises
  SmallVector<Value> lses, weights, empty;
  Value m = minusInfinity;
  for (Value lse : op.getLses()) {
    lses.push_back(emitter.load(lse, {token, head}));
    m = arith::MaximumFOp::create(emitter, m, lses.back());
  }
  Value allEmpty = emitter.compare(arith::CmpFPredicate::OEQ, m, minusInfinity);
  Value base = emitter.select(allEmpty, none, m);
  Value sum = none;
  for (Value lse : lses) {
    weights.push_back(math::ExpOp::create(
        emitter, arith::SubFOp::create(emitter, lse, base)));
    empty.push_back(
        emitter.compare(arith::CmpFPredicate::OEQ, lse, minusInfinity));
    sum = arith::AddFOp::create(emitter, sum, weights.back());
  }
  Value divisor = emitter.select(allEmpty, emitter.f32(1.0f), sum);
  emitter.loop(
      elements.first, emitter.dim(out, 2), elements.step, [&](Value d) {
        Value total = none;
        for (auto [i, part] : llvm::enumerate(op.getParts())) {
          Value value = emitter.select(empty[i], none,
                                       emitter.loadF32(part, {token, head, d}));
          total = arith::AddFOp::create(
              emitter, total,
              arith::MulFOp::create(emitter, weights[i], value));
        }
        emitter.storeF32(arith::DivFOp::create(emitter, total, divisor), out,
                         {token, head, d});
      });
  if (!op.getLse())
    return;
  Value lse =
      arith::AddFOp::create(emitter, m, math::LogOp::create(emitter, divisor));
  emitter.storeF32(lse, op.getLse(), {token, head});
}

void paged_attn::emitMergeStates(Emitter &emitter, MergeStatesOp op) {
  Value zero = emitter.index(0), one = emitter.index(1);
  emitter.loop(zero, emitter.dim(op.getOut(), 0), [&](Value token) {
    emitter.loop(zero, emitter.dim(op.getOut(), 1), [&](Value head) {
      emitMergeHead(emitter, op, token, head, {zero, one});
    });
  });
}
