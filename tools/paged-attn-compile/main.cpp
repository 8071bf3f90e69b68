//===- main.cpp - paged-attn-compile --------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compiles a level-0 module to any stage of the ladder. The output appears
// whole or not at all. Exit code 2 and one line on bad input.
//
//===----------------------------------------------------------------------===//

#include "../support/CommandLine.h"

#include "paged_attn/Kernel/GPUProgram.h"

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/FileSystem.h"
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
cl::opt<std::string> viaName("via", cl::desc("linalg or reference"),
                             cl::init("linalg"), cl::cat(category));
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

std::optional<std::string> compileForCPU(std::string &error) {
  std::optional<Emit> emit = parseEmit(emitOr("obj"), error);
  CompileOptions options;
  std::optional<Via> via = parseVia(viaName.getValue(), error);
  if (!emit || !via)
    return std::nullopt;
  std::optional<TargetInfo> target = TargetInfo::get(cpuName.getValue(), error);
  if (!target)
    return std::nullopt;
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

/// Writes to a temporary file beside `path` and renames it.
bool writeWhole(llvm::StringRef path, llvm::StringRef bytes,
                std::string &error) {
  if (path == "-") {
    llvm::outs() << bytes;
    llvm::outs().flush();
    return true;
  }
  auto file = llvm::sys::fs::TempFile::create(path + ".tmp%%%%%%",
                                              llvm::sys::fs::all_read |
                                                  llvm::sys::fs::owner_write);
  if (!file) {
    error =
        "cannot write " + path.str() + ": " + llvm::toString(file.takeError());
    return false;
  }
  llvm::raw_fd_ostream os(file->FD, /*shouldClose=*/false);
  os << bytes;
  os.flush();
  if (os.has_error()) {
    error = "cannot write " + path.str() + ": " + os.error().message();
    os.clear_error();
    llvm::consumeError(file->discard());
    return false;
  }
  if (llvm::Error renamed = file->keep(path)) {
    error = "cannot write " + path.str() + ": " +
            llvm::toString(std::move(renamed));
    return false;
  }
  return true;
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
