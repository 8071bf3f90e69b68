//===- KernelTileOps.cpp - Tile ops as the code of a subgroup -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3c: load_query, load_tile with online_update, finalize.
//
//===----------------------------------------------------------------------===//

#include "KernelBody.h"

#include "../SoftmaxMath.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Keys that a group of lanes loads before it uses the first: enough bytes in
/// flight, and one rescaling of the accumulators for all of them.
constexpr int64_t kKeysAtOnce = 4;

void KernelBody::emitLoadQuery(LoadQueryOp op) {
  View query = view(op.getQuery());
  int64_t group = cast<ShapedType>(op.getQuery().getType()).getDimSize(1);
  Value numTokens = query.sizes[query.dims[0]];
  const RowLayout &layout = layouts.key;
  Value factor = lanes->splat(layout, e.f32(op.getFactor().convertToFloat()));
  Value zero = lanes->splat(layout, e.f32(0.0f));
  SmallVector<Value> result;
  for (int64_t row = 0; row < rowsOf(op.getOut()); ++row) {
    Value index = rowIndex(row);
    Value token = e.createOrFold<arith::DivUIOp>(index, e.index(group));
    Value head = e.createOrFold<arith::RemUIOp>(index, e.index(group));
    auto read = [&] {
      SmallVector<Value> chunks;
      for (int64_t chunk = 0; chunk < layout.numChunks(); ++chunk) {
        Value value = lanes->load(query.buffer, layout, chunk, [&](Value d) {
          return query.at(e, {token, head, d});
        });
        chunks.push_back(arith::MulFOp::create(e, value, factor));
      }
      return chunks;
    };
    auto none = [&] { return SmallVector<Value>(layout.numChunks(), zero); };
    Value exists = e.compare(arith::CmpIPredicate::slt, token, numTokens);
    llvm::append_range(result, e.choose(exists, read, none));
  }
  tiles[op->getResult(0)] = std::move(result);
  hasRows = nullptr;
  if (getConstantIntValue(firstRow) != std::optional<int64_t>(0))
    hasRows = e.compare(arith::CmpIPredicate::slt, firstRow,
                        e.mul(numTokens, e.index(group)));
}

//===----------------------------------------------------------------------===//
// online_update
//===----------------------------------------------------------------------===//

/// Where `position` is: the page is read once per key.
Slot KernelBody::locate(LoadTileOp tile, Value position) {
  auto pool = cast<ShapedType>(tile.getPool().getType());
  Value size = e.index(pool.getDimSize(tile.getLayout().getDim('s')));
  View pages = view(tile.getPages());
  Value logical = e.createOrFold<arith::DivUIOp>(position, size);
  return {e.loadIndex(pages.buffer, pages.at(e, logical)),
          e.createOrFold<arith::RemUIOp>(position, size)};
}

SmallVector<Value> KernelBody::loadRow(LoadTileOp tile, const RowLayout &layout,
                                       Slot slot) {
  PoolView pool{view(tile.getPool()).buffer, tile.getLayout(), tile.getPart(),
                tile.getLayer() ? scalar(tile.getLayer()) : Value(),
                /*scale=*/{}};
  Value head = scalar(tile.getHead());
  SmallVector<Value> chunks;
  for (int64_t chunk = 0; chunk < layout.numChunks(); ++chunk)
    chunks.push_back(lanes->load(pool.buffer, layout, chunk, [&](Value d) {
      return pool.indices(e, slot, head, d);
    }));
  return chunks;
}

void KernelBody::emitOnlineUpdate(OnlineUpdateOp op) {
  LaneState state{parts(op.getAcc()), parts(op.getM()), parts(op.getL())};
  int64_t width = cast<ShapedType>(op.getKeys().getType()).getDimSize(1);
  int64_t groups = lanes->numGroups();
  int64_t keys =
      std::min<int64_t>(kKeysAtOnce, llvm::divideCeil(width, groups));
  int64_t steps = llvm::divideCeil(width, groups * keys);
  if (steps == 1) {
    state = updateKeys(op, e.index(0), std::move(state));
  } else {
    size_t numAcc = state.acc.size(), numRows = state.m.size();
    SmallVector<Value> flat =
        llvm::to_vector(llvm::concat<Value>(state.acc, state.m, state.l));
    flat = e.loop(
        e.index(0), e.index(steps), flat, [&](Value step, ValueRange carried) {
          LaneState inner{llvm::to_vector(carried.take_front(numAcc)),
                          llvm::to_vector(carried.slice(numAcc, numRows)),
                          llvm::to_vector(carried.take_back(numRows))};
          Value column = e.mul(step, e.index(groups * keys));
          inner = updateKeys(op, column, std::move(inner));
          return llvm::to_vector(
              llvm::concat<Value>(inner.acc, inner.m, inner.l));
        });
    ArrayRef<Value> values(flat);
    state = {llvm::to_vector(values.take_front(numAcc)),
             llvm::to_vector(values.slice(numAcc, numRows)),
             llvm::to_vector(values.take_back(numRows))};
  }
  tiles[op->getResult(0)] = std::move(state.acc);
  tiles[op->getResult(1)] = std::move(state.m);
  tiles[op->getResult(2)] = std::move(state.l);
}

/// Up to kKeysAtOnce keys of each group of lanes, from column `firstColumn` on:
///   1. load K and V; a position outside the range reads one inside
///   2. S = Q K, softcap, bias, mask; -inf for columns that do not count
///   3. a = 2^(m - m'), w = 2^(S - m'), l = a l + sum w, acc = a acc + w V
LaneState KernelBody::updateKeys(OnlineUpdateOp op, Value firstColumn,
                                 LaneState state) {
  auto keyTile = op.getKeys().getDefiningOp<LoadTileOp>();
  auto valueTile = op.getValues().getDefiningOp<LoadTileOp>();
  int64_t width = cast<ShapedType>(op.getKeys().getType()).getDimSize(1);
  int64_t groups = lanes->numGroups();
  int64_t count =
      std::min<int64_t>(kKeysAtOnce, llvm::divideCeil(width, groups));
  bool isBoundary = op.getMaskKind() == MaskKind::Boundary;
  bool hasSpare = width % (groups * count) != 0;
  Value pos = scalar(op.getPos()), last;
  Value begin = scalar(op.getBegin()), end = scalar(op.getEnd());
  if (isBoundary)
    last = e.sub(end, e.index(1));
  else if (hasSpare)
    last = e.add(pos, e.index(width - 1));

  SmallVector<Value> positions, counts;
  SmallVector<SmallVector<Value>> keys, values;
  for (int64_t u = 0; u < count; ++u) {
    Value column =
        e.add(e.add(firstColumn, e.index(u * groups)), lanes->getGroup());
    Value position = e.add(pos, column), readable = position;
    if (last)
      readable = e.min(readable, last);
    if (isBoundary)
      readable = e.max(readable, begin);
    counts.push_back(
        hasSpare ? e.compare(arith::CmpIPredicate::slt, column, e.index(width))
                 : Value());
    Slot slot = locate(keyTile, readable);
    keys.push_back(loadRow(keyTile, layouts.key, slot));
    values.push_back(loadRow(valueTile, layouts.value, slot));
    positions.push_back(
        arith::IndexCastOp::create(e, e.getI32Type(), position));
  }

  int64_t keyChunks = layouts.key.numChunks();
  int64_t valueChunks = layouts.value.numChunks();
  auto contract = arith::FastMathFlags::contract;
  SmallVector<Value> &query = parts(op.getQuery());
  for (size_t row = 0; row < state.m.size(); ++row) {
    ArrayRef<Value> q = ArrayRef(query).slice(row * keyChunks, keyChunks);
    Value p = parts(op.getQPositions())[row];
    Value slope = op.getSlopes() ? parts(op.getSlopes())[row] : Value();
    SmallVector<Value> scores;
    Value m = state.m[row];
    for (int64_t u = 0; u < count; ++u) {
      Value s = lanes->dot(layouts.key, keys[u], q);
      s = emitScore(e, e.getLoc(), op, {s, p, positions[u], slope, begin, end});
      if (counts[u])
        s = e.select(counts[u], s, e.negativeInfinity());
      scores.push_back(s);
      m = arith::MaximumFOp::create(e, m, s);
    }
    Value finite = emitFinite(e, e.getLoc(), m);
    Value decay = emitExp2Difference(e, e.getLoc(), state.m[row], finite);
    Value l = arith::MulFOp::create(e, state.l[row], decay);
    MutableArrayRef<Value> acc =
        MutableArrayRef(state.acc).slice(row * valueChunks, valueChunks);
    Value wide = lanes->splat(layouts.value, decay);
    for (Value &chunk : acc)
      chunk = arith::MulFOp::create(e, chunk, wide);
    for (int64_t u = 0; u < count; ++u) {
      Value weight = emitExp2Difference(e, e.getLoc(), scores[u], finite);
      l = arith::AddFOp::create(e, l, weight);
      Value wideWeight = lanes->splat(layouts.value, weight);
      for (auto [chunk, value] : llvm::zip_equal(acc, values[u])) {
        Value product = arith::MulFOp::create(e, wideWeight, value, contract);
        chunk = arith::AddFOp::create(e, chunk, product, contract);
      }
    }
    state.m[row] = m;
    state.l[row] = l;
  }
  return state;
}

//===----------------------------------------------------------------------===//
// finalize
//===----------------------------------------------------------------------===//

/// One state from those of all groups, the same in every lane.
LaneState KernelBody::mergeGroups(LaneState state) {
  int64_t chunks = layouts.value.numChunks();
  auto sumOver = [&](Value x, Value factor, int64_t distance) -> Value {
    Value own = arith::MulFOp::create(e, x, factor);
    return arith::AddFOp::create(e, own, lanes->exchange(own, distance));
  };
  for (int64_t distance = layouts.value.lanesPerRow;
       distance < options.subgroupSize; distance *= 2) {
    for (size_t row = 0; row < state.m.size(); ++row) {
      Value other = lanes->exchange(state.m[row], distance);
      Value m = arith::MaximumFOp::create(e, state.m[row], other);
      Value factor = emitExp2Difference(e, e.getLoc(), state.m[row],
                                        emitFinite(e, e.getLoc(), m));
      state.m[row] = m;
      state.l[row] = sumOver(state.l[row], factor, distance);
      Value wide = lanes->splat(layouts.value, factor);
      for (int64_t c = 0; c < chunks; ++c) {
        Value &chunk = state.acc[row * chunks + c];
        chunk = sumOver(chunk, wide, distance);
      }
    }
  }
  return state;
}

void KernelBody::emitFinalize(FinalizeOp op) {
  LaneState state =
      mergeGroups({parts(op.getAcc()), parts(op.getM()), parts(op.getL())});
  View out = view(op.getOut());
  int64_t group = cast<ShapedType>(op.getOut().getType()).getDimSize(1);
  int64_t chunks = layouts.value.numChunks();
  Value numTokens = out.sizes[out.dims[0]];
  // The first group of lanes writes the row, its first lane the lse.
  auto isFirst = [&](Value index) {
    return e.compare(arith::CmpIPredicate::eq, index, e.index(0));
  };
  Value writes = isFirst(lanes->getGroup());
  for (size_t row = 0; row < state.m.size(); ++row) {
    Value index = rowIndex(row);
    Value token = e.createOrFold<arith::DivUIOp>(index, e.index(group));
    Value head = e.createOrFold<arith::RemUIOp>(index, e.index(group));
    Value m = state.m[row], l = state.l[row];
    Value sink = op.getSinks() ? parts(op.getSinks())[row] : Value();
    Value factor = lanes->splat(layouts.value,
                                emitOutputFactor(e, e.getLoc(), m, l, sink));
    Value exists = e.compare(arith::CmpIPredicate::slt, token, numTokens);
    e.when(e.createOrFold<arith::AndIOp>(exists, writes), [&] {
      for (int64_t c = 0; c < chunks; ++c) {
        Value chunk = state.acc[row * chunks + c];
        lanes->store(arith::MulFOp::create(e, chunk, factor), out.buffer,
                     layouts.value, c,
                     [&](Value d) { return out.at(e, {token, head, d}); });
      }
      if (!op.getLse())
        return;
      e.when(isFirst(lanes->getLane()), [&] {
        View lse = view(op.getLse());
        e.storeF32(emitLse(e, e.getLoc(), m, l, sink), lse.buffer,
                   lse.at(e, {token, head}));
      });
    });
  }
  views[op->getResult(0)] = out;
  if (op.getLse())
    views[op->getResult(1)] = view(op.getLse());
}
