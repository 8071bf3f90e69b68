//===- Execute.cpp - Compile, run, check, measure -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The oracle's problem is fed to the compiled kernel; its answer and its
// ceilings judge what comes out.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include "paged_attn/Oracle/Ceilings.h"
#include "paged_attn/Oracle/Tolerance.h"

#include <algorithm>
#include <cassert>
#include <chrono>

using namespace paged_attn_run;
using namespace compiler;

namespace {

/// A benchmark goes on for this long, and for at least so many rounds.
constexpr double kBenchSeconds = 2.0;
constexpr int kBenchRounds = 5;
constexpr int kMaxBenchRounds = 200;

//===----------------------------------------------------------------------===//
// Kernel spec -> problem
//===----------------------------------------------------------------------===//

bool setType(const char *name, const std::string &text,
             oracle::ElementType &type, std::string &error) {
  std::optional<oracle::ElementType> parsed = oracle::parseElementType(text);
  if (parsed)
    type = *parsed;
  else
    error = std::string("expected the type of ") + name +
            " to be f32, f16 or bf16, got '" + text + "'";
  return parsed.has_value();
}

bool setLayout(const LayoutSpec &layout, oracle::PoolLayout &result,
               std::string &error) {
  std::optional<oracle::PoolLayout> parsed =
      oracle::PoolLayout::parse(layout.dims, layout.pack, error);
  if (parsed)
    result = *parsed;
  return parsed.has_value();
}

bool setTypes(const KernelSpec &kernel, oracle::ProblemSpec &spec,
              std::string &error) {
  std::optional<oracle::IndexType> index =
      oracle::parseIndexType(kernel.indexType);
  if (!index) {
    error = "expected the type of indices to be i32 or i64, got '" +
            kernel.indexType + "'";
    return false;
  }
  spec.indexType = *index;
  spec.poolKind = kernel.pools == Pools::Separate ? oracle::PoolKind::Separate
                  : kernel.pools == Pools::Pair   ? oracle::PoolKind::Pair
                                                  : oracle::PoolKind::Latent;
  spec.tableKind =
      kernel.csr ? oracle::TableKind::Csr : oracle::TableKind::Dense;
  return setType("query", kernel.queryType, spec.queryType, error) &&
         setType("keys", kernel.keyType, spec.keyType, error) &&
         setType("values", kernel.valueType, spec.valueType, error) &&
         setType("out", kernel.outType, spec.outputType, error) &&
         setLayout(kernel.keyLayout, spec.keyLayout, error) &&
         setLayout(kernel.valueLayout, spec.valueLayout, error);
}

std::optional<oracle::ProblemSpec> makeSpec(const Configuration &configuration,
                                            const RunOptions &options,
                                            std::string &error) {
  const KernelSpec &kernel = configuration.kernel;
  oracle::ProblemSpec spec;
  if (!setTypes(kernel, spec, error))
    return std::nullopt;
  spec.qLens = configuration.lengths.qLens;
  spec.kvLens = configuration.lengths.kvLens;
  spec.paddingRows = configuration.paddingRows;
  spec.numHeads = kernel.numHeads;
  spec.numKvHeads = kernel.numKVHeads;
  spec.keyDim = kernel.keyDim;
  spec.valueDim = kernel.valueDim;
  spec.pageSize = kernel.pageSize;
  spec.numLayers = configuration.numLayers;
  spec.layer = configuration.layer;
  spec.mask.causal = kernel.causal;
  spec.mask.window = kernel.window;
  spec.mask.sinkTokens = kernel.sinkTokens;
  spec.mask.chunk = kernel.chunk;
  spec.scale = kernel.scale;
  spec.softcap = kernel.softcap;
  spec.hasAlibi = kernel.hasAlibi;
  spec.hasSinks = kernel.hasSinks;
  spec.wantsLse = kernel.wantsLse;
  spec.hasQueryStarts = kernel.hasQueryStarts;
  spec.pageOrder = configuration.identityPages ? oracle::PageOrder::Identity
                                               : oracle::PageOrder::Shuffled;
  spec.poison = configuration.poisonHidden ? oracle::Poison::Masked
                                           : oracle::Poison::Unread;
  if (options.bench && !options.check)
    spec.poison = oracle::Poison::None;
  spec.hugePages = options.bench;
  return spec;
}

/// Takes over sizes of pools and tables that a user's module fixes.
void applyStaticSizes(const FunctionInfo &function, const KernelSpec &kernel,
                      oracle::ProblemSpec &spec) {
  for (const ArgumentInfo &argument : function.arguments) {
    if (argument.name == "keys") {
      int64_t pages = argument.sizes[kernel.keyLayout.dims.find('p')];
      if (pages != kDynamicSize)
        spec.numPages = pages;
      size_t layers = kernel.keyLayout.dims.find('l');
      if (layers != std::string::npos && argument.sizes[layers] != kDynamicSize)
        spec.numLayers = argument.sizes[layers];
    }
    if (argument.name == "page_table" && argument.sizes[1] != kDynamicSize)
      spec.numColumns = argument.sizes[1];
  }
}

//===----------------------------------------------------------------------===//
// Problem -> arguments
//===----------------------------------------------------------------------===//

Arguments makeArguments(oracle::Problem &problem) {
  const oracle::ProblemSpec &spec = problem.spec;
  int64_t tokens = spec.numTokens(), batch = spec.batch();
  Arguments arguments;
  auto add = [&](const char *name, oracle::Buffer &buffer,
                 std::vector<int64_t> sizes) {
    if (buffer)
      arguments[name] = {buffer.data(), std::move(sizes), 0};
  };
  add("query", problem.query, {tokens, spec.numHeads, spec.keyDim});
  add("keys", problem.keyPool, problem.keyShape.dims());
  add("values", problem.valuePool, problem.valueShape.dims());
  add("page_table", problem.pageTable, {batch, spec.columns()});
  add("page_indices", problem.pageIndices,
      {problem.pageIndices.numBytes() / byteWidth(spec.indexType)});
  add("page_indptr", problem.pageIndptr, {batch + 1});
  add("kv_lens", problem.kvLens, {batch});
  add("query_starts", problem.queryStarts, {batch + 1});
  add("alibi_slopes", problem.alibiSlopes, {spec.numHeads});
  add("sinks", problem.sinks, {spec.numHeads});
  add("out", problem.out, {tokens, spec.numHeads, spec.valueDim});
  add("lse", problem.lse, {tokens, spec.numHeads});
  arguments["layer"].integer = spec.layer;
  return arguments;
}

CacheLimits makeLimits(const oracle::ProblemSpec &spec) {
  CacheLimits limits;
  limits.numPages = spec.pages();
  limits.pageSize = spec.pageSize;
  limits.indexType = toString(spec.indexType);
  limits.causal = spec.mask.causal;
  limits.window = spec.mask.window;
  limits.sinkTokens = spec.mask.sinkTokens;
  limits.chunk = spec.mask.chunk;
  return limits;
}

//===----------------------------------------------------------------------===//
// Cost of a call
//===----------------------------------------------------------------------===//

/// Positions [low, high) and [0, sinks) that a row at position p sees.
struct Visible {
  Visible(const oracle::Mask &mask, int64_t p, int64_t kvLen) {
    high = mask.causal ? std::min(p + 1, kvLen) : kvLen;
    if (mask.window > 0) {
      low = std::max<int64_t>(0, p - mask.window + 1);
      sinks = std::min(mask.sinkTokens, std::min(low, high));
    }
    if (mask.chunk > 0) {
      int64_t begin = p / mask.chunk * mask.chunk;
      sinks = begin == 0 ? std::min(sinks, mask.chunk) : 0;
      low = std::max(low, begin);
      high = std::min(high, begin + mask.chunk);
    }
    high = std::max(high, low);
  }
  int64_t low = 0, high = 0, sinks = 0;
};

/// Sets the bytes of K and V and the operations that a call cannot avoid.
void setCost(const oracle::Problem &problem, Outcome &outcome) {
  const oracle::ProblemSpec &spec = problem.spec;
  double rowBytes = double(spec.keyDim) * byteWidth(spec.keyType);
  if (spec.poolKind != oracle::PoolKind::Latent)
    rowBytes +=
        double(spec.valueDim) *
        byteWidth(spec.poolKind == oracle::PoolKind::Separate ? spec.valueType
                                                              : spec.keyType);
  double pairs = 0, tokens = 0;
  for (int64_t b = 0; b < spec.batch(); ++b) {
    int64_t q = spec.qLens[b], kv = spec.kvLens[b];
    int64_t low = kv, high = 0, sinks = 0;
    for (int64_t i = 0; i < q; ++i) {
      Visible row(spec.mask, kv - q + i, kv);
      pairs += row.high - row.low + row.sinks;
      low = std::min(low, row.low);
      high = std::max(high, row.high);
      sinks = std::max(sinks, row.sinks);
    }
    if (high > low)
      tokens += high - low + std::min(sinks, low);
  }
  outcome.kvBytes = tokens * spec.numKvHeads * rowBytes;
  outcome.operations =
      2 * pairs * spec.numHeads * (double(spec.keyDim) + double(spec.valueDim));
}

//===----------------------------------------------------------------------===//
// Running
//===----------------------------------------------------------------------===//

double timeCall(BoundCall &call, const Executor &executor) {
  auto begin = std::chrono::steady_clock::now();
  call.run(executor.getHandle());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
      .count();
}

void check(const oracle::Problem &problem, int numThreads, Outcome &outcome) {
  oracle::OracleOptions options;
  options.numThreads = numThreads;
  oracle::AttentionResult expected = oracle::attention(problem, options);
  oracle::Tolerance tolerance =
      oracle::deriveTolerance(problem, expected, options);
  oracle::Comparison out = oracle::compare(expected.out, problem.out.data(),
                                           problem.spec.outputType);
  outcome.checked = true;
  outcome.maxError = out.maxAbsError;
  outcome.tolerance = tolerance.out;
  outcome.passed = out.maxAbsError <= tolerance.out;
  if (!problem.spec.wantsLse)
    return;
  oracle::Comparison lse = oracle::compare(expected.lse, problem.lse.data(),
                                           oracle::ElementType::F32);
  outcome.lseError = lse.maxAbsError;
  outcome.lseTolerance = tolerance.lse;
  outcome.passed &= lse.maxAbsError <= tolerance.lse;
}

/// Kernel and ceilings in turn, so that all see the same machine.
void bench(const oracle::Problem &problem, BoundCall &call,
           const Executor &executor, Outcome &outcome) {
  oracle::PagedRead read =
      oracle::pagedReadOf(problem, oracle::ReadOrder::ByHead);
  double bestRead = 0, bestFma = 0, elapsed = 0;
  int threads = executor.getNumThreads();
  for (int round = 0; round < kMaxBenchRounds; ++round) {
    double seconds = timeCall(call, executor);
    outcome.seconds = std::min(outcome.seconds, seconds);
    oracle::PassResult paged = oracle::measurePagedRead(read, threads);
    bestRead = std::max(bestRead, paged.perWallSecond());
    oracle::PassResult fma = oracle::measureFma(threads);
    bestFma = std::max(bestFma, fma.perWallSecond());
    elapsed += seconds + paged.wallSeconds + fma.wallSeconds;
    if (round + 1 >= kBenchRounds && elapsed > kBenchSeconds)
      break;
  }
  if (bestRead > 0)
    outcome.bandwidthRatio = outcome.kvBytes / outcome.seconds / bestRead;
  if (bestFma > 0)
    outcome.flopsRatio = outcome.operations / outcome.seconds / bestFma;
}

const FunctionInfo *findFunction(const CompiledKernel &kernel,
                                 const std::string &name) {
  for (const FunctionInfo &function : kernel.getFunctions())
    if (function.name == name)
      return &function;
  return nullptr;
}

} // namespace

std::optional<Outcome> paged_attn_run::run(const Configuration &configuration,
                                           const RunOptions &options,
                                           const CompiledKernel *shared,
                                           std::string &error) {
  std::optional<oracle::ProblemSpec> spec =
      makeSpec(configuration, options, error);
  if (!spec)
    return std::nullopt;
  error = spec->validate();
  if (!error.empty())
    return std::nullopt;
  std::unique_ptr<CompiledKernel> owned;
  if (!shared) {
    owned = CompiledKernel::compile(buildModule(configuration.kernel), "spec",
                                    options.compile, error);
    if (!owned)
      return std::nullopt;
    shared = owned.get();
  }
  const FunctionInfo *function =
      findFunction(*shared, configuration.kernel.name);
  assert(function && "specs name public functions");
  applyStaticSizes(*function, configuration.kernel, *spec);

  std::optional<oracle::Problem> problem =
      oracle::makeProblem(*spec, configuration.seed, error);
  if (!problem)
    return std::nullopt;
  Arguments arguments = makeArguments(*problem);
  std::optional<BoundCall> call = shared->bind(*function, arguments, error);
  if (!call)
    return std::nullopt;
  error = checkCall(arguments, makeLimits(problem->spec));
  if (!error.empty())
    return std::nullopt;

  Executor executor(options.numThreads);
  Outcome outcome;
  setCost(*problem, outcome);
  outcome.seconds = timeCall(*call, executor);
  if (options.check)
    check(*problem, options.numThreads, outcome);
  if (options.bench)
    bench(*problem, *call, executor, outcome);
  return outcome;
}
