//===- Bench.h - Our side of the CPU benchmark ------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the benchmark's driver loads: one case is a random problem, the compiled
// kernel for it and this machine's ceilings. Every measuring function makes ONE
// timed pass; the driver repeats and interleaves. Plain C, for ctypes.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_BENCH_CPU_NATIVE_BENCH_H
#define PAGED_ATTN_BENCH_CPU_NATIVE_BENCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PAGED_ATTN_BENCH_API __attribute__((visibility("default")))

/// A case: problem, kernel and executor. Not thread safe.
typedef struct PagedAttnBench PagedAttnBench;

/// Which rows `pagedAttnBenchCopyRows` copies.
typedef enum {
  PagedAttnBenchQuery = 0,  ///< [T, Hq, D]
  PagedAttnBenchKeys = 1,   ///< [sum of kv_lens, Hkv, D], sequence by sequence
  PagedAttnBenchValues = 2, ///< the same
  PagedAttnBenchOut = 3,    ///< [T, Hq, D], of the last run
} PagedAttnBenchRows;

/// In which order pages are read: by (sequence, KV head, page), or by
/// (sequence, page) with all heads.
typedef enum {
  PagedAttnBenchByHead = 0,
  PagedAttnBenchByPage = 1,
} PagedAttnBenchOrder;

/// Builds the case that the JSON object `spec` describes (bench/cpu/README.md).
/// Null and one line in `error` [errorBytes] on failure.
PAGED_ATTN_BENCH_API PagedAttnBench *
pagedAttnBenchOpen(const char *spec, char *error, int64_t errorBytes);
PAGED_ATTN_BENCH_API void pagedAttnBenchClose(PagedAttnBench *bench);

/// Seconds that compiling and linking the kernel took.
PAGED_ATTN_BENCH_API double
pagedAttnBenchCompileSeconds(const PagedAttnBench *bench);
/// Bytes of one paged read: all keys and values, whole pages.
PAGED_ATTN_BENCH_API double
pagedAttnBenchPagedBytes(const PagedAttnBench *bench);

/// Fills `out` with NaN, so that a row that is not written shows.
PAGED_ATTN_BENCH_API void pagedAttnBenchResetOut(PagedAttnBench *bench);
/// One call of the kernel: wall seconds.
PAGED_ATTN_BENCH_API double pagedAttnBenchRun(PagedAttnBench *bench);
/// One read of the case's pages: bytes per second.
PAGED_ATTN_BENCH_API double pagedAttnBenchReadPages(PagedAttnBench *bench,
                                                    PagedAttnBenchOrder order);

/// Copies rows, widened to f32, to `rows`; all sequences in logical order.
PAGED_ATTN_BENCH_API void pagedAttnBenchCopyRows(const PagedAttnBench *bench,
                                                 PagedAttnBenchRows which,
                                                 float *rows);

/// One sequential read of a buffer of its own of `numBytes` bytes: bytes per
/// second, 0 without memory. What the caches held is gone afterwards when
/// `numBytes` is several times their size. 0 threads: all of the machine.
PAGED_ATTN_BENCH_API double pagedAttnBenchReadSequential(int64_t numBytes,
                                                         int32_t numThreads);
/// One pass of f32 multiply-adds: operations per second.
PAGED_ATTN_BENCH_API double pagedAttnBenchFma(int32_t numThreads);
/// One pass of dot products of bf16 (0) or int8 (1): operations per second, 0
/// when the CPU has no instruction for it.
PAGED_ATTN_BENCH_API double pagedAttnBenchDot(int32_t type, int32_t numThreads);
/// The instructions that the multiply-adds used, e.g. "avx512f".
PAGED_ATTN_BENCH_API const char *pagedAttnBenchFmaInstructions(void);

#ifdef __cplusplus
} // extern "C"
#endif

#endif // PAGED_ATTN_BENCH_CPU_NATIVE_BENCH_H
