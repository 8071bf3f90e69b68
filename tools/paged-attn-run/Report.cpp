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

void printJson(const Configuration &configuration, const RunOptions &options,
               const Outcome &outcome) {
  const compiler::KernelSpec &kernel = configuration.kernel;
  bool bench = options.bench;
  llvm::json::Object object{
      {"mode", kernel.mode},
      {"target", "cpu"},
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
      {"seed", static_cast<int64_t>(configuration.seed)}};
  if (kernel.wantsLse) {
    object["lse_max_abs_error"] = number(outcome.checked, outcome.lseError);
    object["lse_tolerance"] = number(outcome.checked, outcome.lseTolerance);
  }
  llvm::outs() << llvm::json::Value(std::move(object)) << "\n";
}

void printTable(const Configuration &configuration, const RunOptions &options,
                const Outcome &outcome) {
  llvm::raw_ostream &os = llvm::outs();
  os << describe(configuration) << "\n";
  os << llvm::format("  %-12s %12s %10s %8s %10s %8s %12s %12s  %s\n", "via",
                     "time [us]", "GB/s", "of read", "GFLOP/s", "of FMA",
                     "error", "tolerance", "check");
  os << llvm::format("  %-12s %12.1f %10.2f", options.viaName.c_str(),
                     outcome.seconds * 1e6,
                     outcome.kvBytes / outcome.seconds * 1e-9);
  if (options.bench)
    os << llvm::format(" %7.1f%%", outcome.bandwidthRatio * 100);
  else
    os << llvm::format(" %8s", "-");
  os << llvm::format(" %10.2f", outcome.operations / outcome.seconds * 1e-9);
  if (options.bench)
    os << llvm::format(" %7.1f%%", outcome.flopsRatio * 100);
  else
    os << llvm::format(" %8s", "-");
  if (outcome.checked)
    os << llvm::format(" %12.2e %12.2e", outcome.maxError, outcome.tolerance);
  else
    os << llvm::format(" %12s %12s", "-", "-");
  os << "  " << getVerdict(outcome) << "\n";
}

} // namespace

std::string paged_attn_run::describe(const Configuration &configuration) {
  const compiler::KernelSpec &kernel = configuration.kernel;
  std::string text;
  llvm::raw_string_ostream os(text);
  os << kernel.mode << ": " << configuration.lengths.qLens.size()
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

void paged_attn_run::report(const Configuration &configuration,
                            const RunOptions &options, const Outcome &outcome,
                            bool json) {
  if (json)
    printJson(configuration, options, outcome);
  else
    printTable(configuration, options, outcome);
}
