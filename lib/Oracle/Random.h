//===- Random.h - Reproducible random numbers -------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A counter-like generator: each row of data seeds its own stream from its
// logical place, so rows can be filled in any order and by any thread.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_ORACLE_RANDOM_H
#define PAGED_ATTN_LIB_ORACLE_RANDOM_H

#include <cstdint>
#include <initializer_list>

namespace paged_attn::oracle {

/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", OOPSLA 2014).
class Random {
public:
  /// A stream that depends on all of `keys`.
  explicit Random(std::initializer_list<uint64_t> keys) {
    for (uint64_t key : keys)
      state_ = mix(state_ + kGamma + key);
  }

  uint64_t next() { return mix(state_ += kGamma); }

  /// Uniform in [0, bound); the bias of the modulus is below bound / 2^64.
  uint64_t below(uint64_t bound) { return next() % bound; }

  /// Uniform in (0, 1], a multiple of 2^-24.
  double uniform() { return static_cast<double>((next() >> 40) + 1) * 0x1p-24; }

  /// Nearly normal with standard deviation 1, at most 3.47 in magnitude: the
  /// sum of four uniform 16-bit numbers, centred (Irwin-Hall). One rounding,
  /// so the bits do not depend on a math library.
  double normal() {
    constexpr double kCentre = 2 * 65535.0;
    constexpr double kPerDeviation = 1 / 37837.227; // 65536 * sqrt(4 / 12)
    uint64_t bits = next();
    uint64_t sum = (bits & 0xffff) + (bits >> 16 & 0xffff) +
                   (bits >> 32 & 0xffff) + (bits >> 48);
    return (static_cast<double>(sum) - kCentre) * kPerDeviation;
  }

private:
  static constexpr uint64_t kGamma = 0x9e3779b97f4a7c15;

  static uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t state_ = 0;
};

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_LIB_ORACLE_RANDOM_H
