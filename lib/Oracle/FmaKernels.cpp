//===- FmaKernels.cpp - Multiply-adds in registers ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Enough accumulators to cover latency 4 times 2 pipes (x86: 8 needed) or 4
// pipes (Arm: 16), few enough to stay in registers. Without fast math a
// compiler may not shorten a chain of float operations.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace paged_attn::oracle {

#if defined(__x86_64__)

/// 32 registers: 16 accumulators and two operands.
__attribute__((target("avx512f"))) static float
fmaAvx512(int64_t numSteps, float factor, float addend) {
  __m512 x = _mm512_set1_ps(factor), y = _mm512_set1_ps(addend), a[16];
  for (int k = 0; k < 16; ++k)
    a[k] = _mm512_set1_ps(static_cast<float>(k));
  for (int64_t i = 0; i < numSteps; ++i)
    for (int k = 0; k < 16; ++k)
      a[k] = _mm512_fmadd_ps(a[k], x, y);
  for (int k = 1; k < 16; ++k)
    a[0] = _mm512_add_ps(a[0], a[k]);
  return _mm512_cvtss_f32(a[0]);
}

/// 16 registers: 12 accumulators and two operands.
__attribute__((target("avx2,fma"))) static float
fmaAvx2(int64_t numSteps, float factor, float addend) {
  __m256 x = _mm256_set1_ps(factor), y = _mm256_set1_ps(addend), a[12];
  for (int k = 0; k < 12; ++k)
    a[k] = _mm256_set1_ps(static_cast<float>(k));
  for (int64_t i = 0; i < numSteps; ++i)
    for (int k = 0; k < 12; ++k)
      a[k] = _mm256_fmadd_ps(a[k], x, y);
  for (int k = 1; k < 12; ++k)
    a[0] = _mm256_add_ps(a[0], a[k]);
  return _mm256_cvtss_f32(a[0]);
}

/// No FMA in the baseline: a multiplication and an addition.
static float fmaSse2(int64_t numSteps, float factor, float addend) {
  __m128 x = _mm_set1_ps(factor), y = _mm_set1_ps(addend), a[12];
  for (int k = 0; k < 12; ++k)
    a[k] = _mm_set1_ps(static_cast<float>(k));
  for (int64_t i = 0; i < numSteps; ++i)
    for (int k = 0; k < 12; ++k)
      a[k] = _mm_add_ps(_mm_mul_ps(a[k], x), y);
  for (int k = 1; k < 12; ++k)
    a[0] = _mm_add_ps(a[0], a[k]);
  return _mm_cvtss_f32(a[0]);
}

FmaKernel selectFmaKernel() {
  if (__builtin_cpu_supports("avx512f"))
    return {fmaAvx512, 16 * 16 * 2, "avx512f"};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {fmaAvx2, 12 * 8 * 2, "avx2+fma"};
  return {fmaSse2, 12 * 4 * 2, "sse2"};
}

#elif defined(__aarch64__)

static float fmaNeon(int64_t numSteps, float factor, float addend) {
  float32x4_t x = vdupq_n_f32(factor), y = vdupq_n_f32(addend), a[16];
  for (int k = 0; k < 16; ++k)
    a[k] = vdupq_n_f32(static_cast<float>(k));
  // The accumulator is a factor as on x86; vfmaq adds to its first operand.
  for (int64_t i = 0; i < numSteps; ++i)
    for (int k = 0; k < 16; ++k)
      a[k] = vfmaq_f32(y, a[k], x);
  for (int k = 1; k < 16; ++k)
    a[0] = vaddq_f32(a[0], a[k]);
  return vgetq_lane_f32(a[0], 0);
}

FmaKernel selectFmaKernel() { return {fmaNeon, 16 * 4 * 2, "neon"}; }

#else

static float fmaPortable(int64_t numSteps, float factor, float addend) {
  float a[16];
  for (int k = 0; k < 16; ++k)
    a[k] = static_cast<float>(k);
  for (int64_t i = 0; i < numSteps; ++i)
    for (int k = 0; k < 16; ++k)
      a[k] = a[k] * factor + addend;
  for (int k = 1; k < 16; ++k)
    a[0] += a[k];
  return a[0];
}

FmaKernel selectFmaKernel() { return {fmaPortable, 16 * 2, "portable"}; }

#endif

} // namespace paged_attn::oracle
