//===- DotKernels.cpp - Dot products of short types in registers ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The instructions that add products of bf16 pairs or int8 quadruples to f32 or
// i32 lanes. What they reach beside f32 multiply-adds tells whether kernels for
// such types should use them: half on some CPUs, twice on others.
//
//===----------------------------------------------------------------------===//

#include "Kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace paged_attn::oracle {

#if defined(__x86_64__)

/// 32 registers: 20 accumulators and one operand.
constexpr int kAccumulators = 20;

__attribute__((target("avx512f,avx512bf16"))) static float
dotBF16(int64_t numSteps) {
  // Products of two denormals (bits 1) are flushed: the sums stay as they are.
  __m512bh x = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x10001));
  __m512 a[kAccumulators];
  for (int k = 0; k < kAccumulators; ++k)
    a[k] = _mm512_set1_ps(static_cast<float>(k));
  for (int64_t i = 0; i < numSteps; ++i)
    for (int k = 0; k < kAccumulators; ++k)
      a[k] = _mm512_dpbf16_ps(a[k], x, x);
  for (int k = 1; k < kAccumulators; ++k)
    a[0] = _mm512_add_ps(a[0], a[k]);
  return _mm512_cvtss_f32(a[0]);
}

__attribute__((target("avx512f,avx512vnni"))) static float
dotInt8(int64_t numSteps) {
  __m512i x = _mm512_set1_epi32(0x01010101), a[kAccumulators];
  for (int k = 0; k < kAccumulators; ++k)
    a[k] = _mm512_set1_epi32(k);
  for (int64_t i = 0; i < numSteps; ++i)
    for (int k = 0; k < kAccumulators; ++k)
      a[k] = _mm512_dpbusd_epi32(a[k], x, x);
  for (int k = 1; k < kAccumulators; ++k)
    a[0] = _mm512_add_epi32(a[0], a[k]);
  return static_cast<float>(_mm_cvtsi128_si32(_mm512_castsi512_si128(a[0])));
}

DotKernel selectDotKernel(DotType type) {
  if (type == DotType::BF16 && __builtin_cpu_supports("avx512bf16"))
    return {dotBF16, kAccumulators * 16 * 4};
  if (type == DotType::Int8 && __builtin_cpu_supports("avx512vnni"))
    return {dotInt8, kAccumulators * 16 * 8};
  return {nullptr, 0};
}

#else

DotKernel selectDotKernel(DotType) { return {nullptr, 0}; }

#endif

} // namespace paged_attn::oracle
