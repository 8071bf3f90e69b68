//===- main.cpp - paged-attn-run ------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Builds a random ragged problem, compiles a kernel for it, runs it, compares
// with the float64 oracle and with this machine's ceilings. Exit codes: 0
// fine, 1 the check failed, 2 bad input (one line).
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include "../support/CommandLine.h"

#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

#include <cmath>
#include <numeric>

using namespace paged_attn_run;
using namespace compiler;
namespace cl = llvm::cl;

namespace {

constexpr int kCheckFailed = 1;
/// Largest sizes that flags may ask for: beyond them it is a mistake.
constexpr int64_t kMaxBatch = 1 << 20;
constexpr int64_t kMaxThreads = 4096;

/// Takes the options of LLVM's own passes out of the command line, before ours
/// are made: they have nothing to say here and share names with ours.
const bool areForeignOptionsRemoved = [] {
  std::vector<cl::Option *> foreign;
  for (auto &option : cl::getRegisteredOptions())
    foreign.push_back(option.second);
  for (cl::Option *option : foreign)
    option->removeArgument();
  return true;
}();

cl::OptionCategory category("paged-attn-run");

/// A flag with a value.
template <typename T>
struct Flag : cl::opt<T> {
  Flag(llvm::StringRef name, llvm::StringRef help, T value)
      : cl::opt<T>(name, cl::desc(help), cl::init(value), cl::cat(category)) {}
};

cl::opt<std::string> inputPath(cl::Positional, cl::desc("[IN.mlir]"),
                               cl::cat(category));
Flag<std::string> functionName("function",
                               "the function of IN.mlir to run (default: all)",
                               "");
Flag<std::string> mode("mode", "auto, prefill, decode or mixed", "decode");
Flag<int64_t> batch("batch", "sequences", 1);
Flag<int64_t> qLen("q-len",
                   "most new tokens of a sequence (decode: 1, prefill: as "
                   "context, mixed: 64)",
                   -1);
Flag<int64_t> context("context", "most tokens of a sequence in the cache",
                      1024);
Flag<bool> uniform("uniform", "all sequences have q-len and context", false);
Flag<std::string> lens("lens",
                       "JSON file of lengths: {\"q_lens\": [], \"kv_lens\": "
                       "[]} or pairs [[q, kv], ...], or these by function",
                       "");
Flag<int64_t> padding("padding", "query rows past the last sequence", 0);
Flag<int64_t> heads("heads", "query heads", 32);
Flag<int64_t>
    kvHeads("kv-heads",
            "KV heads (default: 8 if heads is a multiple, else heads)", 8);
Flag<int64_t> headDim("head-dim", "head dim of queries and keys", 128);
Flag<int64_t> valueDim("value-dim", "head dim of values (0: as head-dim)", 0);
Flag<int64_t> pageSize("page-size", "slots of a page (tokens)", 16);
Flag<std::string> queryType("query-type", "f32, f16 or bf16", "f32");
Flag<std::string> kvType("kv-type",
                         "type of keys and values: f32, f16, bf16, i8 or "
                         "f8E4M3FN",
                         "f32");
Flag<std::string> keyType("key-type", "type of keys (default: kv-type)", "");
Flag<std::string> valueType("value-type", "type of values (default: kv-type)",
                            "");
Flag<std::string> kvScale("kv-scale",
                          "factors of pools of i8 or f8E4M3FN: none, tensor, "
                          "head or token (default for i8: token)",
                          "");
Flag<std::string> outType("out-type", "type of out (default: query-type)", "");
Flag<std::string> layout("layout",
                         "layout of the pools, e.g. pshd, pcshd or "
                         "\"phds, pack = 2\"",
                         "pshd");
Flag<std::string> valueLayout("value-layout",
                              "layout of the values (default: layout)", "");
Flag<bool> latent("latent", "values are the first entries of keys", false);
Flag<int64_t> layers("layers", "layers of a layout with l", 2);
Flag<std::string> table("table", "dense or csr", "dense");
Flag<std::string> indexType("index-type", "i32 or i64", "i32");
Flag<bool> starts("starts", "pass query_starts", true);
Flag<int64_t> window("window", "sliding window (tokens, 0: none)", 0);
Flag<int64_t> sinkTokens("sink-tokens", "tokens visible beside the window", 0);
Flag<int64_t> chunk("chunk", "chunk mask (tokens, 0: none)", 0);
Flag<bool> causal("causal", "causal mask", true);
Flag<bool> noCausal("no-causal", "no causal mask", false);
Flag<double> softcap("softcap", "softcap (0: none)", 0);
Flag<double> scale("scale", "scale (0: 1 / sqrt(head-dim))", 0);
Flag<bool> alibi("alibi", "ALiBi slopes", false);
Flag<bool> sinks("sinks", "attention sinks", false);
Flag<bool> lse("lse", "also compute the lse", false);
Flag<bool> identity("identity", "pages in order, not shuffled", false);
Flag<bool> poisonHidden("poison-hidden",
                        "NaN also in pages that the mask hides", false);
Flag<int64_t> seed("seed", "seed of the random data", 0);
Flag<int64_t> threads("threads", "threads (0: all of the machine)", 0);
Flag<std::string> target("target", "cpu or vulkan", "cpu");
Flag<std::string> cpu("cpu", "CPU to compile for", "native");
Flag<std::string> via("via", "vector, linalg or reference", "vector");
Flag<bool> checkFlag("check", "compare with the float64 oracle", false);
Flag<bool> bench("bench", "measure against this machine's ceilings", false);
Flag<std::string> tile("tile",
                       "sizes of tiles as name=number,... (query-tokens, "
                       "kv-tokens, split-tokens, pages-ahead, vector-bits)",
                       "");
Flag<bool> tuneFlag("tune",
                    "search sizes of tiles on this machine first, and keep "
                    "the best",
                    false);
Flag<std::string> tuneSpace("tune-space",
                            "what --tune tries, as name=number|number,...", "");
Flag<bool> json("json", "print one JSON object", false);
Flag<int64_t> randomCount("random", "check so many whole random configurations",
                          0);

int fail(const llvm::Twine &message) {
  return paged_attn_tools::fail("paged-attn-run", message);
}

/// `flag` lies in [low, high], else an error.
bool inRange(const Flag<int64_t> &flag, int64_t low, int64_t high,
             std::string &error) {
  if (error.empty() && (flag < low || flag > high))
    error = "expected " + flag.ArgStr.str() + " from " + std::to_string(low) +
            " to " + std::to_string(high) + ", got " +
            std::to_string(flag.getValue());
  return error.empty();
}

bool oneOf(const Flag<std::string> &flag,
           std::initializer_list<llvm::StringRef> choices, std::string &error) {
  if (error.empty() && !llvm::is_contained(choices, flag.getValue()))
    error = "expected " + flag.ArgStr.str() + " to be one of " +
            llvm::join(choices, ", ") + ", got '" + flag.getValue() + "'";
  return error.empty();
}

bool checkFlags(std::string &error) {
  if (llvm::is_contained({"cuda", "hip"}, target.getValue()))
    error = "target " + target.getValue() +
            " is not available yet, expected cpu or vulkan";
  oneOf(target, {"cpu", "vulkan"}, error);
  oneOf(mode, {"auto", "prefill", "decode", "mixed"}, error);
  oneOf(table, {"dense", "csr"}, error);
  oneOf(queryType, {"f32", "f16", "bf16"}, error);
  if (!outType.empty())
    oneOf(outType, {"f32", "f16", "bf16"}, error);
  for (const Flag<std::string> *type : {&kvType, &keyType, &valueType})
    if (!type->empty())
      oneOf(*type, {"f32", "f16", "bf16", "i8", "f8E4M3FN"}, error);
  if (!kvScale.empty())
    oneOf(kvScale, {"none", "tensor", "head", "token"}, error);
  oneOf(indexType, {"i32", "i64"}, error);
  constexpr int64_t kMax = int64_t(1) << 40;
  inRange(batch, 1, kMaxBatch, error);
  inRange(context, 0, kMax, error);
  inRange(heads, 1, kMax, error);
  inRange(kvHeads, 1, kMax, error);
  inRange(threads, 0, kMaxThreads, error);
  inRange(padding, 0, kMax, error);
  inRange(layers, 1, kMax, error);
  inRange(randomCount, 0, kMax, error);
  inRange(seed, 0, INT64_MAX, error);
  for (const Flag<int64_t> *tokens : {&window, &sinkTokens, &chunk})
    inRange(*tokens, 0, kMax, error);
  for (const Flag<double> *value : {&softcap, &scale})
    if (error.empty() && (!std::isfinite(*value) || *value < 0))
      error = "expected " + value->ArgStr.str() +
              " to be finite and at least 0, got " +
              std::to_string(value->getValue());
  return error.empty();
}

/// Reads a layout flag by the oracle's parser.
bool readLayout(const Flag<std::string> &flag, LayoutSpec &result,
                std::string &error) {
  std::optional<oracle::PoolLayout> parsed =
      oracle::PoolLayout::parse(flag.getValue(), error);
  if (!parsed) {
    error = flag.ArgStr.str() + ": " + error;
    return false;
  }
  result = {parsed->letters(), parsed->pack()};
  return true;
}

/// Rank of the factors of a pool of `type`.
std::optional<int64_t> scaleRank(llvm::StringRef type) {
  llvm::StringRef kind =
      kvScale.empty() && type == "i8" ? "token" : llvm::StringRef(kvScale);
  if (kind.empty() || kind == "none" || (type != "i8" && type != "f8E4M3FN"))
    return std::nullopt;
  return kind == "tensor" ? 0 : kind == "head" ? 1 : 3;
}

bool readKernel(KernelSpec &kernel, std::string &error) {
  kernel.mode = mode;
  kernel.queryType = queryType;
  kernel.keyType = keyType.empty() ? kvType : keyType;
  kernel.valueType = valueType.empty() ? kvType : valueType;
  kernel.outType = outType.empty() ? queryType : outType;
  kernel.indexType = indexType;
  kernel.csr = table == "csr";
  kernel.numHeads = heads;
  kernel.numKVHeads =
      kvHeads.getNumOccurrences() > 0 || heads % kvHeads == 0 ? kvHeads : heads;
  kernel.keyDim = headDim;
  kernel.valueDim = valueDim == 0 ? headDim : valueDim;
  kernel.pageSize = pageSize;
  kernel.causal = causal && !noCausal;
  kernel.window = window;
  kernel.sinkTokens = sinkTokens;
  kernel.chunk = chunk;
  if (scale != 0)
    kernel.scale = static_cast<float>(scale);
  kernel.softcap = static_cast<float>(softcap);
  kernel.hasAlibi = alibi;
  kernel.hasSinks = sinks;
  kernel.wantsLse = lse;
  kernel.hasQueryStarts = starts;
  if (!readLayout(layout, kernel.keyLayout, error))
    return false;
  kernel.valueLayout = kernel.keyLayout;
  if (!valueLayout.empty() &&
      !readLayout(valueLayout, kernel.valueLayout, error))
    return false;
  if (latent || kernel.keyLayout.dims.find('c') != std::string::npos) {
    kernel.pools = latent ? Pools::Latent : Pools::Pair;
    kernel.valueType = kernel.keyType;
    kernel.valueLayout = kernel.keyLayout;
  }
  kernel.keyScaleRank = scaleRank(kernel.keyType);
  if (!latent)
    kernel.valueScaleRank = scaleRank(kernel.valueType);
  return true;
}

/// Reads the user's module: its text and what its functions compute.
bool readSource(std::string &source, std::vector<KernelSpec> &kernels,
                std::string &error) {
  auto file = llvm::MemoryBuffer::getFileOrSTDIN(inputPath);
  if (!file) {
    error = "cannot read " + inputPath + ": " + file.getError().message();
    return false;
  }
  source = (*file)->getBuffer().str();
  kernels = readSpecs(source, inputPath.getValue(), error);
  if (!functionName.empty()) {
    llvm::erase_if(kernels, [](const KernelSpec &kernel) {
      return kernel.name != functionName;
    });
    if (kernels.empty() && error.empty())
      error = "expected function to be one with an attention op, got '" +
              functionName + "'";
  }
  return error.empty();
}

/// Lengths that fit `configuration.kernel`.
bool makeLengths(Configuration &configuration, std::string &error) {
  const KernelSpec &kernel = configuration.kernel;
  Lengths &lengths = configuration.lengths;
  if (!lens.empty())
    return readLengths(lens, kernel.name, lengths, error);
  LengthRequest request;
  request.mode = kernel.mode;
  request.batch = kernel.batch == kDynamicSize ? batch : kernel.batch;
  request.context = context;
  request.uniform = uniform;
  request.seed = seed;
  request.qLen = qLen;
  if (kernel.numTokens != kDynamicSize && qLen.getNumOccurrences() == 0)
    request.qLen = std::max<int64_t>(1, kernel.numTokens / request.batch);
  else if (qLen.getNumOccurrences() == 0)
    request.qLen = kernel.mode == "prefill" ? context.getValue()
                   : kernel.mode == "mixed" || kernel.mode == "auto"
                       ? std::min<int64_t>(64, context)
                       : std::min<int64_t>(1, context);
  if (request.qLen < 0 || request.qLen > request.context) {
    error = "expected q-len from 0 to the context " +
            std::to_string(request.context) + ", got " +
            std::to_string(request.qLen);
    return false;
  }
  lengths = drawLengths(request);
  if (!kernel.hasQueryStarts)
    for (size_t b = 0; b < lengths.qLens.size(); ++b) {
      lengths.qLens[b] = request.qLen;
      lengths.kvLens[b] = std::max(lengths.kvLens[b], request.qLen);
    }
  return true;
}

/// Query rows that no sequence has, where a user's module fixes their number.
bool makePadding(Configuration &configuration, std::string &error) {
  configuration.paddingRows = padding;
  int64_t fixed = configuration.kernel.numTokens;
  if (fixed == kDynamicSize)
    return true;
  const std::vector<int64_t> &q = configuration.lengths.qLens;
  int64_t used = std::accumulate(q.begin(), q.end(), int64_t(0));
  if (used > fixed)
    error = "expected at most the " + std::to_string(fixed) +
            " new tokens of the module, got " + std::to_string(used);
  configuration.paddingRows = fixed - used;
  return error.empty();
}

/// Everything about a run of `kernel` but how.
bool makeConfiguration(const KernelSpec &kernel, Configuration &configuration,
                       std::string &error) {
  configuration.kernel = kernel;
  configuration.seed = seed;
  configuration.identityPages = identity;
  configuration.poisonHidden = poisonHidden;
  if (kernel.keyLayout.dims.find('l') != std::string::npos) {
    configuration.numLayers = layers;
    configuration.layer = layers - 1;
  }
  return makeLengths(configuration, error) && makePadding(configuration, error);
}

bool openVulkan(RunOptions &options, std::string &error) {
  std::unique_ptr<paged_attn::VulkanDevice> device;
  paged_attn::Status status = paged_attn::VulkanDevice::open(device);
  error = status.message();
  options.vulkan = std::move(device);
  return status.isOk();
}

bool readOptions(RunOptions &options, std::string &error) {
  std::optional<Via> parsedVia = parseVia(via.getValue(), error);
  if (!parsedVia)
    return false;
  std::optional<TargetInfo> info = TargetInfo::get(cpu.getValue(), error);
  if (!info)
    return false;
  error = info->whyNotHere();
  if (!error.empty())
    return false;
  std::optional<TileOptions> sizes = TileOptions::parse(tile.getValue(), error);
  if (!sizes)
    return false;
  options.compile.tile = *sizes;
  options.compile.via = *parsedVia;
  options.compile.target = *info;
  options.targetName = target;
  if (target == "vulkan" && !openVulkan(options, error))
    return false;
  options.viaName = target == "vulkan" ? "gpu" : via.getValue();
  options.numThreads = threads;
  options.check = checkFlag || randomCount > 0;
  options.bench = bench && randomCount == 0;
  return true;
}

/// Runs random configurations; failures are named on stderr.
int runRandom(const RunOptions &options) {
  int64_t numFailed = 0;
  for (int64_t i = 0; i < randomCount; ++i) {
    Configuration configuration = drawConfiguration(seed + i);
    std::string error;
    std::optional<Outcome> outcome =
        options.vulkan ? runOnVulkan(configuration, options, nullptr, error)
                       : run(configuration, options, nullptr, error);
    if (outcome && outcome->passed)
      continue;
    ++numFailed;
    llvm::errs() << "failed: " << describe(configuration);
    if (outcome)
      llvm::errs() << ": error " << outcome->maxError << " of "
                   << outcome->tolerance << ", lse " << outcome->lseError
                   << " of " << outcome->lseTolerance << "\n";
    else
      llvm::errs() << ": " << error << "\n";
  }
  const char *verdict = numFailed ? "fail" : "pass";
  if (json)
    llvm::outs() << "{\"via\":\"" << options.viaName
                 << "\",\"configurations\":" << randomCount
                 << ",\"failed\":" << numFailed << ",\"check\":\"" << verdict
                 << "\"}\n";
  else
    llvm::outs() << randomCount << " random configurations via "
                 << options.viaName << ", " << numFailed
                 << " failed: " << verdict << "\n";
  return numFailed ? kCheckFailed : 0;
}

/// Searches sizes for the only configuration of `results`.
bool runTune(const std::vector<Result> &results, const std::string &source,
             const RunOptions &options, std::string &error) {
  if (results.size() != 1) {
    error = "expected one function to tune, got " +
            std::to_string(results.size()) + " (--function picks one)";
    return false;
  }
  TuneRequest request;
  request.configuration = results[0].configuration;
  const KernelSpec &kernel = request.configuration.kernel;
  bool isFlags = inputPath.empty();
  request.source = isFlags ? buildModule(kernel) : source;
  request.sourceName = isFlags ? "spec" : inputPath.getValue();
  request.space = defaultTuneSpace(kernel, options.compile);
  if (!tuneSpace.empty()) {
    auto space = parseTuneSpace(tuneSpace, error);
    if (!space)
      return false;
    request.space = *space;
  }
  return tune(request, options, error);
}

/// Runs what the flags say, or each function of the user's module.
bool runAll(const RunOptions &options, std::vector<Result> &results,
            std::string &error) {
  std::vector<KernelSpec> kernels(1);
  std::unique_ptr<CompiledKernel> shared;
  std::unique_ptr<GPUProgram> program;
  std::string source;
  if (inputPath.empty() ? !readKernel(kernels[0], error)
                        : !readSource(source, kernels, error))
    return false;
  for (const KernelSpec &kernel : kernels) {
    results.emplace_back();
    if (!makeConfiguration(kernel, results.back().configuration, error))
      return false;
  }
  if (tuneFlag && !runTune(results, source, options, error))
    return false;
  if (!inputPath.empty() && options.vulkan)
    program = GPUProgram::compile(source, inputPath.getValue(),
                                  makeVulkanOptions(options), error);
  else if (!inputPath.empty())
    shared = CompiledKernel::compile(source, inputPath.getValue(),
                                     options.compile, error);
  if (!error.empty())
    return false;
  for (Result &result : results) {
    std::optional<Outcome> outcome =
        options.vulkan
            ? runOnVulkan(result.configuration, options, program.get(), error)
            : run(result.configuration, options, shared.get(), error);
    if (!outcome)
      return false;
    result.outcome = *outcome;
  }
  return true;
}

} // namespace

int main(int argc, char **argv) {
  if (int code = paged_attn_tools::parseFlags(
          argc, argv, "paged-attn-run", category,
          "runs paged attention on random problems\n"))
    return code;
  std::string error;
  RunOptions options;
  if (!checkFlags(error) || !readOptions(options, error))
    return fail(error);
  if (randomCount > 0)
    return runRandom(options);
  std::vector<Result> results;
  if (!runAll(options, results, error))
    return fail(error);
  report(results, options, json);
  bool failed = llvm::any_of(results, [](const Result &result) {
    return result.outcome.checked && !result.outcome.passed;
  });
  return failed ? kCheckFailed : 0;
}
