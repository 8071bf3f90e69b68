/*===- main.c - A compiled kernel from plain C ------------------------------===
 *
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * Links the object of decode.mlir and calls it twice: in the calling thread
 * and through an executor. With all queries 0 every visible key has the same
 * weight, so that `out` is the mean of the visible values.
 *
 *   paged-attn-compile decode.mlir --emit=obj -o decode.o
 *   paged-attn-compile decode.mlir --emit=header -o decode.h
 *   cc -I. main.c decode.o -o decode && ./decode
 *
 *===------------------------------------------------------------------------===*/

#include "decode.h"

#include <math.h>
#include <stdio.h>

enum { kBatch = 2, kPages = 3, kSlots = 4, kHeads = 4, kKVHeads = 2, kDim = 8 };

static float query[kBatch][kHeads][kDim];
static float keys[kPages][kSlots][kKVHeads][kDim];
static float values[kPages][kSlots][kKVHeads][kDim];
static float out[kBatch][kHeads][kDim];
/* Sequence 0 has 6 tokens on pages 2 and 0, sequence 1 has 3 on page 1. */
static int32_t table[kBatch][2] = {{2, 0}, {1, -1}};
static int32_t lens[kBatch] = {6, 3};

/* An executor in its smallest form: one item after the other, last first. */
static void runBackwards(void *context, PagedAttnWork work, void *data,
                         int64_t num_items) {
  for (int64_t i = num_items; i-- > 0;) {
    work(data, i, i + 1);
    ++*(int64_t *)context;
  }
}

static void fillValues(void) {
  for (int page = 0; page < kPages; ++page)
    for (int slot = 0; slot < kSlots; ++slot)
      for (int head = 0; head < kKVHeads; ++head)
        for (int d = 0; d < kDim; ++d)
          values[page][slot][head][d] = (float)(100 * page + 10 * slot + head);
}

/* Mean of the values that sequence b sees, for KV head `head`. */
static float expectedMean(int b, int head) {
  float sum = 0;
  for (int j = 0; j < lens[b]; ++j)
    sum += values[table[b][j / kSlots]][j % kSlots][head][0];
  return sum / (float)lens[b];
}

static float largestError(void) {
  float error = 0;
  for (int b = 0; b < kBatch; ++b)
    for (int h = 0; h < kHeads; ++h)
      for (int d = 0; d < kDim; ++d)
        error = fmaxf(error, fabsf(out[b][h][d] -
                                   expectedMean(b, h / (kHeads / kKVHeads))));
  return error;
}

int main(void) {
  PagedAttnMemRef3 query_buffer = {
      query, query, 0, {kBatch, kHeads, kDim}, {kHeads * kDim, kDim, 1}};
  PagedAttnMemRef4 keys_buffer = {
      keys,
      keys,
      0,
      {kPages, kSlots, kKVHeads, kDim},
      {kSlots * kKVHeads * kDim, kKVHeads * kDim, kDim, 1}};
  PagedAttnMemRef4 values_buffer = keys_buffer;
  values_buffer.allocated = values_buffer.aligned = values;
  PagedAttnMemRef2 table_buffer = {table, table, 0, {kBatch, 2}, {2, 1}};
  PagedAttnMemRef1 lens_buffer = {lens, lens, 0, {kBatch}, {1}};
  PagedAttnMemRef3 out_buffer = query_buffer;
  out_buffer.allocated = out_buffer.aligned = out;
  fillValues();

  _mlir_ciface_decode(&query_buffer, &keys_buffer, &values_buffer,
                      &table_buffer, &lens_buffer, &out_buffer, NULL);
  float here = largestError();

  int64_t num_items = 0;
  PagedAttnExecutor executor = {&num_items, runBackwards};
  out[0][0][0] = -1;
  _mlir_ciface_decode(&query_buffer, &keys_buffer, &values_buffer,
                      &table_buffer, &lens_buffer, &out_buffer, &executor);
  float there = largestError();

  printf("calling thread: %s\n", here < 1e-4f ? "right" : "wrong");
  printf("executor: %s after %s work items\n", there < 1e-4f ? "right" : "wrong",
         num_items > 1 ? "several" : "too few");
  return here < 1e-4f && there < 1e-4f && num_items > 1 ? 0 : 1;
}
