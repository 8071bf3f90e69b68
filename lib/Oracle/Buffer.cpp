//===- Buffer.cpp - Aligned byte buffers ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Buffers are anonymous mappings: zeroed, lazily backed, page aligned.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/Buffer.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>
#include <utility>

namespace paged_attn::oracle {

/// Size of a transparent huge page on x86-64 and on aarch64 with 4 KiB pages.
constexpr int64_t kHugePageBytes = int64_t{2} << 20;

Buffer::~Buffer() {
  if (mapping_)
    munmap(mapping_, mappingBytes_);
}

void Buffer::swap(Buffer &other) noexcept {
  std::swap(data_, other.data_);
  std::swap(numBytes_, other.numBytes_);
  std::swap(backing_, other.backing_);
  std::swap(mapping_, other.mapping_);
  std::swap(mappingBytes_, other.mappingBytes_);
}

Buffer Buffer::allocate(int64_t numBytes, Backing backing) {
  Buffer buffer;
  int64_t slack = backing == Backing::HugePages ? 2 * kHugePageBytes : 0;
  int64_t mappingBytes = 0;
  if (numBytes < 0 || __builtin_add_overflow(std::max<int64_t>(numBytes, 1),
                                             slack, &mappingBytes))
    return buffer;
  void *mapping = mmap(nullptr, mappingBytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED)
    return buffer;
  buffer.mapping_ = mapping;
  buffer.mappingBytes_ = mappingBytes;
  buffer.numBytes_ = numBytes;
  buffer.backing_ = backing;
  buffer.data_ = mapping;
  if (backing == Backing::HugePages) {
    int64_t past = reinterpret_cast<uintptr_t>(mapping) % kHugePageBytes;
    int64_t skipped = past ? kHugePageBytes - past : 0;
    buffer.data_ = static_cast<char *>(mapping) + skipped;
    // Advice only: a kernel without huge pages gives small ones.
    int64_t whole =
        (numBytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    if (whole > 0)
      (void)madvise(buffer.data_, whole, MADV_HUGEPAGE);
  }
  return buffer;
}

Buffer Buffer::clone() const {
  Buffer copy = allocate(numBytes_, backing_);
  if (copy && numBytes_ > 0)
    std::memcpy(copy.data_, data_, numBytes_);
  return copy;
}

} // namespace paged_attn::oracle
