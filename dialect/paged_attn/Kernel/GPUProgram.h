//===- GPUProgram.h - Kernels of GPUs and their launches --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text in; device code and the launches of a call out. Nothing here talks to a
// device. No MLIR types.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_KERNEL_GPUPROGRAM_H
#define PAGED_ATTN_KERNEL_GPUPROGRAM_H

#include "paged_attn/Kernel/CompiledKernel.h"

namespace mlir::paged_attn {

/// What comes out for a GPU: the names of `--emit`.
enum class GPUEmit {
  Tiled,    ///< level 2
  GPU,      ///< level 3c
  LLVM,     ///< level 5: the LLVM or SPIR-V dialect
  LLVMIR,   ///< NVPTX and AMDGPU
  Assembly, ///< AMD ISA, PTX, or the text of the SPIR-V dialect
  Binary,   ///< spv, ptx or hsaco
};

/// Reads nvptx, amdgpu or spirv; nothing for other names.
std::optional<GPUTarget> parseGPUTarget(std::string_view name);

/// The name of `--emit` for the binary of `target`: ptx, hsaco or spv.
const char *getBinaryName(GPUTarget target);

/// Reads a name of `--emit` for `target`. Nothing and a one-line `error` for
/// what the target does not have.
std::optional<GPUEmit> parseGPUEmit(std::string_view name, GPUTarget target,
                                    std::string &error);

/// Compiles the module `source`, read from `sourceName` (for messages), to the
/// text or bytes that `emit` asks for. Nothing and a one-line `error` on
/// failure.
std::optional<std::string> compileForGPU(std::string_view source,
                                         std::string_view sourceName,
                                         GPUEmit emit,
                                         const GPUPipelineOptions &options,
                                         std::string &error);

/// One argument of a kernel: 64 bits.
struct GPUOperand {
  std::string buffer; ///< an argument of the function: its address; or empty:
  int64_t value = 0;  ///< this number
};

/// One launch. Launches of a call depend on those before them.
struct GPULaunch {
  std::string kernel;
  int64_t grid[3] = {1, 1, 1};
  int64_t block = 1; ///< threads, all in the first dimension
  std::vector<GPUOperand> operands;
};

/// A module compiled for one device: its code and the functions of the host,
/// which say what to launch. Thread safe once compiled.
class GPUProgram {
public:
  ~GPUProgram();

  /// Null and a one-line `error` on failure.
  static std::unique_ptr<GPUProgram> compile(std::string_view source,
                                             std::string_view sourceName,
                                             const GPUPipelineOptions &options,
                                             std::string &error);

  /// Bytes of the SPIR-V module, the PTX text or the HSACO.
  const std::string &getCode() const;
  const std::vector<FunctionInfo> &getFunctions() const;

  /// The launches of a call of `function`, one of getFunctions(); the sizes of
  /// buffers and the integers of `arguments` are read, no data. A grid may be
  /// empty: then there is nothing to launch. Nothing and a one-line `error`
  /// when an argument is missing or does not fit its type.
  std::optional<std::vector<GPULaunch>> plan(const FunctionInfo &function,
                                             const Arguments &arguments,
                                             std::string &error) const;

private:
  GPUProgram();
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_KERNEL_GPUPROGRAM_H
