//===- Int8Dot.cpp - Scores of int8 keys by dot products of bytes ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. See the header. The instruction (vpdpbusd) multiplies unsigned by
// signed bytes: a key k is read as k + 128 and the sums start at -128 times
// that of the query's part.
//
//===----------------------------------------------------------------------===//

#include "Int8Dot.h"

#include "Products.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Bytes of an i32 that one instruction adds up.
constexpr int64_t kQuad = 4;
/// High and low part of a query.
constexpr int64_t kParts = 2;
/// Largest |128 * high + low| with both parts in [-127, 127].
constexpr float kLargest = 127 * 128;
/// Above this head dim a sum of both parts could leave 32 bits.
constexpr int64_t kMostDim = 512;

bool paged_attn::isInt8DotTile(LoadTileOp op, const VectorTarget &target) {
  PoolShape shape =
      PoolShape::get(cast<ShapedType>(op.getPool().getType()), op.getLayout());
  int64_t keys = cast<ShapedType>(op.getOut().getType()).getDimSize(1);
  return op.getPart() == Part::Key && shape.elementType.isInteger(8) &&
         op.getLayout().isTransposed() && op.getLayout().getPack() == kQuad &&
         shape.headDim <= kMostDim && target.lanes >= 8 &&
         std::min(keys, shape.pageSize) % target.lanes == 0;
}

namespace {

/// Splits the rows of a query.
class QuerySplitter {
public:
  QuerySplitter(VectorBuilder &builder, Value query)
      : b(builder), query(query),
        rows(cast<ShapedType>(query.getType()).getDimSize(0)),
        dim(cast<ShapedType>(query.getType()).getDimSize(1)) {}

  Int8Query emit();

private:
  Value scratch(ArrayRef<int64_t> shape) {
    return memref::AllocOp::create(b, MemRefType::get(shape, b.getI32Type()));
  }
  Value largest(Value row);
  Value roundToInt(Value x);
  void splitRow(Value row);
  void splitQuad(Value row, Value quad, Value scale,
                 MutableArrayRef<Value> sums);

  VectorBuilder &b;
  Value query;
  int64_t rows, dim;
  Int8Query result;
};

} // namespace

Int8Query QuerySplitter::emit() {
  result = {scratch({kParts, rows, dim / kQuad}), scratch({kParts, rows}),
            b.scratch({rows})};
  b.loopBy(b.index(0), b.index(rows), 1, [&](Value row) { splitRow(row); });
  return result;
}

/// The largest magnitude in a row.
Value QuerySplitter::largest(Value row) {
  return b
      .loop(b.index(0), b.index(dim), b.f32(0.0f),
            [&](Value d, ValueRange most) -> SmallVector<Value> {
              Value q = math::AbsFOp::create(b, b.load(query, {row, d}));
              return {b.maxF(q, most.front())};
            })
      .front();
}

/// The nearest integer to an f32 of at most 2^22 in magnitude, as i32.
Value QuerySplitter::roundToInt(Value x) {
  constexpr float kShift = 12582912.0f; // 1.5 * 2^23
  Value bits =
      arith::BitcastOp::create(b, b.getI32Type(), b.addF(x, b.f32(kShift)));
  Value base = arith::BitcastOp::create(b, b.getI32Type(), b.f32(kShift));
  return arith::SubIOp::create(b, bits, base);
}

/// Entries 4 * quad ... of a row as two i32 of four bytes; adds them to the
/// sums of the parts.
void QuerySplitter::splitQuad(Value row, Value quad, Value scale,
                              MutableArrayRef<Value> sums) {
  auto constant = [&](int32_t value) -> Value {
    return arith::ConstantOp::create(b, b.getI32IntegerAttr(value));
  };
  Value packed[kParts] = {constant(0), constant(0)};
  for (int64_t i = 0; i < kQuad; ++i) {
    Value d = b.at(b.mul(quad, b.index(kQuad)), i);
    Value q = roundToInt(b.mulF(b.load(query, {row, d}), scale));
    // q = 128 * high + low with low in [-64, 63].
    Value high = arith::ShRSIOp::create(
        b, arith::AddIOp::create(b, q, constant(64)), constant(7));
    Value low = arith::SubIOp::create(
        b, q, arith::ShLIOp::create(b, high, constant(7)));
    Value parts[kParts] = {high, low};
    for (auto [part, value] : llvm::enumerate(parts)) {
      Value byte = arith::AndIOp::create(b, value, constant(0xff));
      byte = arith::ShLIOp::create(b, byte, constant(8 * i));
      packed[part] = arith::OrIOp::create(b, packed[part], byte);
      sums[part] = arith::AddIOp::create(b, sums[part], value);
    }
  }
  for (int64_t part = 0; part < kParts; ++part)
    memref::StoreOp::create(b, packed[part], result.parts,
                            ValueRange{b.index(part), row, quad});
}

void QuerySplitter::splitRow(Value row) {
  Value most = largest(row);
  Value isZero = b.compare(arith::CmpFPredicate::OEQ, most, b.f32(0.0f));
  Value safe = b.select(isZero, b.f32(1.0f), most);
  Value scale = arith::DivFOp::create(b, b.f32(kLargest), safe);
  b.storeF32(b.mulF(safe, b.f32(1 / kLargest)), result.steps, row);
  Value zero = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
  SmallVector<Value> sums =
      b.loop(b.index(0), b.index(dim / kQuad), {zero, zero},
             [&](Value quad, ValueRange carried) {
               SmallVector<Value> next(carried);
               splitQuad(row, quad, scale, next);
               return next;
             });
  Value shift = arith::ConstantOp::create(b, b.getI32IntegerAttr(-128));
  for (auto [part, sum] : llvm::enumerate(sums))
    memref::StoreOp::create(b, arith::MulIOp::create(b, sum, shift),
                            result.starts, ValueRange{b.index(part), row});
}

Int8Query paged_attn::emitInt8Query(VectorBuilder &builder, Value query) {
  return QuerySplitter(builder, query).emit();
}

/// acc[i] + sum over 4 bytes of unsigned `a` times signed `c`.
static Value dotBytes(VectorBuilder &b, Value acc, Value a, Value c) {
  std::string name = "llvm.x86.avx512.vpdpbusd." +
                     std::to_string(32 * VectorBuilder::widthOf(acc));
  return LLVM::CallIntrinsicOp::create(b, acc.getType(), b.getStringAttr(name),
                                       ValueRange{acc, a, c})
      .getResult(0);
}

namespace {

/// Multiplies some rows with the vectors of some chunks.
class Int8ScoreEmitter {
public:
  Int8ScoreEmitter(VectorBuilder &builder, const Int8Query &query, Value row,
                   int64_t count, TilePages &pages, Int8Chunks chunks,
                   Value scores)
      : b(builder), query(query), row(row), count(count), pages(pages),
        chunks(chunks), scores(scores), lanes(builder.lanes()) {}

  void emit();

private:
  /// A vector of keys: which chunk, and its first slot.
  struct Keys {
    size_t chunk;
    int64_t slot;
  };
  void scoreKeys(ArrayRef<Keys> keys);
  void multiply(Value quad, ArrayRef<Keys> keys, MutableArrayRef<Value> sums);
  void store(ArrayRef<Keys> keys, ArrayRef<Value> sums);

  VectorBuilder &b;
  const Int8Query &query;
  Value row;
  int64_t count;
  TilePages &pages;
  Int8Chunks chunks;
  Value scores;
  int64_t lanes;
};

} // namespace

void Int8ScoreEmitter::emit() {
  SmallVector<Keys> keys;
  for (size_t chunk = 0; chunk < chunks.views.size(); ++chunk)
    for (int64_t slot = 0; slot < pages.numSlots(); slot += lanes)
      keys.push_back({chunk, slot});
  size_t most = vectorsPerBlock(b.getTarget(), kParts * count, keys.size());
  for (size_t first = 0; first < keys.size(); first += most)
    scoreKeys(ArrayRef(keys).slice(first, std::min(most, keys.size() - first)));
}

/// Adds the products of one quad of entries to `sums`, [keys][row][part].
void Int8ScoreEmitter::multiply(Value quad, ArrayRef<Keys> keys,
                                MutableArrayRef<Value> sums) {
  auto bytes = VectorType::get(kQuad * lanes, b.getI8Type());
  Value shift = arith::ConstantOp::create(
      b, DenseElementsAttr::get(bytes, b.getI8IntegerAttr(-128)));
  SmallVector<Value> stored;
  for (const Keys &key : keys) {
    SmallVector<Value> place{quad, b.index(kQuad * key.slot)};
    b.prefetch(chunks.later[key.chunk], place);
    Value loaded =
        vector::LoadOp::create(b, bytes, chunks.views[key.chunk], place);
    stored.push_back(arith::XOrIOp::create(b, loaded, shift));
  }
  for (int64_t i = 0; i < count; ++i)
    for (int64_t part = 0; part < kParts; ++part) {
      Value four = b.load(query.parts, {b.index(part), b.at(row, i), quad});
      Value q = vector::BitCastOp::create(b, bytes, b.broadcast(four, lanes));
      for (size_t v = 0; v < keys.size(); ++v) {
        Value &sum = sums[(v * count + i) * kParts + part];
        sum = dotBytes(b, sum, stored[v], q);
      }
    }
}

void Int8ScoreEmitter::scoreKeys(ArrayRef<Keys> keys) {
  SmallVector<Value> starts;
  for (size_t v = 0; v < keys.size(); ++v)
    for (int64_t i = 0; i < count; ++i)
      for (int64_t part = 0; part < kParts; ++part)
        starts.push_back(b.broadcast(
            b.load(query.starts, {b.index(part), b.at(row, i)}), lanes));
  int64_t quads = pages.headDim() / kQuad, unroll = quads % 2 ? 1 : 2;
  SmallVector<Value> sums = b.loopBy(b.index(0), b.index(quads), unroll, starts,
                                     [&](Value quad, ValueRange carried) {
                                       SmallVector<Value> next(carried);
                                       for (int64_t i = 0; i < unroll; ++i)
                                         multiply(b.at(quad, i), keys, next);
                                       return next;
                                     });
  store(keys, sums);
}

/// scores = step * (128 * high + low).
void Int8ScoreEmitter::store(ArrayRef<Keys> keys, ArrayRef<Value> sums) {
  for (auto [v, key] : llvm::enumerate(keys))
    for (int64_t i = 0; i < count; ++i) {
      ArrayRef<Value> parts = sums.slice((v * count + i) * kParts, kParts);
      Value high = arith::ShLIOp::create(b, parts[0], b.splat(7, lanes));
      Value sum = arith::AddIOp::create(b, high, parts[1]);
      Value wide = arith::SIToFPOp::create(b, b.vectorOf(lanes), sum);
      Value step = b.loadSplat(query.steps, b.at(row, i), lanes);
      Value column =
          b.at(chunks.firstKey, key.chunk * pages.numSlots() + key.slot);
      b.storeVector(b.mulF(wide, step), scores, {b.index(i), column});
    }
}

void paged_attn::emitInt8Scores(VectorBuilder &builder, const Int8Query &query,
                                Value row, int64_t count, TilePages &pages,
                                Int8Chunks chunks, Value scores) {
  Int8ScoreEmitter(builder, query, row, count, pages, chunks, scores).emit();
}
