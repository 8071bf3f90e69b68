//===- PagedOpsTest.cpp - append, gather, copy_pages, merge_states --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each reference on small cases, every element looked at.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/PagedOps.h"
#include "TestUtils.h"

#include <set>

namespace paged_attn::oracle {
namespace {

TEST(PagedOps, slotMappingPutsNewTokensAtTheEnd) {
  ProblemSpec spec;
  spec.pageSize = 4;
  spec.qLens = {2, 1};
  spec.kvLens = {5, 1};
  spec.paddingRows = 1;
  Problem problem = build(spec);
  EXPECT_EQ(slotMapping(problem),
            (std::vector<int64_t>{problem.physicalPage(0, 0) * 4 + 3,
                                  problem.physicalPage(0, 1) * 4,
                                  problem.physicalPage(1, 0) * 4, -1}));
}

TEST(PagedOps, appendWritesItsSlotsAndNothingElse) {
  for (const char *layout : {"pshd", "phds, pack = 2", "pshcd"})
    for (ElementType type : {ElementType::F32, ElementType::BF16}) {
      SCOPED_TRACE(layout);
      ProblemSpec spec = raggedSpec();
      spec.valueDim = spec.keyDim;
      spec.keyType = spec.valueType = type;
      spec.keyLayout = spec.valueLayout = layoutOf(layout);
      if (spec.keyLayout.hasPair())
        spec.poolKind = PoolKind::Pair;
      Problem problem = build(spec);
      Buffer before = problem.keyPool.clone();

      std::vector<int64_t> slots = slotMapping(problem);
      slots[3] = -1;
      int64_t rowElements = spec.numKvHeads * spec.keyDim;
      std::vector<float> rows(spec.numTokens() * rowElements);
      for (size_t i = 0; i < rows.size(); ++i)
        rows[i] = 1 + float(i) * 0x1p-10f; // not all exact in bf16
      MutablePoolView keys = problem.mutableKeys();
      append(keys, rows.data(), ElementType::F32, slots);

      // Written elements hold the rounded rows; undo them, and all is as
      // before.
      int64_t written = 0;
      for (size_t t = 0; t < slots.size(); ++t)
        for (int64_t i = 0; slots[t] >= 0 && i < rowElements; ++i, ++written) {
          int64_t offset =
              keys.rowOffset(slots[t] / 4, slots[t] % 4, i / spec.keyDim) +
              keys.shape.depthOffset(i % spec.keyDim);
          EXPECT_EQ(loadElement(type, keys.data, offset),
                    roundTo(type, rows[t * rowElements + i]));
          int64_t width = byteWidth(type);
          std::memcpy(static_cast<char *>(keys.data) + offset * width,
                      before.as<char>() + offset * width, width);
        }
      EXPECT_EQ(written, (spec.numTokens() - 3) * rowElements);
      EXPECT_TRUE(sameBits(before, problem.keyPool));
    }
}

TEST(PagedOps, gatherReadsLogicalOrderFromAnyLayout) {
  ProblemSpec spec = raggedSpec();
  spec.pageOrder = PageOrder::Identity;
  Problem plain = build(spec);
  spec.pageOrder = PageOrder::Shuffled;
  spec.keyLayout = layoutOf("hpds");
  Problem shuffled = build(spec);
  for (int64_t b = 0; b < spec.batch(); ++b) {
    std::vector<float> x(spec.kvLens[b] * 2 * 12), y(x.size());
    gather(plain, plain.keys(), b, x.data());
    gather(shuffled, shuffled.keys(), b, y.data());
    EXPECT_EQ(x, y);
    // In an identity-ordered pshd pool a sequence is one piece of memory.
    if (!x.empty()) {
      EXPECT_EQ(std::memcmp(x.data(),
                            plain.keyPool.as<float>() +
                                plain.physicalPage(b, 0) * 4 * 2 * 12,
                            x.size() * sizeof(float)),
                0);
    }
  }
}

TEST(PagedOps, copyPagesCopiesWholePagesInOrder) {
  for (const char *layout : {"pshd", "hpsd", "cpshd", "lphds, pack = 2"}) {
    SCOPED_TRACE(layout);
    std::string error;
    PoolLayout parsed = layoutOf(layout);
    PoolShape shape = *PoolShape::make(
        parsed, {4, 2, 3, 4, parsed.hasLayer() ? 2 : 1}, error);
    std::vector<uint16_t> pool(shape.numElements());
    for (size_t i = 0; i < pool.size(); ++i)
      pool[i] = static_cast<uint16_t>(i);
    std::vector<uint16_t> before = pool;
    // 0 -> 2, then the new 2 -> 3.
    copyPages(pool.data(), shape, ElementType::BF16, {{0, 2}, {2, 3}});
    int64_t pageStride = shape.stride('p');
    for (size_t i = 0; i < pool.size(); ++i) {
      int64_t page = int64_t(i) / pageStride % 4;
      EXPECT_EQ(pool[i], page >= 2 ? before[i - page * pageStride] : before[i]);
    }
  }
}

TEST(PagedOps, copiedPagesGiveTheSameAttention) {
  ProblemSpec spec = raggedSpec();
  Problem problem = build(spec);
  AttentionResult expected = attention(problem);
  // Sequence 6 moves its page 1 to a spare page.
  std::set<int64_t> used;
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (int64_t page = 0; page < spec.pagesOf(b); ++page)
      used.insert(problem.physicalPage(b, page));
  int64_t spare = 0;
  while (used.count(spare))
    ++spare;
  int64_t old = problem.physicalPage(6, 1);
  copyPages(problem.keyPool.data(), problem.keyShape, ElementType::F32,
            {{old, spare}});
  copyPages(problem.valuePool.data(), problem.valueShape, ElementType::F32,
            {{old, spare}});
  problem.pageTable.as<int32_t>()[6 * spec.columns() + 1] = int32_t(spare);
  EXPECT_TRUE(sameBits(expected, attention(problem)));
}

TEST(PagedOps, mergeOfTwoStatesByHand) {
  // Weights 1 and 3.
  AttentionState merged =
      mergeStates({{{4, 8}, {0}}, {{0, 4}, {std::log(3.0)}}});
  EXPECT_NEAR(merged.out[0], 1, 1e-15);
  EXPECT_NEAR(merged.out[1], 5, 1e-15);
  EXPECT_NEAR(merged.lse[0], std::log(4.0), 1e-15);
}

TEST(PagedOps, mergeIgnoresPartsWithoutKeys) {
  double nan = std::nan("");
  AttentionState merged =
      mergeStates({{{nan, nan}, {-kInfinity}}, {{3, 4}, {-6e4}}});
  EXPECT_EQ(merged.out, (std::vector<double>{3, 4}));
  EXPECT_EQ(merged.lse, (std::vector<double>{-6e4}));
  merged = mergeStates({{{nan}, {-kInfinity}}, {{7}, {-kInfinity}}});
  EXPECT_EQ(merged.out, (std::vector<double>{0}));
  EXPECT_EQ(merged.lse, (std::vector<double>{-kInfinity}));
}

} // namespace
} // namespace paged_attn::oracle
