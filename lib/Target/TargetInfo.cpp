//===- TargetInfo.cpp - What the compiler knows of a CPU ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reads the host or a named CPU by LLVM's own tables.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Target/TargetInfo.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/SubtargetFeature.h"
#include "llvm/TargetParser/Triple.h"

#include <memory>
#include <unistd.h>

using namespace mlir::paged_attn;

/// Sets `bytes` to what the system says about a cache, if it says anything.
static void readCache(int name, int64_t &bytes) {
  long value = sysconf(name);
  if (value > 0)
    bytes = value;
}

static void readHost(TargetInfo &info) {
  info.cpu = llvm::sys::getHostCPUName().str();
  llvm::SubtargetFeatures features;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    features.AddFeature(feature.getKey(), feature.getValue());
  info.features = features.getString();
#ifdef _SC_LEVEL1_DCACHE_SIZE
  readCache(_SC_LEVEL1_DCACHE_SIZE, info.l1Bytes);
  readCache(_SC_LEVEL2_CACHE_SIZE, info.l2Bytes);
  readCache(_SC_LEVEL3_CACHE_SIZE, info.l3Bytes);
#endif
}

/// Width and number of vector registers of `subtarget`.
static void readVectors(const llvm::Triple &triple,
                        const llvm::MCSubtargetInfo &subtarget,
                        TargetInfo &info) {
  if (!triple.isX86()) {
    info.vectorBits = 128;
    info.registers = 32;
    return;
  }
  if (subtarget.checkFeatures("+avx512f,+avx512vl")) {
    info.vectorBits = 512;
    info.registers = 32;
    info.hasInt8Dot = subtarget.checkFeatures("+avx512vnni");
    return;
  }
  info.hasInt8Dot = subtarget.checkFeatures("+avxvnni");
  info.hasFma = subtarget.checkFeatures("+fma");
  info.vectorBits = subtarget.checkFeatures("+avx") ? 256 : 128;
  info.registers = 16;
}

std::optional<TargetInfo> TargetInfo::get(std::string_view cpu,
                                          std::string &error) {
  llvm::InitializeNativeTarget();
  TargetInfo info;
  info.triple = llvm::sys::getProcessTriple();
  if (cpu.empty() || cpu == "native")
    readHost(info);
  else
    info.cpu = std::string(cpu);

  llvm::Triple triple(info.triple);
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return std::nullopt;
  // Asked without a CPU first: LLVM prints its own text for unknown names.
  std::unique_ptr<llvm::MCSubtargetInfo> generic(
      target->createMCSubtargetInfo(triple, "", ""));
  if (!generic || !generic->isCPUStringValid(info.cpu)) {
    error = "expected cpu to be native or a CPU of " +
            triple.getArchName().str() + ", got '" + info.cpu + "'";
    return std::nullopt;
  }
  std::unique_ptr<llvm::MCSubtargetInfo> subtarget(
      target->createMCSubtargetInfo(triple, info.cpu, info.features));
  readVectors(triple, *subtarget, info);
  return info;
}
