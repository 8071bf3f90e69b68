//===- LaneSums.cpp - Dot products into lanes -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. See the header. A step takes lanes / rows keys; the steps' vectors
// are then sorted into one vector of keys per row.
//
//===----------------------------------------------------------------------===//

#include "LaneSums.h"

#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Lanes of a 128-bit part, inside which shuffles are cheapest.
constexpr int64_t kPart = 4;
constexpr int64_t kLineBytes = 64;

/// Masks that pick the first and the second halves of all segments of `x` and
/// `y`. Segments of a part or less stay inside it.
static void halfMasks(int64_t lanes, int64_t segment,
                      SmallVectorImpl<int64_t> &first,
                      SmallVectorImpl<int64_t> &second) {
  int64_t half = segment / 2;
  int64_t part = segment <= kPart ? std::min(kPart, lanes) : lanes;
  for (int64_t base = 0; base < lanes; base += part)
    for (int64_t source : {int64_t(0), lanes})
      for (int64_t start = 0; start < part; start += segment)
        for (int64_t i = 0; i < half; ++i) {
          first.push_back(source + base + start + i);
          second.push_back(source + base + start + half + i);
        }
}

/// Sums of `vectors`, one per lane. `items[i]` tells for lane i which of them
/// stands there when `vectors` is empty (dry run).
static Value sumTree(VectorBuilder *b, SmallVector<Value> vectors,
                     SmallVector<SmallVector<int64_t>> &items, int64_t lanes) {
  for (int64_t segment = lanes; segment > 1; segment /= 2) {
    SmallVector<int64_t> first, second;
    halfMasks(lanes, segment, first, second);
    size_t half = items.size() / 2;
    SmallVector<SmallVector<int64_t>> nextItems;
    SmallVector<Value> next;
    for (size_t i = 0; i < half; ++i) {
      SmallVector<int64_t> merged;
      for (int64_t lane : first)
        merged.push_back(lane < lanes ? items[i][lane]
                                      : items[i + half][lane - lanes]);
      nextItems.push_back(merged);
      if (b)
        next.push_back(
            b->addF(b->shuffle(vectors[i], vectors[i + half], first),
                    b->shuffle(vectors[i], vectors[i + half], second)));
    }
    items = nextItems;
    vectors = next;
  }
  return b ? vectors.front() : Value();
}

/// Position in the list of accumulators of the one that ends in each lane.
static SmallVector<int64_t> treeOrder(int64_t lanes) {
  SmallVector<SmallVector<int64_t>> items;
  for (int64_t i = 0; i < lanes; ++i)
    items.push_back(SmallVector<int64_t>(lanes, i));
  sumTree(nullptr, {}, items, lanes);
  return items.front();
}

/// Splits vectors that hold, row after row, some keys of all rows into one
/// vector of all keys per row.
static void sortByRow(VectorBuilder &b, SmallVector<Value> vectors,
                      int64_t numRows, SmallVectorImpl<Value> &rows) {
  if (numRows == 1) {
    // Only one vector is left: all its lanes are keys of one row.
    rows.push_back(vectors.front());
    return;
  }
  int64_t lanes = VectorBuilder::widthOf(vectors.front());
  int64_t segment = lanes / numRows;
  for (int64_t upper : {0, 1}) {
    SmallVector<int64_t> mask;
    for (int64_t row = upper * numRows / 2; row < (upper + 1) * numRows / 2;
         ++row)
      for (int64_t source : {int64_t(0), lanes})
        for (int64_t i = 0; i < segment; ++i)
          mask.push_back(source + row * segment + i);
    SmallVector<Value> merged;
    for (size_t i = 0; i < vectors.size(); i += 2)
      merged.push_back(b.shuffle(vectors[i], vectors[i + 1], mask));
    sortByRow(b, merged, numRows / 2, rows);
  }
}

namespace {

/// Emits the steps.
class LaneSumEmitter {
public:
  LaneSumEmitter(VectorBuilder &builder, RowBlock query, KeyRows keys,
                 int64_t dim)
      : b(builder), query(query), keys(keys), dim(dim), lanes(builder.lanes()),
        paddedRows(llvm::PowerOf2Ceil(query.count)),
        keysPerStep(lanes / paddedRows), order(treeOrder(lanes)) {}

  SmallVector<Value> emit();

private:
  Value emitStep(int64_t firstKey);
  void multiply(int64_t firstKey, Value d, int64_t width,
                MutableArrayRef<Value> sums);

  VectorBuilder &b;
  RowBlock query;
  KeyRows keys;
  int64_t dim, lanes, paddedRows, keysPerStep;
  SmallVector<int64_t> order;
};

} // namespace

/// sums[j * count + i] += K[firstKey + j][d ...] * Q[i][d ...].
void LaneSumEmitter::multiply(int64_t firstKey, Value d, int64_t width,
                              MutableArrayRef<Value> sums) {
  SmallVector<Value> rows;
  for (int64_t i = 0; i < query.count; ++i)
    rows.push_back(b.padWithZeros(
        b.loadVector(query.matrix, {b.at(query.row, i), d}, width), lanes));
  for (int64_t j = 0; j < keysPerStep && firstKey + j < keys.count; ++j) {
    Value slot = b.at(keys.slot, firstKey + j);
    Value key =
        b.padWithZeros(b.loadVector(keys.view, {slot, d}, width), lanes);
    for (int64_t i = 0; i < query.count; ++i) {
      Value &sum = sums[j * query.count + i];
      sum = b.fma(rows[i], key, sum);
    }
  }
}

/// Scores of keys [firstKey, firstKey + keysPerStep): lane i * keysPerStep + j
/// is row i, key j.
Value LaneSumEmitter::emitStep(int64_t firstKey) {
  SmallVector<Value> zeros(keysPerStep * query.count, b.splat(0.0f, lanes));
  int64_t bytes = cast<MemRefType>(keys.view.getType())
                      .getElementType()
                      .getIntOrFloatBitWidth() /
                  8;
  int64_t whole = dim - dim % lanes, perLine = kLineBytes / bytes;
  int64_t step = whole % (2 * lanes) == 0 ? 2 * lanes : lanes;
  step = std::max(step, whole % perLine == 0 ? perLine : lanes);
  SmallVector<Value> sums = zeros;
  if (whole)
    sums =
        b.loopBy(b.index(0), b.index(whole), step, zeros,
                 [&](Value d, ValueRange carried) {
                   SmallVector<Value> next(carried);
                   for (int64_t offset = 0; offset < step; offset += lanes) {
                     if (offset % perLine == 0)
                       for (int64_t j = 0;
                            j < keysPerStep && firstKey + j < keys.count; ++j)
                         b.prefetch(keys.later, {b.at(keys.slot, firstKey + j),
                                                 b.at(d, offset)});
                     multiply(firstKey, b.at(d, offset), lanes, next);
                   }
                   return next;
                 });
  for (Piece piece : cutIntoPieces(whole, dim, lanes))
    multiply(firstKey, b.index(piece.offset), piece.width, sums);

  // Accumulator order[lane] of the tree ends in `lane`.
  SmallVector<Value> vectors(lanes, b.splat(0.0f, lanes));
  for (int64_t i = 0; i < query.count; ++i)
    for (int64_t j = 0; j < keysPerStep; ++j)
      vectors[order[i * keysPerStep + j]] = sums[j * query.count + i];
  SmallVector<SmallVector<int64_t>> items;
  for (int64_t i = 0; i < lanes; ++i)
    items.push_back(SmallVector<int64_t>(lanes, i));
  return sumTree(&b, vectors, items, lanes);
}

SmallVector<Value> LaneSumEmitter::emit() {
  SmallVector<Value> steps;
  for (int64_t key = 0; key < keys.count; key += keysPerStep)
    steps.push_back(emitStep(key));
  steps.resize(paddedRows, steps.front()); // lanes past the keys: any value
  SmallVector<Value> rows;
  sortByRow(b, steps, paddedRows, rows);
  rows.resize(query.count);
  for (Value &row : rows)
    row = b.slice(row, 0, keys.count);
  return rows;
}

SmallVector<Value> paged_attn::emitLaneSums(VectorBuilder &builder,
                                            RowBlock query, KeyRows keys,
                                            int64_t dim) {
  SmallVector<Value> sums;
  for (int64_t first = 0; first < query.count; first += builder.lanes()) {
    RowBlock some{query.matrix, builder.at(query.row, first),
                  std::min(query.count - first, builder.lanes())};
    llvm::append_range(sums, LaneSumEmitter(builder, some, keys, dim).emit());
  }
  return sums;
}
