//===- KernelCache.cpp - Compiled kernels of this process -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A map from signature to a kernel that may still be compiling.
//
//===----------------------------------------------------------------------===//

#include "KernelCache.h"
#include "ModuleWriter.h"

#include <future>
#include <map>
#include <mutex>
#include <unordered_map>

using namespace mlir::paged_attn;

namespace {

struct Outcome {
  std::shared_ptr<const CompiledKernel> kernel;
  std::string error;
};

struct Cache {
  std::mutex mutex;
  std::unordered_map<std::string, std::shared_future<Outcome>> kernels;
  KernelCacheInfo info;
};

/// Lives until the process ends: calls may run while others tear down.
Cache &getCache() {
  static Cache &cache = *new Cache;
  return cache;
}

Outcome compileVia(const std::string &source, CompileOptions options) {
  Outcome outcome;
  outcome.kernel =
      CompiledKernel::compile(source, "kernel", options, outcome.error);
  return outcome;
}

Outcome compile(const KernelRequest &request) {
  CompileOptions options;
  Outcome outcome;
  std::optional<TargetInfo> target = TargetInfo::get("native", outcome.error);
  if (!target)
    return outcome;
  options.target = *target;
  if (request.via)
    options.via = *request.via;
  outcome = compileVia(request.source, options);
  if (outcome.kernel || request.via || !request.fallback)
    return outcome;
  options.via = *request.fallback;
  return compileVia(request.source, options);
}

} // namespace

std::shared_ptr<const CompiledKernel>
mlir::paged_attn::getKernel(const CacheKey &key,
                            const std::function<KernelRequest()> &makeRequest,
                            CallError &error) {
  Cache &cache = getCache();
  std::promise<Outcome> promise;
  std::shared_future<Outcome> future;
  bool isOurs = false;
  {
    std::lock_guard<std::mutex> lock(cache.mutex);
    auto [entry, isNew] = cache.kernels.try_emplace(key.get());
    if (isNew)
      entry->second = promise.get_future().share();
    future = entry->second;
    isOurs = isNew;
    ++(isNew ? cache.info.misses : cache.info.hits);
  }
  if (isOurs) {
    Outcome outcome = compile(makeRequest());
    {
      std::lock_guard<std::mutex> lock(cache.mutex);
      if (!outcome.kernel)
        cache.kernels.erase(key.get());
      else if (outcome.kernel->getReport().wasCached)
        ++cache.info.fromDisk;
    }
    promise.set_value(std::move(outcome));
  }
  const Outcome &outcome = future.get();
  if (!outcome.kernel)
    error = {CallError::Kind::Compile, outcome.error};
  return outcome.kernel;
}

const ExecutorHandle *mlir::paged_attn::getExecutor(int numThreads) {
  static std::mutex &mutex = *new std::mutex;
  static auto &executors = *new std::map<int, std::unique_ptr<Executor>>;
  if (numThreads == 1)
    return nullptr;
  std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<Executor> &executor = executors[numThreads];
  if (!executor)
    executor = std::make_unique<Executor>(numThreads);
  return executor->getHandle();
}

CallError mlir::paged_attn::runKernel(const CompiledKernel &kernel,
                                      const Arguments &arguments,
                                      int numThreads) {
  std::string error;
  std::optional<BoundCall> call =
      kernel.bind(kernel.getFunctions().front(), arguments, error);
  if (!call)
    return {CallError::Kind::Value, error};
  call->run(getExecutor(numThreads));
  return {};
}

CallError mlir::paged_attn::runModule(const ModuleWriter &writer,
                                      int numThreads) {
  std::string source = writer.getModule();
  CallError error;
  auto kernel = getKernel(
      CacheKey().add(source),
      [&] { return KernelRequest{source, std::nullopt, Via::Reference}; },
      error);
  if (!kernel)
    return error;
  Arguments arguments;
  const FunctionInfo &function = kernel->getFunctions().front();
  for (size_t i = 0; i < writer.getArguments().size(); ++i)
    arguments[function.arguments[i].name] = writer.getArguments()[i];
  return runKernel(*kernel, arguments, numThreads);
}

KernelCacheInfo mlir::paged_attn::getKernelCacheInfo() {
  Cache &cache = getCache();
  std::lock_guard<std::mutex> lock(cache.mutex);
  KernelCacheInfo info = cache.info;
  info.kernels = int64_t(cache.kernels.size());
  return info;
}

void mlir::paged_attn::clearKernelCache() {
  Cache &cache = getCache();
  std::lock_guard<std::mutex> lock(cache.mutex);
  cache.kernels.clear();
}
