//===- TargetInfo.h - What the compiler knows of a CPU ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Read from the machine it runs on, or from the name of a CPU. Every tile size
// comes from here. No LLVM types.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TARGET_TARGETINFO_H
#define PAGED_ATTN_TARGET_TARGETINFO_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mlir::paged_attn {

/// One CPU target.
struct TargetInfo {
  std::string triple;            ///< e.g. "x86_64-unknown-linux-gnu"
  std::string cpu;               ///< as LLVM names it, e.g. "sapphirerapids"
  std::string features;          ///< "+avx2,-sse4a,..."; empty: those of `cpu`
  int64_t vectorBits = 128;      ///< widest native vector: 128, 256 or 512
  int64_t registers = 16;        ///< vector registers: 16 or 32
  bool hasFma = true;            ///< fused multiply-add of f32 vectors
  bool hasInt8Dot = false;       ///< fours of int8 into i32 (x86 vpdpbusd)
  int64_t l1Bytes = 32 * 1024;   ///< data cache of a core
  int64_t l2Bytes = 1024 * 1024; ///< second-level cache of a core
  int64_t l3Bytes = 8LL * 1024 * 1024; ///< last-level cache

  /// `native` or an empty name reads the machine, features and caches too;
  /// any other name is a CPU of the machine's architecture. Nothing and a
  /// one-line `error` for names that LLVM does not know.
  static std::optional<TargetInfo> get(std::string_view cpu,
                                       std::string &error);
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_TARGET_TARGETINFO_H
