//===- Products.cpp - Register-blocked products ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3b. See the header.
//
//===----------------------------------------------------------------------===//

#include "Products.h"

#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// Steps of the head dim in one trip of the loop.
constexpr int64_t kUnroll = 4;

int64_t paged_attn::vectorsPerBlock(const VectorTarget &target, int64_t rows,
                                    int64_t wanted) {
  int64_t most = std::max<int64_t>(1, target.registers * 3 / 4 / rows);
  int64_t blocks = llvm::divideCeil(wanted, most);
  return llvm::divideCeil(wanted, blocks);
}

SmallVector<Value> paged_attn::emitScoreSums(
    VectorBuilder &b, RowBlock query, int64_t dim, int64_t pack,
    ArrayRef<int64_t> widths,
    function_ref<SmallVector<Value>(Value, int64_t, unsigned)> loadKeys) {
  size_t numVectors = widths.size();
  SmallVector<Value> zeros;
  for (int64_t i = 0; i < query.count; ++i)
    for (int64_t width : widths)
      zeros.push_back(b.splat(0.0f, width));

  auto step = [&](Value group, int64_t index, MutableArrayRef<Value> sums) {
    SmallVector<SmallVector<Value>> keys;
    for (size_t v = 0; v < numVectors; ++v)
      keys.push_back(loadKeys(group, index, v));
    for (int64_t k = 0; k < pack; ++k) {
      Value d = b.at(b.mul(group, b.index(pack)), k);
      for (int64_t i = 0; i < query.count; ++i) {
        Value q = b.load(query.matrix, {b.at(query.row, i), d});
        for (size_t v = 0; v < numVectors; ++v) {
          Value &sum = sums[i * numVectors + v];
          sum = b.fma(b.broadcast(q, widths[v]), keys[v][k], sum);
        }
      }
    }
  };

  int64_t groups = dim / pack;
  int64_t unroll = std::max<int64_t>(1, kUnroll / pack);
  while (groups % unroll)
    unroll /= 2;
  return b.loopBy(b.index(0), b.index(groups), unroll, zeros,
                  [&](Value group, ValueRange carried) {
                    SmallVector<Value> sums(carried);
                    for (int64_t i = 0; i < unroll; ++i)
                      step(b.at(group, i), i, sums);
                    return sums;
                  });
}

void paged_attn::emitOutputStep(VectorBuilder &b, RowBlock weights, Value key,
                                ArrayRef<Value> values,
                                MutableArrayRef<Value> sums) {
  for (int64_t i = 0; i < weights.count; ++i) {
    Value weight = b.load(weights.matrix, {b.at(weights.row, i), key});
    for (auto [v, value] : llvm::enumerate(values)) {
      Value &sum = sums[i * values.size() + v];
      Value factor = b.broadcast(weight, VectorBuilder::widthOf(value));
      sum = b.fma(factor, value, sum);
    }
  }
}
