//===- ToleranceTest.cpp - Tight enough to catch, wide enough to pass -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A plain f32 kernel with online softmax and the exp2 polynomial must pass on
// every problem; the same kernel with a bug must fail.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/Tolerance.h"
#include "TestUtils.h"

namespace paged_attn::oracle {
namespace {

/// 2^x for x <= 0 as the kernels compute it: nearest integer and a Chebyshev
/// polynomial of degree 6 on the rest.
float exp2Polynomial(float x) {
  constexpr float kCoefficients[] = {0.0001546144485f,
                                     0.0013400428f,
                                     0.009618056938f,
                                     0.05550327152f,
                                     0.2402265072f,
                                     0.6931471825f,
                                     1.0f};
  x = std::max(x, -126.0f);
  float whole = std::nearbyint(x), p = 0;
  for (float coefficient : kCoefficients)
    p = std::fma(p, x - whole, coefficient);
  return std::ldexp(p, int(whole));
}

TEST(Tolerance, exp2PolynomialHasTheStatedError) {
  double worst = 0;
  for (float x = 0; x > -30; x -= 1.7e-4f)
    worst =
        std::max(worst, std::abs(exp2Polynomial(x) / std::exp2(double(x)) - 1));
  EXPECT_LE(worst, 8.5e-8);
  EXPECT_GE(worst, 6e-8);
}

/// What a kernel may get wrong.
struct Bugs {
  bool windowOffByOne = false; ///< sees one key too many
  bool futureToken = false;    ///< causal mask one too far
  bool noLastRescale = false;  ///< forgets to rescale the sum
  float scaleFactor = 1;
};

/// Online softmax over tiles of keys in f32, scores in the log2 domain.
class ToyKernel {
public:
  ToyKernel(const Problem &problem, Bugs bugs)
      : problem(problem), spec(problem.spec), bugs(bugs), keys(problem.keys()),
        values(problem.values()) {}

  void run(std::vector<double> &out, std::vector<double> &lse) {
    out.assign(spec.numTokens() * spec.numHeads * spec.valueDim, 0);
    lse.assign(spec.numTokens() * spec.numHeads, -kInfinity);
    for (int64_t b = 0; b < spec.batch(); ++b)
      for (int64_t i = 0; i < problem.qLen(b); ++i)
        for (int64_t h = 0; h < spec.numHeads; ++h)
          row(b, i, h, out, lse);
  }

private:
  bool sees(int64_t p, int64_t j) const {
    Mask mask = spec.mask;
    mask.window += bugs.windowOffByOne;
    return mask.visible(p + bugs.futureToken, j);
  }

  float element(const PoolView &view, int64_t b, int64_t j, int64_t h,
                int64_t d) const {
    int64_t page = problem.physicalPage(b, j / spec.pageSize);
    return loadElement(view.type, view.data,
                       view.rowOffset(page, j % spec.pageSize, h) +
                           view.shape.depthOffset(d));
  }

  float score(int64_t b, int64_t row, int64_t h, int64_t p, int64_t j) const {
    float s = 0;
    float scale = float(spec.effectiveScale()) * bugs.scaleFactor;
    for (int64_t d = 0; d < spec.keyDim; ++d)
      s += loadElement(spec.queryType, problem.query.data(),
                       row * spec.keyDim + d) *
           scale * element(keys, b, j, h / spec.group(), d);
    if (spec.softcap > 0)
      s = spec.softcap * std::tanh(s / spec.softcap);
    if (spec.hasAlibi)
      s += problem.alibiSlopes.as<float>()[h] * float(j - p);
    return s * 1.44269504f; // log2(e)
  }

  void row(int64_t b, int64_t i, int64_t h, std::vector<double> &out,
           std::vector<double> &lse) {
    int64_t p = problem.kvLen(b) - problem.qLen(b) + i;
    int64_t row = (problem.queryStart(b) + i) * spec.numHeads + h;
    float m = -1e30f, l = 0;
    std::vector<float> acc(spec.valueDim);
    if (spec.hasSinks) {
      m = problem.sinks.as<float>()[h] * 1.44269504f;
      l = 1;
    }
    for (int64_t j = 0; j < problem.kvLen(b); ++j) {
      if (!sees(p, j))
        continue;
      float s = score(b, row, h, p, j);
      float top = std::max(m, s), rescale = exp2Polynomial(m - top);
      float weight = exp2Polynomial(s - top);
      l = (bugs.noLastRescale ? l : l * rescale) + weight;
      for (int64_t d = 0; d < spec.valueDim; ++d)
        acc[d] = acc[d] * rescale +
                 weight * element(values, b, j, h / spec.group(), d);
      m = top;
    }
    float reciprocal = 1 / l;
    for (int64_t d = 0; d < spec.valueDim; ++d)
      out[row * spec.valueDim + d] =
          roundTo(spec.outputType, acc[d] * reciprocal);
    lse[row] = 0.693147181f * (m + std::log2(l));
  }

  const Problem &problem;
  const ProblemSpec &spec;
  Bugs bugs;
  PoolView keys, values;
};

struct Outcome {
  double outRatio, lseRatio; ///< error over tolerance
};

Outcome tryKernel(const ProblemSpec &spec, Bugs bugs = {}) {
  Problem problem = build(spec);
  AttentionResult expected = attention(problem);
  Tolerance tolerance = deriveTolerance(problem, expected);
  std::vector<double> out, lse;
  ToyKernel(problem, bugs).run(out, lse);
  return {compare(expected.out, out).maxAbsError / tolerance.out,
          compare(expected.lse, lse).maxAbsError / tolerance.lse};
}

/// Specs that stress each term of the derivation.
std::vector<std::pair<const char *, ProblemSpec>> hardSpecs() {
  ProblemSpec base;
  base.qLens = {1, 3, 17, 1};
  base.kvLens = {1, 40, 17, 3000};
  base.numHeads = 4;
  base.numKvHeads = 2;
  base.valueDim = 16;
  auto with = [&](auto change) {
    ProblemSpec spec = base;
    change(spec);
    return spec;
  };
  return {
      {"plain", base},
      {"wide heads", with([](auto &s) { s.keyDim = 512; })},
      {"head dim 1", with([](auto &s) { s.keyDim = s.valueDim = 1; })},
      {"one-hot", with([](auto &s) { s.scale = 6e4f; })},
      {"sharp", with([](auto &s) { s.scale = 2; })},
      {"flat", with([](auto &s) { s.scale = 0; })},
      {"large data", with([](auto &s) { s.sigma = 30; })},
      {"small data", with([](auto &s) { s.sigma = 1e-3; })},
      {"softcap", with([](auto &s) { s.scale = 3, s.softcap = 20; })},
      {"alibi", with([](auto &s) { s.hasAlibi = true; })},
      {"sinks", with([](auto &s) { s.hasSinks = true; })},
      {"window", with([](auto &s) { s.mask.window = 8; })},
      {"one key", with([](auto &s) { s.mask.window = 1; })},
  };
}

TEST(Tolerance, aCorrectKernelPasses) {
  for (auto &[name, spec] : hardSpecs())
    for (ElementType cache : {ElementType::F32, ElementType::BF16})
      for (ElementType output :
           {ElementType::F32, ElementType::F16, ElementType::BF16}) {
        ProblemSpec typed = spec;
        typed.keyType = typed.valueType = cache;
        typed.outputType = output;
        SCOPED_TRACE(testing::Message() << name << ", cache " << toString(cache)
                                        << ", output " << toString(output));
        Outcome outcome = tryKernel(typed);
        EXPECT_LE(outcome.outRatio, 1);
        EXPECT_LE(outcome.lseRatio, 1);
      }
}

TEST(Tolerance, aBugDoesNotPass) {
  ProblemSpec spec;
  spec.qLens = {5, 1};
  spec.kvLens = {40, 300};
  spec.mask.window = 64;
  for (ElementType output :
       {ElementType::F32, ElementType::F16, ElementType::BF16}) {
    spec.outputType = output;
    SCOPED_TRACE(toString(output));
    ASSERT_LE(tryKernel(spec).outRatio, 1);
    EXPECT_GT(tryKernel(spec, {true, false, false, 1}).outRatio, 1);
    EXPECT_GT(tryKernel(spec, {false, true, false, 1}).outRatio, 1);
    EXPECT_GT(tryKernel(spec, {false, false, true, 1}).outRatio, 1);
    EXPECT_GT(tryKernel(spec, {false, false, false, 1.01f}).lseRatio, 1);
  }
  spec.outputType = ElementType::F32;
  EXPECT_GT(tryKernel(spec, {false, false, false, 1.0001f}).outRatio, 1);
}

TEST(Tolerance, standsBelowTheFirstEstimate) {
  for (int64_t kvLen : {1, 16, 300, 4096}) {
    ProblemSpec spec;
    spec.qLens = {1};
    spec.kvLens = {kvLen};
    spec.numHeads = 4;
    spec.keyDim = 128;
    Problem problem = build(spec);
    AttentionResult expected = attention(problem);
    EXPECT_LE(deriveTolerance(problem, expected).out,
              expected.maxAbsValue * f32StartTolerance(kvLen));
  }
}

TEST(Tolerance, isAtLeastTwiceTheReferenceFor16Bits) {
  ProblemSpec spec = raggedSpec();
  spec.outputType = ElementType::BF16;
  Problem problem = build(spec);
  Tolerance tolerance = deriveTolerance(problem, attention(problem));
  EXPECT_GT(tolerance.reference, 0);
  EXPECT_GE(tolerance.out, 2 * tolerance.reference);
  EXPECT_LE(tolerance.out, ulp(ElementType::BF16, 4)); // 2 halves of the top
}

TEST(Tolerance, compareCountsNaNAndInfinityAsInfinite) {
  double nan = std::nan("");
  EXPECT_EQ(compare({}, {}).maxAbsError, 0);
  EXPECT_EQ(compare({1, 2}, {1, 2}).worstIndex, -1);
  EXPECT_EQ(compare({1, -kInfinity}, {1, -kInfinity}).maxAbsError, 0);
  EXPECT_EQ(compare({1, 2}, {1, nan}).maxAbsError, kInfinity);
  EXPECT_EQ(compare({nan}, {nan}).maxAbsError, kInfinity);
  EXPECT_EQ(compare({kInfinity}, {-kInfinity}).maxAbsError, kInfinity);
  EXPECT_EQ(compare({kInfinity}, {1}).maxAbsError, kInfinity);
  EXPECT_EQ(compare({1}, {kInfinity}).maxAbsError, kInfinity);
  EXPECT_EQ(compare({1, 2}, {1}).maxAbsError, kInfinity);
  Comparison comparison = compare({1, 2, 3, 4}, {1, 2.5, 3, 3.75});
  EXPECT_EQ(comparison.maxAbsError, 0.5);
  EXPECT_EQ(comparison.worstIndex, 1);
  EXPECT_EQ(comparison.got, 2.5);
  EXPECT_EQ(comparison.expected, 2);
  EXPECT_EQ(compare({1, 2, 3}, {nan, 2, nan}).numBad, 2);
}

TEST(Tolerance, comparesTypedArrays) {
  uint16_t bits[] = {toBF16Bits(1), toBF16Bits(-3), 0x7fc0};
  EXPECT_EQ(compare({1, -2}, bits, ElementType::BF16).maxAbsError, 1);
  EXPECT_EQ(compare({1, -3, 0}, bits, ElementType::BF16).maxAbsError,
            kInfinity);
}

} // namespace
} // namespace paged_attn::oracle
