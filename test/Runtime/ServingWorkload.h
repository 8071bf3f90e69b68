//===- ServingWorkload.h - A random serving engine --------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Serves a random workload through a manager: add, chunked prefill, decode,
// fork, speculative accept and reject, preempt, swap, free. The attention step
// is a callback that gets pools and views, as a compiled kernel does; every
// output is compared with dense attention in double over the tokens' own K and
// V. All views go to the callback as the manager wrote them.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TEST_RUNTIME_SERVINGWORKLOAD_H
#define PAGED_ATTN_TEST_RUNTIME_SERVINGWORKLOAD_H

#include "TestSupport.h"

#include <functional>
#include <random>

namespace paged_attn::test {

/// One attention call over one group (one layer) of a batch.
struct AttentionStep {
  const GroupSpec *spec;      ///< layout, types, window
  PoolMemory memory;          ///< pools; pages at their strides
  int32_t numSequences;       ///< B
  int32_t numQueryHeads;      ///< Hq, a multiple of Hkv
  int32_t numTokens;          ///< T
  const int32_t *pageTable;   ///< [B][tableStride], -1 unmapped
  int64_t tableStride;        ///< N
  const int32_t *kvLens;      ///< [B]
  const int32_t *queryStarts; ///< [B + 1]
  const int64_t *slotMapping; ///< [T], -1 = skip
  const float *newKeys;       ///< [T][Hkv][Dk], to append
  const float *newValues;     ///< [T][Hkv][Dv], to append
  const float *query;         ///< [T][Hq][Dk]
  float scale;                ///< of the scores
  float *out;                 ///< [T][Hq][Dv]
};

/// Appends the new keys and values by slot mapping, then attends. Causal, with
/// the group's window.
using AttentionCallback = std::function<void(const AttentionStep &)>;

/// Plain loops over the pool by page table, sums in double.
void scalarAttention(const AttentionStep &step);

struct WorkloadOptions {
  int32_t steps = 300;
  int32_t numQueryHeads = 4;
  uint32_t seed = 1;
  /// Largest |out - reference|; the default is for float pools: an output is a
  /// convex combination of values in [-1, 1], rounded once to float.
  double tolerance = 1e-6;
};

/// A manager for the workload: a full, a sliding-window and a sink-window
/// group, pages scarce, fresh ones full of NaN, a guard page.
ManagerOptions servingOptions(int32_t pageSize, PageLayout layout);

/// What happened, so that a test can ask whether all of it did.
struct WorkloadReport {
  int64_t steps = 0, prefillChunks = 0, decodes = 0, forks = 0, accepted = 0,
          rejected = 0, preemptions = 0, swapOuts = 0, swapIns = 0, frees = 0,
          prefixHits = 0, comparedRows = 0;
  double worstError = 0;
};

/// Runs the workload; empty when every output agreed, else what went wrong.
std::string runWorkload(KVCacheManager &manager, const ManagerOptions &options,
                        const WorkloadOptions &workload,
                        const AttentionCallback &attention,
                        WorkloadReport &report);

} // namespace paged_attn::test

#endif // PAGED_ATTN_TEST_RUNTIME_SERVINGWORKLOAD_H
