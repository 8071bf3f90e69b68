//===- EmitObject.cpp - LLVM module to object code ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// O3 of the new pass manager, then the code generator of the target machine.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Target/EmitObject.h"

#include "OptimizeAndWrite.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"

using namespace mlir::paged_attn;

static std::unique_ptr<llvm::TargetMachine>
createMachine(const TargetInfo &info, std::string &error) {
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  llvm::Triple triple(info.triple);
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  std::unique_ptr<llvm::TargetMachine> machine(target->createTargetMachine(
      triple, info.cpu, info.features, llvm::TargetOptions(), llvm::Reloc::PIC_,
      std::nullopt, llvm::CodeGenOptLevel::Aggressive));
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
  }
}

/// Without the instruction each llvm.fma would be a call of fmaf: a product and
/// a sum instead, rounded twice.
static void splitFma(llvm::Module &module, const TargetInfo &info) {
  if (info.hasFma)
    return;
  llvm::SmallVector<llvm::IntrinsicInst *> calls;
  for (llvm::Function &function : module)
    for (llvm::Instruction &instruction : llvm::instructions(function))
      if (auto *call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction))
        if (call->getIntrinsicID() == llvm::Intrinsic::fma)
          calls.push_back(call);
  for (llvm::IntrinsicInst *call : calls) {
    llvm::IRBuilder<> builder(call);
    llvm::Value *product =
        builder.CreateFMul(call->getArgOperand(0), call->getArgOperand(1));
    call->replaceAllUsesWith(
        builder.CreateFAdd(product, call->getArgOperand(2)));
    call->eraseFromParent();
  }
}

static void optimize(llvm::Module &module, llvm::TargetMachine &machine) {
  llvm::PipelineTuningOptions tuning;
  tuning.LoopVectorization = true;
  tuning.SLPVectorization = true;
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
  splitFma(module, info);
  return optimizeAndWrite(module, *machine, kind, error);
}
