//===- VulkanLoader.h - Functions of Vulkan, found at run time --*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of what VulkanDevice calls. Headers only: the loader is a library
// of the machine that runs.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_SRC_VULKANLOADER_H
#define PAGED_ATTN_SRC_VULKANLOADER_H

#include "paged_attn/Status.h"

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

/// Functions of an instance or a device, as X(name).
#define PAGED_ATTN_VULKAN_FUNCTIONS(X)                                         \
  X(AllocateCommandBuffers)                                                    \
  X(AllocateDescriptorSets)                                                    \
  X(AllocateMemory)                                                            \
  X(BeginCommandBuffer)                                                        \
  X(BindBufferMemory)                                                          \
  X(CmdBindDescriptorSets)                                                     \
  X(CmdBindPipeline)                                                           \
  X(CmdDispatch)                                                               \
  X(CmdPipelineBarrier)                                                        \
  X(CreateBuffer)                                                              \
  X(CreateCommandPool)                                                         \
  X(CreateComputePipelines)                                                    \
  X(CreateDescriptorPool)                                                      \
  X(CreateDescriptorSetLayout)                                                 \
  X(CreateDevice)                                                              \
  X(CreatePipelineLayout)                                                      \
  X(CreateShaderModule)                                                        \
  X(DestroyBuffer)                                                             \
  X(DestroyCommandPool)                                                        \
  X(DestroyDescriptorPool)                                                     \
  X(DestroyDescriptorSetLayout)                                                \
  X(DestroyDevice)                                                             \
  X(DestroyInstance)                                                           \
  X(DestroyPipeline)                                                           \
  X(DestroyPipelineLayout)                                                     \
  X(DestroyShaderModule)                                                       \
  X(EndCommandBuffer)                                                          \
  X(EnumeratePhysicalDevices)                                                  \
  X(FreeMemory)                                                                \
  X(GetBufferDeviceAddress)                                                    \
  X(GetBufferMemoryRequirements)                                               \
  X(GetDeviceQueue)                                                            \
  X(GetPhysicalDeviceFeatures2)                                                \
  X(GetPhysicalDeviceMemoryProperties)                                         \
  X(GetPhysicalDeviceProperties2)                                              \
  X(GetPhysicalDeviceQueueFamilyProperties)                                    \
  X(MapMemory)                                                                 \
  X(QueueSubmit)                                                               \
  X(QueueWaitIdle)                                                             \
  X(ResetCommandPool)                                                          \
  X(ResetDescriptorPool)                                                       \
  X(UpdateDescriptorSets)

namespace paged_attn {

/// Opened loader, instance, and the functions. The loader is never closed:
/// drivers keep threads of their own.
struct VulkanLoader {
  VkInstance instance = VK_NULL_HANDLE;
#define X(name) PFN_vk##name name = nullptr;
  PAGED_ATTN_VULKAN_FUNCTIONS(X)
#undef X

  /// FailedPrecondition when there is no loader, no driver, or an old one.
  Status open();
};

/// A failure of the call `what` with Vulkan's code.
Status vulkanError(const char *what, VkResult result);

} // namespace paged_attn

#endif // PAGED_ATTN_SRC_VULKANLOADER_H
