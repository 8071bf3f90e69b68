//===- OracleTest.cpp - Attention against numbers computed by hand --------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One query, two keys, head dim 1: each term of the definition alone.
//
//===----------------------------------------------------------------------===//

#include "TestUtils.h"

namespace paged_attn::oracle {
namespace {

constexpr double kTiny = 1e-14;

/// q = 2; k = 1, 3; v = 10, 20; scale 1/2: scores 1 and 3.
class TwoKeys : public testing::Test {
protected:
  void SetUp() override {
    spec.qLens = {1};
    spec.kvLens = {2};
    spec.keyDim = spec.valueDim = 1;
    spec.pageSize = 1; // each key on a page of its own
    spec.scale = 0.5f;
  }

  AttentionResult run(const OracleOptions &options = {}) {
    problem = build(spec);
    problem.query.as<float>()[0] = 2;
    setKey(0, 1, 10);
    setKey(1, 3, 20);
    if (spec.hasAlibi)
      problem.alibiSlopes.as<float>()[0] = 0.25f;
    if (spec.hasSinks)
      problem.sinks.as<float>()[0] = 2;
    return attention(problem, options);
  }

  void setKey(int64_t j, float key, float value) {
    int64_t page = problem.physicalPage(0, j);
    problem.keyPool.as<float>()[page] = key;
    problem.valuePool.as<float>()[page] = value;
  }

  ProblemSpec spec;
  Problem problem;
};

/// Softmax over s0, s1 and a sink (or none) of values 10 and 20.
void expectSoftmax(const AttentionResult &result, double s0, double s1,
                   double sink = -kInfinity) {
  double w0 = std::exp(s0), w1 = std::exp(s1), sum = w0 + w1 + std::exp(sink);
  EXPECT_NEAR(result.out[0], (10 * w0 + 20 * w1) / sum, 20 * kTiny);
  EXPECT_NEAR(result.lse[0], std::log(sum), 4 * kTiny);
}

TEST_F(TwoKeys, plain) { expectSoftmax(run(), 1, 3); }

TEST_F(TwoKeys, literalNumbers) {
  AttentionResult result = run();
  EXPECT_NEAR(result.out[0], 18.807970779778824, 1e-12);
  EXPECT_NEAR(result.lse[0], 3.1269280110429727, 1e-12);
}

TEST_F(TwoKeys, softcapComesAfterScale) {
  spec.softcap = 2;
  expectSoftmax(run(), 2 * std::tanh(0.5), 2 * std::tanh(1.5));
}

TEST_F(TwoKeys, alibiComesAfterSoftcapAndUsesLogicalDistance) {
  spec.softcap = 2;
  spec.hasAlibi = true;
  expectSoftmax(run(), 2 * std::tanh(0.5) - 0.25, 2 * std::tanh(1.5));
}

TEST_F(TwoKeys, sinkJoinsTheDenominator) {
  spec.hasSinks = true;
  expectSoftmax(run(), 1, 3, 2);
}

TEST_F(TwoKeys, scoreFunctionComesLastAndGetsLogicalPlaces) {
  spec.hasAlibi = true;
  OracleOptions options;
  options.score = [](double s, const ScorePlace &place) {
    EXPECT_EQ(place.sequence, 0);
    EXPECT_EQ(place.queryPosition, 1);
    return 10 * s + double(place.keyPosition);
  };
  expectSoftmax(run(options), 10 * 0.75, 31);
}

TEST_F(TwoKeys, visibleFunctionHidesKeys) {
  OracleOptions options;
  options.visible = [](const ScorePlace &place) {
    return place.keyPosition == 0;
  };
  AttentionResult result = run(options);
  EXPECT_EQ(result.out[0], 10);
  EXPECT_EQ(result.lse[0], 1);
  EXPECT_EQ(result.numVisible[0], 1);
}

TEST_F(TwoKeys, rowWithoutKeyIsZeroAndMinusInfinity) {
  OracleOptions options;
  options.visible = [](const ScorePlace &) { return false; };
  AttentionResult result = run(options);
  EXPECT_EQ(result.out[0], 0);
  EXPECT_EQ(result.lse[0], -kInfinity);
}

TEST_F(TwoKeys, everyScoreMinusInfinityIsTheSame) {
  OracleOptions options;
  options.score = [](double, const ScorePlace &) { return -kInfinity; };
  AttentionResult result = run(options);
  EXPECT_EQ(result.out[0], 0);
  EXPECT_EQ(result.lse[0], -kInfinity);
}

TEST_F(TwoKeys, rowWithoutKeyButWithSinkGivesTheSink) {
  spec.hasSinks = true;
  OracleOptions options;
  options.visible = [](const ScorePlace &) { return false; };
  AttentionResult result = run(options);
  EXPECT_EQ(result.out[0], 0);
  EXPECT_EQ(result.lse[0], 2);
}

TEST_F(TwoKeys, hugeScoresAreExact) {
  for (float scale : {3e4f, -3e4f}) { // scores of 6e4 and 1.8e5 in magnitude
    spec.scale = scale;
    AttentionResult result = run();
    EXPECT_EQ(result.out[0], scale > 0 ? 20 : 10);
    EXPECT_EQ(result.lse[0], scale > 0 ? 1.8e5 : -6e4);
  }
}

TEST_F(TwoKeys, causalRowsSeeTheirOwnPosition) {
  spec.qLens = {2};
  AttentionResult result = run(); // row 0 is at position 0
  EXPECT_EQ(result.numVisible, (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(result.out[0], 10);
}

TEST_F(TwoKeys, paddingRowsAreZeroAndMinusInfinity) {
  spec.paddingRows = 2;
  AttentionResult result = run();
  ASSERT_EQ(result.out.size(), 3u);
  EXPECT_EQ(result.out[1], 0);
  EXPECT_EQ(result.out[2], 0);
  EXPECT_EQ(result.lse[2], -kInfinity);
}

TEST_F(TwoKeys, defaultScaleIsOneOverRootOfKeyDim) {
  spec.scale.reset();
  EXPECT_EQ(spec.effectiveScale(), 1);
  spec.keyDim = 64;
  EXPECT_EQ(spec.effectiveScale(), 0.125);
}

TEST(Oracle, latentValuesAreTheHeadOfTheKey) {
  ProblemSpec spec;
  spec.qLens = {1};
  spec.kvLens = {1};
  spec.keyDim = 6;
  spec.valueDim = 4;
  spec.poolKind = PoolKind::Latent;
  Problem problem = build(spec);
  AttentionResult result = attention(problem);
  PoolView keys = problem.keys();
  int64_t row = keys.rowOffset(problem.physicalPage(0, 0), 0, 0);
  for (int64_t d = 0; d < 4; ++d)
    EXPECT_EQ(result.out[d], problem.keyPool.as<float>()[row + d]);
}

TEST(Oracle, groupOfQueryHeadsSharesAKvHead) {
  ProblemSpec spec;
  spec.qLens = {1};
  spec.kvLens = {1}; // out is the only value
  spec.numHeads = 6;
  spec.numKvHeads = 2;
  spec.valueDim = 1;
  AttentionResult result = attention(build(spec));
  EXPECT_EQ(result.out[0], result.out[2]);
  EXPECT_NE(result.out[2], result.out[3]);
  EXPECT_EQ(result.out[3], result.out[5]);
}

TEST(Oracle, roundedReferenceRoundsToTheOutputType) {
  ProblemSpec spec = raggedSpec();
  spec.outputType = ElementType::BF16;
  AttentionResult result = roundedReference(build(spec));
  for (double value : result.out)
    ASSERT_EQ(value, roundTo(ElementType::BF16, value));
}

} // namespace
} // namespace paged_attn::oracle
