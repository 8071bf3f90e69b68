//===- CpuFamilies.h - Rates and caches that no feature bit tells -*- C++ -*-=//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One row per family of CPUs. Private to lib/Target.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_TARGET_CPUFAMILIES_H
#define PAGED_ATTN_LIB_TARGET_CPUFAMILIES_H

#include <cstdint>
#include <string_view>

namespace mlir::paged_attn {

/// Multiply-adds per second, relative to f32 FMA at the native width.
struct UnitRates {
  double fp16Fma, bf16Dot, int8Dot, bf16Matrix, int8Matrix;
};

/// What the CPUs of one design share.
struct CpuFamily {
  std::string_view name;
  std::string_view cpus; ///< LLVM's names, between single spaces
  UnitRates rates;
  int64_t l1KiB, l2KiB, l3KiB; ///< of a core; the last one of a socket
  int64_t sveBits;             ///< width of its SVE registers; 0: use NEON
};

/// The row of `cpu`, or the one for all others.
const CpuFamily &findCpuFamily(std::string_view cpu);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_TARGET_CPUFAMILIES_H
