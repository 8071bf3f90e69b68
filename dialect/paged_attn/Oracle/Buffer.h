//===- Buffer.h - Aligned byte buffers --------------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Memory that a kernel's arguments live in. Part of the oracle.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_ORACLE_BUFFER_H
#define PAGED_ATTN_ORACLE_BUFFER_H

#include <cstdint>

namespace paged_attn::oracle {

/// What the operating system is asked for.
enum class Backing : uint8_t {
  Normal,    ///< aligned to an OS page
  HugePages, ///< aligned to 2 MiB and advised to use huge pages
};

/// Owns zeroed bytes; movable, copied only by `clone`. Not thread safe.
class Buffer {
public:
  Buffer() = default;
  Buffer(Buffer &&other) noexcept { swap(other); }
  Buffer &operator=(Buffer &&other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  ~Buffer();

  /// `numBytes` zero bytes; a null `data()` when the system refuses.
  static Buffer allocate(int64_t numBytes, Backing backing = Backing::Normal);
  /// A copy with the same backing; null `data()` when the system refuses.
  Buffer clone() const;

  /// Never null after a successful `allocate`, also for 0 bytes.
  void *data() { return data_; }
  const void *data() const { return data_; }
  template <typename T>
  T *as() {
    return static_cast<T *>(data_);
  }
  template <typename T>
  const T *as() const {
    return static_cast<const T *>(data_);
  }
  int64_t numBytes() const { return numBytes_; }
  explicit operator bool() const { return data_ != nullptr; }

private:
  void swap(Buffer &other) noexcept;

  void *data_ = nullptr;
  int64_t numBytes_ = 0;
  Backing backing_ = Backing::Normal;
  void *mapping_ = nullptr; ///< start of the mapping that holds `data_`
  int64_t mappingBytes_ = 0;
};

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_ORACLE_BUFFER_H
