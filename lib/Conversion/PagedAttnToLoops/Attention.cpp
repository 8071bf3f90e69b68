//===- Attention.cpp - Loops that read as the formula ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 0 to loops: paged_attn.attention. For each row of a sequence and each
// query head: (1) the largest score m over the visible keys, (2) the sum l of
// exp(s - m) and the sums of exp(s - m) v in a scratch row of f32, (3) their
// quotient. Scores are computed twice, keys outside the mask never visited.
//
//===----------------------------------------------------------------------===//

#include "Lowerings.h"

#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Largest scratch row in the frame of the function (f32 elements).
static constexpr int64_t kMaxStackRow = 16384;

namespace {

/// One query head of one new token.
struct Row {
  Value sequence, token, head;
  Value kvHead;
  Value position; ///< p
  Value kvLen;    ///< L
};

/// The positions a row sees: [begin, end) without `gap` positions from
/// `gapBegin` on. Null gap: none.
struct VisibleKeys {
  Value begin, end;
  Value gapBegin, gap;
};

/// The score of a key and, when the region says so, whether it is visible.
struct Score {
  Value value;
  Value visible; ///< null: yes
};

class AttentionLoops {
public:
  AttentionLoops(Emitter &emitter, AttentionOp op);
  void emit();

private:
  Value makeScratch();
  Value makeScale();
  void emitSequence(Value sequence);
  void emitRow(const Row &row);
  void emitPadding();
  VisibleKeys visibleKeys(const Row &row);
  SmallVector<Value>
  forEachKey(const Row &row, Value init,
             function_ref<Value(Value position, Slot, Value carried)> body);
  Value emitMax(const Row &row);
  Value emitSums(const Row &row, Value m);
  void emitQuotient(const Row &row, Value m, Value l);
  Score emitScore(const Row &row, Value position, Slot slot);
  Value emitDot(const Row &row, Slot slot);
  Value loadBias(const Row &row, Value position);
  Score applyRegion(const Row &row, Value position, Value score);
  void addValues(const Row &row, Slot slot, Value weight);
  void storeRow(Value token, Value head, function_ref<Value(Value d)> value,
                Value lse);

  Emitter &e;
  AttentionOp op;
  PoolView keys, values;
  PageTable table;
  Rows rows;
  Value zero, one;
  Value pageSize, group;
  Value scale;
  Value scratch; ///< [Dv] f32
};

} // namespace

AttentionLoops::AttentionLoops(Emitter &emitter, AttentionOp op)
    : e(emitter), op(op), keys{op.getKeys(), op.getKeyLayout(), Part::Key,
                               op.getLayer(), op.getKeyScale()},
      values{op.getValuePool(), op.getValueLayoutOrDefault(),
             op.isLatent() ? Part::Key : Part::Value, op.getLayer(),
             op.isLatent() ? op.getKeyScale() : op.getValueScale()},
      table{op.getPageTable(), op.getPageIndices(), op.getPageIndptr()},
      rows(emitter, op.getKvLens(), op.getQueryStarts(),
           emitter.dim(op.getQuery(), 0)),
      zero(emitter.index(0)), one(emitter.index(1)) {}

void AttentionLoops::emit() {
  pageSize = keys.pageSize(e);
  group = e.div(e.dim(op.getQuery(), 1), keys.numHeads(e));
  scale = makeScale();
  scratch = makeScratch();
  e.loop(zero, rows.getNumSequences(),
         [&](Value sequence) { emitSequence(sequence); });
  emitPadding();
  if (scratch.getDefiningOp<memref::AllocOp>())
    memref::DeallocOp::create(e, scratch);
}

/// A row of Dv f32: in the function's frame when its size is known.
Value AttentionLoops::makeScratch() {
  int64_t size = op.getValueDim();
  auto type = MemRefType::get({size}, e.getF32Type());
  if (ShapedType::isDynamic(size))
    return memref::AllocOp::create(e, type, e.dim(op.getOut(), 2));
  Operation *scope =
      op->getParentWithTrait<OpTrait::AutomaticAllocationScope>();
  if (!scope || size > kMaxStackRow)
    return memref::AllocOp::create(e, type);
  OpBuilder::InsertionGuard guard(e);
  e.setInsertionPointToStart(&scope->getRegion(0).front());
  return memref::AllocaOp::create(e, type);
}

Value AttentionLoops::makeScale() {
  if (op.getScale() || !ShapedType::isDynamic(op.getKeyDim()))
    return e.f32(op.getScaleOrDefault());
  // 1 / sqrt(Dk), rounded once.
  Type f64 = e.getF64Type();
  Value size = arith::SIToFPOp::create(
      e, f64,
      arith::IndexCastOp::create(e, e.getI64Type(), e.dim(op.getQuery(), 2)));
  Value unit = arith::ConstantOp::create(e, e.getF64FloatAttr(1.0));
  Value quotient =
      arith::DivFOp::create(e, unit, math::SqrtOp::create(e, size));
  return arith::TruncFOp::create(e, e.getF32Type(), quotient);
}

void AttentionLoops::emitSequence(Value sequence) {
  Value begin = rows.begin(e, sequence);
  Value end = rows.begin(e, e.add(sequence, one));
  Value kvLen = rows.kvLen(e, sequence);
  // p = L - n + i, or offsets[b] + i
  Value first = op.getQueryOffsets()
                    ? e.loadIndex(op.getQueryOffsets(), sequence)
                    : e.sub(kvLen, e.sub(end, begin));
  e.loop(begin, end, [&](Value token) {
    Value position = e.add(first, e.sub(token, begin));
    e.loop(zero, e.dim(op.getQuery(), 1), [&](Value head) {
      emitRow({sequence, token, head, e.div(head, group), position, kvLen});
    });
  });
}

void AttentionLoops::emitRow(const Row &row) {
  Value m = emitMax(row);
  Value sink;
  if (op.getSinks()) {
    sink = e.load(op.getSinks(), row.head);
    m = arith::MaximumFOp::create(e, m, sink);
  }
  // With nothing to see m is -inf; exp(-inf - 0) is the 0 that is meant.
  Value nothing = e.compare(arith::CmpFPredicate::OEQ, m, e.negativeInfinity());
  Value base = e.select(nothing, e.f32(0.0f), m);
  Value l = emitSums(row, base);
  if (sink)
    l = arith::AddFOp::create(
        e, l, math::ExpOp::create(e, arith::SubFOp::create(e, sink, base)));
  emitQuotient(row, base, l);
}

/// Rows that belong to no sequence are 0.
void AttentionLoops::emitPadding() {
  Value begin = rows.begin(e, rows.getNumSequences());
  e.loop(begin, e.dim(op.getQuery(), 0), [&](Value token) {
    e.loop(zero, e.dim(op.getQuery(), 1), [&](Value head) {
      storeRow(
          token, head, [&](Value) { return e.f32(0.0f); },
          e.negativeInfinity());
    });
  });
}

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

VisibleKeys AttentionLoops::visibleKeys(const Row &row) {
  MaskAttr mask = op.getMaskOrDefault();
  Value p = row.position;
  VisibleKeys visible{zero, row.kvLen, {}, {}};
  if (mask.getCausal()) // j <= p
    visible.end = e.min(visible.end, e.add(p, one));
  if (mask.getChunk()) { // j / C == p / C
    Value chunk = e.index(mask.getChunk());
    Value begin = e.mul(e.div(p, chunk), chunk);
    visible.begin = e.max(visible.begin, begin);
    visible.end = e.min(visible.end, e.add(begin, chunk));
  }
  if (!mask.getWindow())
    return visible;
  // j > p - W, or j < K
  Value windowBegin = e.sub(e.add(p, one), e.index(mask.getWindow()));
  if (!mask.getSinkTokens()) {
    visible.begin = e.max(visible.begin, windowBegin);
    return visible;
  }
  auto clamp = [&](Value value, Value low) {
    return e.min(e.max(value, low), visible.end);
  };
  visible.gapBegin = clamp(e.index(mask.getSinkTokens()), visible.begin);
  Value gapEnd = clamp(windowBegin, visible.gapBegin);
  visible.gap = e.sub(gapEnd, visible.gapBegin);
  visible.end = e.sub(visible.end, visible.gap);
  return visible;
}

/// A loop over the keys a row sees that carries one value.
SmallVector<Value> AttentionLoops::forEachKey(
    const Row &row, Value init,
    function_ref<Value(Value position, Slot, Value carried)> body) {
  VisibleKeys visible = visibleKeys(row);
  return e.loop(
      visible.begin, visible.end, init, [&](Value n, ValueRange carried) {
        Value position = n;
        if (visible.gap) {
          Value beyond =
              e.compare(arith::CmpIPredicate::sge, n, visible.gapBegin);
          position = e.select(beyond, e.add(n, visible.gap), n);
        }
        Slot slot = table.locate(e, row.sequence, position, pageSize);
        return SmallVector<Value>{body(position, slot, carried.front())};
      });
}

Value AttentionLoops::emitMax(const Row &row) {
  return forEachKey(row, e.negativeInfinity(),
                    [&](Value position, Slot slot, Value m) -> Value {
                      Score score = emitScore(row, position, slot);
                      Value s = score.value;
                      if (score.visible)
                        s = e.select(score.visible, s, e.negativeInfinity());
                      return arith::MaximumFOp::create(e, m, s);
                    })
      .front();
}

Value AttentionLoops::emitSums(const Row &row, Value m) {
  e.loop(zero, e.dim(op.getOut(), 2),
         [&](Value d) { e.storeF32(e.f32(0.0f), scratch, d); });
  auto add = [&](Slot slot, Value score, Value l) -> Value {
    Value weight = math::ExpOp::create(e, arith::SubFOp::create(e, score, m));
    addValues(row, slot, weight);
    return arith::AddFOp::create(e, l, weight);
  };
  return forEachKey(row, e.f32(0.0f),
                    [&](Value position, Slot slot, Value l) -> Value {
                      Score score = emitScore(row, position, slot);
                      if (!score.visible)
                        return add(slot, score.value, l);
                      auto visible = [&]() -> SmallVector<Value> {
                        return {add(slot, score.value, l)};
                      };
                      auto hidden = [&]() -> SmallVector<Value> { return {l}; };
                      return e.choose(score.visible, visible, hidden).front();
                    })
      .front();
}

/// scratch += weight * v
void AttentionLoops::addValues(const Row &row, Slot slot, Value weight) {
  Value factor = values.loadScale(e, slot, row.kvHead);
  e.loop(zero, e.dim(op.getOut(), 2), [&](Value d) {
    Value v = values.load(e, slot, row.kvHead, d, factor);
    Value product = arith::MulFOp::create(e, weight, v);
    Value sum = arith::AddFOp::create(e, e.load(scratch, d), product);
    e.storeF32(sum, scratch, d);
  });
}

/// out = scratch / l, lse = m + log(l); 0 and -inf where nothing was summed.
void AttentionLoops::emitQuotient(const Row &row, Value m, Value l) {
  Value empty = e.compare(arith::CmpFPredicate::OEQ, l, e.f32(0.0f));
  Value divisor = e.select(empty, e.f32(1.0f), l);
  Value lse;
  if (op.getLse())
    lse =
        e.select(empty, e.negativeInfinity(),
                 arith::AddFOp::create(e, m, math::LogOp::create(e, divisor)));
  auto quotient = [&](Value d) -> Value {
    return arith::DivFOp::create(e, e.load(scratch, d), divisor);
  };
  storeRow(row.token, row.head, quotient, lse);
}

void AttentionLoops::storeRow(Value token, Value head,
                              function_ref<Value(Value d)> value, Value lse) {
  e.loop(zero, e.dim(op.getOut(), 2),
         [&](Value d) { e.storeF32(value(d), op.getOut(), {token, head, d}); });
  if (op.getLse())
    e.storeF32(lse, op.getLse(), {token, head});
}

//===----------------------------------------------------------------------===//
// Scores
//===----------------------------------------------------------------------===//

Value AttentionLoops::emitDot(const Row &row, Slot slot) {
  Value factor = keys.loadScale(e, slot, row.kvHead);
  return e
      .loop(zero, e.dim(op.getQuery(), 2), e.f32(0.0f),
            [&](Value d, ValueRange sum) {
              Value q = e.loadF32(op.getQuery(), {row.token, row.head, d});
              Value k = keys.load(e, slot, row.kvHead, d, factor);
              Value product = arith::MulFOp::create(e, q, k);
              Value next = arith::AddFOp::create(e, sum.front(), product);
              return SmallVector<Value>{next};
            })
      .front();
}

Value AttentionLoops::loadBias(const Row &row, Value position) {
  Value bias = op.getBias();
  int64_t heads = cast<ShapedType>(bias.getType()).getDimSize(1);
  Value head = heads == 1 ? zero : row.head;
  if (ShapedType::isDynamic(heads))
    head = e.select(e.compare(arith::CmpIPredicate::eq, e.dim(bias, 1), one),
                    zero, head);
  return e.loadF32(bias, {row.token, head, position});
}

Score AttentionLoops::emitScore(const Row &row, Value position, Slot slot) {
  Value s = arith::MulFOp::create(e, scale, emitDot(row, slot));
  if (op.getSoftcap()) {
    Value cap = e.f32(op.getSoftcap()->convertToFloat());
    Value ratio = arith::DivFOp::create(e, s, cap);
    s = arith::MulFOp::create(e, cap, math::TanhOp::create(e, ratio));
  }
  if (op.getAlibiSlopes()) {
    Value distance = e.indexToF32(e.sub(position, row.position));
    Value slope = e.load(op.getAlibiSlopes(), row.head);
    s = arith::AddFOp::create(e, s, arith::MulFOp::create(e, slope, distance));
  }
  if (op.getBias())
    s = arith::AddFOp::create(e, s, loadBias(row, position));
  return applyRegion(row, position, s);
}

/// Writes the score region out in place.
Score AttentionLoops::applyRegion(const Row &row, Value position, Value score) {
  if (op.getScore().empty())
    return {score, {}};
  Block &body = op.getScore().front();
  SmallVector<Value> arguments{score, row.sequence, row.head, row.position,
                               position};
  llvm::append_range(arguments, op.getCaptures());
  IRMapping mapping;
  mapping.map(body.getArguments(), arguments);
  for (Operation &inner : body.without_terminator())
    e.clone(inner, mapping);
  auto yield = cast<YieldOp>(body.getTerminator());
  return {mapping.lookupOrDefault(yield.getScore()),
          yield.getVisible() ? mapping.lookupOrDefault(yield.getVisible())
                             : Value()};
}

void paged_attn::emitAttention(Emitter &emitter, AttentionOp op) {
  AttentionLoops(emitter, op).emit();
}
