//===- Plan.h - Balanced work lists of attention ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From the lengths of a batch to a work list: who computes which query rows
// against which part of the KV range, and which parts are merged afterwards. A
// plan depends on lengths only, so one serves all layers of a model whose heads
// and mask agree.
//
// Thread rule: functions of their arguments; a plan may be read by any number
// of threads while nobody changes it.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_PLAN_H
#define PAGED_ATTN_PLAN_H

#include "paged_attn/Types.h"

#include <vector>

namespace paged_attn {

/// How long KV ranges are cut.
enum class SplitMode : uint8_t {
  None,     ///< never
  Balanced, ///< as the batch needs it, for the least makespan
  Fixed,    ///< every `splitTokens` (deterministic): the cuts of a sequence do
            ///< not depend on the others of the batch
};

/// Cost of work, in one unit of any kind. A KV token is read once per item,
/// whatever the rows. The defaults are in units of one KV token and fitted to
/// the compiled CPU kernels (f32, 128 dims, 4 query heads per KV head):
/// bench/results/plan-cost.json; bench/runtime/fit_plan_cost.py fits others.
struct PlanCost {
  double perItem = 10;         ///< starting an item
  double perKVToken = 1;       ///< reading one KV token
  double perRowKVToken = 0.19; ///< one query row against one KV token
  double perPartialRow = 2;    ///< writing and merging one row of a partial
};

/// What a plan is made for.
struct PlanOptions {
  int32_t numKVHeads = 1;
  int32_t pageSize = 16;  ///< tokens; cuts are multiples of it
  int32_t queryTile = 64; ///< query tokens of an item at most
  int32_t numWorkers = 1; ///< lists that the items are dealt to
  SplitMode splits = SplitMode::Balanced;
  int32_t splitTokens = 0; ///< `Fixed` only; a multiple of pageSize
  bool causal = true;
  WindowKind windowKind = WindowKind::Full;
  int32_t window = 0;     ///< tokens
  int32_t sinkTokens = 0; ///< tokens
  PlanCost cost;
};

/// Rows [queryBegin, queryEnd) of a sequence's new tokens and one KV head,
/// against KV tokens [kvBegin, kvEnd).
struct WorkItem {
  int32_t sequence;
  int32_t head; ///< KV head
  int32_t queryBegin, queryEnd;
  int32_t kvBegin, kvEnd;
  int32_t partial;  ///< index of its partial state, -1: writes the result
  int32_t reserved; ///< 0
};

/// Partial states [firstPartial, firstPartial + numPartials) of the same rows
/// and head, in order of their KV ranges, to merge into the result.
struct MergeItem {
  int32_t sequence;
  int32_t head;
  int32_t queryBegin, queryEnd;
  int32_t firstPartial, numPartials;
};

/// A work list. Plain data, owned by the caller.
struct Plan {
  PlanOptions options;
  std::vector<int32_t> qLens;       ///< [numSequences] it was made for
  std::vector<int32_t> kvLens;      ///< [numSequences]
  std::vector<WorkItem> items;      ///< in the order of workers
  std::vector<int32_t> workerBegin; ///< [numWorkers + 1] into `items`
  std::vector<MergeItem> merges;
  int32_t numPartials = 0;
  double makespan = 0;   ///< cost of the busiest worker
  double lowerBound = 0; ///< no plan of these lengths can be below
  double quality() const {
    return lowerBound > 0 ? makespan / lowerBound : 1.0;
  }
};

/// Makes a plan for `count` sequences. Rows without a visible key get an item
/// with an empty KV range, which writes zeros. `plan` is unchanged on failure.
/// Fails with InvalidArgument on lengths that are negative or q_len > kv_len.
PAGED_ATTN_EXPORT Status buildPlan(const PlanOptions &options,
                                   const int32_t *qLens, const int32_t *kvLens,
                                   int32_t count, Plan &plan);

/// What `updatePlan` had to do.
enum class PlanUpdate : uint8_t { Kept, Advanced, Rebuilt };

/// Brings a plan up to date with new lengths: nothing when they are the same,
/// in place and without allocation when every q_len stayed and every kv_len
/// grew by one, from scratch otherwise. A `Fixed` plan has the cuts that
/// `buildPlan` makes; a `Balanced` one keeps its cuts until they are out of
/// balance.
PAGED_ATTN_EXPORT Status updatePlan(const int32_t *qLens, const int32_t *kvLens,
                                    int32_t count, Plan &plan,
                                    PlanUpdate &done);

/// Checks that every visible pair of a row and a key is in exactly one item,
/// that partial states and merges agree, and that all bounds hold for these
/// lengths. FailedPrecondition with the reason otherwise. Shares no code with
/// `buildPlan`.
PAGED_ATTN_EXPORT Status verifyPlan(const Plan &plan, const int32_t *qLens,
                                    const int32_t *kvLens, int32_t count);

/// A plan as bytes (version, checksum), and back; DataLoss on other bytes.
PAGED_ATTN_EXPORT Status savePlan(const Plan &plan,
                                  std::vector<uint8_t> &bytes);
PAGED_ATTN_EXPORT Status loadPlan(const uint8_t *bytes, size_t size,
                                  Plan &plan);

} // namespace paged_attn

#endif // PAGED_ATTN_PLAN_H
