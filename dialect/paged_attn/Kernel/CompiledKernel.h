//===- CompiledKernel.h - A compiled module in this process -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compiles a module to an object, links it into the process and calls its
// functions with buffers given by name. No MLIR types.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_KERNEL_COMPILEDKERNEL_H
#define PAGED_ATTN_KERNEL_COMPILEDKERNEL_H

#include "paged_attn/Kernel/Compile.h"
#include "paged_attn/Kernel/Executor.h"

#include <map>
#include <memory>

namespace mlir::paged_attn {

/// A dense row-major buffer, or an integer.
struct Argument {
  void *data = nullptr;       ///< first element; not owned
  std::vector<int64_t> sizes; ///< of the buffer
  int64_t integer = 0;        ///< of a scalar argument
};

/// By the names of FunctionInfo::arguments.
using Arguments = std::map<std::string, Argument>;

/// True when `arguments` has the argument `info` of `function` and it fits its
/// type; else a one-line `error`.
bool checkArgument(const FunctionInfo &function, const ArgumentInfo &info,
                   const Arguments &arguments, std::string &error);

/// A call whose arguments have been packed once; run it as often as needed.
/// The kernel and the buffers must outlive it.
class BoundCall {
public:
  /// Runs the function; null: in the calling thread.
  void run(const ExecutorHandle *executor);

private:
  friend class CompiledKernel;
  void (*entry)(void **) = nullptr;
  bool takesExecutor = false;
  std::vector<std::unique_ptr<int64_t[]>> storage; ///< descriptors, scalars
  std::vector<void *> packed;
};

/// The public functions of a compiled module. Thread safe once compiled.
class CompiledKernel {
public:
  ~CompiledKernel();

  /// Compiles `source`, or reads it from the cache on disk, and links it. Null
  /// and a one-line `error` on failure.
  static std::unique_ptr<CompiledKernel> compile(std::string_view source,
                                                 std::string_view sourceName,
                                                 const CompileOptions &options,
                                                 std::string &error);

  const std::vector<FunctionInfo> &getFunctions() const;
  const CompileReport &getReport() const;

  /// Packs `arguments` for `function`, one of getFunctions(). Nothing and a
  /// one-line `error` when one is missing or does not fit its type.
  std::optional<BoundCall> bind(const FunctionInfo &function,
                                const Arguments &arguments,
                                std::string &error) const;

private:
  CompiledKernel();
  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// What the lengths and tables of a call are held against.
struct CacheLimits {
  int64_t numPages = 0; ///< P of the pools
  int64_t pageSize = 1; ///< S, tokens
  std::string indexType = "i32";
  bool causal = false;
  int64_t window = 0;     ///< tokens, 0: none
  int64_t sinkTokens = 0; ///< tokens
  int64_t chunk = 0;      ///< tokens, 0: none
};

/// Checks the lengths, starts and page ids of an attention call before
/// anything is written: page ids that some row can see in range, q_len <=
/// kv_len <= capacity, starts monotone. Empty when all is well, else one line
/// with operand, expected and got.
std::string checkCall(const Arguments &arguments, const CacheLimits &limits);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_KERNEL_COMPILEDKERNEL_H
