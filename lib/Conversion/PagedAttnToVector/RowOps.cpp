//===- RowOps.cpp - What stands before and after the KV loop --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. load_query, combine and finalize: loops over rows, vectors along
// them; what a row has one of (m, l) stays scalar.
//
//===----------------------------------------------------------------------===//

#include "RowOps.h"

#include "../SoftmaxMath.h"

using namespace mlir;
using namespace mlir::paged_attn;

static int64_t sizeOf(Value buffer, unsigned dim) {
  return cast<ShapedType>(buffer.getType()).getDimSize(dim);
}

/// Calls `body` for each vector of a row of `size` elements.
static void forEachPiece(VectorBuilder &b, int64_t size,
                         function_ref<void(Value column, int64_t width)> body) {
  for (Piece piece : cutIntoPieces(0, size, b.lanes()))
    body(b.index(piece.offset), piece.width);
}

void paged_attn::emitLoadQuery(VectorBuilder &b, LoadQueryOp op) {
  int64_t group = sizeOf(op.getQuery(), 1), dim = sizeOf(op.getQuery(), 2);
  float factor = op.getFactor().convertToFloat();
  Value tokens = b.dim(op.getQuery(), 0);
  b.loopBy(b.index(0), tokens, 1, [&](Value token) {
    b.loopBy(b.index(0), b.index(group), 1, [&](Value head) {
      Value row = b.add(b.mul(token, b.index(group)), head);
      forEachPiece(b, dim, [&](Value column, int64_t width) {
        Value q = b.loadVector(op.getQuery(), {token, head, column}, width);
        b.storeVector(b.mulF(q, b.splat(factor, width)), op.getOut(),
                      {row, column});
      });
    });
  });
  Value firstEmpty = b.mul(tokens, b.index(group));
  b.loopBy(firstEmpty, b.index(sizeOf(op.getOut(), 0)), 1,
           [&](Value row) { b.fillRow(op.getOut(), row, 0.0f); });
}

//===----------------------------------------------------------------------===//
// combine
//===----------------------------------------------------------------------===//

void paged_attn::emitCombine(VectorBuilder &b, CombineOp op) {
  int64_t numRows = sizeOf(op.getAcc(), 0), dim = sizeOf(op.getAcc(), 1);
  Value states = b.dim(op.getAccs(), 0);
  b.loopBy(b.index(0), states, 1, [&](Value k) {
    b.loopBy(b.index(0), b.index(numRows), 1, [&](Value row) {
      Value m = b.load(op.getM(), row), other = b.load(op.getMs(), {k, row});
      Value top = b.maxF(m, other), safe = b.finite(top);
      Value factor = b.exp2NonPositive(b.subF(m, safe));
      Value otherFactor = b.exp2NonPositive(b.subF(other, safe));
      Value l = b.addF(b.mulF(factor, b.load(op.getL(), row)),
                       b.mulF(otherFactor, b.load(op.getLs(), {k, row})));
      b.storeF32(top, op.getM(), row);
      b.storeF32(l, op.getL(), row);
      forEachPiece(b, dim, [&](Value column, int64_t width) {
        Value own = b.loadVector(op.getAcc(), {row, column}, width);
        Value add = b.loadVector(op.getAccs(), {k, row, column}, width);
        Value sum = b.fma(b.broadcast(otherFactor, width), add,
                          b.mulF(b.broadcast(factor, width), own));
        b.storeVector(sum, op.getAcc(), {row, column});
      });
    });
  });
}

//===----------------------------------------------------------------------===//
// finalize
//===----------------------------------------------------------------------===//

void paged_attn::emitFinalize(VectorBuilder &b, FinalizeOp op) {
  int64_t group = sizeOf(op.getOut(), 1), dim = sizeOf(op.getOut(), 2);
  b.loopBy(b.index(0), b.dim(op.getOut(), 0), 1, [&](Value token) {
    b.loopBy(b.index(0), b.index(group), 1, [&](Value head) {
      Value row = b.add(b.mul(token, b.index(group)), head);
      Value m = b.load(op.getM(), row), l = b.load(op.getL(), row);
      Value sink = op.getSinks() ? b.load(op.getSinks(), row) : Value();
      Value factor = emitOutputFactor(b, op.getLoc(), m, l, sink);
      forEachPiece(b, dim, [&](Value column, int64_t width) {
        Value acc = b.loadVector(op.getAcc(), {row, column}, width);
        b.storeVector(b.mulF(acc, b.broadcast(factor, width)), op.getOut(),
                      {token, head, column});
      });
      if (op.getLse())
        b.storeF32(emitLse(b, op.getLoc(), m, l, sink), op.getLse(),
                   {token, head});
    });
  });
}
