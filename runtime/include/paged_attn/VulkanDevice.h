//===- VulkanDevice.h - Buffers and kernels on a Vulkan device --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Opens the Vulkan loader at run time: nothing to link, and without a loader
// or a device `open` fails with one clear text. Kernels are SPIR-V entry
// points as docs/GPU.md says: one storage buffer of 64-bit integers at binding
// 0 of set 0, in which buffers stand by their addresses.
//
// Threads: one call at a time on a device.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_VULKANDEVICE_H
#define PAGED_ATTN_VULKANDEVICE_H

#include "paged_attn/Status.h"

#include <cstddef>
#include <cstdint>
#include <memory>

namespace paged_attn {

/// A buffer of a device; a plain name, owned by the device.
struct DeviceBuffer {
  uint64_t address = 0;   ///< 64-bit address for kernels
  size_t numBytes = 0;    ///< as asked for
  void *mapped = nullptr; ///< where the host sees it
};

/// One kernel to run. The pointers are read during the call only.
struct DeviceLaunch {
  const char *kernel = nullptr;        ///< entry point of the loaded module
  uint32_t grid[3] = {1, 1, 1};        ///< blocks; none are run when one is 0
  const uint64_t *arguments = nullptr; ///< [numArguments]
  size_t numArguments = 0;
};

/// A Vulkan 1.2 device with 64-bit buffer addresses, 16-bit storage, f16 and
/// i64 arithmetic and subgroup shuffles.
class PAGED_ATTN_EXPORT VulkanDevice {
public:
  ~VulkanDevice();
  VulkanDevice(const VulkanDevice &) = delete;
  VulkanDevice &operator=(const VulkanDevice &) = delete;

  /// Opens the first device that fits. FailedPrecondition without a loader or
  /// such a device.
  static Status open(std::unique_ptr<VulkanDevice> &device);

  /// Lanes of a subgroup, which kernels must be compiled for.
  int64_t subgroupSize() const;
  /// As the driver names it; valid as long as the device.
  const char *name() const;

  /// Makes a buffer that the host can write and read. ResourceExhausted
  /// without memory.
  Status allocate(size_t numBytes, DeviceBuffer &buffer);
  /// Frees a buffer of this device.
  void free(const DeviceBuffer &buffer);

  /// Takes a SPIR-V module, in place of the one before.
  Status load(const void *code, size_t numBytes);

  /// Runs launches one after the other, each after all writes of those before,
  /// and waits for the last. NotFound for a kernel that the module lacks.
  Status run(const DeviceLaunch *launches, size_t numLaunches);

private:
  VulkanDevice();
  struct Impl;
  std::unique_ptr<Impl> impl;
};

} // namespace paged_attn

#endif // PAGED_ATTN_VULKANDEVICE_H
