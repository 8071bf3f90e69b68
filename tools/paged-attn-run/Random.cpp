//===- Random.cpp - Whole random configurations ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Draws every axis of a configuration from one seed: the same seed gives the
// same configuration, so that a failure can be run again.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include <algorithm>
#include <random>

using namespace paged_attn_run;
using namespace compiler;

namespace {

class Drawer {
public:
  explicit Drawer(uint64_t seed) : random(seed * 0x9E3779B97F4A7C15u + 1) {
    configuration.seed = seed;
  }
  Configuration draw();

private:
  int64_t number(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random() % (high - low + 1));
  }
  bool oneIn(int64_t n) { return number(1, n) == 1; }
  template <typename T>
  T pick(std::initializer_list<T> choices) {
    return choices.begin()[number(0, choices.size() - 1)];
  }
  std::string pickType() { return pick<const char *>({"f32", "f16", "bf16"}); }
  std::optional<int64_t> pickScale(const std::string &type);

  void drawShapes();
  void drawPools();
  void drawQuantisation();
  void drawOptions();
  void drawLengths();

  std::mt19937_64 random;
  Configuration configuration;
  KernelSpec &kernel = configuration.kernel;
};

void Drawer::drawShapes() {
  kernel.mode = pick<const char *>({"auto", "decode", "prefill", "mixed"});
  kernel.numKVHeads = number(1, 4);
  kernel.numHeads = kernel.numKVHeads * pick<int64_t>({1, 2, 3, 4, 7, 8});
  kernel.keyDim =
      pick<int64_t>({1, 8, 16, 24, 32, 40, 64, 80, 96, 128, 192, 256});
  kernel.valueDim =
      oneIn(3) ? pick<int64_t>({1, 16, 32, 48, 64, 128}) : kernel.keyDim;
  kernel.pageSize = pick<int64_t>({1, 2, 4, 8, 16, 16, 32, 64, 128, 256});
  kernel.queryType = pickType();
  kernel.keyType = pickType();
  kernel.valueType = oneIn(3) ? pickType() : kernel.keyType;
  kernel.outType = oneIn(2) ? kernel.queryType : pickType();
  kernel.indexType = oneIn(4) ? "i64" : "i32";
}

void Drawer::drawPools() {
  auto layout = [&]() -> LayoutSpec {
    return {pick<const char *>(
                {"pshd", "phsd", "hpsd", "phds", "shpd", "sphd", "hpds"}),
            1};
  };
  kernel.keyLayout = layout();
  kernel.valueLayout = oneIn(2) ? layout() : kernel.keyLayout;
  if (oneIn(4)) {
    kernel.pools = Pools::Pair;
    kernel.keyLayout = {
        pick<const char *>({"pcshd", "cpshd", "pshcd", "phcsd"}), 1};
    kernel.valueDim = kernel.keyDim;
    kernel.valueLayout = kernel.keyLayout;
    kernel.valueType = kernel.keyType;
    return;
  }
  if (oneIn(5) && kernel.keyDim % 2 == 0 && kernel.valueDim % 2 == 0)
    kernel.keyLayout = kernel.valueLayout = {"phds", 2};
  if (oneIn(6)) {
    configuration.numLayers = 2;
    configuration.layer = number(0, 1);
    kernel.keyLayout =
        kernel.valueLayout = {pick<const char *>({"lpshd", "plhsd"}), 1};
  }
}

/// Rank of the factors of a pool of `type`; integers need some.
std::optional<int64_t> Drawer::pickScale(const std::string &type) {
  if (type != "i8" && oneIn(3))
    return std::nullopt;
  return pick<int64_t>({0, 1, 3});
}

void Drawer::drawQuantisation() {
  auto draw = [&](std::string &type, std::optional<int64_t> &rank) {
    type = pick<const char *>({"i8", "f8E4M3FN"});
    rank = pickScale(type);
  };
  bool isSeparate = kernel.pools == Pools::Separate;
  if (isSeparate && oneIn(4)) // values alone
    return draw(kernel.valueType, kernel.valueScaleRank);
  draw(kernel.keyType, kernel.keyScaleRank);
  if (isSeparate && oneIn(2))
    return draw(kernel.valueType, kernel.valueScaleRank);
  if (isSeparate && oneIn(2))
    return; // keys alone
  kernel.valueType = kernel.keyType;
  kernel.valueScaleRank = pickScale(kernel.valueType);
}

void Drawer::drawOptions() {
  kernel.csr = oneIn(3);
  kernel.causal = !oneIn(4);
  if (oneIn(3)) {
    kernel.window = number(1, 100);
    kernel.sinkTokens = oneIn(2) ? number(1, 20) : 0;
  } else if (oneIn(4)) {
    kernel.chunk = number(1, 64);
  }
  if (oneIn(4))
    kernel.softcap = pick<float>({1, 20, 50});
  if (oneIn(4))
    kernel.scale = pick<float>({0.05f, 0.25f, 1});
  kernel.hasAlibi = oneIn(4);
  kernel.hasSinks = oneIn(4);
  kernel.wantsLse = !oneIn(4);
  configuration.poisonHidden = oneIn(2);
}

void Drawer::drawLengths() {
  Lengths &lengths = configuration.lengths;
  int64_t batch = number(1, 6);
  kernel.hasQueryStarts = !oneIn(5);
  int64_t most = kernel.mode == "decode" ? 8 : 40;
  int64_t uniform = number(1, most);
  for (int64_t b = 0; b < batch; ++b) {
    int64_t q = pick<int64_t>({0, 1, 1, 2, number(1, 8), number(1, most)});
    if (!kernel.hasQueryStarts)
      q = uniform;
    int64_t edge = kernel.pageSize * number(0, 3);
    int64_t kv = pick<int64_t>(
        {q, q + 1, edge, edge + 1, edge + kernel.pageSize - 1, number(0, 300)});
    lengths.qLens.push_back(q);
    lengths.kvLens.push_back(std::max(kv, q));
  }
  if (kernel.hasQueryStarts && oneIn(3))
    configuration.paddingRows = number(1, 5);
}

Configuration Drawer::draw() {
  drawShapes();
  drawPools();
  drawOptions();
  drawLengths();
  if (oneIn(3))
    drawQuantisation();
  return configuration;
}

} // namespace

Configuration paged_attn_run::drawConfiguration(uint64_t seed) {
  return Drawer(seed).draw();
}
