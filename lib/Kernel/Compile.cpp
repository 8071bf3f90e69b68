//===- Compile.cpp - From a level-0 module to code ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs a module down the ladder and stops where `Emit` says.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/Compile.h"

#include "LoweredModule.h"
#include "paged_attn/Kernel/KernelCache.h"
#include "paged_attn/Kernel/TunedTiles.h"
#include "paged_attn/Target/EmitObject.h"

#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

using namespace mlir;
using namespace mlir::paged_attn;

std::optional<Emit> paged_attn::parseEmit(std::string_view name,
                                          std::string &error) {
  auto emit = llvm::StringSwitch<std::optional<Emit>>(name)
                  .Case("tiled", Emit::Tiled)
                  .Case("linalg", Emit::Linalg)
                  .Case("vector", Emit::Vector)
                  .Case("llvm", Emit::LLVM)
                  .Case("llvmir", Emit::LLVMIR)
                  .Case("asm", Emit::Assembly)
                  .Case("obj", Emit::Object)
                  .Case("header", Emit::Header)
                  .Default(std::nullopt);
  if (!emit)
    error = "expected emit to be tiled, linalg, vector, llvm, llvmir, asm, obj "
            "or header, got '" +
            std::string(name) + "'";
  return emit;
}

/// The stage of the ladder that `emit` needs.
static Stage getStage(Emit emit) {
  switch (emit) {
  case Emit::Tiled:
    return Stage::Tiled;
  case Emit::Linalg:
    return Stage::Linalg;
  case Emit::Vector:
    return Stage::Vector;
  default:
    return Stage::LLVM;
  }
}

static std::optional<std::string> emitCode(LoweredModule &module, CodeKind kind,
                                           const TargetInfo &target,
                                           std::string &error) {
  llvm::LLVMContext context;
  std::unique_ptr<llvm::Module> llvmModule = module.translate(context, error);
  if (!llvmModule)
    return std::nullopt;
  return optimizeAndEmit(*llvmModule, target, kind, error);
}

std::optional<std::string> paged_attn::compileTo(std::string_view source,
                                                 std::string_view sourceName,
                                                 Emit emit,
                                                 const CompileOptions &options,
                                                 std::string &error) {
  Stage stage = getStage(emit);
  if (options.via == Via::Reference && stage < Stage::Vector) {
    error = "expected emit to be vector or later with via=reference, which has "
            "no levels 2 and 3a";
    return std::nullopt;
  }
  LoweredModule module;
  if (!module.parse(source, sourceName, error) ||
      !module.lower(options, stage, error))
    return std::nullopt;
  switch (emit) {
  case Emit::LLVMIR:
    return emitCode(module, CodeKind::LLVMIR, options.target, error);
  case Emit::Assembly:
    return emitCode(module, CodeKind::Assembly, options.target, error);
  case Emit::Object:
    return emitCode(module, CodeKind::Object, options.target, error);
  case Emit::Header:
    return emitCHeader(module.getFunctions(), error);
  default:
    return module.print();
  }
}

std::optional<CompiledObject>
paged_attn::compileObject(std::string_view source, std::string_view sourceName,
                          const CompileOptions &options, std::string &error) {
  LoweredModule module;
  if (!module.parse(source, sourceName, error) ||
      !module.lower(options, Stage::LLVM, error))
    return std::nullopt;
  std::optional<std::string> object =
      emitCode(module, CodeKind::Object, options.target, error);
  if (!object)
    return std::nullopt;
  return CompiledObject{std::move(*object), module.getFunctions()};
}

/// Takes the sizes that a search found, unless `options` names some.
static void chooseTiles(const std::string &directory, std::string_view source,
                        CompileOptions &options, CompileReport &report) {
  if (options.useTuned && options.tile.print() == TileOptions().print())
    if (auto tuned = loadTunedTiles(getTunedPath(directory, source, options))) {
      options.tile = tuned->tile;
      report.wasTuned = true;
    }
  report.tile = options.tile;
}

std::optional<CompiledObject> paged_attn::loadOrCompileObject(
    std::string_view source, std::string_view sourceName,
    const CompileOptions &options, CompileReport &report, std::string &error) {
  std::optional<std::string> directory = getCacheDirectory();
  CompileOptions chosen = options;
  report.tile = chosen.tile;
  if (directory)
    chooseTiles(*directory, source, chosen, report);
  if (!directory || !options.useCache)
    return compileObject(source, sourceName, chosen, error);
  KernelCache cache(*directory);
  std::string key = KernelCache::makeKey(source, chosen);
  std::optional<CompiledObject> kernel = cache.load(key);
  report.wasCached = kernel.has_value();
  if (kernel)
    return kernel;
  kernel = compileObject(source, sourceName, chosen, error);
  if (kernel)
    cache.store(key, *kernel);
  return kernel;
}
