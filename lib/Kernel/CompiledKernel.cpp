//===- CompiledKernel.cpp - A compiled module in this process -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The object of `compileObject`, linked by LLJIT, and descriptor packing.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/CompiledKernel.h"

#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/Support/MemoryBuffer.h"

#include <chrono>

using namespace mlir::paged_attn;

struct CompiledKernel::Impl {
  std::unique_ptr<llvm::orc::LLJIT> jit;
  std::vector<FunctionInfo> functions;
  CompileReport report;
  std::map<std::string, void (*)(void **)> entries;
};

CompiledKernel::CompiledKernel() : impl(std::make_unique<Impl>()) {}
CompiledKernel::~CompiledKernel() = default;

const std::vector<FunctionInfo> &CompiledKernel::getFunctions() const {
  return impl->functions;
}

std::unique_ptr<CompiledKernel>
CompiledKernel::compile(std::string_view source, std::string_view sourceName,
                        const CompileOptions &options, std::string &error) {
  auto begin = std::chrono::steady_clock::now();
  CompileReport report;
  std::optional<CompiledObject> compiled =
      loadOrCompileObject(source, sourceName, options, report, error);
  if (!compiled)
    return nullptr;
  std::unique_ptr<CompiledKernel> kernel(new CompiledKernel());
  Impl &impl = *kernel->impl;
  impl.functions = std::move(compiled->functions);
  auto link = [&]() -> llvm::Error {
    auto jit = llvm::orc::LLJITBuilder().create();
    if (!jit)
      return jit.takeError();
    impl.jit = std::move(*jit);
    if (llvm::Error failure = impl.jit->addObjectFile(
            llvm::MemoryBuffer::getMemBufferCopy(compiled->object, "kernel")))
      return failure;
    for (const FunctionInfo &function : impl.functions) {
      if (function.numResults != 0)
        continue;
      auto address = impl.jit->lookup(getPackedName(function.name));
      if (!address)
        return address.takeError();
      impl.entries[function.name] = address->toPtr<void (*)(void **)>();
    }
    return llvm::Error::success();
  };
  if (llvm::Error failure = link()) {
    error = "cannot link the kernel: " + llvm::toString(std::move(failure));
    return nullptr;
  }
  report.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin)
          .count();
  impl.report = report;
  return kernel;
}

const CompileReport &CompiledKernel::getReport() const { return impl->report; }

/// `name` has the sizes that its type fixes, else an error.
static bool checkSizes(const ArgumentInfo &info, const Argument &argument,
                       std::string &error) {
  if (argument.sizes.size() != info.sizes.size()) {
    error = "expected " + info.name + " to have rank " +
            std::to_string(info.sizes.size()) + ", got " +
            std::to_string(argument.sizes.size());
    return false;
  }
  for (size_t dim = 0; dim < info.sizes.size(); ++dim) {
    if (info.sizes[dim] == kDynamicSize ||
        info.sizes[dim] == argument.sizes[dim])
      continue;
    error = "expected dimension " + std::to_string(dim) + " of " + info.name +
            " to be " + std::to_string(info.sizes[dim]) + ", got " +
            std::to_string(argument.sizes[dim]);
    return false;
  }
  return true;
}

bool mlir::paged_attn::checkArgument(const FunctionInfo &function,
                                     const ArgumentInfo &info,
                                     const Arguments &arguments,
                                     std::string &error) {
  auto found = arguments.find(info.name);
  if (found == arguments.end() || info.kind == ArgumentInfo::Kind::Float) {
    error = "expected every argument of '" + function.name +
            "' to be an operand of its attention op, got '" + info.name + "'";
    return false;
  }
  return info.kind != ArgumentInfo::Kind::Buffer ||
         checkSizes(info, found->second, error);
}

/// Descriptor {allocated, aligned, offset, sizes, strides} of a buffer.
static std::unique_ptr<int64_t[]> packBuffer(const Argument &argument) {
  size_t rank = argument.sizes.size();
  auto words = std::make_unique<int64_t[]>(3 + 2 * rank);
  words[0] = words[1] = reinterpret_cast<intptr_t>(argument.data);
  words[2] = 0;
  int64_t stride = 1;
  for (size_t dim = rank; dim-- > 0;) {
    words[3 + dim] = argument.sizes[dim];
    words[3 + rank + dim] = stride;
    stride *= argument.sizes[dim];
  }
  return words;
}

std::optional<BoundCall> CompiledKernel::bind(const FunctionInfo &function,
                                              const Arguments &arguments,
                                              std::string &error) const {
  auto entry = impl->entries.find(function.name);
  if (entry == impl->entries.end()) {
    error = "expected function '" + function.name +
            "' to have no results but its own arguments, got " +
            std::to_string(function.numResults);
    return std::nullopt;
  }
  BoundCall call;
  call.entry = entry->second;
  call.takesExecutor = function.takesExecutor;
  for (const ArgumentInfo &info : function.arguments) {
    if (!checkArgument(function, info, arguments, error))
      return std::nullopt;
    auto found = arguments.find(info.name);
    if (info.kind == ArgumentInfo::Kind::Buffer) {
      call.storage.push_back(packBuffer(found->second));
    } else {
      call.storage.push_back(std::make_unique<int64_t[]>(1));
      call.storage.back()[0] = found->second.integer;
    }
    call.packed.push_back(call.storage.back().get());
  }
  call.packed.push_back(nullptr); // the executor
  return call;
}

void BoundCall::run(const ExecutorHandle *executor) {
  packed.back() = const_cast<ExecutorHandle *>(executor);
  entry(packed.data());
}
