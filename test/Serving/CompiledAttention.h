//===- CompiledAttention.h - The workload's attention, compiled -*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Turns a cache group into a module with append and attention, compiles it
// once, and runs a step of the serving workload on the manager's own views.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TEST_SERVING_COMPILEDATTENTION_H
#define PAGED_ATTN_TEST_SERVING_COMPILEDATTENTION_H

#include "ServingWorkload.h"

#include "paged_attn/Kernel/CompiledKernel.h"

#include <map>
#include <memory>
#include <string>

namespace paged_attn::test {

/// Level-0 module of `step`'s group: @append by slot mapping and a causal
/// @attention over the group's window, both on memrefs.
std::string buildServingModule(const AttentionStep &step);

/// Kernels by module text. Not thread safe.
class CompiledAttention {
public:
  explicit CompiledAttention(mlir::paged_attn::Via via) : via(via) {}

  /// Appends the step's new tokens and attends. Adds what went wrong, at most
  /// one line, to `error`.
  void run(const AttentionStep &step, int64_t numPages, std::string &error);
  size_t getNumKernels() const { return kernels.size(); }

private:
  mlir::paged_attn::CompiledKernel *getKernel(const std::string &source,
                                              std::string &error);

  mlir::paged_attn::Via via;
  std::map<std::string, std::unique_ptr<mlir::paged_attn::CompiledKernel>>
      kernels;
};

} // namespace paged_attn::test

#endif // PAGED_ATTN_TEST_SERVING_COMPILEDATTENTION_H
