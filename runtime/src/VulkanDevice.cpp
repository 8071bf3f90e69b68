//===- VulkanDevice.cpp - Buffers and kernels on a Vulkan device ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See the header. Buffers lie in memory that the host sees, on the device
// where there is such memory.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/VulkanDevice.h"

#include "VulkanLoader.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <new>
#include <string>
#include <vector>

using namespace paged_attn;

/// Returns from the enclosing function when a call of Vulkan fails.
#define PAGED_ATTN_VULKAN_CALL(what, call)                                     \
  do {                                                                         \
    if (VkResult result_ = (call); result_ != VK_SUCCESS)                      \
      return vulkanError(what, result_);                                       \
  } while (false)

namespace {

/// Launches that one command buffer takes.
constexpr uint32_t kMostLaunches = 256;
/// A buffer without bytes still has an address.
constexpr size_t kLeastBytes = 16;

/// The features that kernels use.
struct Features {
  Features() {
    v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
    v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    all.pNext = &v11;
    v11.pNext = &v12;
  }
  /// Name of the first one that is missing in `offered`, or null.
  static const char *missing(const Features &offered) {
    return !offered.v12.bufferDeviceAddress        ? "64-bit buffer addresses"
           : !offered.all.features.shaderInt64     ? "i64"
           : !offered.all.features.shaderInt16     ? "i16"
           : !offered.v12.shaderFloat16            ? "f16"
           : !offered.v11.storageBuffer16BitAccess ? "16-bit storage"
                                                   : nullptr;
  }
  void enable() {
    all.features.shaderInt64 = all.features.shaderInt16 = VK_TRUE;
    v11.storageBuffer16BitAccess = VK_TRUE;
    v12.bufferDeviceAddress = v12.shaderFloat16 = VK_TRUE;
  }

  VkPhysicalDeviceFeatures2 all = {};
  VkPhysicalDeviceVulkan11Features v11 = {};
  VkPhysicalDeviceVulkan12Features v12 = {};
};

struct Allocation {
  VkBuffer buffer = VK_NULL_HANDLE;
  VkDeviceMemory memory = VK_NULL_HANDLE;
};

} // namespace

struct VulkanDevice::Impl {
  VulkanLoader vk;
  VkPhysicalDevice physical = VK_NULL_HANDLE;
  VkPhysicalDeviceMemoryProperties memory = {};
  std::string name;
  int64_t subgroupSize = 0;
  uint32_t family = 0; ///< of the queue
  VkDevice device = VK_NULL_HANDLE;
  VkQueue queue = VK_NULL_HANDLE;
  VkDescriptorSetLayout setLayout = VK_NULL_HANDLE;
  VkPipelineLayout pipelineLayout = VK_NULL_HANDLE;
  VkDescriptorPool sets = VK_NULL_HANDLE;
  VkCommandPool commands = VK_NULL_HANDLE;
  VkCommandBuffer recording = VK_NULL_HANDLE;
  VkShaderModule module = VK_NULL_HANDLE;
  std::map<std::string, VkPipeline> pipelines; ///< of `module`, by kernel
  std::map<uint64_t, Allocation> allocations;  ///< by address
  std::vector<DeviceBuffer> argumentBuffers;   ///< reused, one per launch

  Status choosePhysical();
  const char *judge(VkPhysicalDevice candidate);
  Status createDevice();
  Status createLayouts();
  Status createCommands();
  int findMemory(uint32_t allowed);
  Status allocateMemory(Allocation &allocation, size_t numBytes, void **mapped);
  Status allocate(size_t numBytes, DeviceBuffer &buffer);
  void release(const Allocation &allocation);
  void unload();
  Status getPipeline(const char *kernel, VkPipeline &pipeline);
  Status bindArguments(const DeviceLaunch &launch, size_t index);
  Status record(const DeviceLaunch *launches, size_t numLaunches);
  void close();
};

//===----------------------------------------------------------------------===//
// Opening
//===----------------------------------------------------------------------===//

VulkanDevice::VulkanDevice() : impl(new Impl()) {}

VulkanDevice::~VulkanDevice() {
  if (impl)
    impl->close();
}

/// What a device lacks, or null; sets name, family and subgroup size.
const char *VulkanDevice::Impl::judge(VkPhysicalDevice candidate) {
  VkPhysicalDeviceSubgroupProperties subgroup = {};
  subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES;
  VkPhysicalDeviceProperties2 properties = {};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  properties.pNext = &subgroup;
  vk.GetPhysicalDeviceProperties2(candidate, &properties);
  name = properties.properties.deviceName;
  subgroupSize = subgroup.subgroupSize;
  if (properties.properties.apiVersion < VK_API_VERSION_1_2)
    return "Vulkan 1.2";
  if (!(subgroup.supportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT))
    return "subgroup shuffles";
  Features offered;
  vk.GetPhysicalDeviceFeatures2(candidate, &offered.all);
  if (const char *missing = Features::missing(offered))
    return missing;
  uint32_t count = 0;
  vk.GetPhysicalDeviceQueueFamilyProperties(candidate, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  vk.GetPhysicalDeviceQueueFamilyProperties(candidate, &count, families.data());
  for (family = 0; family < count; ++family)
    if (families[family].queueFlags & VK_QUEUE_COMPUTE_BIT)
      return nullptr;
  return "a compute queue";
}

Status VulkanDevice::Impl::choosePhysical() {
  uint32_t count = 0;
  PAGED_ATTN_VULKAN_CALL("listing devices", vk.EnumeratePhysicalDevices(
                                                vk.instance, &count, nullptr));
  std::vector<VkPhysicalDevice> candidates(count);
  PAGED_ATTN_VULKAN_CALL(
      "listing devices",
      vk.EnumeratePhysicalDevices(vk.instance, &count, candidates.data()));
  if (count == 0)
    return Status::error(StatusCode::FailedPrecondition,
                         "no Vulkan device: the loader knows no driver");
  const char *missing = nullptr;
  for (VkPhysicalDevice candidate : candidates) {
    missing = judge(candidate);
    if (missing)
      continue;
    physical = candidate;
    vk.GetPhysicalDeviceMemoryProperties(physical, &memory);
    return Status::ok();
  }
  return Status::error(StatusCode::FailedPrecondition,
                       "no Vulkan device fits: %s lacks %s", name.c_str(),
                       missing);
}

Status VulkanDevice::Impl::createDevice() {
  float priority = 1;
  VkDeviceQueueCreateInfo queueInfo = {};
  queueInfo.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queueInfo.queueFamilyIndex = family;
  queueInfo.queueCount = 1;
  queueInfo.pQueuePriorities = &priority;
  Features wanted;
  wanted.enable();
  VkDeviceCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.pNext = &wanted.all;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queueInfo;
  PAGED_ATTN_VULKAN_CALL("opening the device",
                         vk.CreateDevice(physical, &info, nullptr, &device));
  vk.GetDeviceQueue(device, family, 0, &queue);
  return Status::ok();
}

/// One storage buffer at binding 0 of set 0.
Status VulkanDevice::Impl::createLayouts() {
  VkDescriptorSetLayoutBinding binding = {};
  binding.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  binding.descriptorCount = 1;
  binding.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  VkDescriptorSetLayoutCreateInfo setInfo = {};
  setInfo.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
  setInfo.bindingCount = 1;
  setInfo.pBindings = &binding;
  PAGED_ATTN_VULKAN_CALL(
      "making a set layout",
      vk.CreateDescriptorSetLayout(device, &setInfo, nullptr, &setLayout));
  VkPipelineLayoutCreateInfo layoutInfo = {};
  layoutInfo.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  layoutInfo.setLayoutCount = 1;
  layoutInfo.pSetLayouts = &setLayout;
  PAGED_ATTN_VULKAN_CALL(
      "making a pipeline layout",
      vk.CreatePipelineLayout(device, &layoutInfo, nullptr, &pipelineLayout));
  return Status::ok();
}

Status VulkanDevice::Impl::createCommands() {
  VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                               kMostLaunches};
  VkDescriptorPoolCreateInfo setInfo = {};
  setInfo.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
  setInfo.maxSets = kMostLaunches;
  setInfo.poolSizeCount = 1;
  setInfo.pPoolSizes = &size;
  PAGED_ATTN_VULKAN_CALL(
      "making a descriptor pool",
      vk.CreateDescriptorPool(device, &setInfo, nullptr, &sets));
  VkCommandPoolCreateInfo poolInfo = {};
  poolInfo.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  poolInfo.queueFamilyIndex = family;
  PAGED_ATTN_VULKAN_CALL(
      "making a command pool",
      vk.CreateCommandPool(device, &poolInfo, nullptr, &commands));
  VkCommandBufferAllocateInfo bufferInfo = {};
  bufferInfo.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  bufferInfo.commandPool = commands;
  bufferInfo.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  bufferInfo.commandBufferCount = 1;
  PAGED_ATTN_VULKAN_CALL(
      "making a command buffer",
      vk.AllocateCommandBuffers(device, &bufferInfo, &recording));
  return Status::ok();
}

Status VulkanDevice::open(std::unique_ptr<VulkanDevice> &device) try {
  std::unique_ptr<VulkanDevice> opened(new VulkanDevice());
  Impl &impl = *opened->impl;
  PAGED_ATTN_RETURN_IF_ERROR(impl.vk.open());
  PAGED_ATTN_RETURN_IF_ERROR(impl.choosePhysical());
  PAGED_ATTN_RETURN_IF_ERROR(impl.createDevice());
  PAGED_ATTN_RETURN_IF_ERROR(impl.createLayouts());
  PAGED_ATTN_RETURN_IF_ERROR(impl.createCommands());
  device = std::move(opened);
  return Status::ok();
} catch (const std::bad_alloc &) {
  return Status::error(StatusCode::ResourceExhausted, "out of memory");
}

int64_t VulkanDevice::subgroupSize() const { return impl->subgroupSize; }
const char *VulkanDevice::name() const { return impl->name.c_str(); }

void VulkanDevice::Impl::close() {
  if (device) {
    vk.QueueWaitIdle(queue);
    unload();
    for (const auto &allocation : allocations)
      release(allocation.second);
    vk.DestroyCommandPool(device, commands, nullptr);
    vk.DestroyDescriptorPool(device, sets, nullptr);
    vk.DestroyPipelineLayout(device, pipelineLayout, nullptr);
    vk.DestroyDescriptorSetLayout(device, setLayout, nullptr);
    vk.DestroyDevice(device, nullptr);
  }
  if (vk.instance && vk.DestroyInstance)
    vk.DestroyInstance(vk.instance, nullptr);
}

//===----------------------------------------------------------------------===//
// Buffers
//===----------------------------------------------------------------------===//

/// A kind of memory that the host sees; on the device if there is one. -1:
/// none.
int VulkanDevice::Impl::findMemory(uint32_t allowed) {
  constexpr VkMemoryPropertyFlags kVisible =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
      VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  for (VkMemoryPropertyFlags wanted :
       {kVisible | VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, kVisible})
    for (uint32_t i = 0; i < memory.memoryTypeCount; ++i)
      if ((allowed >> i & 1) &&
          (memory.memoryTypes[i].propertyFlags & wanted) == wanted)
        return static_cast<int>(i);
  return -1;
}

Status VulkanDevice::Impl::allocateMemory(Allocation &allocation,
                                          size_t numBytes, void **mapped) {
  VkBufferCreateInfo bufferInfo = {};
  bufferInfo.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  bufferInfo.size = numBytes;
  bufferInfo.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                     VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
  PAGED_ATTN_VULKAN_CALL(
      "making a buffer",
      vk.CreateBuffer(device, &bufferInfo, nullptr, &allocation.buffer));
  VkMemoryRequirements needs = {};
  vk.GetBufferMemoryRequirements(device, allocation.buffer, &needs);
  int kind = findMemory(needs.memoryTypeBits);
  if (kind < 0)
    return Status::error(StatusCode::FailedPrecondition,
                         "%s has no memory that the host sees", name.c_str());
  VkMemoryAllocateFlagsInfo flags = {};
  flags.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO;
  flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
  VkMemoryAllocateInfo memoryInfo = {};
  memoryInfo.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  memoryInfo.pNext = &flags;
  memoryInfo.allocationSize = needs.size;
  memoryInfo.memoryTypeIndex = static_cast<uint32_t>(kind);
  PAGED_ATTN_VULKAN_CALL(
      "allocating memory",
      vk.AllocateMemory(device, &memoryInfo, nullptr, &allocation.memory));
  PAGED_ATTN_VULKAN_CALL(
      "binding memory",
      vk.BindBufferMemory(device, allocation.buffer, allocation.memory, 0));
  PAGED_ATTN_VULKAN_CALL(
      "mapping memory",
      vk.MapMemory(device, allocation.memory, 0, VK_WHOLE_SIZE, 0, mapped));
  return Status::ok();
}

Status VulkanDevice::Impl::allocate(size_t numBytes, DeviceBuffer &buffer) {
  Allocation allocation;
  void *mapped = nullptr;
  Status status =
      allocateMemory(allocation, std::max(numBytes, kLeastBytes), &mapped);
  if (!status.isOk()) {
    release(allocation);
    return status;
  }
  VkBufferDeviceAddressInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO;
  info.buffer = allocation.buffer;
  uint64_t address = vk.GetBufferDeviceAddress(device, &info);
  allocations[address] = allocation;
  buffer = {address, numBytes, mapped};
  return Status::ok();
}

void VulkanDevice::Impl::release(const Allocation &allocation) {
  vk.DestroyBuffer(device, allocation.buffer, nullptr);
  vk.FreeMemory(device, allocation.memory, nullptr);
}

Status VulkanDevice::allocate(size_t numBytes, DeviceBuffer &buffer) try {
  return impl->allocate(numBytes, buffer);
} catch (const std::bad_alloc &) {
  return Status::error(StatusCode::ResourceExhausted, "out of memory");
}

void VulkanDevice::free(const DeviceBuffer &buffer) {
  auto found = impl->allocations.find(buffer.address);
  if (found == impl->allocations.end())
    return;
  impl->release(found->second);
  impl->allocations.erase(found);
}

//===----------------------------------------------------------------------===//
// Kernels
//===----------------------------------------------------------------------===//

void VulkanDevice::Impl::unload() {
  for (const auto &pipeline : pipelines)
    vk.DestroyPipeline(device, pipeline.second, nullptr);
  pipelines.clear();
  vk.DestroyShaderModule(device, module, nullptr);
  module = VK_NULL_HANDLE;
}

Status VulkanDevice::load(const void *code, size_t numBytes) try {
  if (numBytes == 0 || numBytes % sizeof(uint32_t))
    return Status::error(StatusCode::InvalidArgument,
                         "expected SPIR-V of whole words, got %zu bytes",
                         numBytes);
  std::vector<uint32_t> words(numBytes / sizeof(uint32_t));
  std::memcpy(words.data(), code, numBytes);
  VkShaderModuleCreateInfo info = {};
  info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
  info.codeSize = numBytes;
  info.pCode = words.data();
  impl->unload();
  PAGED_ATTN_VULKAN_CALL(
      "loading a module",
      impl->vk.CreateShaderModule(impl->device, &info, nullptr, &impl->module));
  // The entry points: OpEntryPoint has the name from its fourth word on.
  constexpr uint32_t kEntryPoint = 15, kHeaderWords = 5;
  for (size_t i = kHeaderWords; i < words.size(); i += words[i] >> 16) {
    if (words[i] >> 16 == 0)
      break;
    if ((words[i] & 0xffff) == kEntryPoint)
      impl->pipelines[reinterpret_cast<const char *>(&words[i + 3])] =
          VK_NULL_HANDLE;
  }
  return Status::ok();
} catch (const std::bad_alloc &) {
  return Status::error(StatusCode::ResourceExhausted, "out of memory");
}

Status VulkanDevice::Impl::getPipeline(const char *kernel,
                                       VkPipeline &pipeline) {
  auto found = pipelines.find(kernel);
  if (found == pipelines.end())
    return Status::error(StatusCode::NotFound,
                         "expected a kernel of the module, got '%s'", kernel);
  if (!found->second) {
    VkComputePipelineCreateInfo info = {};
    info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
    info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
    info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
    info.stage.module = module;
    info.stage.pName = kernel;
    info.layout = pipelineLayout;
    PAGED_ATTN_VULKAN_CALL("compiling a kernel",
                           vk.CreateComputePipelines(device, VK_NULL_HANDLE, 1,
                                                     &info, nullptr,
                                                     &found->second));
  }
  pipeline = found->second;
  return Status::ok();
}

/// Writes the arguments of launch `index` and binds them.
Status VulkanDevice::Impl::bindArguments(const DeviceLaunch &launch,
                                         size_t index) {
  size_t numBytes = launch.numArguments * sizeof(uint64_t);
  if (argumentBuffers.size() <= index)
    argumentBuffers.resize(index + 1);
  DeviceBuffer &buffer = argumentBuffers[index];
  if (!buffer.mapped || buffer.numBytes < numBytes) {
    auto old = allocations.find(buffer.address);
    if (old != allocations.end()) {
      release(old->second);
      allocations.erase(old);
      buffer = DeviceBuffer();
    }
    PAGED_ATTN_RETURN_IF_ERROR(allocate(numBytes, buffer));
  }
  if (numBytes > 0)
    std::memcpy(buffer.mapped, launch.arguments, numBytes);
  VkDescriptorSetAllocateInfo setInfo = {};
  setInfo.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
  setInfo.descriptorPool = sets;
  setInfo.descriptorSetCount = 1;
  setInfo.pSetLayouts = &setLayout;
  VkDescriptorSet set = VK_NULL_HANDLE;
  PAGED_ATTN_VULKAN_CALL("making a descriptor set",
                         vk.AllocateDescriptorSets(device, &setInfo, &set));
  VkDescriptorBufferInfo bufferInfo = {allocations[buffer.address].buffer, 0,
                                       VK_WHOLE_SIZE};
  VkWriteDescriptorSet write = {};
  write.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
  write.dstSet = set;
  write.descriptorCount = 1;
  write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
  write.pBufferInfo = &bufferInfo;
  vk.UpdateDescriptorSets(device, 1, &write, 0, nullptr);
  vk.CmdBindDescriptorSets(recording, VK_PIPELINE_BIND_POINT_COMPUTE,
                           pipelineLayout, 0, 1, &set, 0, nullptr);
  return Status::ok();
}

Status VulkanDevice::Impl::record(const DeviceLaunch *launches,
                                  size_t numLaunches) {
  VkMemoryBarrier barrier = {};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT;
  for (size_t i = 0; i < numLaunches; ++i) {
    const DeviceLaunch &launch = launches[i];
    if (launch.grid[0] == 0 || launch.grid[1] == 0 || launch.grid[2] == 0)
      continue;
    VkPipeline pipeline = VK_NULL_HANDLE;
    PAGED_ATTN_RETURN_IF_ERROR(getPipeline(launch.kernel, pipeline));
    vk.CmdBindPipeline(recording, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    PAGED_ATTN_RETURN_IF_ERROR(bindArguments(launch, i));
    vk.CmdDispatch(recording, launch.grid[0], launch.grid[1], launch.grid[2]);
    barrier.dstAccessMask =
        VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
    vk.CmdPipelineBarrier(recording, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                          VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &barrier,
                          0, nullptr, 0, nullptr);
  }
  barrier.dstAccessMask = VK_ACCESS_HOST_READ_BIT;
  vk.CmdPipelineBarrier(recording, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                        VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0, nullptr,
                        0, nullptr);
  return Status::ok();
}

Status VulkanDevice::run(const DeviceLaunch *launches, size_t numLaunches) try {
  if (numLaunches > kMostLaunches)
    return Status::error(StatusCode::InvalidArgument,
                         "expected at most %u launches, got %zu", kMostLaunches,
                         numLaunches);
  if (!impl->module)
    return Status::error(StatusCode::FailedPrecondition,
                         "expected a loaded module, got none");
  const VulkanLoader &vk = impl->vk;
  PAGED_ATTN_VULKAN_CALL("resetting descriptors",
                         vk.ResetDescriptorPool(impl->device, impl->sets, 0));
  PAGED_ATTN_VULKAN_CALL("resetting commands",
                         vk.ResetCommandPool(impl->device, impl->commands, 0));
  VkCommandBufferBeginInfo begin = {};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  begin.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  PAGED_ATTN_VULKAN_CALL("recording",
                         vk.BeginCommandBuffer(impl->recording, &begin));
  PAGED_ATTN_RETURN_IF_ERROR(impl->record(launches, numLaunches));
  PAGED_ATTN_VULKAN_CALL("recording", vk.EndCommandBuffer(impl->recording));
  VkSubmitInfo submit = {};
  submit.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  submit.commandBufferCount = 1;
  submit.pCommandBuffers = &impl->recording;
  PAGED_ATTN_VULKAN_CALL(
      "launching", vk.QueueSubmit(impl->queue, 1, &submit, VK_NULL_HANDLE));
  PAGED_ATTN_VULKAN_CALL("waiting", vk.QueueWaitIdle(impl->queue));
  return Status::ok();
} catch (const std::bad_alloc &) {
  return Status::error(StatusCode::ResourceExhausted, "out of memory");
}
