//===- PropertyTest.cpp - What must hold for any problem ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Metamorphic properties of the oracle and a brute-force second opinion that
// enumerates visible sets from their words.
//
//===----------------------------------------------------------------------===//

#include "TestUtils.h"
#include "paged_attn/Oracle/PagedOps.h"

#include <set>

namespace paged_attn::oracle {
namespace {

/// Masks of every kind and mix, on lengths up to 13.
std::vector<Mask> masks() {
  std::vector<Mask> result;
  for (bool causal : {true, false})
    for (int64_t window : {0, 1, 3, 20})
      for (int64_t sinkTokens : {0, 2})
        for (int64_t chunk : {0, 1, 4, 5})
          if (window > 0 || sinkTokens == 0)
            result.push_back({causal, window, sinkTokens, chunk});
  return result;
}

/// Positions that a row at `p` sees, put together from ranges.
std::set<int64_t> visibleSet(const Mask &mask, int64_t p, int64_t kvLen) {
  std::set<int64_t> keys;
  int64_t end = mask.causal ? p + 1 : kvLen;
  int64_t begin = mask.window ? std::max<int64_t>(0, p - mask.window + 1) : 0;
  for (int64_t j = begin; j < end; ++j)
    keys.insert(j);
  for (int64_t j = 0; j < std::min(mask.sinkTokens, end); ++j)
    keys.insert(j);
  if (!mask.chunk)
    return keys;
  int64_t first = p - p % mask.chunk;
  keys.erase(keys.begin(), keys.lower_bound(first));
  keys.erase(keys.lower_bound(first + mask.chunk), keys.end());
  return keys;
}

/// One element of the answer in long double: sums of plain exponentials.
struct BruteForce {
  long double out = 0, sum = 0;

  BruteForce(const Problem &problem, int64_t b, int64_t i, int64_t h,
             int64_t dv, const std::vector<float> &keys,
             const std::vector<float> &values) {
    const ProblemSpec &spec = problem.spec;
    int64_t p = problem.kvLen(b) - problem.qLen(b) + i;
    int64_t kvHead = h / spec.group();
    const float *q =
        problem.query.as<float>() +
        ((problem.queryStart(b) + i) * spec.numHeads + h) * spec.keyDim;
    for (int64_t j : visibleSet(spec.mask, p, problem.kvLen(b))) {
      long double s = 0;
      for (int64_t d = 0; d < spec.keyDim; ++d)
        s += (long double)q[d] *
             keys[(j * spec.numKvHeads + kvHead) * spec.keyDim + d];
      long double weight = std::exp(s * spec.effectiveScale());
      sum += weight;
      out +=
          weight * values[(j * spec.numKvHeads + kvHead) * spec.valueDim + dv];
    }
  }
};

/// Keys or values of one sequence, dense [kv_len, Hkv, depth].
std::vector<float> dense(const Problem &problem, const PoolView &view,
                         int64_t b) {
  std::vector<float> rows(problem.kvLen(b) * problem.spec.numKvHeads *
                          view.depth);
  gather(problem, view, b, rows.data());
  return rows;
}

void expectBruteForce(const Problem &problem, const AttentionResult &result) {
  const ProblemSpec &spec = problem.spec;
  for (int64_t b = 0; b < spec.batch(); ++b) {
    std::vector<float> keys = dense(problem, problem.keys(), b);
    std::vector<float> values = dense(problem, problem.values(), b);
    for (int64_t i = 0; i < problem.qLen(b); ++i)
      for (int64_t h = 0; h < spec.numHeads; ++h)
        for (int64_t d = 0; d < spec.valueDim; ++d) {
          BruteForce brute(problem, b, i, h, d, keys, values);
          int64_t row = (problem.queryStart(b) + i) * spec.numHeads + h;
          ASSERT_NEAR(result.out[row * spec.valueDim + d],
                      double(brute.out / brute.sum), 1e-13);
          ASSERT_NEAR(result.lse[row], double(std::log(brute.sum)), 1e-13);
        }
  }
}

TEST(Property, everyMaskAgreesWithBruteForce) {
  for (const Mask &mask : masks()) {
    SCOPED_TRACE(testing::Message()
                 << "causal " << mask.causal << " window " << mask.window
                 << " sink_tokens " << mask.sinkTokens << " chunk "
                 << mask.chunk);
    ProblemSpec spec = raggedSpec();
    spec.mask = mask;
    Problem problem = build(spec);
    AttentionResult result = attention(problem);
    expectBruteForce(problem, result);
    for (int64_t b = 0; b < spec.batch(); ++b)
      for (int64_t i = 0; i < spec.qLens[b]; ++i) {
        int64_t p = spec.kvLens[b] - spec.qLens[b] + i;
        std::set<int64_t> expected = visibleSet(mask, p, spec.kvLens[b]);
        int64_t row = (problem.queryStart(b) + i) * spec.numHeads;
        ASSERT_EQ(result.numVisible[row], int64_t(expected.size()));
        for (int64_t j = 0; j < spec.kvLens[b]; ++j)
          ASSERT_EQ(mask.visible(p, j), expected.count(j) == 1);
      }
  }
}

TEST(Property, pagesLayoutsTablesAndThreadsDoNotChangeABit) {
  ProblemSpec spec = raggedSpec();
  spec.valueDim = spec.keyDim; // so that one pool may hold both
  spec.mask.window = 6;
  spec.hasAlibi = spec.hasSinks = true;
  spec.softcap = 5;
  for (ElementType type :
       {ElementType::F32, ElementType::F16, ElementType::BF16}) {
    spec.keyType = spec.valueType = type;
    AttentionResult expected = attention(build(spec));
    auto expectSame = [&](ProblemSpec other, int threads = 1) {
      OracleOptions options;
      options.numThreads = threads;
      EXPECT_TRUE(sameBits(expected, attention(build(other), options)));
    };
    expectSame(spec, 5);
    ProblemSpec other = spec;
    other.pageOrder = PageOrder::Identity;
    expectSame(other);
    other = spec;
    other.numPages = 40; // another shuffle
    expectSame(other);
    for (int64_t pageSize : {1, 3, 16, 256}) {
      other = spec;
      other.pageSize = pageSize;
      expectSame(other);
    }
    other = spec;
    other.tableKind = TableKind::Csr;
    other.indexType = IndexType::I64;
    expectSame(other);
    for (const char *layout : {"phsd", "hpsd", "phds", "phds, pack = 2",
                               "phds, pack = 4", "dphs", "hpds", "sphd"}) {
      other = spec;
      other.keyLayout = layoutOf(layout); // values stay pshd
      expectSame(other);
    }
    for (const char *layout : {"pcshd", "cpshd", "pshcd", "phcsd", "phcds",
                               "pcshd, pack = 2", "lpcshd"}) {
      other = spec;
      other.poolKind = PoolKind::Pair;
      other.keyLayout = layoutOf(layout);
      other.numLayers = 3;
      other.layer = 2;
      expectSame(other);
    }
  }
}

TEST(Property, poisonedPlacesDoNotMatter) {
  for (Poison poison : {Poison::Unread, Poison::Masked})
    for (TableKind table : {TableKind::Dense, TableKind::Csr}) {
      ProblemSpec spec = raggedSpec();
      spec.mask = {true, 3, 1, 0};
      spec.poison = poison;
      spec.tableKind = table;
      spec.numColumns = 6;
      AttentionResult expected = attention(build(spec));
      for (double value : expected.out)
        ASSERT_FALSE(std::isnan(value));
      for (float other : {0.0f, 1e30f, float(kInfinity), float(-kInfinity)}) {
        spec.poisonValue = other;
        spec.unusedPage = 1000000000;
        EXPECT_TRUE(sameBits(expected, attention(build(spec))));
      }
      spec.poison = Poison::None;
      EXPECT_TRUE(sameBits(expected, attention(build(spec))));
    }
}

TEST(Property, softmaxWeightsSumToOne) {
  ProblemSpec spec = raggedSpec();
  Problem problem = build(spec);
  for (int64_t i = 0; i < problem.valueShape.numElements(); ++i)
    problem.valuePool.as<float>()[i] = 1;
  AttentionResult result = attention(problem);
  int64_t live = spec.numTokens() - spec.paddingRows;
  for (int64_t i = 0; i < live * spec.numHeads * spec.valueDim; ++i)
    ASSERT_NEAR(result.out[i], 1, 1e-14);
}

TEST(Property, aConstantOnAllScoresMovesTheLseAlone) {
  Problem problem = build(raggedSpec());
  OracleOptions options;
  options.score = [](double s, const ScorePlace &) { return s + 100; };
  AttentionResult plain = attention(problem);
  AttentionResult moved = attention(problem, options);
  for (size_t i = 0; i < plain.out.size(); ++i)
    ASSERT_NEAR(moved.out[i], plain.out[i], 1e-12);
  for (size_t i = 0; i < plain.lse.size(); ++i)
    if (plain.numVisible[i]) {
      ASSERT_NEAR(moved.lse[i], plain.lse[i] + 100, 1e-12);
    }
}

TEST(Property, partsOverDisjointKeysMergeToTheWhole) {
  Problem problem = build(raggedSpec());
  std::vector<AttentionState> parts;
  for (int part = 0; part < 3; ++part) {
    OracleOptions options;
    options.visible = [part](const ScorePlace &place) {
      return place.keyPosition % 3 == part;
    };
    AttentionResult result = attention(problem, options);
    parts.push_back({result.out, result.lse});
  }
  AttentionResult whole = attention(problem);
  AttentionState merged = mergeStates(parts);
  for (size_t i = 0; i < whole.out.size(); ++i)
    ASSERT_NEAR(merged.out[i], whole.out[i], 1e-13);
  for (size_t i = 0; i < whole.lse.size(); ++i)
    if (std::isinf(whole.lse[i])) {
      ASSERT_EQ(merged.lse[i], whole.lse[i]);
    } else {
      ASSERT_NEAR(merged.lse[i], whole.lse[i], 1e-13);
    }
}

TEST(Property, aSinkIsOneMoreKeyWithValueZero) {
  ProblemSpec spec;
  spec.pageSize = 4;
  spec.qLens = {3, 1};
  spec.kvLens = {6, 4};
  spec.numHeads = 4;
  spec.numKvHeads = 2;
  spec.mask.causal = false;
  spec.hasSinks = true;
  Problem withSinks = build(spec);
  AttentionResult expected = attention(withSinks);

  ProblemSpec longer = spec;
  longer.hasSinks = false;
  longer.kvLens = {7, 5};
  Problem withKey = build(longer);
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 2; ++h) {
      int64_t last = longer.kvLens[b] - 1;
      int64_t row = withKey.values().rowOffset(
          withKey.physicalPage(b, last / 4), last % 4, h);
      for (int64_t d = 0; d < spec.valueDim; ++d)
        withKey.valuePool.as<float>()[row + d] = 0;
    }
  OracleOptions options;
  options.score = [&](double s, const ScorePlace &place) {
    return place.keyPosition == longer.kvLens[place.sequence] - 1
               ? withSinks.sinks.as<float>()[place.head]
               : s;
  };
  AttentionResult got = attention(withKey, options);
  for (size_t i = 0; i < expected.out.size(); ++i)
    ASSERT_NEAR(got.out[i], expected.out[i], 1e-14);
  for (size_t i = 0; i < expected.lse.size(); ++i)
    ASSERT_NEAR(got.lse[i], expected.lse[i], 1e-14);
}

TEST(Property, chunkedPrefillGivesTheLastRowsOfThePrefill) {
  ProblemSpec spec;
  spec.qLens = spec.kvLens = {150}; // more than one tile of rows
  spec.hasAlibi = true;
  spec.mask.window = 40;
  Problem whole = build(spec);
  spec.qLens = {3};
  Problem chunk = build(spec);
  std::memcpy(chunk.query.data(), whole.query.as<float>() + 147 * 64,
              chunk.query.numBytes());
  AttentionResult all = attention(whole), last = attention(chunk);
  EXPECT_TRUE(sameBits(
      last.out, std::vector<double>(all.out.end() - 3 * 64, all.out.end())));
  EXPECT_TRUE(sameBits(last.lse,
                       std::vector<double>(all.lse.end() - 3, all.lse.end())));
}

TEST(Property, startsMayBeLeftOutWhenLengthsAreEqual) {
  ProblemSpec spec;
  spec.qLens = {2, 2, 2};
  spec.kvLens = {5, 2, 40};
  AttentionResult expected = attention(build(spec));
  spec.hasQueryStarts = false;
  Problem problem = build(spec);
  EXPECT_FALSE(problem.queryStarts);
  EXPECT_TRUE(sameBits(expected, attention(problem)));
}

} // namespace
} // namespace paged_attn::oracle
