//===- KernelCache.h - Compiled kernels on disk -----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One file per kernel, named by a hash of all that decides its bytes. Any
// number of processes may use a folder at once. Nothing here is an error: what
// cannot be read is compiled again. docs/Targets.md has the format.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_KERNEL_KERNELCACHE_H
#define PAGED_ATTN_KERNEL_KERNELCACHE_H

#include "paged_attn/Kernel/Compile.h"

namespace mlir::paged_attn {

/// The folder that caches lie in: PAGED_ATTN_CACHE_DIR, else paged_attn in
/// XDG_CACHE_HOME or in ~/.cache. Nothing when the variable is `off`, or none
/// is set.
std::optional<std::string> getCacheDirectory();

/// Version of this compiler, as far as it shows in kernels: release, LLVM, and
/// size and time of the files that both were loaded from.
std::string getCompilerVersion();

/// Kernels in a folder.
class KernelCache {
public:
  /// PAGED_ATTN_CACHE_BYTES, else 256 MiB.
  static int64_t getDefaultMaxBytes();

  explicit KernelCache(std::string directory,
                       int64_t maxBytes = getDefaultMaxBytes());

  /// 32 hex digits over source, options and compiler.
  static std::string makeKey(std::string_view source,
                             const CompileOptions &options);

  /// The kernel of `key`, now the one that was used last. Nothing when it is
  /// not there or its file is damaged, of another format or another user's.
  std::optional<CompiledObject> load(const std::string &key) const;

  /// Keeps a kernel, if that works, and removes those that were used longest
  /// ago until all take at most `maxBytes`.
  void store(const std::string &key, const CompiledObject &kernel) const;

  /// The file of a key.
  std::string getPath(const std::string &key) const;

private:
  void evict() const;
  std::string directory;
  int64_t maxBytes;
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_KERNEL_KERNELCACHE_H
