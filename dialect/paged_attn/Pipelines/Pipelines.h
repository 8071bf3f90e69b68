//===- Pipelines.h - The ladder as named stages -----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One function per stage, and pipelines that stop after any of them.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_PIPELINES_PIPELINES_H
#define PAGED_ATTN_PIPELINES_PIPELINES_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mlir {
class OpPassManager;
} // namespace mlir

namespace mlir::paged_attn {

/// Where a pipeline stops: the names of `--emit`.
enum class Stage {
  Tiled,  ///< level 2
  Linalg, ///< level 3a
  Vector, ///< level 4: memrefs and native vectors
  LLVM,   ///< level 5: LLVM dialect
};

/// Which lowering of the tile ops: the names of `--via`.
enum class Via { Vector, Linalg, Reference };

/// Reads `vector`, `linalg` or `reference`; nothing and a one-line `error`
/// otherwise.
std::optional<Via> parseVia(std::string_view name, std::string &error);

/// Sizes that the passes choose unless told; what `--tile` names and
/// `paged-attn-run --tune` searches.
struct TileOptions {
  int64_t queryTokens = 0; ///< tokens of a prefill tile, 0: chosen
  int64_t kvTokens = 0;    ///< keys of a KV tile, 0: chosen
  int64_t splitTokens =
      -1;                 ///< tokens of a split of decode, 0: none, -1: chosen
  int64_t pagesAhead = 4; ///< pages of prefetch, 0: none
  int64_t vectorBits = 0; ///< bits of a vector, 0: those of the target

  /// A member by the name of its pass option, and its range.
  struct Field {
    const char *name;
    int64_t TileOptions::*member;
    int64_t low, high;
  };
  static const std::vector<Field> &getFields();

  /// Sets one by name. False and a one-line `error` for a name or value that
  /// does not exist.
  bool set(std::string_view name, int64_t value, std::string &error);
  /// Reads `name=number,...`; what is not named keeps its default.
  static std::optional<TileOptions> parse(std::string_view text,
                                          std::string &error);
  /// All fields in the form that `parse` reads.
  std::string print() const;
};

/// What the CPU pipelines need to know.
struct CpuPipelineOptions {
  Via via = Via::Vector;
  TileOptions tile;
  int64_t vectorBits = 256; ///< bits of a native vector
  int64_t registers = 16;   ///< vector registers
  int64_t cores = 0;        ///< that work items should keep busy, 0: unknown
  bool int8Dot = false;     ///< dot products of bytes (x86 vpdpbusd)
  int64_t l1KiB = 32;       ///< data cache of a core
  int64_t l2KiB = 0;        ///< second-level cache of a core, 0: unknown
  bool executor = true;     ///< see paged-attn-dispatch-work
};

/// Adds the passes from level 0 to `stage`.
void buildCpuPipeline(OpPassManager &manager, const CpuPipelineOptions &options,
                      Stage stage);

/// Adds the passes from Stage::Vector to Stage::LLVM.
void buildLLVMPipeline(OpPassManager &manager,
                       const CpuPipelineOptions &options);

/// Where a GPU pipeline stops.
enum class GPUStage {
  Tiled,  ///< level 2, with tiles for GPUs
  GPU,    ///< level 3c: gpu.launch_func and kernels of gpu and vector
  Device, ///< level 5: spirv.module, or gpu.module in the LLVM dialect
};

/// Kinds of device code: the names of `--target`.
enum class GPUTarget { Spirv, NVPTX, AMDGPU };

/// What the GPU pipelines need to know.
struct GPUPipelineOptions {
  GPUTarget target = GPUTarget::Spirv;
  std::string chip;          ///< NVPTX and AMDGPU: "sm_80", "gfx942", ...
  int64_t subgroupSize = 32; ///< lanes

  /// Options of a chip; an empty name is the oldest one that is supported, a
  /// subgroup size of 0 the chip's. Nothing and a one-line `error` when they
  /// do not fit the target.
  static std::optional<GPUPipelineOptions> get(GPUTarget target,
                                               std::string_view chip,
                                               int64_t subgroupSize,
                                               std::string &error);
};

/// Adds the passes from level 0 to `stage`.
void buildGPUPipeline(OpPassManager &manager, const GPUPipelineOptions &options,
                      GPUStage stage);

/// Adds the passes from GPUStage::GPU to GPUStage::Device.
void buildDevicePipeline(OpPassManager &manager,
                         const GPUPipelineOptions &options);

/// Registers paged-attn-spirv, paged-attn-nvvm and paged-attn-rocdl.
void registerGPUPipelines();

/// Registers paged-attn-to-linalg, paged-attn-cpu and paged-attn-reference.
void registerPipelines();

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_PIPELINES_PIPELINES_H
