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

/// What the CPU pipelines need to know.
struct CpuPipelineOptions {
  Via via = Via::Vector;
  int64_t vectorBits = 256; ///< bits of a native vector
  int64_t registers = 16;   ///< vector registers
  bool int8Dot = false;     ///< dot products of bytes (x86 vpdpbusd)
  bool executor = true;     ///< see paged-attn-dispatch-work
};

/// Adds the passes from level 0 to `stage`.
void buildCpuPipeline(OpPassManager &manager, const CpuPipelineOptions &options,
                      Stage stage);

/// Adds the passes from Stage::Vector to Stage::LLVM.
void buildLLVMPipeline(OpPassManager &manager,
                       const CpuPipelineOptions &options);

/// Registers paged-attn-to-linalg, paged-attn-cpu and paged-attn-reference.
void registerPipelines();

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_PIPELINES_PIPELINES_H
