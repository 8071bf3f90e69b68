//===- Compile.h - From a level-0 module to code ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text in, text or bytes out, for every stage of the CPU ladder. No MLIR
// types. Every function returns nothing and a one-line error on failure.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_KERNEL_COMPILE_H
#define PAGED_ATTN_KERNEL_COMPILE_H

#include "paged_attn/Pipelines/Pipelines.h"
#include "paged_attn/Target/TargetInfo.h"

#include <vector>

namespace mlir::paged_attn {

/// What comes out: the names of `--emit`.
enum class Emit {
  Tiled,
  Linalg,
  Vector,
  LLVM,
  LLVMIR,
  Assembly,
  Object,
  Header
};

/// Reads a name of `--emit`.
std::optional<Emit> parseEmit(std::string_view name, std::string &error);

/// How to compile.
struct CompileOptions {
  Via via = Via::Vector;
  TargetInfo target;
  TileOptions tile;
  bool useCache = true; ///< kernels on disk, see KernelCache.h
  bool useTuned = true; ///< tile sizes on disk, see TunedTiles.h
};

/// Size of a dimension that only the call knows.
constexpr int64_t kDynamicSize = -1;

/// One argument of a compiled function.
struct ArgumentInfo {
  enum class Kind { Buffer, Integer, Float };
  Kind kind = Kind::Buffer;
  std::string name;           ///< operand of the op it feeds, else arg<n>
  std::string elementType;    ///< "f32", "bf16", "i32", "index", ...
  std::vector<int64_t> sizes; ///< of a buffer, kDynamicSize where unknown
};

/// A compiled function of a module.
struct FunctionInfo {
  std::string name;
  std::vector<ArgumentInfo> arguments;
  int64_t numResults = 0;
  bool takesExecutor = false; ///< a pointer to PagedAttnExecutor comes last
};

/// A relocatable object and what is in it.
struct CompiledObject {
  std::string object;
  std::vector<FunctionInfo> functions; ///< the public ones
};

/// Symbol of the entry that takes all arguments packed as `void *[]`: pointers
/// to descriptors for buffers, pointers to values for scalars, the executor
/// itself last.
std::string getPackedName(std::string_view function);

/// Compiles the module `source`, read from `sourceName` (for messages), to the
/// text or bytes that `emit` asks for.
std::optional<std::string> compileTo(std::string_view source,
                                     std::string_view sourceName, Emit emit,
                                     const CompileOptions &options,
                                     std::string &error);

/// Compiles to an object, the same bytes as `compileTo` with Emit::Object.
std::optional<CompiledObject> compileObject(std::string_view source,
                                            std::string_view sourceName,
                                            const CompileOptions &options,
                                            std::string &error);

/// Where the kernel of a compilation came from.
struct CompileReport {
  double seconds = 0;     ///< until it could be called
  bool wasCached = false; ///< read from disk
  bool wasTuned = false;  ///< with sizes that a search found
  TileOptions tile;       ///< that it was compiled with
};

/// The same from the cache on disk, when that is on and has it; else compiles
/// and keeps the result there. Where `options` names no sizes, those that a
/// search found for this module are taken.
std::optional<CompiledObject> loadOrCompileObject(std::string_view source,
                                                  std::string_view sourceName,
                                                  const CompileOptions &options,
                                                  CompileReport &report,
                                                  std::string &error);

/// A C header for `functions`: descriptor structs and prototypes. Nothing and
/// an `error` when a function has results.
std::optional<std::string>
emitCHeader(const std::vector<FunctionInfo> &functions, std::string &error);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_KERNEL_COMPILE_H
