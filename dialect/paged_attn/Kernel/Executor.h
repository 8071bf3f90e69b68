//===- Executor.h - Work items on threads -----------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The executor that compiled functions take, and one that runs on oneTBB.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_KERNEL_EXECUTOR_H
#define PAGED_ATTN_KERNEL_EXECUTOR_H

#include <cstdint>
#include <memory>

namespace mlir::paged_attn {

/// Runs work items [begin, end) on the calling thread.
using WorkFunction = void (*)(void *data, int64_t begin, int64_t end);

/// What a compiled function is given, in C layout. `run` must have run all of
/// [0, numItems) when it returns.
struct ExecutorHandle {
  void *context;
  void (*run)(void *context, WorkFunction work, void *data, int64_t numItems);
};

/// Work on `numThreads` threads of oneTBB, the calling thread among them.
/// Calls from several threads share the threads of the executor.
class Executor {
public:
  /// 0: all threads of the machine.
  explicit Executor(int numThreads = 0);
  ~Executor();

  int getNumThreads() const;
  /// Valid as long as the executor.
  const ExecutorHandle *getHandle() const;

private:
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_KERNEL_EXECUTOR_H
