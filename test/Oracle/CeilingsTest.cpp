//===- CeilingsTest.cpp - What the timed passes count ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work lists and byte counts; times are only checked to be plausible.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/Ceilings.h"
#include "TestUtils.h"

#include <set>

namespace paged_attn::oracle {
namespace {

TEST(Ceilings, fmaPassIsPlausible) {
  PassResult result = measureFma(1);
  EXPECT_GT(result.perWallSecond(), 1e8);
  EXPECT_LT(result.perCpuSecond(), 1e13);
  EXPECT_EQ(measureFma(2).amount, 2 * result.amount);
  EXPECT_STRNE(fmaInstructions(), "");
}

TEST(Ceilings, dotPassIsPlausibleOrAbsent) {
  for (DotType type : {DotType::BF16, DotType::Int8}) {
    PassResult result = measureDot(type, 1);
    if (result.amount == 0)
      continue; // no such instructions here
    EXPECT_GT(result.perWallSecond(), 1e8);
    EXPECT_LT(result.perCpuSecond(), 1e14);
    EXPECT_EQ(measureDot(type, 2).amount, 2 * result.amount);
  }
}

TEST(Ceilings, sequentialReadCountsWholeChunks) {
  Buffer buffer = Buffer::allocate(100000);
  EXPECT_EQ(measureSequentialRead(buffer.data(), 100000, 2).amount,
            24 * 4096.0);
  EXPECT_EQ(measureSequentialRead(buffer.data(), 100, 3).amount, 100);
  EXPECT_EQ(measureSequentialRead(buffer.data(), 0, 1).amount, 0);
}

/// Every byte that the list reads, by pool; fails on a byte read twice.
std::vector<std::set<int64_t>> bytesOf(const PagedRead &read,
                                       const Problem &problem) {
  std::vector<std::set<int64_t>> bytes(read.pools.size());
  for (size_t i = 0; i < read.pools.size(); ++i) {
    const PagedPool &pool = read.pools[i];
    const Buffer &buffer =
        i == 1 && problem.valuePool ? problem.valuePool : problem.keyPool;
    int64_t base = static_cast<const char *>(pool.base) - buffer.as<char>();
    for (const PagedChunk &chunk : read.chunks)
      for (int64_t offset : pool.runOffsets)
        for (int64_t byte = 0; byte < pool.runBytes; ++byte) {
          int64_t at = base + chunk.page * pool.pageStrideBytes +
                       chunk.head * pool.headStrideBytes + offset + byte;
          EXPECT_TRUE(bytes[i].insert(at).second) << at;
        }
  }
  return bytes;
}

/// Every byte of the pages in use.
std::set<int64_t> bytesInUse(const Problem &problem, const PoolView &view) {
  std::set<int64_t> bytes;
  const ProblemSpec &spec = problem.spec;
  int64_t width = byteWidth(view.type);
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (int64_t page = 0; page < spec.pagesOf(b); ++page)
      for (int64_t slot = 0; slot < spec.pageSize; ++slot)
        for (int64_t h = 0; h < spec.numKvHeads; ++h)
          for (int64_t d = 0; d < view.shape.extents().depth; ++d)
            for (int64_t byte = 0; byte < width; ++byte)
              bytes.insert(
                  (view.rowOffset(problem.physicalPage(b, page), slot, h) +
                   view.shape.depthOffset(d)) *
                      width +
                  byte);
  return bytes;
}

TEST(Ceilings, pagedReadTouchesEveryByteOfThePagesOnce) {
  for (const char *layout :
       {"pshd", "phsd", "hpsd", "phds", "phds, pack = 2", "pcshd", "cpshd",
        "pshcd", "phcsd", "dphs", "sphd", "hpsld", "dphs, pack = 2"})
    for (ReadOrder order : {ReadOrder::ByHead, ReadOrder::ByPage}) {
      SCOPED_TRACE(layout);
      ProblemSpec spec = raggedSpec();
      spec.keyDim = spec.valueDim = 10; // runs that are no multiple of a line
      spec.keyType = spec.valueType = ElementType::BF16;
      spec.keyLayout = spec.valueLayout = layoutOf(layout);
      spec.numLayers = 2;
      spec.layer = spec.keyLayout.hasLayer() ? 1 : 0;
      if (spec.keyLayout.hasPair())
        spec.poolKind = PoolKind::Pair;
      Problem problem = build(spec);
      PagedRead read = pagedReadOf(problem, order);
      auto bytes = bytesOf(read, problem);
      ASSERT_EQ(bytes.size(), 2u);
      EXPECT_EQ(bytes[0], bytesInUse(problem, problem.keys()));
      EXPECT_EQ(bytes[1], bytesInUse(problem, problem.values()));
      EXPECT_EQ(read.numBytes(), int64_t(bytes[0].size() + bytes[1].size()));
      EXPECT_EQ(measurePagedRead(read, 3).amount, double(read.numBytes()));
    }
}

TEST(Ceilings, runsAreAsLongAsTheLayoutAllows) {
  ProblemSpec spec = raggedSpec(); // S 4, Hkv 2, Dk 12, f32
  auto runBytes = [&](const char *layout, ReadOrder order) {
    spec.keyLayout = layoutOf(layout);
    return pagedReadOf(build(spec), order).pools[0].runBytes;
  };
  EXPECT_EQ(runBytes("pshd", ReadOrder::ByHead), 12 * 4);
  EXPECT_EQ(runBytes("pshd", ReadOrder::ByPage), 4 * 2 * 12 * 4);
  EXPECT_EQ(runBytes("phds", ReadOrder::ByHead), 4 * 12 * 4);
  EXPECT_EQ(runBytes("phds, pack = 2", ReadOrder::ByHead), 4 * 12 * 4);
  EXPECT_EQ(runBytes("hpsd", ReadOrder::ByPage), 4 * 12 * 4);
  EXPECT_EQ(runBytes("dphs", ReadOrder::ByHead), 4 * 4);
}

TEST(Ceilings, latentPoolIsReadOnceAndHiddenPagesAreSkipped) {
  ProblemSpec spec = raggedSpec();
  spec.poolKind = PoolKind::Latent;
  spec.mask.window = 2;
  spec.poison = Poison::Masked;
  PagedRead read = pagedReadOf(build(spec), ReadOrder::ByPage);
  EXPECT_EQ(read.pools.size(), 1u);
  for (const PagedChunk &chunk : read.chunks)
    EXPECT_GE(chunk.page, 0);
  EXPECT_LT(int64_t(read.chunks.size()), spec.neededPages());
}

} // namespace
} // namespace paged_attn::oracle
