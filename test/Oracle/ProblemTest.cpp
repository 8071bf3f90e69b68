//===- ProblemTest.cpp - What random problems hold, and where -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Determinism, poison in exactly the places that must not be read, tables of
// both kinds, and a message for each bad spec.
//
//===----------------------------------------------------------------------===//

#include "TestUtils.h"

#include <set>

namespace paged_attn::oracle {
namespace {

TEST(Problem, sameSeedGivesSameBitsAndAnotherSeedOthers) {
  ProblemSpec spec = raggedSpec();
  spec.hasAlibi = spec.hasSinks = true;
  Problem first = build(spec, 7), second = build(spec, 7),
          other = build(spec, 8);
  for (auto buffer :
       {&Problem::query, &Problem::keyPool, &Problem::valuePool,
        &Problem::pageTable, &Problem::kvLens, &Problem::queryStarts,
        &Problem::alibiSlopes, &Problem::sinks, &Problem::out, &Problem::lse})
    EXPECT_TRUE(sameBits(first.*buffer, second.*buffer));
  for (auto buffer : {&Problem::query, &Problem::keyPool, &Problem::valuePool,
                      &Problem::pageTable, &Problem::alibiSlopes})
    EXPECT_FALSE(sameBits(first.*buffer, other.*buffer));
}

/// Golden bits: the same with every compiler and on every machine.
TEST(Problem, bitsDoNotDependOnTheCompiler) {
  ProblemSpec spec;
  spec.qLens = {1};
  spec.kvLens = {2};
  spec.keyDim = spec.valueDim = 2;
  spec.pageOrder = PageOrder::Identity;
  Problem problem = build(spec, 42);
  EXPECT_EQ(problem.query.as<float>()[0], 0x1.48fb3ep-3f);
  EXPECT_EQ(problem.query.as<float>()[1], 0x1.670abep+0f);
  EXPECT_EQ(problem.keyPool.as<float>()[3], 0x1.ae6a26p-3f);
  EXPECT_EQ(problem.valuePool.as<float>()[2], -0x1.383e26p-1f);
}

TEST(Problem, poisonIsExactlyWhereNobodyMayRead) {
  ProblemSpec spec = raggedSpec();
  spec.numPages = 20;
  spec.keyLayout = layoutOf("plshd");
  spec.numLayers = 3;
  spec.layer = 1;
  Problem problem = build(spec);
  std::set<int64_t> live;
  PoolView keys = problem.keys();
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (int64_t j = 0; j < spec.kvLens[b]; ++j)
      for (int64_t h = 0; h < spec.numKvHeads; ++h)
        for (int64_t d = 0; d < spec.keyDim; ++d)
          live.insert(keys.rowOffset(problem.physicalPage(b, j / spec.pageSize),
                                     j % spec.pageSize, h) +
                      keys.shape.depthOffset(d));
  int64_t total = problem.keyShape.numElements();
  ASSERT_EQ(total, 20 * 3 * 4 * 2 * 12);
  for (int64_t i = 0; i < total; ++i)
    ASSERT_EQ(std::isnan(problem.keyPool.as<float>()[i]), live.count(i) == 0)
        << i;
  int64_t rowElements = spec.numHeads * spec.keyDim;
  for (int64_t i = 0; i < spec.numTokens() * rowElements; ++i)
    ASSERT_EQ(std::isnan(problem.query.as<float>()[i]),
              i >= (spec.numTokens() - spec.paddingRows) * rowElements);
}

TEST(Problem, outputsStartAsNaN) {
  for (ElementType type :
       {ElementType::F32, ElementType::F16, ElementType::BF16}) {
    ProblemSpec spec = raggedSpec();
    spec.outputType = type;
    Problem problem = build(spec);
    int64_t count = spec.numTokens() * spec.numHeads * spec.valueDim;
    ASSERT_EQ(problem.out.numBytes(), count * byteWidth(type));
    for (int64_t i = 0; i < count; ++i)
      ASSERT_TRUE(std::isnan(loadElement(type, problem.out.data(), i)));
    EXPECT_TRUE(std::isnan(problem.lse.as<float>()[0]));
    storeElement(type, problem.out.data(), 0, 1);
    problem.resetOutputs();
    EXPECT_TRUE(std::isnan(loadElement(type, problem.out.data(), 0)));
  }
}

TEST(Problem, denseTableHasDistinctPagesAndMinusOneElsewhere) {
  ProblemSpec spec = raggedSpec();
  spec.numColumns = 6;
  for (IndexType type : {IndexType::I32, IndexType::I64}) {
    spec.indexType = type;
    Problem problem = build(spec);
    std::set<int64_t> pages;
    for (int64_t b = 0; b < spec.batch(); ++b)
      for (int64_t column = 0; column < 6; ++column) {
        int64_t page =
            loadIndex(type, problem.pageTable.data(), b * 6 + column);
        if (column >= spec.pagesOf(b)) {
          EXPECT_EQ(page, -1);
          continue;
        }
        EXPECT_TRUE(page >= 0 && page < spec.pages());
        EXPECT_TRUE(pages.insert(page).second) << "page used twice";
      }
    EXPECT_EQ(int64_t(pages.size()), spec.neededPages());
  }
}

TEST(Problem, csrTableHoldsTheSamePages) {
  ProblemSpec spec = raggedSpec();
  Problem dense = build(spec);
  spec.tableKind = TableKind::Csr;
  Problem csr = build(spec);
  EXPECT_EQ(csr.pageIndices.numBytes(), spec.neededPages() * 4);
  EXPECT_FALSE(csr.pageTable);
  EXPECT_TRUE(sameBits(dense.keyPool, csr.keyPool));
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (int64_t page = 0; page < spec.pagesOf(b); ++page)
      EXPECT_EQ(dense.physicalPage(b, page), csr.physicalPage(b, page));
}

TEST(Problem, identityOrderCountsUp) {
  ProblemSpec spec = raggedSpec();
  spec.pageOrder = PageOrder::Identity;
  Problem problem = build(spec);
  int64_t next = 0;
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (int64_t page = 0; page < spec.pagesOf(b); ++page)
      EXPECT_EQ(problem.physicalPage(b, page), next++);
}

TEST(Problem, maskedPoisonHidesPagesThatNoRowSees) {
  ProblemSpec spec;
  spec.pageSize = 4;
  spec.qLens = {1};
  spec.kvLens = {17}; // p = 16, window of 3: positions 14 to 16; sink: 0
  spec.mask = {true, 3, 1, 0};
  spec.poison = Poison::Masked;
  Problem problem = build(spec);
  std::vector<bool> hidden;
  for (int64_t page = 0; page < 5; ++page)
    hidden.push_back(problem.physicalPage(0, page) < 0);
  EXPECT_EQ(hidden, (std::vector<bool>{false, true, true, false, false}));
}

TEST(Problem, withoutPoisonUnreadPlacesAreZero) {
  ProblemSpec spec = raggedSpec();
  spec.poison = Poison::None;
  Problem problem = build(spec);
  for (int64_t i = 0; i < problem.keyShape.numElements(); ++i)
    ASSERT_FALSE(std::isnan(problem.keyPool.as<float>()[i]));
}

TEST(Problem, onePoolHoldsKeysAndValues) {
  ProblemSpec spec = raggedSpec();
  spec.valueDim = spec.keyDim;
  Problem separate = build(spec);
  spec.poolKind = PoolKind::Pair;
  spec.keyLayout = layoutOf("pshcd");
  Problem pair = build(spec);
  EXPECT_FALSE(pair.valuePool);
  PoolView values = pair.values();
  EXPECT_EQ(values.pair, 1);
  int64_t page = pair.physicalPage(6, 3);
  PoolView apart = separate.values();
  for (int64_t d = 0; d < spec.valueDim; ++d)
    EXPECT_EQ(
        loadElement(values.type, values.data, values.rowOffset(page, 0, 1) + d),
        loadElement(apart.type, apart.data, apart.rowOffset(page, 0, 1) + d));
}

TEST(Problem, dataLookNormal) {
  ProblemSpec spec;
  spec.qLens = {64};
  spec.kvLens = {64};
  spec.keyDim = 256;
  spec.sigma = 3;
  Problem problem = build(spec);
  double sum = 0, squares = 0;
  int64_t count = 64 * 256;
  for (int64_t i = 0; i < count; ++i) {
    double x = problem.query.as<float>()[i];
    sum += x;
    squares += x * x;
    ASSERT_LT(std::abs(x), 3.47 * 3);
  }
  EXPECT_NEAR(sum / count, 0, 0.1);
  EXPECT_NEAR(std::sqrt(squares / count), 3, 0.1);
}

TEST(Problem, hugePagesAreAligned) {
  ProblemSpec spec = raggedSpec();
  spec.hugePages = true;
  Problem problem = build(spec);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(problem.keyPool.data()) % (2 << 20),
            0u);
}

struct BadSpec {
  const char *expected;
  void (*spoil)(ProblemSpec &);
};

TEST(Problem, badSpecsGiveOneLine) {
  const BadSpec cases[] = {
      {"expected heads of at least 1, got 0",
       [](ProblemSpec &s) { s.numHeads = 0; }},
      {"expected heads to be a multiple of kv_heads 2, got 3",
       [](ProblemSpec &s) { s.numHeads = 3; }},
      {"expected kv_lens to have 8 entries like q_lens, got 7",
       [](ProblemSpec &s) { s.kvLens.pop_back(); }},
      {"expected q_len of sequence 2 to be at most its kv_len 3, got 4",
       [](ProblemSpec &s) { s.qLens[2] = 4; }},
      {"expected kv_len of at least 0, got -1 of sequence 1",
       [](ProblemSpec &s) { s.kvLens[1] = -1; }},
      {"expected page_size of at least 1, got 0",
       [](ProblemSpec &s) { s.pageSize = 0; }},
      {"expected at least 14 pages to hold all sequences, got 13",
       [](ProblemSpec &s) { s.numPages = 13; }},
      {"expected kv_len of sequence 6 to be at most 12 (page table columns "
       "times page size), got 13",
       [](ProblemSpec &s) { s.numColumns = 3; }},
      {"expected no padding rows without query_starts, got 2",
       [](ProblemSpec &s) { s.hasQueryStarts = false; }},
      {"expected equal q_lens without query_starts, got 1 and 0",
       [](ProblemSpec &s) { s.hasQueryStarts = false, s.paddingRows = 0; }},
      {"expected a window with sink_tokens 4, got none",
       [](ProblemSpec &s) { s.mask.sinkTokens = 4; }},
      {"expected equal key and value head dims in one pool, got 12 and 8",
       [](ProblemSpec &s) {
         s.poolKind = PoolKind::Pair;
         s.keyLayout = layoutOf("pcshd");
       }},
      {"expected a layout with c for one pool of keys and values, got 'pshd'",
       [](ProblemSpec &s) { s.poolKind = PoolKind::Pair; }},
      {"expected a value layout without c for a pool of values only, got "
       "'pcshd'",
       [](ProblemSpec &s) { s.valueLayout = layoutOf("pcshd"); }},
      {"expected a value head dim of at most the key's 12 without a value "
       "pool, got 13",
       [](ProblemSpec &s) {
         s.poolKind = PoolKind::Latent;
         s.valueDim = 13;
       }},
      {"expected a layer below 1, got 1", [](ProblemSpec &s) { s.layer = 1; }},
      {"expected a finite softcap of at least 0, got -1.000000",
       [](ProblemSpec &s) { s.softcap = -1; }},
      {"expected heads of at most 2147483647, got 2147483648",
       [](ProblemSpec &s) { s.numHeads = 2147483648; }},
  };
  for (const BadSpec &test : cases) {
    ProblemSpec spec = raggedSpec();
    test.spoil(spec);
    std::string error;
    EXPECT_FALSE(makeProblem(spec, 1, error)) << test.expected;
    EXPECT_EQ(error, test.expected);
  }
}

TEST(Problem, absurdSizesAreRefusedBeforeAllocation) {
  ProblemSpec spec;
  spec.qLens = {1};
  spec.kvLens = {2000000000};
  spec.numHeads = spec.numKvHeads = 1000000;
  spec.pageSize = 1;
  std::string error;
  EXPECT_FALSE(makeProblem(spec, 1, error));
  EXPECT_EQ(error.rfind("expected a problem that fits into ", 0), 0u) << error;
}

TEST(Problem, emptyBatchIsAProblem) {
  ProblemSpec spec;
  spec.paddingRows = 3;
  Problem problem = build(spec);
  EXPECT_EQ(spec.numTokens(), 3);
  EXPECT_EQ(problem.queryStart(0), 0);
  EXPECT_EQ(attention(problem).out, std::vector<double>(3 * 64, 0));
}

TEST(Problem, buffersCloneAndMove) {
  Buffer buffer = Buffer::allocate(5);
  buffer.as<char>()[4] = 'x';
  Buffer copy = buffer.clone();
  EXPECT_TRUE(sameBits(buffer, copy));
  EXPECT_NE(buffer.data(), copy.data());
  Buffer moved = std::move(buffer);
  EXPECT_EQ(moved.as<char>()[4], 'x');
  EXPECT_TRUE(Buffer::allocate(0));
  EXPECT_FALSE(Buffer::allocate(-1));
}

} // namespace
} // namespace paged_attn::oracle
