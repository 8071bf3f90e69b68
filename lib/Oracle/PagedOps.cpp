//===- PagedOps.cpp - References of the cache ops -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Straight loops over tokens, heads and entries.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/PagedOps.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace paged_attn::oracle {

std::vector<int64_t> slotMapping(const Problem &problem) {
  int64_t pageSize = problem.spec.pageSize;
  std::vector<int64_t> slots(problem.spec.numTokens(), -1);
  for (int64_t b = 0; b < problem.spec.batch(); ++b)
    for (int64_t i = 0, n = problem.qLen(b); i < n; ++i) {
      int64_t position = problem.kvLen(b) - n + i;
      int64_t page = problem.physicalPage(b, position / pageSize);
      slots[problem.queryStart(b) + i] = page * pageSize + position % pageSize;
    }
  return slots;
}

void append(const MutablePoolView &pool, const void *rows, ElementType rowType,
            const std::vector<int64_t> &slots) {
  int64_t pageSize = pool.shape.extents().slots;
  int64_t heads = pool.shape.extents().heads;
  for (size_t t = 0; t < slots.size(); ++t) {
    if (slots[t] < 0)
      continue;
    for (int64_t h = 0; h < heads; ++h) {
      int64_t target =
          pool.rowOffset(slots[t] / pageSize, slots[t] % pageSize, h);
      int64_t source = (static_cast<int64_t>(t) * heads + h) * pool.depth;
      for (int64_t d = 0; d < pool.depth; ++d)
        storeElement(pool.type, pool.data, target + pool.shape.depthOffset(d),
                     loadElement(rowType, rows, source + d));
    }
  }
}

/// Copies one element of `numBytes` bytes.
static void copyElement(void *target, int64_t targetIndex, const void *source,
                        int64_t sourceIndex, int64_t numBytes) {
  std::memcpy(static_cast<char *>(target) + targetIndex * numBytes,
              static_cast<const char *>(source) + sourceIndex * numBytes,
              numBytes);
}

void gather(const Problem &problem, const PoolView &pool, int64_t b,
            void *result) {
  int64_t pageSize = problem.spec.pageSize, heads = problem.spec.numKvHeads;
  int64_t width = byteWidth(pool.type);
  for (int64_t j = 0, n = problem.kvLen(b); j < n; ++j)
    for (int64_t h = 0; h < heads; ++h) {
      int64_t page = problem.physicalPage(b, j / pageSize);
      int64_t source = pool.rowOffset(page, j % pageSize, h);
      int64_t target = (j * heads + h) * pool.depth;
      for (int64_t d = 0; d < pool.depth; ++d)
        copyElement(result, target + d, pool.data,
                    source + pool.shape.depthOffset(d), width);
    }
}

/// Offsets of all elements of a page from the page's first element.
static std::vector<int64_t> offsetsInPage(const PoolShape &shape) {
  std::vector<int64_t> offsets{0};
  for (size_t dim = 0; dim < shape.dims().size(); ++dim) {
    const std::string &letters = shape.layout().letters();
    if (dim < letters.size() && letters[dim] == 'p')
      continue;
    std::vector<int64_t> extended;
    for (int64_t offset : offsets)
      for (int64_t i = 0; i < shape.dims()[dim]; ++i)
        extended.push_back(offset + i * shape.strides()[dim]);
    offsets = std::move(extended);
  }
  return offsets;
}

void copyPages(void *pool, const PoolShape &shape, ElementType type,
               const std::vector<PageCopy> &copies) {
  std::vector<int64_t> offsets = offsetsInPage(shape);
  int64_t pageStride = shape.stride('p');
  for (const PageCopy &copy : copies)
    for (int64_t offset : offsets)
      copyElement(pool, copy.target * pageStride + offset, pool,
                  copy.source * pageStride + offset, byteWidth(type));
}

AttentionState mergeStates(const std::vector<AttentionState> &states) {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  size_t rows = states[0].lse.size();
  size_t depth = rows ? states[0].out.size() / rows : 0;
  AttentionState merged{std::vector<double>(rows * depth, 0),
                        std::vector<double>(rows, kNone)};
  for (size_t row = 0; row < rows; ++row) {
    double top = kNone, sum = 0;
    for (const AttentionState &state : states)
      top = std::max(top, state.lse[row]);
    if (top == kNone)
      continue;
    for (const AttentionState &state : states) {
      if (state.lse[row] == kNone)
        continue;
      double weight = std::exp(state.lse[row] - top);
      sum += weight;
      for (size_t d = 0; d < depth; ++d)
        merged.out[row * depth + d] += weight * state.out[row * depth + d];
    }
    for (size_t d = 0; d < depth; ++d)
      merged.out[row * depth + d] /= sum;
    merged.lse[row] = top + std::log(sum);
  }
  return merged;
}

} // namespace paged_attn::oracle
