//===- HeaderTest.cpp - The C header from C++ -----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compiles runtime.h beside the C++ headers and compares the values that both
// sides share.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/KVCacheManager.h"
#include "paged_attn/Plan.h"
#include "paged_attn/runtime.h"

using namespace paged_attn;

static_assert(int(StatusCode::Internal) == PAGED_ATTN_INTERNAL &&
              int(StatusCode::DataLoss) == PAGED_ATTN_DATA_LOSS);
static_assert(int(ElementType::I4) == PAGED_ATTN_I4 &&
              int(ElementType::F8E4M3) == PAGED_ATTN_F8E4M3);
static_assert(int(PageLayout::HDS) == PAGED_ATTN_HDS);
static_assert(int(WindowKind::SinkWindow) == PAGED_ATTN_SINK_WINDOW &&
              int(WindowKind::Chunked) == PAGED_ATTN_CHUNKED);
static_assert(int(ScaleKind::PerTokenHead) == PAGED_ATTN_SCALE_PER_TOKEN_HEAD);
static_assert(int(EvictionPolicy::Callback) == PAGED_ATTN_CALLBACK &&
              int(EvictionPolicy::SLRU) == PAGED_ATTN_SLRU);
static_assert(int(FillMode::NaN) == PAGED_ATTN_FILL_NAN);
static_assert(int(EventKind::Moved) == PAGED_ATTN_EVENT_MOVED);
static_assert(int(SplitMode::Fixed) == PAGED_ATTN_SPLIT_FIXED);
static_assert(int(PlanUpdate::Rebuilt) == PAGED_ATTN_PLAN_REBUILT);
