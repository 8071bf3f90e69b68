//===- Types.cpp - Pages, cache groups and memory reports -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sizes of pages and the packing of groups into one byte budget.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Types.h"

#include <algorithm>

using namespace paged_attn;

namespace {

/// Null page, guard page and one page to serve with.
constexpr int64_t kMinPages = 3;

int64_t elementBits(ElementType type) {
  switch (type) {
  case ElementType::F32:
    return 32;
  case ElementType::F16:
  case ElementType::BF16:
    return 16;
  case ElementType::F8E4M3:
  case ElementType::I8:
    return 8;
  case ElementType::I4:
    return 4;
  }
  return 0;
}

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

Status validateSide(const SideSpec &side, const char *name, int32_t minDim) {
  if (side.dim < minDim || side.dim > (1 << 16))
    return Status::error(StatusCode::InvalidArgument,
                         "expected %s.dim in [%d, 65536], got %d", name, minDim,
                         side.dim);
  if (side.type > ElementType::I4 || side.layout > PageLayout::HDS ||
      side.scales > ScaleKind::PerTokenHead)
    return Status::error(StatusCode::InvalidArgument,
                         "expected a known type, layout and scale kind for %s",
                         name);
  return Status::ok();
}

Status validateWindow(const GroupSpec &spec) {
  if (spec.windowKind > WindowKind::SinkWindow)
    return Status::error(StatusCode::InvalidArgument,
                         "expected a known window kind, got %d",
                         int(spec.windowKind));
  if (spec.windowKind != WindowKind::Full && spec.window < 1)
    return Status::error(StatusCode::InvalidArgument,
                         "expected window >= 1 token, got %d", spec.window);
  if (spec.sinkTokens < 0)
    return Status::error(StatusCode::InvalidArgument,
                         "expected sinkTokens >= 0, got %d", spec.sinkTokens);
  return Status::ok();
}

} // namespace

int64_t paged_attn::sidePageBytes(const GroupSpec &spec, const SideSpec &side) {
  int64_t elements = int64_t(spec.pageSize) * spec.numKVHeads * side.dim;
  return ceilDiv(elements * elementBits(side.type), 8);
}

int64_t paged_attn::sideScaleBytes(const GroupSpec &spec,
                                   const SideSpec &side) {
  if (side.scales != ScaleKind::PerTokenHead || side.dim == 0)
    return 0;
  return int64_t(spec.pageSize) * spec.numKVHeads * int64_t(sizeof(float));
}

int64_t paged_attn::pageBytes(const GroupSpec &spec) {
  int64_t layer =
      sidePageBytes(spec, spec.keys) + sideScaleBytes(spec, spec.keys) +
      sidePageBytes(spec, spec.values) + sideScaleBytes(spec, spec.values);
  return layer * spec.numLayers;
}

Status paged_attn::validateGroup(const GroupSpec &spec) {
  if (spec.pageSize < 1 || spec.pageSize > 4096)
    return Status::error(StatusCode::InvalidArgument,
                         "expected pageSize in [1, 4096], got %d",
                         spec.pageSize);
  if (spec.numLayers < 1 || spec.numLayers > 4096)
    return Status::error(StatusCode::InvalidArgument,
                         "expected numLayers in [1, 4096], got %d",
                         spec.numLayers);
  if (spec.numKVHeads < 1 || spec.numKVHeads > 4096)
    return Status::error(StatusCode::InvalidArgument,
                         "expected numKVHeads in [1, 4096], got %d",
                         spec.numKVHeads);
  PAGED_ATTN_RETURN_IF_ERROR(validateSide(spec.keys, "keys", 1));
  PAGED_ATTN_RETURN_IF_ERROR(validateSide(spec.values, "values", 0));
  return validateWindow(spec);
}

int64_t paged_attn::windowStart(const GroupSpec &spec, int64_t next) {
  switch (spec.windowKind) {
  case WindowKind::Full:
    return 0;
  case WindowKind::Sliding:
  case WindowKind::SinkWindow:
    return std::max<int64_t>(0, next - spec.window + 1);
  case WindowKind::Chunked:
    return next / spec.window * spec.window;
  }
  return 0;
}

int64_t paged_attn::residentPages(const GroupSpec &spec, int64_t numTokens) {
  int64_t all = ceilDiv(numTokens, spec.pageSize);
  int64_t first = windowStart(spec, numTokens) / spec.pageSize;
  int64_t sinks = spec.windowKind == WindowKind::SinkWindow
                      ? ceilDiv(spec.sinkTokens, spec.pageSize)
                      : 0;
  return all - std::max<int64_t>(0, first - std::min(sinks, first));
}

Status paged_attn::planMemory(const GroupSpec *specs, int32_t numGroups,
                              int64_t budgetBytes, int64_t contextTokens,
                              MemoryReport &report) {
  if (numGroups < 1 || numGroups > kMaxGroups)
    return Status::error(StatusCode::InvalidArgument,
                         "expected 1 to %d groups, got %d", kMaxGroups,
                         numGroups);
  if (contextTokens < 1)
    return Status::error(StatusCode::InvalidArgument,
                         "expected contextTokens >= 1, got %lld",
                         static_cast<long long>(contextTokens));
  MemoryReport result;
  result.numGroups = numGroups;
  result.budgetBytes = budgetBytes;
  double sequenceBytes = 0;
  int64_t fixedBytes = 0;
  for (int32_t g = 0; g < numGroups; ++g) {
    PAGED_ATTN_RETURN_IF_ERROR(validateGroup(specs[g]));
    GroupMemory &group = result.groups[g];
    group.pageBytes = pageBytes(specs[g]);
    fixedBytes += kMinPages * group.pageBytes;
    sequenceBytes +=
        double(residentPages(specs[g], contextTokens)) * group.pageBytes;
  }
  if (fixedBytes > budgetBytes)
    return Status::error(StatusCode::ResourceExhausted,
                         "expected a budget of at least %lld bytes, got %lld",
                         static_cast<long long>(fixedBytes),
                         static_cast<long long>(budgetBytes));
  double sequences = double(budgetBytes - fixedBytes) / sequenceBytes;
  int64_t left = budgetBytes;
  for (int32_t g = 0; g < numGroups; ++g) {
    GroupMemory &group = result.groups[g];
    group.pages =
        kMinPages + int64_t(sequences * residentPages(specs[g], contextTokens));
    left -= group.pages * group.pageBytes;
  }
  // Largest pages first, so that what stays over is under the smallest page.
  int32_t order[kMaxGroups];
  for (int32_t g = 0; g < numGroups; ++g)
    order[g] = g;
  std::sort(order, order + numGroups, [&](int32_t a, int32_t b) {
    return result.groups[a].pageBytes > result.groups[b].pageBytes;
  });
  for (int32_t i = 0; i < numGroups; ++i) {
    GroupMemory &group = result.groups[order[i]];
    int64_t extra = std::max<int64_t>(0, left / group.pageBytes);
    group.pages += extra;
    left -= extra * group.pageBytes;
  }
  for (int32_t g = 0; g < numGroups; ++g) {
    GroupMemory &group = result.groups[g];
    group.pages = std::min<int64_t>(group.pages, INT32_MAX - 1);
    group.poolBytes = group.pages * group.pageBytes;
    group.offset = result.usedBytes;
    group.tokens = (group.pages - 1) * specs[g].pageSize;
    group.bytesPerToken = ceilDiv(group.pageBytes, specs[g].pageSize);
    result.usedBytes += group.poolBytes;
  }
  result.unusedBytes = budgetBytes - result.usedBytes;
  report = result;
  return Status::ok();
}
