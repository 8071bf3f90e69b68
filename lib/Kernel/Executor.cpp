//===- Executor.cpp - Work items on threads -------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A oneTBB arena behind the C struct of the executor.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/Executor.h"

#include <algorithm>
#include <atomic>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>

using namespace mlir::paged_attn;

namespace {

/// Pieces per thread: enough to even out ragged lengths, few enough that a
/// piece outweighs its counter (well below a microsecond).
constexpr int64_t kPiecesPerThread = 32;

} // namespace

struct Executor::Impl {
  explicit Impl(int numThreads)
      : numThreads(numThreads), arena(numThreads), handle{this, &Impl::run} {
    // Only what the machine lacks is asked for: a limit holds for the process.
    if (numThreads > oneapi::tbb::info::default_concurrency())
      limit = std::make_unique<oneapi::tbb::global_control>(
          oneapi::tbb::global_control::max_allowed_parallelism, numThreads);
  }

  static void run(void *context, WorkFunction work, void *data,
                  int64_t numItems) {
    auto *self = static_cast<Impl *>(context);
    if (numItems <= 0)
      return;
    int64_t grain =
        std::max<int64_t>(1, numItems / (self->numThreads * kPiecesPerThread));
    // Pieces are handed out in order: kernels put their longest items first,
    // and halving ranges would start with the shortest ones too.
    std::atomic<int64_t> next{0};
    auto drain = [&](int) {
      int64_t begin;
      while ((begin = next.fetch_add(grain, std::memory_order_relaxed)) <
             numItems)
        work(data, begin, std::min(begin + grain, numItems));
    };
    int numWorkers = static_cast<int>(
        std::min<int64_t>(self->numThreads, (numItems + grain - 1) / grain));
    self->arena.execute([&] {
      oneapi::tbb::parallel_for(0, numWorkers, 1, drain,
                                oneapi::tbb::simple_partitioner());
    });
  }

  int numThreads;
  std::unique_ptr<oneapi::tbb::global_control> limit;
  oneapi::tbb::task_arena arena;
  ExecutorHandle handle;
};

Executor::Executor(int numThreads)
    : impl(std::make_unique<Impl>(
          numThreads > 0 ? numThreads
                         : oneapi::tbb::info::default_concurrency())) {}

Executor::~Executor() = default;

int Executor::getNumThreads() const { return impl->numThreads; }

const ExecutorHandle *Executor::getHandle() const { return &impl->handle; }
