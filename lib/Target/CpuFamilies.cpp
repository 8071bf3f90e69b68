//===- CpuFamilies.cpp - Rates and caches that no feature bit tells -------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sources of the rates:
//   [m] measured: 24 independent accumulators of the native width, one thread;
//       bench/results/instruction-rates.json
//   [s] issue rates of LLVM 22's scheduling model of the CPU times the products
//       of an instruction; scripts/instruction_rates.py prints them
//   [a] operations per cycle and core in Intel's AMX brief: 1024 of bf16, 2048
//       of int8, against 64 of f32 FMA
// Caches: the vendors' data sheets, the smallest variant of a family.
//
//===----------------------------------------------------------------------===//

#include "CpuFamilies.h"

#include <string>

using namespace mlir::paged_attn;

namespace {

/// Rates are 1 (no gain) where neither source is there. A unit that the CPU
/// does not have is dropped by its feature bit, whatever stands here.
constexpr CpuFamily kFamilies[] = {
    // Intel. VNNI issues on the ports of the FMA [s]; vdpbf16ps once in two
    // cycles, fp16 at 1.9 and VNNI at 4.3 times f32 on Emerald Rapids [m].
    {"haswell",
     " haswell broadwell skylake core-avx2 x86-64-v3 ",
     {1, 1, 1, 1, 1},
     32,
     256,
     8192,
     0},
    {"skylake-server",
     " skylake-avx512 skx cascadelake cooperlake x86-64-v4 ",
     {1, 1, 4, 1, 1},
     32,
     1024,
     16384,
     0},
    {"icelake",
     " icelake-client icelake-server tigerlake rocketlake ",
     {1, 1, 4, 1, 1},
     48,
     512,
     16384,
     0},
    {"alderlake",
     " alderlake raptorlake meteorlake arrowlake arrowlake-s lunarlake ",
     {1, 1, 4, 1, 1},
     48,
     1280,
     12288,
     0},
    {"sapphirerapids",
     " sapphirerapids emeraldrapids graniterapids graniterapids-d ",
     {1.9, 0.5, 4.3, 16, 32},
     48,
     2048,
     16384,
     0},
    // AMD. Zen 5: vdpbf16ps and vpdpbusd issue like FMA [m]. Zen 4: VNNI as on
    // Zen 5; no source for vdpbf16ps.
    {"zen2", " znver1 znver2 znver3 ", {1, 1, 1, 1, 1}, 32, 512, 16384, 0},
    {"zen4", " znver4 ", {1, 1, 4, 1, 1}, 32, 1024, 16384, 0},
    {"zen5", " znver5 ", {1, 2, 4, 1, 1}, 48, 1024, 16384, 0},
    // Arm: every dot and matrix instruction issues like fmla [s].
    {"neoverse-n1",
     " cortex-a76 cortex-a76ae cortex-a77 cortex-a78 cortex-a78ae cortex-a78c "
     "cortex-x1 cortex-x1c neoverse-n1 ",
     {2, 1, 4, 1, 1},
     64,
     512,
     4096,
     0},
    {"neoverse-n2",
     " neoverse-n2 neoverse-n3 cobalt-100 cortex-a710 cortex-a715 cortex-a720 "
     "cortex-a725 cortex-x2 ",
     {2, 2, 4, 4, 8},
     64,
     512,
     8192,
     0},
    {"neoverse-v1", " neoverse-v1 ", {2, 2, 4, 4, 8}, 64, 1024, 32768, 256},
    {"neoverse-v2",
     " neoverse-v2 neoverse-v3 neoverse-v3ae grace cortex-x3 cortex-x4 "
     "cortex-x925 ",
     {2, 2, 4, 4, 8},
     64,
     1024,
     32768,
     0},
    {"a64fx", " a64fx ", {2, 1, 4, 1, 1}, 64, 8192, 0, 512},
    {"ampere1",
     " ampere1 ampere1a ampere1b ",
     {2, 2, 4, 2, 4},
     64,
     2048,
     16384,
     0},
};

constexpr CpuFamily kOther = {"other", "", {1, 1, 1, 1, 1}, 32, 512, 8192, 0};

} // namespace

const CpuFamily &mlir::paged_attn::findCpuFamily(std::string_view cpu) {
  std::string name = " " + std::string(cpu) + " ";
  for (const CpuFamily &family : kFamilies)
    if (family.cpus.find(name) != std::string_view::npos)
      return family;
  return kOther;
}
