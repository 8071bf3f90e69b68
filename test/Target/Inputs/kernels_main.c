/*===- kernels_main.c - Compiled kernels against scalar float64 ------------===
 *
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Runs the kernels of kernels.mlir on ragged sequences with shuffled pages and
 * NaN in every slot that no row may read. For machines without our compiler:
 * needs the object, its header and a C library. NO_EXECUTOR: for kernels that
 * take none (--via=reference).
 *
 *===----------------------------------------------------------------------===*/

#include "kernels.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#ifdef NO_EXECUTOR
#define EXECUTOR
#else
#define EXECUTOR , NULL
#endif

enum {
  kBatch = 5,
  kSlots = 8,
  kColumns = 14, /* of the page table */
  kPages = kBatch * kColumns,
  kHeads = 8,
  kKVHeads = 2,
  kDim = 32,
  kTokens = 64
};

static float query[kTokens][kHeads][kDim];
static float out[kTokens][kHeads][kDim], lse[kTokens][kHeads];
/* The cache by position; the pools hold the same in their layouts. */
static double keys[kBatch][kColumns * kSlots][kKVHeads][kDim];
static double values[kBatch][kColumns * kSlots][kKVHeads][kDim];
static float floatKeys[kPages][kSlots][kKVHeads][kDim];
static float floatValues[kPages][kSlots][kKVHeads][kDim];
static uint16_t halfKeys[kPages][kKVHeads][kDim][kSlots];   /* f16 */
static uint16_t halfValues[kPages][kSlots][kKVHeads][kDim]; /* bf16 */
static int32_t table[kBatch][kColumns];
static const int32_t lens[kBatch] = {1, 77, 8, 112, 33};

static uint32_t state = 1;
/* Multiples of 1/64 in [-2, 2): f16 and bf16 hold them exactly. */
static float draw(void) {
  state = state * 1664525u + 1013904223u;
  return (float)((int32_t)(state >> 24) - 128) / 64;
}

/* Bits of a number that both half types hold exactly. */
static uint16_t bfloatBits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return (uint16_t)(bits >> 16);
}
static uint16_t halfBits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  if (value == 0)
    return (uint16_t)(bits >> 16);
  uint32_t exponent = (bits >> 23 & 255) - 112;
  return (uint16_t)(bits >> 16 & 0x8000) |
         (uint16_t)(exponent << 10 | (bits >> 13 & 1023));
}

static void fillQueries(void) {
  for (int t = 0; t < kTokens; ++t)
    for (int h = 0; h < kHeads; ++h)
      for (int d = 0; d < kDim; ++d)
        query[t][h][d] = draw();
}

static void writeToken(int b, int j) {
  int page = table[b][j / kSlots], slot = j % kSlots;
  for (int h = 0; h < kKVHeads; ++h)
    for (int d = 0; d < kDim; ++d) {
      float key = draw(), value = draw();
      keys[b][j][h][d] = key;
      values[b][j][h][d] = value;
      floatKeys[page][slot][h][d] = key;
      floatValues[page][slot][h][d] = value;
      halfKeys[page][h][d][slot] = halfBits(key);
      halfValues[page][slot][h][d] = bfloatBits(value);
    }
}

static void fillCache(void) {
  /* All bits set: NaN in every type. */
  memset(floatKeys, 255, sizeof(floatKeys));
  memset(floatValues, 255, sizeof(floatValues));
  memset(halfKeys, 255, sizeof(halfKeys));
  memset(halfValues, 255, sizeof(halfValues));
  for (int b = 0; b < kBatch; ++b)
    for (int n = 0; n < kColumns; ++n) /* 27 and 70 have no common divisor */
      table[b][n] =
          n * kSlots < lens[b] ? (27 * (b * kColumns + n)) % kPages : -1;
  for (int b = 0; b < kBatch; ++b)
    for (int j = 0; j < lens[b]; ++j)
      writeToken(b, j);
}

/* Attention of one row at position p over [begin, p]; returns its lse. */
static double reference(int b, int row, int head, int p, int begin,
                        double *result) {
  double scores[kColumns * kSlots], most = -INFINITY, sum = 0;
  int kvHead = head / (kHeads / kKVHeads);
  for (int j = begin; j <= p; ++j) {
    scores[j] = 0;
    for (int d = 0; d < kDim; ++d)
      scores[j] += query[row][head][d] * keys[b][j][kvHead][d];
    scores[j] /= sqrt((double)kDim);
    most = fmax(most, scores[j]);
  }
  memset(result, 0, kDim * sizeof(double));
  for (int j = begin; j <= p; ++j) {
    double weight = exp(scores[j] - most);
    sum += weight;
    for (int d = 0; d < kDim; ++d)
      result[d] += weight * values[b][j][kvHead][d];
  }
  for (int d = 0; d < kDim; ++d)
    result[d] /= sum;
  return most + log(sum);
}

/* Largest difference of out and lse; NaN counts as infinite. */
static double largestError(const int32_t *starts, int window) {
  double error = 0, result[kDim];
  for (int b = 0; b < kBatch; ++b)
    for (int row = starts[b]; row < starts[b + 1]; ++row)
      for (int head = 0; head < kHeads; ++head) {
        int p = lens[b] - (starts[b + 1] - row);
        int begin = window && p >= window ? p - window + 1 : 0;
        double off = reference(b, row, head, p, begin, result) - lse[row][head];
        for (int d = 0; d < kDim; ++d)
          error = fmax(error, isnan(out[row][head][d])
                                  ? INFINITY
                                  : fabs(result[d] - out[row][head][d]));
        error = fmax(error, isnan(off) ? INFINITY : fabs(off));
      }
  return error;
}

static int judge(const char *name, double error) {
  /* Twice the bound of a float32 sum over 112 keys. */
  int isRight = error < 2 * 2e-5 * sqrt(112.0);
  printf("%s: %s\n", name, isRight ? "right" : "wrong");
  if (!isRight)
    printf("error %g\n", error);
  return isRight;
}

#define BUFFER3(data, a, b, c)                                                 \
  {data, data, 0, {a, b, c}, {(int64_t)(b) * (c), c, 1}}
#define BUFFER4(data, a, b, c, d)                                              \
  {data, data, 0, {a, b, c, d}, {(int64_t)(b) * (c) * (d), (c) * (d), d, 1}}

int main(void) {
  static const int32_t ones[kBatch + 1] = {0, 1, 2, 3, 4, 5};
  static const int32_t ragged[kBatch + 1] = {0, 1, 30, 30, 33, 64};
  fillQueries();
  fillCache();
  PagedAttnMemRef2 tableBuffer = {
      table, table, 0, {kBatch, kColumns}, {kColumns, 1}};
  PagedAttnMemRef1 lensBuffer = {(void *)lens, (void *)lens, 0, {kBatch}, {1}};
  PagedAttnMemRef3 few = BUFFER3(query, kBatch, kHeads, kDim);
  PagedAttnMemRef3 fewOut = BUFFER3(out, kBatch, kHeads, kDim);
  PagedAttnMemRef2 fewLse = {lse, lse, 0, {kBatch, kHeads}, {kHeads, 1}};
  PagedAttnMemRef4 floatK = BUFFER4(floatKeys, kPages, kSlots, kKVHeads, kDim);
  PagedAttnMemRef4 floatV =
      BUFFER4(floatValues, kPages, kSlots, kKVHeads, kDim);
  _mlir_ciface_decode(&few, &floatK, &floatV, &tableBuffer, &lensBuffer,
                      &fewOut, &fewLse EXECUTOR);
  int isRight = judge("decode", largestError(ones, 0));

  PagedAttnMemRef3 all = BUFFER3(query, kTokens, kHeads, kDim);
  PagedAttnMemRef3 allOut = BUFFER3(out, kTokens, kHeads, kDim);
  PagedAttnMemRef2 allLse = {lse, lse, 0, {kTokens, kHeads}, {kHeads, 1}};
  PagedAttnMemRef4 halfK = BUFFER4(halfKeys, kPages, kKVHeads, kDim, kSlots);
  PagedAttnMemRef4 halfV = BUFFER4(halfValues, kPages, kSlots, kKVHeads, kDim);
  PagedAttnMemRef1 starts = {
      (void *)ragged, (void *)ragged, 0, {kBatch + 1}, {1}};
  memset(out, 255, sizeof(out));
  memset(lse, 255, sizeof(lse));
  _mlir_ciface_mixed(&all, &halfK, &halfV, &tableBuffer, &lensBuffer, &starts,
                     &allOut, &allLse EXECUTOR);
  isRight &= judge("mixed", largestError(ragged, 40));
  return isRight ? 0 : 1;
}
