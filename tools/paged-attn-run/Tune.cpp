//===- Tune.cpp - Search of tile sizes on this machine --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One option after the other, from the sizes that the compiler chooses. A
// candidate is timed in turn with the best one so far, so that both see the
// same machine, and has to agree with the oracle before it becomes the best.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include "paged_attn/Check/ProblemCall.h"
#include "paged_attn/Kernel/KernelCache.h"
#include "paged_attn/Kernel/TunedTiles.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

#include <algorithm>
#include <limits>
#include <unistd.h>

using namespace paged_attn_run;
using namespace compiler;

namespace {

/// A pair of kernels is timed for this long, and for so many rounds.
constexpr double kPairSeconds = 0.4;
constexpr int kLeastRounds = 5, kMostRounds = 60;
/// A candidate must take at most this part of the best time: less is noise.
constexpr double kLeastGain = 0.98;
/// Tokens of the problem that candidates are checked on, and sequences.
constexpr int64_t kCheckTokens = 300, kCheckSequences = 3;
constexpr int kBarWidth = 24;

/// Draws one line that is rewritten on a terminal, else a line per option.
class Progress {
public:
  explicit Progress(size_t total) : total(total) {}

  void show(const std::string &what, double gain) {
    ++done;
    if (!isTerminal)
      return;
    int filled =
        static_cast<int>(kBarWidth * done / std::max<size_t>(1, total));
    llvm::errs() << "\r\x1b[Ktune [" << std::string(filled, '#')
                 << std::string(kBarWidth - filled, '.') << "] " << done << "/"
                 << total << llvm::formatv("  best {0:f2}x  ", gain) << what;
    llvm::errs().flush();
  }
  void endOption(const std::string &what, double gain) {
    if (!isTerminal)
      llvm::errs() << "tune: " << done << "/" << total << " " << what
                   << llvm::formatv(", best {0:f2}x\n", gain);
  }
  void end() {
    if (isTerminal)
      llvm::errs() << "\r\x1b[K";
  }

private:
  size_t total, done = 0;
  bool isTerminal = ::isatty(STDERR_FILENO);
};

/// A kernel and its call on the problem.
struct Candidate {
  TileOptions tile;
  std::unique_ptr<CompiledKernel> kernel;
  std::optional<BoundCall> call;
};

/// One search.
class Search {
public:
  Search(const TuneRequest &request, const RunOptions &options)
      : request(request), options(options), executor(options.numThreads) {}

  std::optional<TunedTiles> run(std::string &error);

private:
  bool compile(Candidate &candidate, std::string &error);
  /// Small ragged lengths, all kinds of tiles and slots of NaN.
  bool isRight(const Candidate &candidate, std::string &error);
  /// Best times of `best` and `candidate`, in turn.
  std::pair<double, double> race(Candidate &candidate);
  /// Makes a candidate the best one if it is right and faster.
  void consider(const TileOptions &tile);

  const TuneRequest &request;
  RunOptions options;
  Executor executor;
  std::optional<oracle::Problem> problem;
  Candidate best;
  double gain = 1; ///< of best over the start
};

} // namespace

bool Search::compile(Candidate &candidate, std::string &error) {
  CompileOptions compile = options.compile;
  compile.tile = candidate.tile;
  compile.useTuned = false;
  candidate.kernel = CompiledKernel::compile(request.source, request.sourceName,
                                             compile, error);
  if (!candidate.kernel)
    return false;
  if (!problem)
    problem = prepareProblem(request.configuration, options, *candidate.kernel,
                             error);
  if (problem)
    candidate.call =
        bindCall(*problem, request.configuration, *candidate.kernel, error);
  return candidate.call.has_value();
}

bool Search::isRight(const Candidate &candidate, std::string &error) {
  Configuration small = request.configuration;
  Lengths &lengths = small.lengths;
  size_t sequences =
      small.kernel.batch == kDynamicSize && small.kernel.hasQueryStarts
          ? std::min<size_t>(kCheckSequences, lengths.qLens.size())
          : lengths.qLens.size();
  lengths.qLens.resize(sequences);
  lengths.kvLens.resize(sequences);
  for (size_t b = 0; b < sequences; ++b) {
    // Uneven lengths, 300, 283, 266, ...; the first one has three splits.
    int64_t most = std::max<int64_t>(1, kCheckTokens - 17 * int64_t(b));
    if (b == 0)
      most = std::max(most, 2 * candidate.tile.splitTokens + 77);
    lengths.kvLens[b] = std::min(lengths.kvLens[b], most);
    if (small.kernel.hasQueryStarts)
      lengths.qLens[b] = std::min(lengths.qLens[b], lengths.kvLens[b]);
    else
      lengths.kvLens[b] = std::max(lengths.kvLens[b], lengths.qLens[b]);
  }
  RunOptions check = options;
  check.check = true;
  check.bench = false;
  std::optional<Outcome> outcome =
      paged_attn_run::run(small, check, candidate.kernel.get(), error);
  return outcome && outcome->passed;
}

std::pair<double, double> Search::race(Candidate &candidate) {
  double times[2] = {std::numeric_limits<double>::infinity(),
                     std::numeric_limits<double>::infinity()};
  double elapsed = 0;
  for (int round = 0; round < kMostRounds; ++round) {
    for (int i = 0; i < 2; ++i) {
      BoundCall &call = i == 0 ? *best.call : *candidate.call;
      double seconds = timeCall(call, executor);
      times[i] = std::min(times[i], seconds);
      elapsed += seconds;
    }
    if (round + 1 >= kLeastRounds && elapsed > kPairSeconds)
      break;
  }
  return {times[0], times[1]};
}

void Search::consider(const TileOptions &tile) {
  Candidate candidate;
  candidate.tile = tile;
  std::string error; // sizes that do not compile or run are no candidates
  if (tile.print() == best.tile.print() || !compile(candidate, error))
    return;
  auto [bestTime, time] = race(candidate);
  if (time > kLeastGain * bestTime || !isRight(candidate, error))
    return;
  gain *= bestTime / time;
  best = std::move(candidate);
}

std::optional<TunedTiles> Search::run(std::string &error) {
  if (!compile(best, error))
    return std::nullopt;
  if (!isRight(best, error)) {
    if (error.empty())
      error = "expected the default sizes to agree with the oracle, got a "
              "wrong result";
    return std::nullopt;
  }
  size_t total = 0;
  for (const TuneDimension &dimension : request.space)
    total += dimension.values.size();
  Progress progress(total);
  for (const TuneDimension &dimension : request.space) {
    for (int64_t value : dimension.values) {
      TileOptions tile = best.tile;
      if (tile.set(dimension.name, value, error))
        consider(tile);
      else
        return std::nullopt;
      progress.show(dimension.name + "=" + std::to_string(value), gain);
    }
    progress.endOption(dimension.name, gain);
  }
  progress.end();
  return TunedTiles{best.tile, describe(request.configuration), gain};
}

std::vector<TuneDimension>
paged_attn_run::defaultTuneSpace(const KernelSpec &kernel,
                                 const CompileOptions &options) {
  std::vector<TuneDimension> space{{"kv-tokens", {16, 32, 64, 128, 256}}};
  if (options.via == Via::Linalg) // 3b has its own distances
    space.push_back({"pages-ahead", {0, 1, 2, 8}});
  if (kernel.mode == "decode") {
    space.push_back({"split-tokens", {0, 512, 1024, 2048, 4096}});
  } else {
    int64_t group = std::max<int64_t>(1, kernel.numHeads / kernel.numKVHeads);
    TuneDimension tokens{"query-tokens", {}};
    for (int64_t rows : {32, 64, 96, 128, 192, 256, 384})
      if (rows / group >= 1)
        tokens.values.push_back(rows / group);
    space.insert(space.begin(), tokens);
  }
  if (options.target.vectorBits > 128)
    space.push_back({"vector-bits", {options.target.vectorBits / 2}});
  return space;
}

std::optional<std::vector<TuneDimension>>
paged_attn_run::parseTuneSpace(const std::string &text, std::string &error) {
  std::vector<TuneDimension> space;
  llvm::SmallVector<llvm::StringRef> parts;
  llvm::StringRef(text).split(parts, ',', /*MaxSplit=*/-1, /*KeepEmpty=*/false);
  for (llvm::StringRef part : parts) {
    auto [name, list] = part.split('=');
    TuneDimension dimension{name.str(), {}};
    llvm::SmallVector<llvm::StringRef> numbers;
    list.split(numbers, '|');
    for (llvm::StringRef number : numbers) {
      int64_t value;
      TileOptions probe;
      if (number.getAsInteger(10, value)) {
        error = "expected tune-space as name=number|number,..., got '" +
                part.str() + "'";
        return std::nullopt;
      }
      if (!probe.set(dimension.name, value, error))
        return std::nullopt;
      dimension.values.push_back(value);
    }
    space.push_back(std::move(dimension));
  }
  return space;
}

bool paged_attn_run::tune(const TuneRequest &request, const RunOptions &options,
                          std::string &error) {
  std::optional<std::string> directory = getCacheDirectory();
  if (!directory) {
    error = "expected a folder to keep what tune finds, got "
            "PAGED_ATTN_CACHE_DIR=off or no home";
    return false;
  }
  std::optional<TunedTiles> tuned = Search(request, options).run(error);
  if (!tuned)
    return false;
  std::string path = getTunedPath(*directory, request.source, options.compile);
  if (!storeTunedTiles(path, *tuned, error))
    return false;
  llvm::errs() << "tune: " << tuned->tile.print()
               << llvm::formatv(", {0:f2}x the default sizes, kept in {1}\n",
                                tuned->gain, path);
  return true;
}
