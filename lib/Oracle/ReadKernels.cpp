//===- ReadKernels.cpp - Paged reads in every instruction set -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Loads of whole cache lines, each with a prefetch of the same place of a
// chunk to come.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#include <algorithm>
#include <cstring>

namespace paged_attn::oracle {

namespace {

constexpr int64_t kLineBytes = 64;
/// Unit of the main loop: enough independent loads for a compiler that does
/// not unroll (GCC 12 lost a fifth of the bandwidth without).
constexpr int64_t kBlockBytes = 4 * kLineBytes;

/// Locality of `__builtin_prefetch` that stops in the second-level cache:
/// faster than the first level and than the non-temporal hint (notes on
/// ceilings, table of paged reads).
constexpr int kSecondLevel = 2;

const char *chunkAddress(const PagedPool &pool, const PagedChunk &chunk) {
  return static_cast<const char *>(pool.base) +
         chunk.page * pool.pageStrideBytes + chunk.head * pool.headStrideBytes;
}

/// The last bytes of a run, fewer than a line.
uint64_t readTail(const char *tail, const char *ahead, int64_t numBytes) {
  __builtin_prefetch(ahead, 0, kSecondLevel);
  uint64_t mixed = 0;
  int64_t at = 0;
  for (; at + 8 <= numBytes; at += 8) {
    uint64_t word;
    std::memcpy(&word, tail + at, sizeof(word));
    mixed |= word;
  }
  for (; at < numBytes; ++at)
    mixed |= static_cast<unsigned char>(tail[at]);
  return mixed;
}

} // namespace

#define READ_NAME readBaseline
#define READ_TARGET
#define READ_VECTOR_BYTES 16
#include "ReadKernel.inc"

#if defined(__x86_64__)

#define READ_NAME readAvx2
#define READ_TARGET __attribute__((target("avx2")))
#define READ_VECTOR_BYTES 32
#include "ReadKernel.inc"

#define READ_NAME readAvx512
#define READ_TARGET __attribute__((target("avx512f")))
#define READ_VECTOR_BYTES 64
#include "ReadKernel.inc"

ReadFunction selectReadKernel() {
  if (__builtin_cpu_supports("avx512f"))
    return readAvx512;
  if (__builtin_cpu_supports("avx2"))
    return readAvx2;
  return readBaseline;
}

#else

ReadFunction selectReadKernel() { return readBaseline; }

#endif

} // namespace paged_attn::oracle
