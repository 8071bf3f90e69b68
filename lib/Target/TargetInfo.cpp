//===- TargetInfo.cpp - What the compiler knows of a CPU ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Features come from LLVM's tables or from the machine, rates and the caches
// of named CPUs from the table of families.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Target/TargetInfo.h"

#include "Backends.h"
#include "CpuFamilies.h"

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/TargetParser/Host.h"
#include "llvm/TargetParser/SubtargetFeature.h"
#include "llvm/TargetParser/Triple.h"

#include <fstream>
#include <map>
#include <memory>
#include <sched.h>
#include <sys/prctl.h>
#include <unistd.h>

using namespace mlir::paged_attn;

namespace {

/// The architectures that have rows, as triples of Linux.
constexpr const char *kTriples[] = {"x86_64-unknown-linux-gnu",
                                    "aarch64-unknown-linux-gnu"};

//===----------------------------------------------------------------------===//
// The machine
//===----------------------------------------------------------------------===//

/// The first line of a file, empty when it cannot be read.
std::string readLine(const std::string &path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

/// Caches of the first processor, as far as the system tells.
void readHostCaches(TargetInfo &info) {
  for (int index = 0;; ++index) {
    std::string folder =
        "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(index);
    std::string level = readLine(folder + "/level");
    if (level.empty())
      return;
    int64_t kib = 0; // "48K"
    std::string sizeText = readLine(folder + "/size");
    llvm::StringRef size(sizeText);
    if (readLine(folder + "/type") == "Instruction" ||
        size.consumeInteger(10, kib) || size != "K")
      continue;
    if (level == "1")
      info.l1Bytes = kib * 1024;
    if (level == "2")
      info.l2Bytes = kib * 1024;
    if (level == "3")
      info.l3Bytes = kib * 1024;
  }
}

/// Processors that the scheduler may give to this process.
int64_t countCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0)
    return CPU_COUNT(&set);
  return std::max<long>(1, sysconf(_SC_NPROCESSORS_ONLN));
}

/// Width of the SVE registers that this process sees, 0 without them.
int64_t readHostSveBits() {
#ifdef PR_SVE_GET_VL
  int length = prctl(PR_SVE_GET_VL);
  if (length > 0)
    return 8 * (length & PR_SVE_VL_LEN_MASK);
#endif
  return 0;
}

std::string hostFeatures() {
  std::map<std::string, bool> sorted;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    sorted[feature.getKey().str()] = feature.getValue();
  llvm::SubtargetFeatures features;
  for (const auto &[name, isThere] : sorted)
    features.AddFeature(name, isThere);
  return features.getString();
}

/// Whether code of ours can hold instructions of an x86 feature; the others
/// (for system code, cryptography, ...) may be hidden from virtual machines.
bool isArithmetic(llvm::StringRef feature) {
  for (llvm::StringRef prefix :
       {"sse", "ssse", "avx", "fma", "f16c", "amx", "bmi", "lzcnt", "popcnt",
        "movbe", "cmov", "adx", "gfni", "tbm", "xop", "egpr", "ndd", "64bit"})
    if (feature.starts_with(prefix))
      return true;
  return false;
}

//===----------------------------------------------------------------------===//
// Features and rows
//===----------------------------------------------------------------------===//

std::unique_ptr<llvm::MCSubtargetInfo> createSubtarget(llvm::StringRef triple,
                                                       llvm::StringRef cpu,
                                                       llvm::StringRef features,
                                                       std::string &error) {
  initializeBackends();
  llvm::Triple parsed(triple);
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(parsed, error);
  if (!target)
    return nullptr;
  return std::unique_ptr<llvm::MCSubtargetInfo>(
      target->createMCSubtargetInfo(parsed, cpu, features));
}

/// The plainest CPU of an architecture.
std::string baselineCpu(const llvm::Triple &triple) {
  return triple.isX86() ? "x86-64" : "generic";
}

/// Whether `cpu` is one that 64-bit code of `triple` can be made for. Asked
/// without a CPU first: LLVM prints its own text for unknown names.
bool knowsCpu(llvm::StringRef triple, llvm::StringRef cpu) {
  std::string ignored;
  auto generic = createSubtarget(triple, "", "", ignored);
  if (!generic || !generic->isCPUStringValid(cpu))
    return false;
  return !llvm::Triple(triple).isX86() ||
         createSubtarget(triple, cpu, "", ignored)->checkFeatures("+64bit");
}

/// Sets triple and cpu (features too for the machine itself).
bool chooseCpu(TargetInfo &info, llvm::StringRef cpu, llvm::StringRef triple,
               std::string &error) {
  llvm::Triple host(llvm::sys::getProcessTriple());
  llvm::Triple wanted(triple.empty() ? host.str()
                                     : llvm::Triple::normalize(triple));
  if (!wanted.isX86() && !wanted.isAArch64()) {
    error = "expected triple to be one of x86_64 or aarch64, got '" +
            wanted.str() + "'";
    return false;
  }
  info.triple = wanted.str();
  if (cpu.empty() || cpu == "native") {
    bool isHost = wanted.getArch() == host.getArch();
    info.cpu = isHost ? llvm::sys::getHostCPUName().str() : baselineCpu(wanted);
    if (isHost)
      info.features = hostFeatures();
    return true;
  }
  info.cpu = cpu.str();
  if (knowsCpu(info.triple, cpu))
    return true;
  if (triple.empty())
    for (const char *other : kTriples)
      if (knowsCpu(other, cpu)) {
        info.triple = other;
        return true;
      }
  error = "expected cpu to be native or a CPU of " +
          (triple.empty() ? "x86_64 or aarch64" : wanted.getArchName().str()) +
          ", got '" + cpu.str() + "'";
  return false;
}

/// Width and number of vector registers.
void readVectors(const llvm::MCSubtargetInfo &subtarget, TargetInfo &info) {
  if (info.isAArch64()) {
    bool hasSve = subtarget.checkFeatures("+sve");
    info.sveBits = hasSve ? info.sveBits : 0;
    info.vectorBits = std::max<int64_t>(128, info.sveBits);
    info.registers = 32;
    return;
  }
  info.sveBits = 0;
  info.hasFma = subtarget.checkFeatures("+fma");
  info.hasHalfConversion = subtarget.checkFeatures("+f16c");
  info.registers = 16;
  info.vectorBits = subtarget.checkFeatures("+avx") ? 256 : 128;
  if (subtarget.checkFeatures("+avx512f,+avx512vl")) {
    info.vectorBits = 512;
    info.registers = 32;
  }
}

void readUnits(const llvm::MCSubtargetInfo &subtarget, const UnitRates &rates,
               TargetInfo &info) {
  auto unit = [&](llvm::StringRef features, double rate) {
    bool isPresent = subtarget.checkFeatures(features);
    return Unit{isPresent, isPresent ? rate : 0};
  };
  if (info.isAArch64()) {
    info.fp16Fma = unit("+fullfp16", rates.fp16Fma);
    info.bf16Dot = unit("+bf16", rates.bf16Dot);
    info.int8Dot = unit("+dotprod", rates.int8Dot);
    info.bf16Matrix = unit("+bf16", rates.bf16Matrix);
    info.int8Matrix = unit("+i8mm", rates.int8Matrix);
    return;
  }
  info.fp16Fma = unit("+avx512fp16", rates.fp16Fma);
  info.bf16Dot = unit("+avx512bf16,+avx512vl", rates.bf16Dot);
  info.int8Dot =
      unit(info.vectorBits == 512 ? "+avx512vnni" : "+avxvnni", rates.int8Dot);
  info.bf16Matrix = unit("+amx-bf16", rates.bf16Matrix);
  info.int8Matrix = unit("+amx-int8", rates.int8Matrix);
}

} // namespace

std::optional<TargetInfo> TargetInfo::get(std::string_view cpu,
                                          std::string &error,
                                          std::string_view triple) {
  initializeBackends();
  TargetInfo info;
  if (!chooseCpu(info, cpu, triple, error))
    return std::nullopt;
  auto subtarget = createSubtarget(info.triple, info.cpu, info.features, error);
  if (!subtarget)
    return std::nullopt;
  const CpuFamily &family = findCpuFamily(info.cpu);
  info.family = family.name;
  info.l1Bytes = family.l1KiB * 1024;
  info.l2Bytes = family.l2KiB * 1024;
  info.l3Bytes = family.l3KiB * 1024;
  info.sveBits = family.sveBits;
  if (!info.features.empty()) {
    readHostCaches(info);
    info.cores = countCores();
    if (info.sveBits != readHostSveBits())
      info.sveBits = 0;
  }
  readVectors(*subtarget, info);
  readUnits(*subtarget, family.rates, info);
  return info;
}

std::string TargetInfo::whyNotHere() const {
  llvm::Triple host(llvm::sys::getProcessTriple()), wanted(triple);
  if (host.getArch() != wanted.getArch())
    return "expected a CPU of this machine's " + host.getArchName().str() +
           ", got '" + cpu + "' of " + wanted.getArchName().str();
  if (sveBits && sveBits != readHostSveBits())
    return "expected a CPU with the vectors of this machine, got '" + cpu +
           "' with SVE of " + std::to_string(sveBits) + " bits";
  std::string error;
  auto subtarget = createSubtarget(triple, cpu, features, error);
  if (!subtarget)
    return error;
  llvm::StringSet<> enabled;
  for (const llvm::SubtargetFeatureKV &feature :
       subtarget->getEnabledProcessorFeatures())
    enabled.insert(feature.Key);
  std::string missing;
  for (const auto &feature : llvm::sys::getHostCPUFeatures())
    if (!feature.getValue() && enabled.contains(feature.getKey()) &&
        (!isX86() || isArithmetic(feature.getKey())))
      if (missing.empty() || feature.getKey() < missing)
        missing = feature.getKey().str();
  if (missing.empty())
    return "";
  return "expected a CPU whose instructions this machine has, got '" + cpu +
         "' with " + missing;
}

std::string TargetInfo::print() const {
  std::string text;
  llvm::raw_string_ostream os(text);
  auto flag = [](bool value) { return value ? "yes" : "no"; };
  auto unit = [&](const char *name, const Unit &unit) {
    os << name << ": ";
    if (!unit.present)
      os << "no\n";
    else
      os << llvm::format("%.2g", unit.rate) << " of f32 FMA, "
         << (unit.paysOff() ? "used" : "not used") << "\n";
  };
  auto cache = [&](const char *name, int64_t bytes) {
    os << name << ": " << bytes / 1024 << " KiB\n";
  };
  os << "triple: " << triple << "\ncpu: " << cpu << "\nfamily: " << family
     << "\nfeatures: " << (features.empty() ? "of the cpu" : features)
     << "\nvector bits: " << vectorBits << "\nvector registers: " << registers
     << "\nsve bits: " << sveBits << "\nfma: " << flag(hasFma)
     << "\nf16 conversion: " << flag(hasHalfConversion) << "\n";
  unit("fp16 fma", fp16Fma);
  unit("bf16 dot", bf16Dot);
  unit("int8 dot", int8Dot);
  unit("bf16 matrix", bf16Matrix);
  unit("int8 matrix", int8Matrix);
  cache("l1", l1Bytes);
  cache("l2", l2Bytes);
  cache("l3", l3Bytes);
  os << "cores: ";
  if (cores)
    os << cores << "\n";
  else
    os << "unknown\n";
  return text;
}
