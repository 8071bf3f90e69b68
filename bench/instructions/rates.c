/*===- rates.c - Rates of dot products relative to f32 FMA -----------------===
 *
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Times 24 independent accumulators of AVX-512 registers, thread CPU time, the
 * best of 9; prints products per second relative to vfmadd231ps. Feeds the
 * measured rows of docs/Targets.md.
 *
 *   cc -O1 -march=native bench/instructions/rates.c -o rates && ./rates
 *
 *===----------------------------------------------------------------------===*/

#include <stdio.h>
#include <time.h>

enum { kAccumulators = 24, kRepetitions = 2000000, kRuns = 9 };

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Registers 16 to 31 have no names in clobber lists of every compiler; the
 * loop holds nothing in them. */
#define ONE(n, instruction) instruction " %%zmm30, %%zmm31, %%zmm" #n "\n"
#define FOUR(a, b, c, d, i) ONE(a, i) ONE(b, i) ONE(c, i) ONE(d, i)
#define ALL(i)                                                                 \
  FOUR(0, 1, 2, 3, i)                                                          \
  FOUR(4, 5, 6, 7, i)                                                          \
  FOUR(8, 9, 10, 11, i)                                                        \
  FOUR(12, 13, 14, 15, i) FOUR(16, 17, 18, 19, i) FOUR(20, 21, 22, 23, i)
#define DEFINE(name, instruction)                                              \
  static double name(void) {                                                   \
    double begin = seconds();                                                  \
    for (long i = 0; i < kRepetitions; ++i)                                    \
      __asm__ volatile(ALL(instruction)::                                      \
                           : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", \
                             "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",  \
                             "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");     \
    return (double)kRepetitions * kAccumulators / (seconds() - begin);         \
  }

DEFINE(f32Fma, "vfmadd231ps")
#ifdef __AVX512BF16__
DEFINE(bf16Dot, "vdpbf16ps")
#endif
#ifdef __AVX512VNNI__
DEFINE(int8Dot, "vpdpbusd")
#endif
#ifdef __AVX512FP16__
DEFINE(fp16Fma, "vfmadd231ph")
#endif

static double best(double (*run)(void)) {
  double value = 0;
  for (int i = 0; i < kRuns; ++i) {
    double now = run();
    value = now > value ? now : value;
  }
  return value;
}

int main(void) {
  __asm__ volatile("vpxorq %%zmm30, %%zmm30, %%zmm30\n"
                   "vpxorq %%zmm31, %%zmm31, %%zmm31" ::
                       : "memory");
  double base = best(f32Fma);
  printf("{\"f32_fma_per_s\": %.3g", base);
#ifdef __AVX512FP16__
  printf(", \"fp16_fma\": %.2f", 2 * best(fp16Fma) / base);
#endif
#ifdef __AVX512BF16__
  printf(", \"bf16_dot\": %.2f", 2 * best(bf16Dot) / base);
#endif
#ifdef __AVX512VNNI__
  printf(", \"int8_dot\": %.2f", 4 * best(int8Dot) / base);
#endif
  printf("}\n");
  return 0;
}
