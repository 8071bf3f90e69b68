//===- TargetInfo.h - What the compiler knows of a CPU ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Read from the machine it runs on, or from the name of a CPU. Tile sizes and
// the choice of instructions come from here: docs/Targets.md. No LLVM types.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TARGET_TARGETINFO_H
#define PAGED_ATTN_TARGET_TARGETINFO_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace mlir::paged_attn {

/// An instruction that could take the place of f32 FMA.
struct Unit {
  /// The CPU has it at the native vector width (a matrix unit: at all).
  bool present = false;
  /// Multiply-adds per second relative to f32 FMA; 0 when not present. For
  /// CPUs without a row in the table 1: no gain that could be promised.
  double rate = 0;

  /// Whether code should use it: below this gain the conversions that it needs
  /// cost more than it saves.
  bool paysOff() const { return present && rate >= kLeastGain; }
  static constexpr double kLeastGain = 1.5;
};

/// One CPU target.
struct TargetInfo {
  std::string triple;            ///< e.g. "x86_64-unknown-linux-gnu"
  std::string cpu;               ///< as LLVM names it, e.g. "sapphirerapids"
  std::string features;          ///< "+avx2,-sse4a,..."; empty: those of `cpu`
  std::string family = "other";  ///< row of the table in docs/Targets.md
  int64_t vectorBits = 128;      ///< widest native vector: 128, 256 or 512
  int64_t registers = 16;        ///< vector registers: 16 or 32
  int64_t sveBits = 0;           ///< SVE registers of this width; 0: not used
  bool hasFma = true;            ///< fused multiply-add of f32 vectors
  bool hasHalfConversion = true; ///< f16 <-> f32 vectors in one instruction

  Unit fp16Fma;    ///< f16 FMA (AVX512-FP16, FEAT_FP16)
  Unit bf16Dot;    ///< pairs of bf16 into f32 (AVX512-BF16, FEAT_BF16)
  Unit int8Dot;    ///< fours of int8 into i32 (VNNI, FEAT_DotProd)
  Unit bf16Matrix; ///< tiles of bf16 into f32 (AMX, BFMMLA)
  Unit int8Matrix; ///< tiles of int8 into i32 (AMX, SMMLA)

  int64_t l1Bytes = 32 * 1024;         ///< data cache of a core
  int64_t l2Bytes = 512 * 1024;        ///< second-level cache of a core
  int64_t l3Bytes = 8LL * 1024 * 1024; ///< last-level cache; 0: none
  int64_t cores = 0; ///< that this process may use; 0: not of this machine

  bool isX86() const { return triple.compare(0, 6, "x86_64") == 0; }
  bool isAArch64() const { return triple.compare(0, 7, "aarch64") == 0; }

  /// `native` or an empty name reads the machine, features and caches too; any
  /// other name is a CPU of `triple`. An empty triple: the machine's, or that
  /// of the other architecture when only that one has such a CPU. With a
  /// triple of another architecture `native` is its plainest CPU. Nothing and
  /// a one-line `error` for names that LLVM does not know.
  static std::optional<TargetInfo> get(std::string_view cpu, std::string &error,
                                       std::string_view triple = {});

  /// Empty when this machine can run code for the target, else one line.
  std::string whyNotHere() const;

  /// All of the above, one `name: value` a line.
  std::string print() const;
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_TARGET_TARGETINFO_H
