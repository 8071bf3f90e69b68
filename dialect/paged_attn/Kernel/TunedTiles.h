//===- TunedTiles.h - Tile sizes that a search found ------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One JSON file per kernel and target beside the compiled kernels, written by
// `paged-attn-run --tune`, read by every compilation that names no sizes.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_KERNEL_TUNEDTILES_H
#define PAGED_ATTN_KERNEL_TUNEDTILES_H

#include "paged_attn/Kernel/Compile.h"

namespace mlir::paged_attn {

/// The result of a search.
struct TunedTiles {
  TileOptions tile;
  std::string problem; ///< what it was measured on, in one line
  double gain = 1;     ///< time with default sizes over time with these
};

/// The file for `source` and the target and way of `options`, in `directory`.
std::string getTunedPath(const std::string &directory, std::string_view source,
                         const CompileOptions &options);

/// What that file holds; nothing when it is not there, damaged, another user's
/// or names sizes that do not exist.
std::optional<TunedTiles> loadTunedTiles(const std::string &path);

/// Writes it whole. False and a one-line `error` on failure.
bool storeTunedTiles(const std::string &path, const TunedTiles &tuned,
                     std::string &error);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_KERNEL_TUNEDTILES_H
