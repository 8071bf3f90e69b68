//===- MetamorphicTest.cpp - Results that must not change -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Relations between calls: where pages stand, how a prompt is cut, how many
// threads run and who shares the batch change no bit, or no more than the
// derived tolerance where the sums are cut differently.
//
//===----------------------------------------------------------------------===//

#include "TestUtils.h"

#include "paged_attn/Oracle/Tolerance.h"

#include <algorithm>

using namespace mlir::paged_attn;

namespace {

struct MetamorphicCase {
  Path path;
  const char *mode;
  int64_t splitTokens = 0; ///< of decode, with KV tiles of 16 keys
};

class Metamorphic : public testing::TestWithParam<MetamorphicCase> {
protected:
  KernelSpec makeKernel() const {
    KernelSpec kernel;
    kernel.mode = GetParam().mode;
    kernel.numHeads = 6;
    kernel.numKVHeads = 2;
    kernel.keyDim = 24;
    kernel.valueDim = 20;
    kernel.pageSize = 8;
    kernel.window = 21;
    kernel.sinkTokens = 3;
    kernel.hasAlibi = true;
    return kernel;
  }
  TestKernel compile(const KernelSpec &kernel) const {
    TileOptions tile;
    if ((tile.splitTokens = GetParam().splitTokens))
      tile.kvTokens = 16;
    return TestKernel(kernel, GetParam().path.via, tile);
  }
  bool isDecode() const { return std::string(GetParam().mode) == "decode"; }
  SequenceLengths lengths() const {
    if (isDecode())
      return {{1, 37}, {1, 8}, {0, 0}, {1, 9}, {2, 70}, {1, 1}};
    return {{5, 37}, {8, 8}, {0, 0}, {1, 9}, {33, 70}, {1, 1}};
  }
};

/// Rows [begin, end) of out and lse have the same bits as the rows of `other`
/// from `otherBegin` on.
void expectSameRows(const oracle::Problem &problem, int64_t begin, int64_t end,
                    const oracle::Problem &other, int64_t otherBegin) {
  int64_t heads = problem.spec.numHeads;
  auto same = [&](const oracle::Buffer &x, const oracle::Buffer &y,
                  int64_t bytes) {
    return std::memcmp(x.as<char>() + begin * bytes,
                       y.as<char>() + otherBegin * bytes,
                       (end - begin) * bytes) == 0;
  };
  EXPECT_TRUE(same(problem.out, other.out,
                   heads * problem.spec.valueDim *
                       oracle::byteWidth(problem.spec.outputType)));
  EXPECT_TRUE(same(problem.lse, other.lse, heads * int64_t(sizeof(float))));
}

void expectSameBits(const oracle::Problem &x, const oracle::Problem &y) {
  EXPECT_TRUE(sameBits(x.out, y.out));
  EXPECT_TRUE(sameBits(x.lse, y.lse));
}

/// Tolerances of out and lse.
oracle::Tolerance toleranceOf(const oracle::Problem &problem) {
  return oracle::deriveTolerance(problem, oracle::attention(problem));
}

TEST_P(Metamorphic, PagesStandAnywhere) {
  TestKernel kernel = compile(makeKernel());
  oracle::ProblemSpec spec = problemSpecOf(makeKernel(), lengths());
  oracle::Problem shuffled = build(spec);
  spec.pageOrder = oracle::PageOrder::Identity;
  oracle::Problem inOrder = build(spec);
  ASSERT_TRUE(kernel.run(shuffled) && kernel.run(inOrder));
  EXPECT_FALSE(sameBits(shuffled.pageTable, inOrder.pageTable));
  expectRight(shuffled);
  expectSameBits(shuffled, inOrder);
}

TEST_P(Metamorphic, ThreadsChangeNoBit) {
  TestKernel kernel = compile(makeKernel());
  oracle::ProblemSpec spec = problemSpecOf(makeKernel(), lengths());
  oracle::Problem alone = build(spec), shared = build(spec);
  Executor one(1), two(2);
  ASSERT_TRUE(kernel.run(alone, &one) && kernel.run(shared, &two));
  expectSameBits(alone, shared);
}

TEST_P(Metamorphic, NeighboursChangeNoBit) {
  // Sequence 1 keeps its lengths and query rows; the sequences before and
  // after it change, are more or are gone.
  TestKernel kernel = compile(makeKernel());
  int64_t qLen = isDecode() ? 1 : 11;
  oracle::Problem problem =
      build(problemSpecOf(makeKernel(), {{1, 3}, {qLen, 45}}));
  ASSERT_TRUE(kernel.run(problem));
  expectRight(problem);
  int64_t moreRows = isDecode() ? 2 : 19;
  for (const SequenceLengths &lengths :
       {SequenceLengths{{1, 60}, {qLen, 45}},
        SequenceLengths{{1, 3}, {qLen, 45}, {moreRows, 130}, {1, 1}, {0, 0}}}) {
    oracle::Problem other = build(problemSpecOf(makeKernel(), lengths));
    ASSERT_TRUE(kernel.run(other));
    expectSameRows(problem, 1, 1 + qLen, other, 1);
  }
}

/// Answers rows [0, n) of `whole`, a problem of one sequence of n new tokens,
/// in pieces of `pieceLen` rows, and compares.
void expectSameInPieces(TestKernel &kernel, const KernelSpec &pieceKernel,
                        const oracle::Problem &whole, int64_t pieceLen) {
  const oracle::ProblemSpec &spec = whole.spec;
  oracle::Tolerance wholeTolerance = toleranceOf(whole);
  int64_t numRows = spec.qLens[0];
  int64_t queryBytes =
      spec.numHeads * spec.keyDim * oracle::byteWidth(spec.queryType);
  int64_t rowElements = spec.numHeads * spec.valueDim;
  for (int64_t begin = 0; begin < numRows; begin += pieceLen) {
    int64_t end = std::min(begin + pieceLen, numRows);
    oracle::Problem piece =
        build(problemSpecOf(pieceKernel, {{end - begin, end}}));
    std::memcpy(piece.query.data(), whole.query.as<char>() + begin * queryBytes,
                (end - begin) * queryBytes);
    ASSERT_TRUE(kernel.run(piece));
    oracle::Tolerance tolerance = toleranceOf(piece);
    EXPECT_LE(
        oracle::compare(elementsOf(whole.out, spec.outputType,
                                   begin * rowElements, end * rowElements),
                        piece.out.data(), spec.outputType)
            .maxAbsError,
        wholeTolerance.out + tolerance.out);
    EXPECT_LE(
        oracle::compare(elementsOf(whole.lse, oracle::ElementType::F32,
                                   begin * spec.numHeads, end * spec.numHeads),
                        piece.lse.data(), oracle::ElementType::F32)
            .maxAbsError,
        wholeTolerance.lse + tolerance.lse);
  }
}

TEST_P(Metamorphic, PromptInPieces) {
  constexpr int64_t kPromptLen = 45, kChunkLen = 13;
  KernelSpec wholeKernel = makeKernel();
  wholeKernel.mode = "prefill";
  oracle::Problem whole =
      build(problemSpecOf(wholeKernel, {{kPromptLen, kPromptLen}}));
  ASSERT_TRUE(compile(wholeKernel).run(whole));
  expectRight(whole);
  TestKernel kernel = compile(makeKernel());
  expectSameInPieces(kernel, makeKernel(), whole, isDecode() ? 1 : kChunkLen);
}

std::string nameOf(const testing::TestParamInfo<MetamorphicCase> &info) {
  return std::string(info.param.path.name) + "_" + info.param.mode +
         (info.param.splitTokens ? "_split" : "");
}

std::vector<MetamorphicCase> cases() {
  std::vector<MetamorphicCase> list;
  for (const Path &path : kPaths)
    for (const char *mode : {"decode", "prefill", "mixed"})
      list.push_back({path, mode});
  for (const Path &path : kPaths)
    if (path.via != Via::Reference)
      list.push_back({path, "decode", 32});
  return list;
}

INSTANTIATE_TEST_SUITE_P(Paths, Metamorphic, testing::ValuesIn(cases()),
                         nameOf);

} // namespace
