//===- CAPIPlan.cpp - C API: plans ----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Plans behind a handle, with a view of their arrays.
//
//===----------------------------------------------------------------------===//

#include "CAPISupport.h"
#include "paged_attn/Plan.h"

using namespace paged_attn;

struct PagedAttnPlan {
  Plan plan;
};

namespace {

static_assert(sizeof(PagedAttnWorkItem) == sizeof(WorkItem) &&
              offsetof(PagedAttnWorkItem, partial) ==
                  offsetof(WorkItem, partial));
static_assert(sizeof(PagedAttnMergeItem) == sizeof(MergeItem) &&
              offsetof(PagedAttnMergeItem, numPartials) ==
                  offsetof(MergeItem, numPartials));

Status toOptions(const PagedAttnPlanOptions &in, PlanOptions &out) {
  if (in.splits < 0 || in.splits > PAGED_ATTN_SPLIT_FIXED ||
      in.windowKind < 0 || in.windowKind > PAGED_ATTN_SINK_WINDOW)
    return Status::error(StatusCode::InvalidArgument,
                         "expected a split mode in [0, 3) and a window kind in "
                         "[0, 4), got %d and %d",
                         in.splits, in.windowKind);
  out.numKVHeads = in.numKVHeads;
  out.pageSize = in.pageSize;
  out.queryTile = in.queryTile;
  out.numWorkers = in.numWorkers;
  out.splits = SplitMode(in.splits);
  out.splitTokens = in.splitTokens;
  out.causal = in.causal != 0;
  out.windowKind = WindowKind(in.windowKind);
  out.window = in.window;
  out.sinkTokens = in.sinkTokens;
  out.cost =
      PlanCost{in.perItem, in.perKVToken, in.perRowKVToken, in.perPartialRow};
  return Status::ok();
}

} // namespace

extern "C" {

void pagedAttnPlanOptionsInit(PagedAttnPlanOptions *options,
                              size_t structSize) {
  PlanOptions defaults;
  PagedAttnPlanOptions value = {};
  value.numKVHeads = defaults.numKVHeads;
  value.pageSize = defaults.pageSize;
  value.queryTile = defaults.queryTile;
  value.numWorkers = defaults.numWorkers;
  value.splits = int32_t(defaults.splits);
  value.causal = defaults.causal;
  value.perItem = defaults.cost.perItem;
  value.perKVToken = defaults.cost.perKVToken;
  value.perRowKVToken = defaults.cost.perRowKVToken;
  value.perPartialRow = defaults.cost.perPartialRow;
  options->structSize = structSize;
  writeStruct(value, options);
}

PagedAttnStatus pagedAttnPlanCreate(const PagedAttnPlanOptions *options,
                                    const int32_t *qLens, const int32_t *kvLens,
                                    int32_t count, PagedAttnPlan **plan) {
  return toC(guarded([&]() -> Status {
    if (!plan)
      return nullArgument("plan");
    PagedAttnPlanOptions in;
    PAGED_ATTN_RETURN_IF_ERROR(readStruct(options, "options", in));
    PlanOptions out;
    PAGED_ATTN_RETURN_IF_ERROR(toOptions(in, out));
    auto made = std::make_unique<PagedAttnPlan>();
    PAGED_ATTN_RETURN_IF_ERROR(
        buildPlan(out, qLens, kvLens, count, made->plan));
    *plan = made.release();
    return Status::ok();
  }));
}

void pagedAttnPlanDestroy(PagedAttnPlan *plan) { delete plan; }

PagedAttnStatus pagedAttnPlanUpdate(PagedAttnPlan *plan, const int32_t *qLens,
                                    const int32_t *kvLens, int32_t count,
                                    int32_t *done) {
  if (!plan)
    return toC(nullArgument("plan"));
  PlanUpdate update;
  Status status = updatePlan(qLens, kvLens, count, plan->plan, update);
  if (status.isOk() && done)
    *done = int32_t(update);
  return toC(status);
}

PagedAttnStatus pagedAttnPlanVerify(const PagedAttnPlan *plan,
                                    const int32_t *qLens, const int32_t *kvLens,
                                    int32_t count) {
  return toC(plan ? verifyPlan(plan->plan, qLens, kvLens, count)
                  : nullArgument("plan"));
}

PagedAttnStatus pagedAttnPlanView(const PagedAttnPlan *plan,
                                  PagedAttnPlanView *view) {
  if (!plan)
    return toC(nullArgument("plan"));
  if (Status status = checkOut(view, "view"); !status.isOk())
    return toC(status);
  const Plan &p = plan->plan;
  PagedAttnPlanView out = {};
  out.items = reinterpret_cast<const PagedAttnWorkItem *>(p.items.data());
  out.numItems = int64_t(p.items.size());
  out.workerBegin = p.workerBegin.data();
  out.numWorkers = p.options.numWorkers;
  out.merges = reinterpret_cast<const PagedAttnMergeItem *>(p.merges.data());
  out.numMerges = int64_t(p.merges.size());
  out.numPartials = p.numPartials;
  out.makespan = p.makespan;
  out.lowerBound = p.lowerBound;
  out.quality = p.quality();
  writeStruct(out, view);
  return toC(Status::ok());
}

PagedAttnStatus pagedAttnPlanSave(const PagedAttnPlan *plan,
                                  PagedAttnBuffer *bytes) {
  return toC(guarded([&]() -> Status {
    if (!plan)
      return nullArgument("plan");
    std::vector<uint8_t> made;
    PAGED_ATTN_RETURN_IF_ERROR(savePlan(plan->plan, made));
    return toBuffer(made.data(), made.size(), bytes);
  }));
}

PagedAttnStatus pagedAttnPlanLoad(const uint8_t *bytes, size_t size,
                                  PagedAttnPlan **plan) {
  return toC(guarded([&]() -> Status {
    if (!plan)
      return nullArgument("plan");
    auto made = std::make_unique<PagedAttnPlan>();
    PAGED_ATTN_RETURN_IF_ERROR(loadPlan(bytes, size, made->plan));
    *plan = made.release();
    return Status::ok();
  }));
}

} // extern "C"
