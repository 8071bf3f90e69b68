//===- ExecuteVulkan.cpp - Compile, run and check on Vulkan ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The oracle's problem is copied to a device, the compiled launches are run,
// and what they wrote is judged like the CPU's answer.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include "paged_attn/Check/ProblemCall.h"

#include <cassert>
#include <chrono>
#include <cstring>

using namespace paged_attn_run;
using namespace compiler;
using ::paged_attn::DeviceBuffer;
using ::paged_attn::DeviceLaunch;
using ::paged_attn::Status;
using ::paged_attn::VulkanDevice;

namespace {

/// Rounds of a benchmark; the best one counts.
constexpr int kBenchRounds = 10;

/// The buffers of a problem on a device, freed at the end.
class DeviceBuffers {
public:
  explicit DeviceBuffers(VulkanDevice &device) : device(device) {}
  ~DeviceBuffers() {
    for (const auto &entry : buffers)
      device.free(entry.second.onDevice);
  }

  /// Copies every buffer of `function` to the device.
  Status upload(const FunctionInfo &function, const Arguments &arguments);
  /// Copies `out` and `lse` back.
  void download();
  uint64_t addressOf(const std::string &name) {
    return buffers[name].onDevice.address;
  }

private:
  struct Pair {
    DeviceBuffer onDevice;
    void *onHost = nullptr;
  };
  VulkanDevice &device;
  std::map<std::string, Pair> buffers;
};

} // namespace

/// Bytes of a buffer of `info`.
static size_t countBytes(const ArgumentInfo &info, const Argument &argument) {
  size_t bytes = info.elementType == "i64"   ? 8
                 : info.elementType == "f32" ? 4
                 : info.elementType == "i32" ? 4
                                             : 2;
  for (int64_t size : argument.sizes)
    bytes *= static_cast<size_t>(size);
  return bytes;
}

Status DeviceBuffers::upload(const FunctionInfo &function,
                             const Arguments &arguments) {
  for (const ArgumentInfo &info : function.arguments) {
    if (info.kind != ArgumentInfo::Kind::Buffer)
      continue;
    const Argument &argument = arguments.find(info.name)->second;
    Pair &pair = buffers[info.name];
    pair.onHost = argument.data;
    size_t bytes = countBytes(info, argument);
    PAGED_ATTN_RETURN_IF_ERROR(device.allocate(bytes, pair.onDevice));
    if (bytes > 0)
      std::memcpy(pair.onDevice.mapped, argument.data, bytes);
  }
  return Status::ok();
}

void DeviceBuffers::download() {
  for (const char *name : {"out", "lse"}) {
    auto found = buffers.find(name);
    if (found != buffers.end() && found->second.onDevice.numBytes > 0)
      std::memcpy(found->second.onHost, found->second.onDevice.mapped,
                  found->second.onDevice.numBytes);
  }
}

/// The launches as the device takes them; `integers` owns the arguments.
static std::vector<DeviceLaunch>
makeLaunches(const std::vector<GPULaunch> &plan, DeviceBuffers &buffers,
             std::vector<std::vector<uint64_t>> &integers) {
  std::vector<DeviceLaunch> launches;
  for (const GPULaunch &launch : plan) {
    integers.emplace_back();
    for (const GPUOperand &operand : launch.operands)
      integers.back().push_back(operand.buffer.empty()
                                    ? static_cast<uint64_t>(operand.value)
                                    : buffers.addressOf(operand.buffer));
    DeviceLaunch result;
    result.kernel = launch.kernel.c_str();
    for (int dim = 0; dim < 3; ++dim)
      result.grid[dim] = static_cast<uint32_t>(launch.grid[dim]);
    result.arguments = integers.back().data();
    result.numArguments = integers.back().size();
    launches.push_back(result);
  }
  return launches;
}

GPUPipelineOptions
paged_attn_run::makeVulkanOptions(const RunOptions &options) {
  GPUPipelineOptions pipeline;
  pipeline.target = GPUTarget::Spirv;
  pipeline.subgroupSize = options.vulkan->subgroupSize();
  return pipeline;
}

std::optional<Outcome>
paged_attn_run::runOnVulkan(const Configuration &configuration,
                            const RunOptions &options, const GPUProgram *shared,
                            std::string &error) {
  std::optional<oracle::ProblemSpec> spec =
      makeSpec(configuration, options, error);
  if (!spec)
    return std::nullopt;
  VulkanDevice &device = *options.vulkan;
  std::unique_ptr<GPUProgram> owned;
  if (!shared) {
    owned = GPUProgram::compile(buildModule(configuration.kernel), "spec",
                                makeVulkanOptions(options), error);
    if (!owned)
      return std::nullopt;
    shared = owned.get();
  }
  const FunctionInfo *function =
      findFunction(shared->getFunctions(), configuration.kernel.name);
  assert(function && "specs name public functions");
  applyStaticSizes(*function, configuration.kernel, *spec);
  std::optional<oracle::Problem> problem =
      oracle::makeProblem(*spec, configuration.seed, error);
  if (!problem)
    return std::nullopt;
  Arguments arguments = makeArguments(*problem);
  std::optional<std::vector<GPULaunch>> plan =
      shared->plan(*function, arguments, error);
  if (!plan)
    return std::nullopt;
  error = checkCall(arguments, makeLimits(problem->spec));
  if (!error.empty())
    return std::nullopt;

  DeviceBuffers buffers(device);
  std::vector<std::vector<uint64_t>> integers;
  Outcome outcome;
  auto work = [&]() -> Status {
    PAGED_ATTN_RETURN_IF_ERROR(
        device.load(shared->getCode().data(), shared->getCode().size()));
    PAGED_ATTN_RETURN_IF_ERROR(buffers.upload(*function, arguments));
    std::vector<DeviceLaunch> launches = makeLaunches(*plan, buffers, integers);
    // The first round compiles for the device.
    int rounds = options.bench ? 1 + kBenchRounds : 1;
    for (int round = 0; round < rounds; ++round) {
      auto begin = std::chrono::steady_clock::now();
      PAGED_ATTN_RETURN_IF_ERROR(device.run(launches.data(), launches.size()));
      std::chrono::duration<double> elapsed =
          std::chrono::steady_clock::now() - begin;
      outcome.seconds = round < 2 ? elapsed.count()
                                  : std::min(outcome.seconds, elapsed.count());
    }
    return Status::ok();
  };
  if (Status status = work(); !status.isOk()) {
    error = status.message();
    return std::nullopt;
  }
  buffers.download();
  judgeOutcome(*problem, options, outcome);
  return outcome;
}
