//===- KernelCache.h - Compiled kernels of this process ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One kernel per signature, compiled once however many threads ask, and the
// executors that run them. Private to lib/FrontEnd.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_FRONTEND_KERNELCACHE_H
#define PAGED_ATTN_LIB_FRONTEND_KERNELCACHE_H

#include "paged_attn/FrontEnd/Calls.h"
#include "paged_attn/Kernel/CompiledKernel.h"

#include <functional>
#include <memory>

namespace mlir::paged_attn {

class ModuleWriter;

/// What a key of the cache is made of: every field that changes the code.
class CacheKey {
public:
  CacheKey &add(std::string_view text) {
    return add(int64_t(text.size())).append(text.data(), text.size());
  }
  CacheKey &add(int64_t value) {
    return append(reinterpret_cast<const char *>(&value), sizeof(value));
  }
  CacheKey &add(float value) {
    return append(reinterpret_cast<const char *>(&value), sizeof(value));
  }
  const std::string &get() const { return bytes; }

private:
  CacheKey &append(const char *data, size_t size) {
    bytes.append(data, size);
    return *this;
  }
  std::string bytes;
};

/// The module to compile, and the way where the default one refuses (a
/// feature that it lacks).
struct KernelRequest {
  std::string source;
  std::optional<Via> via;      ///< forced
  std::optional<Via> fallback; ///< tried when the default refuses
};

/// The kernel of `key`; `makeRequest` is called when there is none yet. Null
/// and an `error` when it does not compile; the next call tries again.
std::shared_ptr<const CompiledKernel>
getKernel(const CacheKey &key,
          const std::function<KernelRequest()> &makeRequest, CallError &error);

/// The executor of `numThreads` threads (0: all of the machine); null for one.
const ExecutorHandle *getExecutor(int numThreads);

/// Compiles (or takes from the cache) the module of `writer` and runs it on its
/// arguments.
CallError runModule(const ModuleWriter &writer, int numThreads);

/// Binds `arguments` to the only function of `kernel` and runs it.
CallError runKernel(const CompiledKernel &kernel, const Arguments &arguments,
                    int numThreads);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_FRONTEND_KERNELCACHE_H
