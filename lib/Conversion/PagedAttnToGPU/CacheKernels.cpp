//===- CacheKernels.cpp - Kernels of ops without tiles --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 0 to 3c; see the header.
//
//===----------------------------------------------------------------------===//

#include "CacheKernels.h"

#include "../PagedAttnToLoops/Lowerings.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::paged_attn;

namespace {

/// The frame of a kernel: `op` on its arguments, and the block's place.
template <typename OpTy>
struct CacheKernel {
  CacheKernel(gpu::GPUFuncOp kernel, OpTy hostOp, const LaneOptions &options)
      : e(kernel.getLoc(), OpBuilder::atBlockEnd(&kernel.getBody().front())) {
    token = gpu::BlockIdOp::create(e, gpu::Dimension::x);
    head = gpu::BlockIdOp::create(e, gpu::Dimension::y);
    elements = {gpu::ThreadIdOp::create(e, gpu::Dimension::x),
                e.index(options.subgroupSize)};
    IRMapping mapping;
    mapping.map(hostOp->getOperands(), kernel.getArguments());
    op = cast<OpTy>(e.clone(*hostOp, mapping));
  }
  ~CacheKernel() {
    op->erase();
    gpu::ReturnOp::create(e);
  }

  Emitter e;
  OpTy op;
  Value token, head;
  Elements elements;
};

} // namespace

/// The sequence b with begin(b) <= token < begin(b + 1), by binary search in
/// [0, B); `token` lies before the end of all.
static Value findSequence(Emitter &e, const Rows &rows, Value token) {
  Type index = e.getIndexType();
  auto search = scf::WhileOp::create(
      e, TypeRange{index, index},
      ValueRange{e.index(0), rows.getNumSequences()},
      [&](OpBuilder &nested, Location loc, ValueRange range) {
        Emitter inner(loc, nested);
        Value isOpen =
            inner.compare(arith::CmpIPredicate::slt,
                          inner.add(range[0], inner.index(1)), range[1]);
        scf::ConditionOp::create(inner, isOpen, range);
      },
      [&](OpBuilder &nested, Location loc, ValueRange range) {
        Emitter inner(loc, nested);
        Value middle = inner.createOrFold<arith::DivUIOp>(
            inner.add(range[0], range[1]), inner.index(2));
        Value isBelow = inner.compare(arith::CmpIPredicate::sle,
                                      rows.begin(inner, middle), token);
        Value low = inner.select(isBelow, middle, range[0]);
        Value high = inner.select(isBelow, range[1], middle);
        scf::YieldOp::create(inner, ValueRange{low, high});
      });
  return search.getResult(0);
}

void paged_attn::emitAppendKernel(gpu::GPUFuncOp kernel, AppendOp hostOp,
                                  const LaneOptions &options) {
  CacheKernel<AppendOp> frame(kernel, hostOp, options);
  Emitter &e = frame.e;
  AppendOp op = frame.op;
  Value pageSize = emitAppendPageSize(e, op);
  if (Value slots = op.getSlots()) {
    Value slot = e.loadIndex(slots, frame.token);
    Value taken = e.compare(arith::CmpIPredicate::sge, slot, e.index(0));
    e.when(taken, [&] {
      emitAppendHead(e, op, frame.token,
                     {e.div(slot, pageSize), e.rem(slot, pageSize)}, frame.head,
                     frame.elements);
    });
    return;
  }
  Rows rows(e, op.getKvLens(), op.getQueryStarts(), e.dim(op.getKeys(), 0));
  PageTable table{op.getPageTable(), op.getPageIndices(), op.getPageIndptr()};
  Value end = rows.begin(e, rows.getNumSequences());
  Value begin = rows.begin(e, e.index(0));
  Value isOwned = e.createOrFold<arith::AndIOp>(
      e.compare(arith::CmpIPredicate::sge, frame.token, begin),
      e.compare(arith::CmpIPredicate::slt, frame.token, end));
  e.when(isOwned, [&] {
    Value sequence = findSequence(e, rows, frame.token);
    // Row t of the sequence stands at L - end + t.
    Value next = rows.begin(e, e.add(sequence, e.index(1)));
    Value shift = e.sub(rows.kvLen(e, sequence), next);
    Slot slot = table.locate(e, sequence, e.add(shift, frame.token), pageSize);
    emitAppendHead(e, op, frame.token, slot, frame.head, frame.elements);
  });
}

void paged_attn::emitMergeKernel(gpu::GPUFuncOp kernel, MergeStatesOp hostOp,
                                 const LaneOptions &options) {
  CacheKernel<MergeStatesOp> frame(kernel, hostOp, options);
  emitMergeHead(frame.e, frame.op, frame.token, frame.head, frame.elements);
}
