//===- CoverageCases.cpp - The cases of the coverage tests ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Small on purpose: a case costs two compilations and little else.
//
//===----------------------------------------------------------------------===//

#include "CoverageCases.h"

#include <algorithm>
#include <functional>

using namespace mlir::paged_attn;

namespace {

using Lengths = std::vector<std::pair<int64_t, int64_t>>;

/// `qLen` new tokens in contexts on and beside the edges of pages, and
/// sequences without new tokens or without any.
Lengths decodeLengths(int64_t qLen, int64_t pageSize) {
  Lengths lengths = {{0, 0}, {0, pageSize + 1}};
  for (int64_t kvLen :
       {int64_t(1), pageSize - 1, pageSize, pageSize + 1, 3 * pageSize + 2})
    lengths.emplace_back(qLen, std::max(kvLen, qLen));
  return lengths;
}

/// Whole prompts.
Lengths prefillLengths(int64_t pageSize) {
  Lengths lengths;
  for (int64_t length :
       {int64_t(0), int64_t(1), pageSize - 1, pageSize, pageSize + 1})
    lengths.emplace_back(length, length);
  return lengths;
}

/// Chunks of prompts, whole prompts and decoding sequences side by side.
Lengths mixedLengths(int64_t pageSize) {
  return {{1, 2 * pageSize + 1},
          {pageSize + 1, pageSize + 1},
          {0, pageSize},
          {3, pageSize + 3},
          {1, 1},
          {5, 3 * pageSize},
          {0, 0},
          {2, std::max<int64_t>(pageSize - 1, 2)}};
}

Lengths lengthsFor(const std::string &mode, int64_t pageSize) {
  if (mode == "decode")
    return decodeLengths(1, pageSize);
  return mode == "prefill" ? prefillLengths(pageSize) : mixedLengths(pageSize);
}

/// Collects cases that start from a small GQA kernel. `set` changes it;
/// lengths that it leaves empty follow from mode and page size.
class Cases {
public:
  using Setter = std::function<void(CoverageCase &)>;

  void add(const std::string &name, const std::string &mode,
           const Setter &set) {
    CoverageCase test;
    test.name = name;
    test.kernel.mode = mode;
    test.kernel.numHeads = 4;
    test.kernel.numKVHeads = 2;
    test.kernel.keyDim = test.kernel.valueDim = 16;
    test.kernel.pageSize = 16;
    set(test);
    if (test.lengths.empty())
      test.lengths = lengthsFor(mode, test.kernel.pageSize);
    list.push_back(test);
  }

  /// A case whose mode goes round with the cases: both kinds of loops see
  /// each axis without a product of axes.
  void add(const std::string &name, const Setter &set) {
    constexpr const char *kModes[] = {"decode", "prefill", "mixed", "auto"};
    add(name, kModes[list.size() % 4], set);
  }

  std::vector<CoverageCase> list;
};

} // namespace

std::vector<CoverageCase> mlir::paged_attn::modeCases() {
  Cases cases;
  for (const char *mode : {"decode", "prefill", "mixed", "auto"})
    cases.add(mode, mode, [](CoverageCase &test) {
      if (test.kernel.mode != "decode")
        test.paddingRows = 3;
    });
  for (int64_t qLen : {2, 3, 5, 8})
    cases.add("speculative_" + std::to_string(qLen), "decode",
              [&](CoverageCase &test) {
                test.lengths = decodeLengths(qLen, test.kernel.pageSize);
              });
  for (const char *mode : {"prefill", "mixed"})
    cases.add(std::string("chunked_") + mode, mode, [](CoverageCase &test) {
      test.lengths = {{16, 48}, {7, 33}, {33, 40}, {1, 17}};
    });
  for (const char *mode : {"decode", "prefill", "auto"})
    cases.add(std::string("no_starts_") + mode, mode, [](CoverageCase &test) {
      test.kernel.hasQueryStarts = false;
      int64_t qLen = test.kernel.mode == "decode" ? 1 : 5;
      test.lengths = {{qLen, 5}, {qLen, 16}, {qLen, 17}, {qLen, 50}};
    });
  cases.add("one_sequence_of_many_pages", "decode",
            [](CoverageCase &test) { test.lengths = {{1, 3001}}; });
  cases.add("long_prompt", "prefill",
            [](CoverageCase &test) { test.lengths = {{300, 300}}; });
  return cases.list;
}

std::vector<CoverageCase> mlir::paged_attn::maskCases() {
  Cases cases;
  for (const char *mode : {"decode", "prefill", "mixed"}) {
    std::string in = std::string("_") + mode;
    auto longer = [](CoverageCase &test) {
      int64_t qLen = test.kernel.mode == "decode" ? 1 : 40;
      test.lengths = {{qLen, 150}, {qLen, 65}, {1, 1}, {0, 20}, {1, 17}};
    };
    cases.add("not_causal" + in, mode,
              [](CoverageCase &test) { test.kernel.causal = false; });
    cases.add("window" + in, mode, [&](CoverageCase &test) {
      test.kernel.window = 20;
      longer(test);
    });
    cases.add("window_sink_tokens" + in, mode, [&](CoverageCase &test) {
      test.kernel.window = 17;
      test.kernel.sinkTokens = 5;
      longer(test);
    });
    cases.add("chunk" + in, mode, [&](CoverageCase &test) {
      test.kernel.chunk = 24;
      longer(test);
    });
  }
  cases.add("window_of_one", "mixed",
            [](CoverageCase &test) { test.kernel.window = 1; });
  cases.add("window_not_causal", "mixed", [](CoverageCase &test) {
    test.kernel.causal = false;
    test.kernel.window = 9;
    test.kernel.sinkTokens = 2;
  });
  cases.add("chunk_not_causal", "prefill", [](CoverageCase &test) {
    test.kernel.causal = false;
    test.kernel.chunk = 7;
  });
  return cases.list;
}

std::vector<CoverageCase> mlir::paged_attn::scoreCases() {
  Cases cases;
  for (const char *mode : {"decode", "mixed"}) {
    std::string in = std::string("_") + mode;
    cases.add("softcap" + in, mode,
              [](CoverageCase &test) { test.kernel.softcap = 2; });
    cases.add("alibi" + in, mode,
              [](CoverageCase &test) { test.kernel.hasAlibi = true; });
    cases.add("sinks" + in, mode,
              [](CoverageCase &test) { test.kernel.hasSinks = true; });
    cases.add("all" + in, mode, [](CoverageCase &test) {
      test.kernel.softcap = 20;
      test.kernel.hasAlibi = test.kernel.hasSinks = true;
      test.kernel.window = 19;
      test.kernel.scale = 0.5f;
    });
  }
  cases.add("scale", "prefill",
            [](CoverageCase &test) { test.kernel.scale = 0.75f; });
  cases.add("without_lse", "auto",
            [](CoverageCase &test) { test.kernel.wantsLse = false; });
  return cases.list;
}

std::vector<CoverageCase> mlir::paged_attn::headCases() {
  Cases cases;
  struct Heads {
    int64_t numHeads, numKVHeads;
  };
  for (Heads heads : {Heads{3, 3}, Heads{6, 2}, Heads{5, 1}, Heads{14, 2},
                      Heads{16, 1}, Heads{1, 1}})
    cases.add("heads_" + std::to_string(heads.numHeads) + "_" +
                  std::to_string(heads.numKVHeads),
              [&](CoverageCase &test) {
                test.kernel.numHeads = heads.numHeads;
                test.kernel.numKVHeads = heads.numKVHeads;
              });
  return cases.list;
}

std::vector<CoverageCase> mlir::paged_attn::typeCases() {
  Cases cases;
  struct Types {
    const char *query, *key, *value, *out;
  };
  for (Types types :
       {Types{"f16", "f16", "f16", "f16"},
        Types{"bf16", "bf16", "bf16", "bf16"},
        Types{"f32", "bf16", "f16", "f32"}, Types{"f16", "f32", "bf16", "bf16"},
        Types{"bf16", "f16", "f32", "f16"},
        Types{"bf16", "bf16", "bf16", "f32"}})
    cases.add(std::string(types.query) + "_" + types.key + "_" + types.value +
                  "_" + types.out,
              [&](CoverageCase &test) {
                test.kernel.queryType = types.query;
                test.kernel.keyType = types.key;
                test.kernel.valueType = types.value;
                test.kernel.outType = types.out;
              });
  return cases.list;
}

std::vector<CoverageCase> mlir::paged_attn::quantisedCases() {
  Cases cases;
  struct Pool {
    const char *keys, *values;
    int64_t pack = 1;
  };
  auto quantise = [&](const std::string &name, const char *type,
                      std::optional<int64_t> rank, Pool pool) {
    cases.add(name + "_" + type, [&](CoverageCase &test) {
      KernelSpec &kernel = test.kernel;
      kernel.keyType = kernel.valueType = type;
      kernel.keyScaleRank = kernel.valueScaleRank = rank;
      kernel.keyLayout = {pool.keys, pool.pack};
      kernel.valueLayout = {pool.values, pool.pack};
    });
  };
  for (const char *type : {"i8", "f8E4M3FN"}) {
    for (Pool pool : {Pool{"phsd", "phsd"}, Pool{"phds", "pshd"}}) {
      quantise(std::string("per_tensor_") + pool.keys, type, 0, pool);
      quantise(std::string("per_head_") + pool.keys, type, 1, pool);
    }
    // Once in each mode: unread factors are NaN.
    for (Pool pool :
         {Pool{"phsd", "phsd"}, Pool{"phds", "phsd"}, Pool{"phds", "phds"},
          Pool{"phds", "phds", 4}, Pool{"pshd", "pshd"},
          Pool{"pshd", "phds", 2}, Pool{"hpsd", "hpds"}})
      for (int i = 0; i < 2; ++i)
        quantise(std::string("per_token_") + pool.keys + "_" + pool.values +
                     "_" + std::to_string(pool.pack) + "_" + std::to_string(i),
                 type, 3, pool);
  }
  quantise("without_scale", "f8E4M3FN", std::nullopt, {"phsd", "phsd"});
  cases.add("window_i8", "decode", [](CoverageCase &test) {
    test.kernel.keyType = test.kernel.valueType = "i8";
    test.kernel.keyScaleRank = test.kernel.valueScaleRank = 3;
    test.kernel.window = 9;
    test.kernel.softcap = 20;
  });
  cases.add("only_values_i8", "mixed", [](CoverageCase &test) {
    test.kernel.valueType = "i8";
    test.kernel.valueScaleRank = 3;
    test.kernel.outType = "bf16";
  });
  cases.add("latent_i8", "decode", [](CoverageCase &test) {
    test.kernel.pools = Pools::Latent;
    test.kernel.numKVHeads = 1;
    test.kernel.keyDim = 36;
    test.kernel.valueDim = 32;
    test.kernel.keyType = test.kernel.valueType = "i8";
    test.kernel.keyScaleRank = 3;
  });
  cases.add("pair_i8", "prefill", [](CoverageCase &test) {
    test.kernel.pools = Pools::Pair;
    test.kernel.keyLayout.dims = test.kernel.valueLayout.dims = "phcsd";
    test.kernel.keyType = test.kernel.valueType = "i8";
    test.kernel.keyScaleRank = test.kernel.valueScaleRank = 3;
  });
  return cases.list;
}

std::vector<CoverageCase> mlir::paged_attn::layoutCases() {
  Cases cases;
  struct Layouts {
    const char *keys, *values;
    int64_t pack = 1;
  };
  for (Layouts layouts : {Layouts{"phsd", "phsd"}, Layouts{"hpsd", "hpsd"},
                          Layouts{"phds", "phds"}, Layouts{"shpd", "hpds"},
                          Layouts{"sphd", "pshd"}, Layouts{"phds", "phds", 2},
                          Layouts{"pshd", "pshd", 2}})
    cases.add(std::string(layouts.keys) + "_" + layouts.values + "_" +
                  std::to_string(layouts.pack),
              [&](CoverageCase &test) {
                test.kernel.keyLayout = {layouts.keys, layouts.pack};
                test.kernel.valueLayout = {layouts.values, layouts.pack};
              });
  for (const char *dims : {"pcshd", "cpshd", "pshcd", "phcsd"})
    cases.add(std::string("pair_") + dims, [&](CoverageCase &test) {
      test.kernel.pools = Pools::Pair;
      test.kernel.keyLayout.dims = test.kernel.valueLayout.dims = dims;
    });
  cases.add("pair_phcds_pack", [](CoverageCase &test) {
    test.kernel.pools = Pools::Pair;
    test.kernel.keyLayout = test.kernel.valueLayout = {"phcds", 2};
    test.kernel.keyType = test.kernel.valueType = "bf16";
  });
  for (const char *dims : {"lpshd", "plhsd"})
    cases.add(std::string("layers_") + dims, [&](CoverageCase &test) {
      test.kernel.keyLayout.dims = test.kernel.valueLayout.dims = dims;
      test.numLayers = 3;
    });
  for (const char *mode : {"decode", "prefill"})
    cases.add(std::string("latent_") + mode, mode, [](CoverageCase &test) {
      test.kernel.pools = Pools::Latent;
      test.kernel.numKVHeads = 1;
      test.kernel.keyDim = 36;
      test.kernel.valueDim = 32;
    });
  return cases.list;
}

std::vector<CoverageCase> mlir::paged_attn::pageCases() {
  Cases cases;
  for (int64_t pageSize : {1, 3, 24, 64, 128, 256})
    cases.add("page_" + std::to_string(pageSize), [&](CoverageCase &test) {
      test.kernel.pageSize = pageSize;
      if (pageSize >= 128)
        test.kernel.numHeads = test.kernel.numKVHeads = 1;
    });
  cases.add("large_prime_page", "mixed", [](CoverageCase &test) {
    test.kernel.pageSize = 1031; // no part of it is a good tile
    test.kernel.numHeads = test.kernel.numKVHeads = 1;
    test.lengths = {{1, 1031}, {3, 1033}, {5, 5}, {0, 9}};
  });
  for (const char *mode : {"decode", "mixed"})
    for (const char *indexType : {"i32", "i64"})
      cases.add(std::string("csr_") + indexType + "_" + mode, mode,
                [&](CoverageCase &test) {
                  test.kernel.csr = true;
                  test.kernel.indexType = indexType;
                });
  cases.add("dense_i64", "auto",
            [](CoverageCase &test) { test.kernel.indexType = "i64"; });
  return cases.list;
}

std::vector<CoverageCase> mlir::paged_attn::headDimCases() {
  Cases cases;
  struct Dims {
    int64_t key, value;
  };
  for (Dims dims :
       {Dims{1, 1}, Dims{7, 7}, Dims{80, 80}, Dims{100, 100}, Dims{128, 128},
        Dims{256, 256}, Dims{512, 512}, Dims{24, 40}, Dims{72, 7}})
    cases.add("dims_" + std::to_string(dims.key) + "_" +
                  std::to_string(dims.value),
              [&](CoverageCase &test) {
                test.kernel.keyDim = dims.key;
                test.kernel.valueDim = dims.value;
                if (dims.key >= 256)
                  test.kernel.numHeads = 2;
              });
  return cases.list;
}
