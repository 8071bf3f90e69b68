//===- Execute.cpp - Compile, run, check, measure -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The oracle's problem is fed to the compiled kernel; its answer and its
// ceilings judge what comes out.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include "paged_attn/Check/ProblemCall.h"
#include "paged_attn/Oracle/Ceilings.h"

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

} // namespace

std::optional<oracle::ProblemSpec>
paged_attn_run::makeSpec(const Configuration &configuration,
                         const RunOptions &options, std::string &error) {
  std::optional<oracle::ProblemSpec> spec =
      makeProblemSpec(configuration.kernel, error);
  if (!spec)
    return std::nullopt;
  spec->qLens = configuration.lengths.qLens;
  spec->kvLens = configuration.lengths.kvLens;
  spec->paddingRows = configuration.paddingRows;
  spec->numLayers = configuration.numLayers;
  spec->layer = configuration.layer;
  spec->pageOrder = configuration.identityPages ? oracle::PageOrder::Identity
                                                : oracle::PageOrder::Shuffled;
  spec->poison = configuration.poisonHidden ? oracle::Poison::Masked
                                            : oracle::Poison::Unread;
  if (options.bench && !options.check)
    spec->poison = oracle::Poison::None;
  spec->hugePages = options.bench;
  error = spec->validate();
  if (!error.empty())
    return std::nullopt;
  return spec;
}

namespace {

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

void check(const oracle::Problem &problem, int numThreads, Outcome &outcome) {
  Verdict verdict = judge(problem, numThreads);
  outcome.checked = true;
  outcome.passed = verdict.passed;
  outcome.maxError = verdict.outError;
  outcome.tolerance = verdict.outTolerance;
  outcome.lseError = verdict.lseError;
  outcome.lseTolerance = verdict.lseTolerance;
}

/// Kernel and ceilings in turn, so that all see the same machine. The read is
/// measured in both orders: which one is faster depends on the layout, and the
/// faster one is the ceiling.
void bench(const oracle::Problem &problem, BoundCall &call,
           const Executor &executor, Outcome &outcome) {
  const oracle::PagedRead reads[] = {
      oracle::pagedReadOf(problem, oracle::ReadOrder::ByHead),
      oracle::pagedReadOf(problem, oracle::ReadOrder::ByPage)};
  double bestRead = 0, bestFma = 0, elapsed = 0;
  int threads = executor.getNumThreads();
  for (int round = 0; round < kMaxBenchRounds; ++round) {
    double seconds = timeCall(call, executor);
    outcome.seconds = std::min(outcome.seconds, seconds);
    elapsed += seconds;
    for (const oracle::PagedRead &read : reads) {
      oracle::PassResult paged = oracle::measurePagedRead(read, threads);
      bestRead = std::max(bestRead, paged.perWallSecond());
      elapsed += paged.wallSeconds;
    }
    oracle::PassResult fma = oracle::measureFma(threads);
    bestFma = std::max(bestFma, fma.perWallSecond());
    elapsed += fma.wallSeconds;
    if (round + 1 >= kBenchRounds && elapsed > kBenchSeconds)
      break;
  }
  if (bestRead > 0)
    outcome.bandwidthRatio = outcome.kvBytes / outcome.seconds / bestRead;
  if (bestFma > 0)
    outcome.flopsRatio = outcome.operations / outcome.seconds / bestFma;
}

} // namespace

void paged_attn_run::judgeOutcome(const oracle::Problem &problem,
                                  const RunOptions &options, Outcome &outcome) {
  setCost(problem, outcome);
  if (options.check)
    check(problem, options.numThreads, outcome);
}

double paged_attn_run::timeCall(BoundCall &call, const Executor &executor) {
  auto begin = std::chrono::steady_clock::now();
  call.run(executor.getHandle());
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
      .count();
}

std::optional<oracle::Problem> paged_attn_run::prepareProblem(
    const Configuration &configuration, const RunOptions &options,
    const CompiledKernel &kernel, std::string &error) {
  std::optional<oracle::ProblemSpec> spec =
      makeSpec(configuration, options, error);
  if (!spec)
    return std::nullopt;
  const FunctionInfo *function =
      findFunction(kernel.getFunctions(), configuration.kernel.name);
  assert(function && "specs name public functions");
  applyStaticSizes(*function, configuration.kernel, *spec);
  return oracle::makeProblem(*spec, configuration.seed, error);
}

std::optional<BoundCall>
paged_attn_run::bindCall(oracle::Problem &problem,
                         const Configuration &configuration,
                         const CompiledKernel &kernel, std::string &error) {
  const FunctionInfo *function =
      findFunction(kernel.getFunctions(), configuration.kernel.name);
  assert(function && "specs name public functions");
  Arguments arguments = makeArguments(problem);
  std::optional<BoundCall> call = kernel.bind(*function, arguments, error);
  if (!call)
    return std::nullopt;
  error = checkCall(arguments, makeLimits(problem.spec));
  return error.empty() ? std::move(call) : std::nullopt;
}

std::optional<Outcome> paged_attn_run::run(const Configuration &configuration,
                                           const RunOptions &options,
                                           const CompiledKernel *shared,
                                           std::string &error) {
  std::optional<oracle::ProblemSpec> spec =
      makeSpec(configuration, options, error);
  if (!spec)
    return std::nullopt;
  std::unique_ptr<CompiledKernel> owned;
  if (!shared) {
    owned = CompiledKernel::compile(buildModule(configuration.kernel), "spec",
                                    options.compile, error);
    if (!owned)
      return std::nullopt;
    shared = owned.get();
  }
  std::optional<oracle::Problem> problem =
      prepareProblem(configuration, options, *shared, error);
  if (!problem)
    return std::nullopt;
  std::optional<BoundCall> call =
      bindCall(*problem, configuration, *shared, error);
  if (!call)
    return std::nullopt;

  Executor executor(options.numThreads);
  Outcome outcome;
  outcome.compile = shared->getReport();
  outcome.seconds = timeCall(*call, executor);
  judgeOutcome(*problem, options, outcome);
  if (options.bench)
    bench(*problem, *call, executor, outcome);
  return outcome;
}
