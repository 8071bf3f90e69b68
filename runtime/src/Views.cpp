//===- Views.cpp - What kernels read of a batch ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Page tables, lengths and slot mappings, written into the caller's buffers.
// A row of a page table whose sequence only grew gets only its new entries.
//
//===----------------------------------------------------------------------===//

#include "ManagerImpl.h"

#include <algorithm>

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

/// Pages that hold tokens; look-ahead pages are not shown to kernels.
int32_t pagesOf(int32_t numTokens, int32_t pageSize) {
  return (numTokens + pageSize - 1) / pageSize;
}

void writeTableRow(const ManagerImpl &impl, int32_t group, int32_t slot,
                   int32_t row, const BatchViews &views) {
  const PageId *pages = impl.table(slot, group);
  int32_t *out = views.pageTable + row * views.tableStride;
  int32_t count =
      pagesOf(impl.sequences[slot].numTokens, impl.spec(group).pageSize);
  if (!views.rows) {
    std::copy_n(pages, count, out);
    std::fill(out + count, out + views.tableStride, kNoPage);
    return;
  }
  ViewRow &last = views.rows[row];
  SeqId handle = impl.handle(slot);
  uint32_t version = impl.sequences[slot].version;
  if (last.sequence != handle || last.version != version + 1) {
    std::fill(out + count, out + views.tableStride, kNoPage);
    last = ViewRow{handle, version + 1, 0};
  }
  std::copy(pages + last.pagesWritten, pages + count, out + last.pagesWritten);
  last.pagesWritten = count;
}

Status checkCapacities(const ManagerImpl &impl, int32_t group,
                       const SeqId *sequences, int32_t count,
                       const BatchViews &views) {
  int64_t entries = 0, newTokens = 0;
  for (int32_t i = 0; i < count; ++i) {
    int32_t slot;
    PAGED_ATTN_RETURN_IF_ERROR(impl.findSlot(sequences[i], slot));
    const Sequence &seq = impl.sequences[slot];
    int32_t pages = pagesOf(seq.numTokens, impl.spec(group).pageSize);
    if (views.pageTable && pages > views.tableStride)
      return Status::error(StatusCode::OutOfRange,
                           "expected tableStride >= %d, got %lld", pages,
                           static_cast<long long>(views.tableStride));
    entries += pages;
    newTokens += seq.numTokens - seq.numCommitted;
  }
  if (views.pageIndices && entries > views.indicesCapacity)
    return Status::error(StatusCode::OutOfRange,
                         "expected room for %lld page indices, got %lld",
                         static_cast<long long>(entries),
                         static_cast<long long>(views.indicesCapacity));
  if (views.slotMapping && newTokens > views.slotCapacity)
    return Status::error(StatusCode::OutOfRange,
                         "expected room for %lld slots, got %lld",
                         static_cast<long long>(newTokens),
                         static_cast<long long>(views.slotCapacity));
  return Status::ok();
}

void writeSlots(const ManagerImpl &impl, int32_t group, int32_t slot,
                int64_t *out) {
  const Sequence &seq = impl.sequences[slot];
  const PageId *pages = impl.table(slot, group);
  int32_t pageSize = impl.spec(group).pageSize;
  for (int32_t at = seq.numCommitted; at < seq.numTokens; ++at) {
    PageId page = pages[at / pageSize];
    // The cache holds these tokens already (committed by a fork).
    bool skip = page == kNoPage ||
                at % pageSize < impl.pools[group]->cachedTokens(page);
    *out++ = skip ? -1 : int64_t(page) * pageSize + at % pageSize;
  }
}

} // namespace

Status KVCacheManager::fillViews(int32_t group, const SeqId *sequences,
                                 int32_t count, BatchViews &views) const {
  Lock lock(impl_->mutex);
  const ManagerImpl &impl = *impl_;
  PAGED_ATTN_RETURN_IF_ERROR(impl.checkGroup(group));
  PAGED_ATTN_RETURN_IF_ERROR(
      checkCapacities(impl, group, sequences, count, views));
  int32_t pageSize = impl.spec(group).pageSize;
  int64_t entries = 0, newTokens = 0;
  if (views.pageIndptr)
    views.pageIndptr[0] = 0;
  if (views.queryStarts)
    views.queryStarts[0] = 0;
  for (int32_t i = 0; i < count; ++i) {
    int32_t slot = int32_t(uint32_t(sequences[i]));
    const Sequence &seq = impl.sequences[slot];
    int32_t pages = pagesOf(seq.numTokens, pageSize);
    if (views.pageTable)
      writeTableRow(impl, group, slot, i, views);
    if (views.pageIndices)
      std::copy_n(impl.table(slot, group), pages, views.pageIndices + entries);
    if (views.slotMapping)
      writeSlots(impl, group, slot, views.slotMapping + newTokens);
    entries += pages;
    newTokens += seq.numTokens - seq.numCommitted;
    if (views.pageIndptr)
      views.pageIndptr[i + 1] = int32_t(entries);
    if (views.lastPageTokens)
      views.lastPageTokens[i] =
          pages ? seq.numTokens - (pages - 1) * pageSize : 0;
    if (views.kvLens)
      views.kvLens[i] = seq.numTokens;
    if (views.queryStarts)
      views.queryStarts[i + 1] = int32_t(newTokens);
  }
  views.numSlots = newTokens;
  return Status::ok();
}

Status KVCacheManager::numCommonPrefixPages(int32_t group,
                                            const SeqId *sequences,
                                            int32_t count,
                                            int32_t &pages) const {
  Lock lock(impl_->mutex);
  const ManagerImpl &impl = *impl_;
  PAGED_ATTN_RETURN_IF_ERROR(impl.checkGroup(group));
  int32_t slot, common = INT32_MAX;
  for (int32_t i = 0; i < count; ++i) {
    PAGED_ATTN_RETURN_IF_ERROR(impl.findSlot(sequences[i], slot));
    common = std::min(common, impl.sequences[slot].numTokens /
                                  impl.spec(group).pageSize);
  }
  const PageId *first =
      count ? impl.table(int32_t(uint32_t(sequences[0])), group) : nullptr;
  for (int32_t i = 1; i < count; ++i) {
    const PageId *other = impl.table(int32_t(uint32_t(sequences[i])), group);
    common = int32_t(std::mismatch(first, first + common, other).first - first);
  }
  pages = count ? common : 0;
  return Status::ok();
}
