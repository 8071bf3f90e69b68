//===- VulkanLoader.cpp - Functions of Vulkan, found at run time ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See the header.
//
//===----------------------------------------------------------------------===//

#include "VulkanLoader.h"

#include <dlfcn.h>

using namespace paged_attn;

/// The loader's name, with its ABI version.
static constexpr char kLoaderName[] = "libvulkan.so.1";

Status paged_attn::vulkanError(const char *what, VkResult result) {
  StatusCode code = result == VK_ERROR_OUT_OF_HOST_MEMORY ||
                            result == VK_ERROR_OUT_OF_DEVICE_MEMORY
                        ? StatusCode::ResourceExhausted
                        : StatusCode::Internal;
  return Status::error(code, "%s of Vulkan failed with code %d", what,
                       static_cast<int>(result));
}

Status VulkanLoader::open() {
  void *library = dlopen(kLoaderName, RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return Status::error(StatusCode::FailedPrecondition, "no Vulkan loader: %s",
                         dlerror());
  auto find = reinterpret_cast<PFN_vkGetInstanceProcAddr>(
      dlsym(library, "vkGetInstanceProcAddr"));
  auto create = find ? reinterpret_cast<PFN_vkCreateInstance>(
                           find(nullptr, "vkCreateInstance"))
                     : nullptr;
  if (!create)
    return Status::error(StatusCode::FailedPrecondition,
                         "%s is not a Vulkan loader", kLoaderName);
  VkApplicationInfo application = {};
  application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  application.pApplicationName = "paged_attn";
  application.apiVersion = VK_API_VERSION_1_2;
  VkInstanceCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.pApplicationInfo = &application;
  VkResult result = create(&info, nullptr, &instance);
  if (result != VK_SUCCESS)
    return Status::error(StatusCode::FailedPrecondition,
                         "no Vulkan driver: the instance failed with code %d",
                         static_cast<int>(result));
#define X(name)                                                                \
  name = reinterpret_cast<PFN_vk##name>(find(instance, "vk" #name));           \
  if (!name)                                                                   \
    return Status::error(StatusCode::FailedPrecondition,                       \
                         "expected a Vulkan 1.2 loader, got one without vk%s", \
                         #name);
  PAGED_ATTN_VULKAN_FUNCTIONS(X)
#undef X
  return Status::ok();
}
