//===- HostMemory.cpp - Pools in host memory ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Allocates or adopts the memory of the pools, runs work lists on it, fills
// fresh pages for debugging and guards the page that nobody may write.
//
//===----------------------------------------------------------------------===//

#include "ManagerImpl.h"

#include <cstring>
#include <limits>
#include <sys/mman.h>

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

/// Size of a transparent huge page on x86-64 and AArch64 (4 KiB granule).
constexpr size_t kHugePageBytes = size_t(2) << 20;
constexpr size_t kSmallPageBytes = 4096;
constexpr size_t kAlignment = 64;
/// From here on an array has huge pages of its own.
constexpr size_t kLargeArrayBytes = 2 * kHugePageBytes;
/// Pattern of the guard page.
constexpr uint8_t kGuardByte = 0xa5;

size_t roundUp(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

void *mapAligned(void *, size_t bytes) {
  size_t wanted = roundUp(bytes, kSmallPageBytes);
  if (wanted < bytes ||
      wanted > std::numeric_limits<size_t>::max() - kHugePageBytes)
    return nullptr;
  void *mapped =
      ::mmap(nullptr, wanted + kHugePageBytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED)
    return nullptr;
  auto begin = reinterpret_cast<uintptr_t>(mapped);
  uintptr_t start = roundUp(begin, kHugePageBytes);
  uintptr_t end = begin + wanted + kHugePageBytes;
  if (start > begin)
    ::munmap(mapped, start - begin);
  if (end > start + wanted)
    ::munmap(reinterpret_cast<void *>(start + wanted), end - start - wanted);
  auto *result = reinterpret_cast<void *>(start);
  // A hint; systems without huge pages refuse it, which costs only speed.
  if (wanted >= kHugePageBytes)
    (void)::madvise(result, wanted, MADV_HUGEPAGE);
  return result;
}

void unmapAligned(void *, void *memory, size_t bytes) {
  ::munmap(memory, roundUp(bytes, kSmallPageBytes));
}

void *allocateArray(void *, size_t bytes) {
  if (bytes >= kLargeArrayBytes)
    return mapAligned(nullptr, bytes);
  // calloc gives untouched zero pages; the true start lies before the result.
  char *raw = static_cast<char *>(std::calloc(1, bytes + 2 * kAlignment));
  if (!raw)
    return nullptr;
  uintptr_t start = reinterpret_cast<uintptr_t>(raw) + kAlignment;
  start = (start + kAlignment - 1) / kAlignment * kAlignment;
  auto **aligned = reinterpret_cast<void **>(start);
  aligned[-1] = raw;
  return aligned;
}

void releaseArray(void *, void *memory, size_t bytes) {
  if (bytes >= kLargeArrayBytes)
    return unmapAligned(nullptr, memory, bytes);
  std::free(static_cast<void **>(memory)[-1]);
}

/// Bytes that repeat through a page filled with NaN. Integers have none and
/// take their lowest value; per-token scales carry the NaN then.
uint32_t nanPattern(ElementType type) {
  switch (type) {
  case ElementType::F32:
    return 0x7fc00000u;
  case ElementType::F16:
    return 0x7e007e00u;
  case ElementType::BF16:
    return 0x7fc07fc0u;
  case ElementType::F8E4M3:
    return 0x7f7f7f7fu;
  case ElementType::I8:
    return 0x80808080u;
  case ElementType::I4:
    return 0x88888888u;
  }
  return 0;
}

void fillBytes(uint8_t *data, int64_t bytes, uint32_t pattern) {
  for (int64_t i = 0; i < bytes; ++i)
    data[i] = uint8_t(pattern >> (i % 4 * 8));
}

bool multiply(int64_t a, int64_t b, int64_t &product) {
  return !__builtin_mul_overflow(a, b, &product);
}

Status checkSide(const char *name, const SideSpec &side, const uint8_t *data,
                 int64_t pageBytes, int64_t pageStride, int64_t layerStride,
                 const float *scales) {
  if (!data)
    return Status::error(StatusCode::InvalidArgument,
                         "expected memory for %s, got null", name);
  if (pageStride < pageBytes || layerStride < 0)
    return Status::error(StatusCode::InvalidArgument,
                         "expected a page stride of %s of at least %lld bytes "
                         "and a layer stride >= 0, got %lld and %lld",
                         name, static_cast<long long>(pageBytes),
                         static_cast<long long>(pageStride),
                         static_cast<long long>(layerStride));
  if (side.scales != ScaleKind::None && !scales)
    return Status::error(StatusCode::InvalidArgument,
                         "expected scales of %s, got null", name);
  return Status::ok();
}

/// Number of scales of one side over all layers.
bool numScales(const GroupSpec &spec, const SideSpec &side, int64_t maxPages,
               int64_t &count) {
  count = 0;
  if (side.dim == 0 || side.scales == ScaleKind::None)
    return true;
  count = spec.numLayers;
  if (side.scales == ScaleKind::PerTensor)
    return true;
  if (!multiply(count, spec.numKVHeads, count))
    return false;
  return side.scales == ScaleKind::PerHead ||
         (multiply(count, spec.pageSize, count) &&
          multiply(count, maxPages, count));
}

} // namespace

HostAllocator paged_attn::defaultHostAllocator() {
  return HostAllocator{allocateArray, releaseArray, nullptr};
}

HostAllocator paged_attn::hugePageAllocator() {
  return HostAllocator{mapAligned, unmapAligned, nullptr};
}

//===----------------------------------------------------------------------===//
// Memory of the pools
//===----------------------------------------------------------------------===//

Status ManagerImpl::allocateSide(int32_t group, Side which) {
  const GroupSpec &s = spec(group);
  const SideSpec &side = which == Side::Keys ? s.keys : s.values;
  int64_t page = sidePageBytes(s, side), layer = 0, all = 0, scales = 0;
  bool fits = multiply(page, options.maxPages[group], layer) &&
              multiply(layer, s.numLayers, all) &&
              numScales(s, side, options.maxPages[group], scales) &&
              scales <= INT64_MAX / 8;
  HostArray<uint8_t> &bytes = owned[group][which == Side::Keys ? 0 : 1];
  HostArray<uint8_t> &scaleBytes = owned[group][which == Side::Keys ? 2 : 3];
  if (!fits || !bytes.allocate(poolAllocator, size_t(all)) ||
      (scales &&
       !scaleBytes.allocate(poolAllocator, size_t(scales) * sizeof(float))))
    return Status::error(StatusCode::ResourceExhausted,
                         "out of host memory for the pool of group %d", group);
  auto *scaleData = reinterpret_cast<float *>(scaleBytes.data());
  for (int64_t i = 0; side.scales != ScaleKind::PerTokenHead && i < scales; ++i)
    scaleData[i] = 1.0f;
  PoolMemory &pool = memory[group];
  (which == Side::Keys ? pool.keys : pool.values) = bytes.data();
  (which == Side::Keys ? pool.keyScales : pool.valueScales) = scaleData;
  (which == Side::Keys ? pool.keyPageStride : pool.valuePageStride) = page;
  (which == Side::Keys ? pool.keyLayerStride : pool.valueLayerStride) = layer;
  return Status::ok();
}

Status ManagerImpl::allocateOwnMemory() {
  for (int32_t g = 0; g < numGroups(); ++g) {
    PAGED_ATTN_RETURN_IF_ERROR(allocateSide(g, Side::Keys));
    if (!spec(g).isLatent())
      PAGED_ATTN_RETURN_IF_ERROR(allocateSide(g, Side::Values));
    fillGuard(g);
  }
  return Status::ok();
}

Status KVCacheManager::attachMemory(int32_t group, const PoolMemory &memory) {
  Lock lock(impl_->mutex);
  PAGED_ATTN_RETURN_IF_ERROR(impl_->checkGroup(group));
  const GroupSpec &spec = impl_->spec(group);
  PAGED_ATTN_RETURN_IF_ERROR(
      checkSide("keys", spec.keys, memory.keys, sidePageBytes(spec, spec.keys),
                memory.keyPageStride, memory.keyLayerStride, memory.keyScales));
  if (!spec.isLatent())
    PAGED_ATTN_RETURN_IF_ERROR(checkSide(
        "values", spec.values, memory.values, sidePageBytes(spec, spec.values),
        memory.valuePageStride, memory.valueLayerStride, memory.valueScales));
  impl_->memory[group] = memory;
  impl_->fillGuard(group);
  return Status::ok();
}

Status KVCacheManager::poolMemory(int32_t group, PoolMemory &memory) const {
  Lock lock(impl_->mutex);
  PAGED_ATTN_RETURN_IF_ERROR(impl_->needMemory(group));
  memory = impl_->memory[group];
  return Status::ok();
}

Status ManagerImpl::needMemory(int32_t group) const {
  PAGED_ATTN_RETURN_IF_ERROR(checkGroup(group));
  if (!hasMemory(group))
    return Status::error(StatusCode::FailedPrecondition,
                         "expected memory attached to group %d", group);
  return Status::ok();
}

PageSide ManagerImpl::pageSide(int32_t group, int32_t layer, Side which,
                               PageId page) const {
  const GroupSpec &s = spec(group);
  const PoolMemory &pool = memory[group];
  bool keys = which == Side::Keys;
  const SideSpec &side = keys ? s.keys : s.values;
  float *scales = keys ? pool.keyScales : pool.valueScales;
  if (side.scales == ScaleKind::PerTensor)
    scales += layer;
  else if (side.scales == ScaleKind::PerHead)
    scales += int64_t(layer) * s.numKVHeads;
  else if (side.scales == ScaleKind::PerTokenHead)
    scales +=
        (layer * options.maxPages[group] + page) * s.pageSize * s.numKVHeads;
  else
    scales = nullptr;
  uint8_t *data =
      keys ? pool.keys + layer * pool.keyLayerStride + page * pool.keyPageStride
           : pool.values + layer * pool.valueLayerStride +
                 page * pool.valuePageStride;
  return PageSide{s.pageSize, s.numKVHeads, side, data, scales};
}

//===----------------------------------------------------------------------===//
// Work lists
//===----------------------------------------------------------------------===//

void ManagerImpl::copyPage(int32_t group, PageId source, PageId target) const {
  for (int32_t layer = 0; layer < spec(group).numLayers; ++layer)
    for (int32_t which = 0; which < numSides(group); ++which) {
      PageSide from = pageSide(group, layer, Side(which), source);
      PageSide to = pageSide(group, layer, Side(which), target);
      std::memcpy(to.data, from.data,
                  size_t(sidePageBytes(spec(group), from.side)));
      if (from.side.scales == ScaleKind::PerTokenHead)
        std::memcpy(to.scales, from.scales,
                    size_t(sideScaleBytes(spec(group), from.side)));
    }
}

void ManagerImpl::copySlots(const SlotCopy &copy) const {
  int64_t pageSize = spec(copy.group).pageSize;
  for (int32_t layer = 0; layer < spec(copy.group).numLayers; ++layer)
    for (int32_t which = 0; which < numSides(copy.group); ++which)
      copySlotRaw(pageSide(copy.group, layer, Side(which),
                           PageId(copy.source / pageSize)),
                  int32_t(copy.source % pageSize),
                  pageSide(copy.group, layer, Side(which),
                           PageId(copy.target / pageSize)),
                  int32_t(copy.target % pageSize));
}

void ManagerImpl::fillPage(int32_t group, PageId page, FillMode mode) const {
  if (mode == FillMode::None)
    return;
  bool nan = mode == FillMode::NaN;
  for (int32_t layer = 0; layer < spec(group).numLayers; ++layer)
    for (int32_t which = 0; which < numSides(group); ++which) {
      PageSide side = pageSide(group, layer, Side(which), page);
      fillBytes(side.data, sidePageBytes(spec(group), side.side),
                nan ? nanPattern(side.side.type) : 0);
      int64_t scales =
          sideScaleBytes(spec(group), side.side) / int64_t(sizeof(float));
      for (int64_t i = 0; i < scales; ++i)
        side.scales[i] = nan ? std::numeric_limits<float>::quiet_NaN() : 0.0f;
    }
}

Status KVCacheManager::runPendingWork() {
  Lock lock(impl_->mutex);
  ManagerImpl &impl = *impl_;
  for (int32_t g = 0; g < impl.numGroups() && impl.workPending(); ++g)
    PAGED_ATTN_RETURN_IF_ERROR(impl.needMemory(g));
  impl.tick();
  for (int64_t i = 0; i < impl.numSlotCopies; ++i)
    impl.copySlots(impl.slotCopies[i]);
  for (int64_t i = 0; i < impl.numZeroes; ++i)
    impl.fillPage(impl.zeroes[i].group, impl.zeroes[i].page, impl.options.fill);
  for (int64_t i = 0; i < impl.numCopies; ++i)
    impl.copyPage(impl.copies[i].group, impl.copies[i].source,
                  impl.copies[i].target);
  impl.numSlotCopies = impl.numZeroes = 0;
  impl.releaseCopies(impl.numCopies);
  return Status::ok();
}

Status KVCacheManager::runMoves(const PageMove *moves, int64_t count) {
  Lock lock(impl_->mutex);
  for (int64_t i = 0; i < count; ++i) {
    PAGED_ATTN_RETURN_IF_ERROR(impl_->needMemory(moves[i].group));
    int64_t end = impl_->options.maxPages[moves[i].group];
    if (moves[i].source < 0 || moves[i].source >= end || moves[i].target < 0 ||
        moves[i].target >= end)
      return Status::error(StatusCode::InvalidArgument,
                           "expected pages in [0, %lld) in move %lld, got %d "
                           "and %d",
                           static_cast<long long>(end),
                           static_cast<long long>(i), moves[i].source,
                           moves[i].target);
  }
  for (int64_t i = 0; i < count; ++i)
    impl_->copyPage(moves[i].group, moves[i].source, moves[i].target);
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Guard page
//===----------------------------------------------------------------------===//

void ManagerImpl::fillGuard(int32_t group) const {
  if (!options.guardPage)
    return;
  auto page = PageId(options.maxPages[group] - 1);
  for (int32_t layer = 0; layer < spec(group).numLayers; ++layer)
    for (int32_t which = 0; which < numSides(group); ++which) {
      PageSide side = pageSide(group, layer, Side(which), page);
      std::memset(side.data, kGuardByte,
                  size_t(sidePageBytes(spec(group), side.side)));
    }
}

Status ManagerImpl::checkGuard(int32_t group) const {
  if (!options.guardPage || !hasMemory(group))
    return Status::ok();
  auto page = PageId(options.maxPages[group] - 1);
  for (int32_t layer = 0; layer < spec(group).numLayers; ++layer)
    for (int32_t which = 0; which < numSides(group); ++which) {
      PageSide side = pageSide(group, layer, Side(which), page);
      int64_t bytes = sidePageBytes(spec(group), side.side);
      for (int64_t i = 0; i < bytes; ++i)
        if (side.data[i] != kGuardByte)
          return Status::error(StatusCode::Internal,
                               "the guard page %d of group %d was written at "
                               "byte %lld of layer %d",
                               page, group, static_cast<long long>(i), layer);
    }
  return Status::ok();
}
