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
#include "paged_attn/Kernel/Compile.h"

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
cl::opt<std::string> targetName("target", cl::desc("cpu"), cl::init("cpu"),
                                cl::cat(category));
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
    "emit", cl::desc("tiled, linalg, vector, llvm, llvmir, asm, obj or header"),
    cl::init("obj"), cl::cat(category));

int fail(const llvm::Twine &message) {
  return paged_attn_tools::fail("paged-attn-compile", message);
}

/// Checks the flags that are not read elsewhere.
bool checkFlags(std::string &error) {
  if (targetName == "nvptx" || targetName == "amdgpu" || targetName == "spirv")
    error = "target " + targetName + " is not available yet, expected cpu";
  else if (targetName != "cpu")
    error = "expected target to be cpu, nvptx, amdgpu or spirv, got '" +
            targetName + "'";
  return error.empty();
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
  if (!checkFlags(error))
    return fail(error);
  std::optional<Emit> emit = parseEmit(emitName.getValue(), error);
  CompileOptions options;
  std::optional<Via> via = parseVia(viaName.getValue(), error);
  if (!emit || !via)
    return fail(error);
  std::optional<TargetInfo> target =
      TargetInfo::get(cpuName.getValue(), error, tripleName.getValue());
  if (!target)
    return fail(error);
  if (printTarget) {
    llvm::outs() << target->print();
    return 0;
  }
  std::optional<TileOptions> tile =
      TileOptions::parse(tileText.getValue(), error);
  if (!tile)
    return fail(error);
  options.tile = *tile;
  options.via = *via;
  options.target = *target;

  auto source = llvm::MemoryBuffer::getFileOrSTDIN(inputPath);
  if (!source)
    return fail("cannot read " + inputPath + ": " +
                source.getError().message());
  std::optional<std::string> result = compileTo(
      (*source)->getBuffer(), inputPath.getValue(), *emit, options, error);
  if (!result || !writeWhole(outputPath, *result, error))
    return fail(error);
  return 0;
}
