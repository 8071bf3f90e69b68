//===- CopyPages.cpp - Loops that copy whole pages ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 0 to loops: paged_attn.copy_pages.
//
//===----------------------------------------------------------------------===//

#include "Lowerings.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Loops over dimensions [dim, rank) of `pool` but `pageDim`; `indices` holds
/// the outer ones.
static void copyPage(Emitter &emitter, Value pool, unsigned pageDim,
                     Value source, Value target, SmallVector<Value> indices) {
  unsigned dim = indices.size();
  if (dim == cast<MemRefType>(pool.getType()).getRank()) {
    indices[pageDim] = source;
    Value value = emitter.load(pool, indices);
    indices[pageDim] = target;
    memref::StoreOp::create(emitter, value, pool, indices);
    return;
  }
  if (dim == pageDim) {
    indices.push_back(source);
    return copyPage(emitter, pool, pageDim, source, target, indices);
  }
  emitter.loop(emitter.index(0), emitter.dim(pool, dim), [&](Value i) {
    SmallVector<Value> inner = indices;
    inner.push_back(i);
    copyPage(emitter, pool, pageDim, source, target, inner);
  });
}

void paged_attn::emitCopyPages(Emitter &emitter, CopyPagesOp op) {
  Value zero = emitter.index(0), one = emitter.index(1);
  Value pairs = op.getPairs();
  emitter.loop(zero, emitter.dim(pairs, 0), [&](Value row) {
    Value source = emitter.loadIndex(pairs, {row, zero});
    Value target = emitter.loadIndex(pairs, {row, one});
    Value taken = emitter.compare(arith::CmpIPredicate::sge, source, zero);
    emitter.when(taken, [&] {
      copyPage(emitter, op.getPool(), op.getLayout().getDim('p'), source,
               target, {});
    });
  });
}
