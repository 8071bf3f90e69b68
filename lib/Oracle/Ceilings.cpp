//===- Ceilings.cpp - What this machine can reach -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Threads, clocks and the work lists of the timed passes.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/Ceilings.h"

#include "Kernels.h"
#include "Parallel.h"

#include <chrono>
#include <ctime>
#include <sched.h>

namespace paged_attn::oracle {

namespace {

/// Bytes between a load and the prefetch that runs ahead of it. Two chunks of
/// 4 KiB were best for 2 to 8 KiB chunks (notes on ceilings).
constexpr int64_t kPrefetchBytes = 8192;

/// Steps of one `measureFma` pass: about 5 ms at 4 GHz and 2 FMA per cycle.
constexpr int64_t kFmaSteps = 2500000;

/// Piece of a sequential read that counts as one chunk.
constexpr int64_t kSequentialChunkBytes = 4096;

/// Where kernels leave their results, so that no work is dropped.
std::atomic<uint64_t> sink{0};

double threadCpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * time.tv_nsec;
}

/// Moves the calling thread to the `index`-th CPU that the process may use:
/// left alone, Linux runs short passes of two threads on one core.
void pinThread([[maybe_unused]] int index) {
#if defined(__linux__)
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
    return;
  int remaining = index % std::max(1, CPU_COUNT(&allowed));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || remaining-- > 0)
      continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof(one), &one);
    return;
  }
#endif
}

/// Runs body(thread) on `numThreads` new threads at once, one per CPU;
/// `amount` is left to the caller.
template <typename Body>
PassResult timePass(int numThreads, const Body &body) {
  using Clock = std::chrono::steady_clock;
  std::atomic<int> arrived{0};
  std::vector<double> cpuSeconds(numThreads);
  std::vector<Clock::time_point> begins(numThreads), ends(numThreads);
  auto work = [&](int thread) {
    pinThread(thread);
    arrived.fetch_add(1);
    while (arrived.load() < numThreads)
      std::this_thread::yield();
    begins[thread] = Clock::now();
    double begin = threadCpuSeconds();
    body(thread);
    cpuSeconds[thread] = threadCpuSeconds() - begin;
    ends[thread] = Clock::now();
  };
  std::vector<std::thread> threads;
  threads.reserve(numThreads);
  for (int thread = 0; thread < numThreads; ++thread)
    threads.emplace_back(work, thread);
  for (std::thread &thread : threads)
    thread.join();

  PassResult result;
  auto begin = *std::min_element(begins.begin(), begins.end());
  auto end = *std::max_element(ends.begin(), ends.end());
  result.wallSeconds = std::chrono::duration<double>(end - begin).count();
  result.cpuSeconds = *std::max_element(cpuSeconds.begin(), cpuSeconds.end());
  return result;
}

/// Byte offsets, within one chunk, of all elements named by (extent, stride)
/// dimensions, as runs of neighbouring elements.
struct Runs {
  int64_t elements = 1;            ///< of one run
  std::vector<int64_t> offsets{0}; ///< of the runs, in elements
};

Runs collectRuns(std::vector<std::pair<int64_t, int64_t>> dims) {
  std::sort(dims.begin(), dims.end(), [](const auto &x, const auto &y) {
    return x.second < y.second; // innermost first
  });
  Runs runs;
  for (auto [extent, stride] : dims) {
    if (stride == runs.elements && runs.offsets.size() == 1) {
      runs.elements *= extent;
      continue;
    }
    std::vector<int64_t> repeated;
    for (int64_t i = 0; i < extent; ++i)
      for (int64_t offset : runs.offsets)
        repeated.push_back(offset + i * stride);
    runs.offsets = std::move(repeated);
  }
  return runs;
}

PagedPool pagedPoolOf(const PoolView &view, ReadOrder order) {
  const PoolShape &shape = view.shape;
  const PoolExtents &extents = shape.extents();
  int64_t width = byteWidth(view.type), pack = shape.layout().pack();
  std::vector<std::pair<int64_t, int64_t>> dims = {
      {extents.slots, shape.stride('s')},
      {extents.depth / pack, shape.stride('d')}};
  if (pack > 1)
    dims.push_back({pack, 1});
  if (order == ReadOrder::ByPage)
    dims.push_back({extents.heads, shape.stride('h')});
  Runs runs = collectRuns(dims);

  PagedPool pool;
  pool.base =
      static_cast<const char *>(view.data) + view.rowOffset(0, 0, 0) * width;
  pool.pageStrideBytes = shape.stride('p') * width;
  pool.headStrideBytes = shape.stride('h') * width;
  pool.runBytes = runs.elements * width;
  for (int64_t offset : runs.offsets)
    pool.runOffsets.push_back(offset * width);
  return pool;
}

} // namespace

PassResult measureFma(int numThreads) {
  FmaKernel kernel = selectFmaKernel();
  numThreads = resolveThreads(numThreads);
  // Converges to 2 without denormals or overflow.
  constexpr float kFactor = 0.5f, kAddend = 1.0f;
  PassResult result = timePass(numThreads, [&](int) {
    sink += static_cast<uint64_t>(kernel.run(kFmaSteps, kFactor, kAddend));
  });
  result.amount =
      static_cast<double>(kFmaSteps) * kernel.flopsPerStep * numThreads;
  return result;
}

PassResult measureDot(DotType type, int numThreads) {
  DotKernel kernel = selectDotKernel(type);
  if (!kernel.run)
    return {};
  numThreads = resolveThreads(numThreads);
  PassResult result = timePass(numThreads, [&](int) {
    sink += static_cast<uint64_t>(kernel.run(kFmaSteps));
  });
  result.amount =
      static_cast<double>(kFmaSteps) * kernel.opsPerStep * numThreads;
  return result;
}

const char *fmaInstructions() { return selectFmaKernel().instructions; }

PassResult measureSequentialRead(const void *base, int64_t numBytes,
                                 int numThreads) {
  int64_t chunkBytes = std::clamp<int64_t>(numBytes, 1, kSequentialChunkBytes);
  PagedRead read;
  read.pools.push_back({base, chunkBytes, 0, chunkBytes, {0}});
  for (int64_t chunk = 0; chunk < numBytes / chunkBytes; ++chunk)
    read.chunks.push_back({chunk, 0});
  return measurePagedRead(read, numThreads);
}

int64_t PagedRead::bytesPerChunk() const {
  int64_t bytes = 0;
  for (const PagedPool &pool : pools)
    bytes += pool.runBytes * static_cast<int64_t>(pool.runOffsets.size());
  return bytes;
}

int64_t PagedRead::numBytes() const {
  return bytesPerChunk() * static_cast<int64_t>(chunks.size());
}

PagedRead pagedReadOf(const Problem &problem, ReadOrder order) {
  const ProblemSpec &spec = problem.spec;
  PagedRead read;
  read.pools.push_back(pagedPoolOf(problem.keys(), order));
  if (spec.poolKind != PoolKind::Latent)
    read.pools.push_back(pagedPoolOf(problem.values(), order));
  int64_t heads = order == ReadOrder::ByHead ? spec.numKvHeads : 1;
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (int64_t head = 0; head < heads; ++head)
      for (int64_t page = 0; page < spec.pagesOf(b); ++page) {
        int64_t physical = problem.physicalPage(b, page);
        if (physical >= 0)
          read.chunks.push_back({physical, head});
      }
  return read;
}

PassResult measurePagedRead(const PagedRead &read, int numThreads) {
  ReadFunction kernel = selectReadKernel();
  numThreads = resolveThreads(numThreads);
  int64_t numChunks = read.chunks.size();
  int64_t ahead = kPrefetchBytes / std::max<int64_t>(1, read.bytesPerChunk());
  PassResult result = timePass(numThreads, [&](int thread) {
    int64_t begin = numChunks * thread / numThreads;
    int64_t end = numChunks * (thread + 1) / numThreads;
    if (begin < end)
      sink +=
          kernel({read.pools.data(), static_cast<int64_t>(read.pools.size()),
                  read.chunks.data() + begin, end - begin,
                  std::max<int64_t>(1, ahead)});
  });
  result.amount = static_cast<double>(read.numBytes());
  return result;
}

} // namespace paged_attn::oracle
