//===- LoweredModule.h - A module on its way down ---------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Owns a context and the module in it, runs stages, keeps the first error and
// the signatures of public functions. Private to lib/Kernel.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_KERNEL_LOWEREDMODULE_H
#define PAGED_ATTN_LIB_KERNEL_LOWEREDMODULE_H

#include "paged_attn/Kernel/GPUProgram.h"

#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/IR/OwningOpRef.h"
#include "mlir/Pass/PassManager.h"

namespace llvm {
class LLVMContext;
class Module;
} // namespace llvm

namespace mlir::paged_attn {

class LoweredModule {
public:
  LoweredModule();

  /// Parses and verifies level 0.
  bool parse(std::string_view source, std::string_view sourceName,
             std::string &error);
  /// Runs the ladder from level 0 to `stage`.
  bool lower(const CompileOptions &options, Stage stage, std::string &error);
  /// Runs the ladder of a GPU from level 0 to GPUStage::Tiled or GPU.
  bool lowerToGPU(const GPUPipelineOptions &options, GPUStage stage,
                  std::string &error);
  /// Goes on from GPUStage::GPU to the code of the device.
  std::optional<std::string> emitGPU(const GPUPipelineOptions &options,
                                     GPUEmit emit, std::string &error);
  /// Translates Stage::LLVM to LLVM IR and adds the packed entries.
  std::unique_ptr<llvm::Module> translate(llvm::LLVMContext &context,
                                          std::string &error);
  std::string print();

  /// Public functions, complete after Stage::LLVM.
  const std::vector<FunctionInfo> &getFunctions() const { return functions; }
  ModuleOp getModule() { return *module; }

private:
  std::optional<std::string> emitSpirv(std::string &error);
  std::optional<std::string> emitLLVMDevice(const GPUPipelineOptions &options,
                                            GPUEmit emit, std::string &error);
  /// Runs `manager`; sets `error` to the first diagnostic when it fails.
  bool run(PassManager &manager, std::string &error);
  /// Names arguments by the operands of the ops that they feed (level 0).
  void recordNames();
  /// Reads types of arguments (Stage::Vector).
  void recordSignatures();
  /// Sets FunctionInfo::takesExecutor (Stage::LLVM).
  void recordExecutors();

  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  std::vector<FunctionInfo> functions;
  llvm::StringMap<std::vector<std::string>> names; ///< function -> arguments
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_KERNEL_LOWEREDMODULE_H
