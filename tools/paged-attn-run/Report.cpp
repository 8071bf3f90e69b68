//===- Report.cpp - What paged-attn-run prints ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One outcome as a table or as a JSON object.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <cstdio>
#include <numeric>

using namespace paged_attn_run;

namespace {

int64_t countTokens(const Configuration &configuration) {
  const std::vector<int64_t> &q = configuration.lengths.qLens;
  return std::accumulate(q.begin(), q.end(), int64_t(0));
}

const char *getVerdict(const Outcome &outcome) {
  return !outcome.checked ? "skipped" : outcome.passed ? "pass" : "fail";
}

/// A number, or null where JSON has none.
llvm::json::Value number(bool isKnown, double value) {
  if (!isKnown || !std::isfinite(value))
    return nullptr;
  return value;
}

std::string layoutText(const compiler::LayoutSpec &layout) {
  return layout.dims +
         (layout.pack > 1 ? "/" + std::to_string(layout.pack) : "");
}

llvm::json::Object makeObject(const Result &result, const RunOptions &options) {
  const auto &[configuration, outcome] = result;
  const compiler::KernelSpec &kernel = configuration.kernel;
  bool bench = options.bench && !options.vulkan; // no ceilings of devices
  llvm::json::Object object{
      {"function", kernel.name},
      {"mode", kernel.mode},
      {"target", options.targetName},
      {"via", options.viaName},
      {"batch", static_cast<int64_t>(configuration.lengths.qLens.size())},
      {"tokens", countTokens(configuration)},
      {"time_us", outcome.seconds * 1e6},
      {"gbytes_per_s", outcome.kvBytes / outcome.seconds * 1e-9},
      {"gflops_per_s", outcome.operations / outcome.seconds * 1e-9},
      {"bandwidth_ratio", number(bench, outcome.bandwidthRatio)},
      {"flops_ratio", number(bench, outcome.flopsRatio)},
      {"max_abs_error", number(outcome.checked, outcome.maxError)},
      {"tolerance", number(outcome.checked, outcome.tolerance)},
      {"check", getVerdict(outcome)},
      {"compile_ms", outcome.compile.seconds * 1e3},
      {"kernel_cached", outcome.compile.wasCached},
      {"tile", outcome.compile.tile.print()},
      {"tuned", outcome.compile.wasTuned},
      {"seed", static_cast<int64_t>(configuration.seed)}};
  if (kernel.wantsLse) {
    object["lse_max_abs_error"] = number(outcome.checked, outcome.lseError);
    object["lse_tolerance"] = number(outcome.checked, outcome.lseTolerance);
  }
  return object;
}

void printJson(const std::vector<Result> &results, const RunOptions &options) {
  if (results.size() == 1) {
    llvm::outs() << llvm::json::Value(makeObject(results[0], options)) << "\n";
    return;
  }
  llvm::json::Array functions;
  bool passed = true;
  for (const Result &result : results) {
    functions.push_back(makeObject(result, options));
    passed &= result.outcome.passed;
  }
  const char *verdict = !options.check ? "skipped" : passed ? "pass" : "fail";
  llvm::outs() << llvm::json::Value(llvm::json::Object{
                      {"check", verdict}, {"functions", std::move(functions)}})
               << "\n";
}

/// Text of a number, or a dash.
std::string cell(bool isKnown, const char *format, double value) {
  if (!isKnown)
    return "-";
  char text[32];
  snprintf(text, sizeof(text), format, value);
  return text;
}

void printRow(const Result &result, const RunOptions &options) {
  const Outcome &outcome = result.outcome;
  const compiler::KernelSpec &kernel = result.configuration.kernel;
  auto percent = [&](double ratio) {
    return cell(options.bench && !options.vulkan, "%.1f%%", ratio * 100);
  };
  auto error = [&](double value) {
    return cell(outcome.checked, "%.2e", value);
  };
  llvm::outs() << llvm::format(
      "  %-12s %-9s %12.1f %9.2f %8s %9.2f %8s %10s %10s  %s\n",
      kernel.name.c_str(), options.viaName.c_str(), outcome.seconds * 1e6,
      outcome.kvBytes / outcome.seconds * 1e-9,
      percent(outcome.bandwidthRatio).c_str(),
      outcome.operations / outcome.seconds * 1e-9,
      percent(outcome.flopsRatio).c_str(), error(outcome.maxError).c_str(),
      error(outcome.tolerance).c_str(), getVerdict(outcome));
}

void printTable(const std::vector<Result> &results, const RunOptions &options) {
  for (const Result &result : results)
    llvm::outs() << result.configuration.kernel.name << ": "
                 << describe(result.configuration) << "\n";
  llvm::outs() << llvm::format(
      "  %-12s %-9s %12s %9s %8s %9s %8s %10s %10s  %s\n", "function", "via",
      "time [us]", "GB/s", "of read", "GFLOP/s", "of FMA", "error", "tolerance",
      "check");
  for (const Result &result : results)
    printRow(result, options);
}

} // namespace

std::string paged_attn_run::describe(const Configuration &configuration) {
  const compiler::KernelSpec &kernel = configuration.kernel;
  std::string text;
  llvm::raw_string_ostream os(text);
  os << kernel.mode << ", " << configuration.lengths.qLens.size()
     << " sequences, " << countTokens(configuration) << " tokens, heads "
     << kernel.numHeads << "/" << kernel.numKVHeads << ", dims "
     << kernel.keyDim << "/" << kernel.valueDim << ", page " << kernel.pageSize
     << ", types " << kernel.queryType << "/" << kernel.keyType << "/"
     << kernel.valueType << "/" << kernel.outType << ", layouts "
     << layoutText(kernel.keyLayout);
  if (kernel.pools == compiler::Pools::Separate)
    os << "/" << layoutText(kernel.valueLayout);
  os << (kernel.csr ? ", csr " : ", table ") << kernel.indexType;
  os << (kernel.causal ? ", causal" : ", not causal");
  auto option = [&](const char *name, double value) {
    if (value != 0)
      os << ", " << name << " " << value;
  };
  auto scale = [&](const char *name, std::optional<int64_t> rank) {
    if (rank)
      os << ", " << name << " "
         << (*rank == 0   ? "per tensor"
             : *rank == 1 ? "per head"
                          : "per token");
  };
  scale("k_scale", kernel.keyScaleRank);
  scale("v_scale", kernel.valueScaleRank);
  option("window", kernel.window);
  option("sink tokens", kernel.sinkTokens);
  option("chunk", kernel.chunk);
  option("softcap", kernel.softcap);
  option("scale", kernel.scale.value_or(0));
  option("padding rows", configuration.paddingRows);
  os << (kernel.hasAlibi ? ", alibi" : "") << (kernel.hasSinks ? ", sinks" : "")
     << (kernel.wantsLse ? ", lse" : "")
     << (kernel.hasQueryStarts ? "" : ", no starts") << ", seed "
     << configuration.seed;
  return text;
}

void paged_attn_run::report(const std::vector<Result> &results,
                            const RunOptions &options, bool json) {
  if (json)
    printJson(results, options);
  else
    printTable(results, options);
}
