//===- EmitObject.cpp - LLVM module to object code ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// O3 of the new pass manager, then the code generator of the target machine.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Target/EmitObject.h"

#include "Backends.h"
#include "Expand.h"
#include "OptimizeAndWrite.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"

using namespace mlir::paged_attn;

static std::unique_ptr<llvm::TargetMachine>
createMachine(const TargetInfo &info, std::string &error) {
  initializeBackends();
  llvm::Triple triple(info.triple);
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  llvm::TargetOptions options;
  options.MCOptions.AsmVerbose = true; // assembly marks what is spilled
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      triple, info.cpu, info.features, options, llvm::Reloc::PIC_, std::nullopt,
      llvm::CodeGenOptLevel::Aggressive));
  if (!machine)
    error = "cannot generate code for " + info.triple;
  return machine;
}

/// Tells the passes and the linker what the machine is.
static void setTarget(llvm::Module &module, const TargetInfo &info,
                      llvm::TargetMachine &machine) {
  module.setTargetTriple(machine.getTargetTriple());
  module.setDataLayout(machine.createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  for (llvm::Function &function : module) {
    if (function.isDeclaration())
      continue;
    function.addFnAttr("target-cpu", info.cpu);
    if (!info.features.empty())
      function.addFnAttr("target-features", info.features);
    function.addFnAttr("prefer-vector-width", std::to_string(info.vectorBits));
    if (info.sveBits) // vectors wider than NEON's become SVE of this width
      function.addFnAttr(llvm::Attribute::getWithVScaleRangeArgs(
          module.getContext(), info.sveBits / 128, info.sveBits / 128));
  }
}

static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  // The kernels hold the vectors that they should: joining scalars by chance
  // would turn loads of page ids into gathers.
  tuning.SLPVectorization = false;
  // They are blocked for the registers too: unrolled once more they spill
  // (decode of bf16 took 1.35 of the time) and compile a third longer.
  tuning.LoopUnrolling = false;
  llvm::LoopAnalysisManager loops;
  llvm::FunctionAnalysisManager functions;
  llvm::CGSCCAnalysisManager components;
  llvm::ModuleAnalysisManager modules;
  llvm::PassBuilder builder(&machine, tuning);
  builder.registerModuleAnalyses(modules);
  builder.registerCGSCCAnalyses(components);
  builder.registerFunctionAnalyses(functions);
  builder.registerLoopAnalyses(loops);
  builder.crossRegisterProxies(loops, functions, components, modules);
  builder.buildPerModuleDefaultPipeline(llvm::OptimizationLevel::O3)
      .run(module, modules);
}

std::optional<std::string>
mlir::paged_attn::optimizeAndWrite(llvm::Module &module,
                                   llvm::TargetMachine &machine, CodeKind kind,
                                   std::string &error) {
  optimize(module, machine);
  llvm::SmallVector<char, 0> bytes;
  llvm::raw_svector_ostream os(bytes);
  if (kind == CodeKind::LLVMIR) {
    module.print(os, nullptr);
    return std::string(bytes.begin(), bytes.end());
  }
  llvm::legacy::PassManager passes;
  llvm::CodeGenFileType type = kind == CodeKind::Assembly
                                   ? llvm::CodeGenFileType::AssemblyFile
                                   : llvm::CodeGenFileType::ObjectFile;
  if (machine.addPassesToEmitFile(passes, os, nullptr, type)) {
    error =
        "cannot write this kind of file for " + machine.getTargetTriple().str();
    return std::nullopt;
  }
  passes.run(module);
  return std::string(bytes.begin(), bytes.end());
}

std::optional<std::string>
mlir::paged_attn::optimizeAndEmit(llvm::Module &module, const TargetInfo &info,
                                  CodeKind kind, std::string &error) {
  std::unique_ptr<llvm::TargetMachine> machine = createMachine(info, error);
  if (!machine)
    return std::nullopt;
  setTarget(module, info, *machine);
  expandMissing(module, info);
  return optimizeAndWrite(module, *machine, kind, error);
}
