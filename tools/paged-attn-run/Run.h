//===- Run.h - The parts of paged-attn-run ----------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Flags -> configuration -> compiled kernel and random problem -> outcome.
// Functions with an `error` return false or nothing and set it to one line.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TOOLS_RUN_H
#define PAGED_ATTN_TOOLS_RUN_H

#include "paged_attn/Kernel/GPUProgram.h"
#include "paged_attn/Kernel/KernelSpec.h"
#include "paged_attn/Oracle/Problem.h"
#include "paged_attn/VulkanDevice.h"

namespace paged_attn_run {

namespace compiler = mlir::paged_attn;
namespace oracle = ::paged_attn::oracle;

/// New tokens and tokens in the cache, per sequence.
struct Lengths {
  std::vector<int64_t> qLens, kvLens; ///< [B] tokens
};

/// What to run.
struct Configuration {
  compiler::KernelSpec kernel;
  Lengths lengths;
  int64_t paddingRows = 0; ///< query rows past the last sequence
  int64_t numLayers = 1, layer = 0;
  uint64_t seed = 0;
  bool poisonHidden = false; ///< NaN also in pages that the mask hides
  bool identityPages = false;
};

/// How to run it.
struct RunOptions {
  compiler::CompileOptions compile;
  std::string targetName; ///< as the flag says
  std::string viaName;
  std::shared_ptr<::paged_attn::VulkanDevice> vulkan; ///< null on the CPU
  int numThreads = 0;                                 ///< 0: all of the machine
  bool check = false, bench = false;
};

/// What came out.
struct Outcome {
  compiler::CompileReport compile;
  double seconds = 0;    ///< of one call, the best that was seen
  double kvBytes = 0;    ///< of the pages that some row sees, each once
  double operations = 0; ///< of the products with visible keys and values
  double bandwidthRatio = 0, flopsRatio = 0; ///< with bench
  bool checked = false, passed = false;
  double maxError = 0, tolerance = 0; ///< of out
  double lseError = 0, lseTolerance = 0;
};

/// Reads `{"q_lens": [...], "kv_lens": [...]}` or a list of [q, kv] pairs, or
/// either under the name of `function`.
bool readLengths(const std::string &path, const std::string &function,
                 Lengths &lengths, std::string &error);

/// Ragged lengths for a mode: the first sequence has the full `qLen` and
/// `context`, the others are drawn from the seed (all full when `uniform`).
struct LengthRequest {
  std::string mode;
  int64_t batch, qLen, context; ///< tokens
  bool uniform;
  uint64_t seed;
};
Lengths drawLengths(const LengthRequest &request);

/// A whole random configuration.
Configuration drawConfiguration(uint64_t seed);

/// The configuration in one line, for messages.
std::string describe(const Configuration &configuration);

/// What the problem of `configuration` looks like, or nothing and an error.
std::optional<oracle::ProblemSpec> makeSpec(const Configuration &configuration,
                                            const RunOptions &options,
                                            std::string &error);
/// Sets what `problem` costs at least and, with check, how good its outputs
/// are.
void judgeOutcome(const oracle::Problem &problem, const RunOptions &options,
                  Outcome &outcome);

/// The same as `run` on a Vulkan device.
std::optional<Outcome> runOnVulkan(const Configuration &configuration,
                                   const RunOptions &options,
                                   const compiler::GPUProgram *shared,
                                   std::string &error);
/// Options of kernels for the device of `options`.
compiler::GPUPipelineOptions makeVulkanOptions(const RunOptions &options);
/// The random problem of a configuration, with the sizes that the types of its
/// function in `kernel` fix.
std::optional<oracle::Problem>
prepareProblem(const Configuration &configuration, const RunOptions &options,
               const compiler::CompiledKernel &kernel, std::string &error);

/// The configuration's function of `kernel` on `problem`, once its arguments
/// have been checked.
std::optional<compiler::BoundCall>
bindCall(oracle::Problem &problem, const Configuration &configuration,
         const compiler::CompiledKernel &kernel, std::string &error);

/// Wall time of one call.
double timeCall(compiler::BoundCall &call, const compiler::Executor &executor);

/// Makes the problem, runs, checks and measures. Compiles the configuration's
/// kernel unless `shared` already holds its function.
std::optional<Outcome> run(const Configuration &configuration,
                           const RunOptions &options,
                           const compiler::CompiledKernel *shared,
                           std::string &error);

/// Values of one tile option that a search tries.
struct TuneDimension {
  std::string name; ///< of a TileOptions::Field
  std::vector<int64_t> values;
};

/// What to search for which kernel.
struct TuneRequest {
  Configuration configuration;
  std::string source, sourceName; ///< the level-0 module
  std::vector<TuneDimension> space;
};

/// What is worth trying for a kernel.
std::vector<TuneDimension>
defaultTuneSpace(const compiler::KernelSpec &kernel,
                 const compiler::CompileOptions &options);

/// Reads `name=number|number,...`.
std::optional<std::vector<TuneDimension>>
parseTuneSpace(const std::string &text, std::string &error);

/// Searches and keeps what it finds where compilations look for it. Progress
/// goes to stderr.
bool tune(const TuneRequest &request, const RunOptions &options,
          std::string &error);

/// A configuration and what came out.
struct Result {
  Configuration configuration;
  Outcome outcome;
};

/// Prints a table, or one JSON object: of the only result, or with all of them
/// under "functions".
void report(const std::vector<Result> &results, const RunOptions &options,
            bool json);

} // namespace paged_attn_run

#endif // PAGED_ATTN_TOOLS_RUN_H
