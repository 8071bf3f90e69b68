//===- main.cpp - paged-attn-compile --------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compiles a level-0 module to any stage of the ladder. The output appears
// whole or not at all. Exit code 2 and one line on bad input.
//
//===----------------------------------------------------------------------===//

#include "../support/CommandLine.h"

#include "paged_attn/Kernel/AtomicFile.h"
#include "paged_attn/Kernel/GPUProgram.h"

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir::paged_attn;
namespace cl = llvm::cl;

namespace {

cl::OptionCategory category("paged-attn-compile");
cl::opt<std::string> inputPath(cl::Positional, cl::desc("IN.mlir"),
                               cl::init("-"), cl::cat(category));
cl::opt<std::string> outputPath("o", cl::desc("output file, - for stdout"),
                                cl::value_desc("OUT"), cl::init("-"),
                                cl::cat(category));
cl::opt<std::string> targetName("target",
                                cl::desc("cpu, nvptx, amdgpu or spirv"),
                                cl::init("cpu"), cl::cat(category));
cl::opt<std::string> chipName("chip",
                              cl::desc("GPU to compile for: sm_80 or newer, "
                                       "gfx90a, gfx942, gfx1100, gfx1201, ..."),
                              cl::cat(category));
cl::opt<int64_t>
    subgroupSize("subgroup-size",
                 cl::desc("lanes of a subgroup of the GPU (0: that of the "
                          "chip; spirv: 32)"),
                 cl::init(0), cl::cat(category));
cl::opt<std::string> cpuName("cpu", cl::desc("CPU to compile for"),
                             cl::init("native"), cl::cat(category));
cl::opt<std::string>
    tripleName("triple", cl::desc("triple of the CPU, x86_64 or aarch64"),
               cl::cat(category));
cl::opt<std::string> tileText(
    "tile",
    cl::desc("sizes of tiles as name=number,... (query-tokens, kv-tokens, "
             "split-tokens, pages-ahead, vector-bits)"),
    cl::cat(category));
cl::opt<bool> printTarget("print-target",
                          cl::desc("print what is known of the CPU and stop"),
                          cl::cat(category));
cl::opt<std::string> viaName("via", cl::desc("vector, linalg or reference"),
                             cl::init("vector"), cl::cat(category));
cl::opt<std::string> emitName(
    "emit",
    cl::desc("tiled, linalg, vector, llvm, llvmir, asm, obj or header; "
             "for a GPU: tiled, gpu, llvm, llvmir, asm or its binary "
             "(ptx, hsaco or spv)"),
    cl::cat(category));

int fail(const llvm::Twine &message) {
  return paged_attn_tools::fail("paged-attn-compile", message);
}

using Source = std::unique_ptr<llvm::MemoryBuffer>;

/// The input, or null and an error.
Source readInput(std::string &error) {
  auto source = llvm::MemoryBuffer::getFileOrSTDIN(inputPath);
  if (source)
    return std::move(*source);
  error = "cannot read " + inputPath + ": " + source.getError().message();
  return nullptr;
}

/// What --emit says, or `otherwise` where it is not given.
std::string emitOr(const char *otherwise) {
  return emitName.getNumOccurrences() ? emitName.getValue() : otherwise;
}

/// The CPU that the flags name.
std::optional<TargetInfo> readTarget(std::string &error) {
  return TargetInfo::get(cpuName.getValue(), error, tripleName.getValue());
}

std::optional<std::string> compileForCPU(std::string &error) {
  std::optional<Emit> emit = parseEmit(emitOr("obj"), error);
  CompileOptions options;
  std::optional<Via> via = parseVia(viaName.getValue(), error);
  if (!emit || !via)
    return std::nullopt;
  std::optional<TargetInfo> target = readTarget(error);
  if (!target)
    return std::nullopt;
  if (printTarget)
    return target->print();
  std::optional<TileOptions> tile =
      TileOptions::parse(tileText.getValue(), error);
  if (!tile)
    return std::nullopt;
  options.tile = *tile;
  options.via = *via;
  options.target = *target;
  Source source = readInput(error);
  if (!source)
    return std::nullopt;
  return compileTo(source->getBuffer(), inputPath.getValue(), *emit, options,
                   error);
}

std::optional<std::string> compileForGPU(GPUTarget target, std::string &error) {
  std::optional<GPUEmit> emit =
      parseGPUEmit(emitOr(getBinaryName(target)), target, error);
  if (!emit)
    return std::nullopt;
  std::optional<GPUPipelineOptions> options =
      GPUPipelineOptions::get(target, chipName.getValue(), subgroupSize, error);
  if (!options)
    return std::nullopt;
  Source source = readInput(error);
  if (!source)
    return std::nullopt;
  return mlir::paged_attn::compileForGPU(
      source->getBuffer(), inputPath.getValue(), *emit, *options, error);
}

/// Writes to stdout, or to a file that appears whole or not at all.
bool writeWhole(llvm::StringRef path, llvm::StringRef bytes,
                std::string &error) {
  if (path == "-") {
    llvm::outs() << bytes;
    llvm::outs().flush();
    return true;
  }
  return writeFileAtomically(path.str(), {bytes.data(), bytes.size()}, error);
}

} // namespace

int main(int argc, char **argv) {
  if (int code = paged_attn_tools::parseFlags(
          argc, argv, "paged-attn-compile", category,
          "compiles paged attention, level by level\n"))
    return code;
  std::string error;
  std::optional<std::string> result;
  std::optional<GPUTarget> gpu = parseGPUTarget(targetName.getValue());
  if (gpu)
    result = compileForGPU(*gpu, error);
  else if (targetName == "cpu")
    result = compileForCPU(error);
  else
    error = "expected target to be cpu, nvptx, amdgpu or spirv, got '" +
            targetName + "'";
  if (!result || !writeWhole(outputPath, *result, error))
    return fail(error);
  return 0;
}
