//===- Ceilings.h - What this machine can reach -----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The limits that kernels are measured against: f32 multiply-adds, sequential
// reads, and reads of the very pages of a problem. Each function makes ONE
// timed pass; the caller repeats, interleaves with what it compares, and takes
// the best. Part of the oracle: stands beside the ladder.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_ORACLE_CEILINGS_H
#define PAGED_ATTN_ORACLE_CEILINGS_H

#include "paged_attn/Oracle/Problem.h"

namespace paged_attn::oracle {

/// Outcome of one timed pass on some threads.
struct PassResult {
  double amount = 0;      ///< bytes read, or floating-point operations done
  double wallSeconds = 0; ///< from the common start to the last thread's end
  double cpuSeconds = 0;  ///< CPU time of the slowest thread: leaves out the
                          ///< time that other processes took

  double perWallSecond() const { return amount / wallSeconds; }
  double perCpuSecond() const { return amount / cpuSeconds; }
};

/// One pass of independent f32 multiply-adds in registers (some milliseconds)
/// with the widest instructions of the running CPU; an FMA counts as 2
/// operations. numThreads <= 0: all of the machine.
PassResult measureFma(int numThreads);
/// The instructions that `measureFma` uses here: "avx512f", "avx2+fma",
/// "sse2", "neon" or "portable".
const char *fmaInstructions();

/// Short types that some CPUs multiply in pairs or quadruples.
enum class DotType : uint8_t {
  BF16, ///< sums in f32
  Int8, ///< unsigned times signed, sums in i32
};

/// One pass of independent dot products in registers; a multiplication and an
/// addition count as 2 operations. Amount 0 when the CPU has no instruction
/// for it.
PassResult measureDot(DotType type, int numThreads);

/// One pass over `numBytes` bytes at `base`, each thread a contiguous part.
PassResult measureSequentialRead(const void *base, int64_t numBytes,
                                 int numThreads);

/// A pool as a paged read sees it: each (page, head) chunk is `runOffsets`
/// runs of `runBytes` contiguous bytes. Owns nothing.
struct PagedPool {
  const void *base = nullptr; ///< of the tensor, the pair and layer applied
  int64_t pageStrideBytes = 0;
  int64_t headStrideBytes = 0;
  int64_t runBytes = 0;
  std::vector<int64_t> runOffsets; ///< bytes from the chunk's start
};

/// One page, or one KV head of a page.
struct PagedChunk {
  int64_t page = 0; ///< physical page
  int64_t head = 0; ///< KV head; 0 when chunks hold all heads
};

/// A list of chunks. Each is read from every pool in turn.
struct PagedRead {
  std::vector<PagedPool> pools;
  std::vector<PagedChunk> chunks;

  int64_t bytesPerChunk() const; ///< in all pools together
  int64_t numBytes() const;      ///< of one pass
};

/// In which order a problem's pages are read.
enum class ReadOrder : uint8_t {
  ByHead, ///< (sequence, KV head, page): the order of a decode kernel
  ByPage, ///< (sequence, page, all heads): the longest runs that there are
};

/// The reads of all keys and values of a problem, whole pages (the last page
/// of a sequence too, and pages that a window hides unless their table entry
/// is negative). Values of a latent pool are not read twice. The problem must
/// outlive the result.
PagedRead pagedReadOf(const Problem &problem, ReadOrder order);

/// One pass over the list, prefetching the same place of the chunks to come;
/// threads share the chunks evenly, in order.
PassResult measurePagedRead(const PagedRead &read, int numThreads);

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_ORACLE_CEILINGS_H
