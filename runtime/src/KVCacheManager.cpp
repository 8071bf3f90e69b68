//===- KVCacheManager.cpp - Creation, pools and work lists ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Makes a manager and its arrays; the calls about pools and pending work.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/KVCacheManager.h"

#include "ManagerImpl.h"

#include <algorithm>
#include <chrono>
#include <random>

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

Status validate(const ManagerOptions &options) {
  if (options.numGroups < 1 || options.numGroups > kMaxGroups)
    return Status::error(StatusCode::InvalidArgument,
                         "expected 1 to %d groups, got %d", kMaxGroups,
                         options.numGroups);
  if (options.maxSequences < 1 || options.maxTokens < 1)
    return Status::error(StatusCode::InvalidArgument,
                         "expected maxSequences and maxTokens >= 1, got %d "
                         "and %d",
                         options.maxSequences, options.maxTokens);
  if (options.maxPendingWork < 0 || options.maxEvents < 0)
    return Status::error(StatusCode::InvalidArgument,
                         "expected maxPendingWork and maxEvents >= 0, got %d "
                         "and %d",
                         options.maxPendingWork, options.maxEvents);
  for (int32_t g = 0; g < options.numGroups; ++g)
    PAGED_ATTN_RETURN_IF_ERROR(validateGroup(options.groups[g]));
  return Status::ok();
}

Status outOfMemory() {
  return Status::error(StatusCode::ResourceExhausted, "out of host memory");
}

} // namespace

uint64_t ManagerImpl::now() const {
  if (options.clock)
    return options.clock(options.clockContext);
  using namespace std::chrono;
  return uint64_t(
      duration_cast<milliseconds>(steady_clock::now().time_since_epoch())
          .count());
}

void ManagerImpl::tick() const {
  uint32_t passed = uint32_t(now() - clockStart);
  for (int32_t g = 0; g < numGroups(); ++g)
    pools[g]->setNow(passed);
}

Status ManagerImpl::initialize() {
  HostAllocator &allocator = options.allocator;
  poolAllocator = allocator.allocate ? allocator : hugePageAllocator();
  if (!allocator.allocate)
    allocator = defaultHostAllocator();
  if (!options.files)
    options.files = &posixFileSystem();
  secret = options.secret;
  if (secret == 0) {
    std::random_device device;
    secret = uint64_t(device()) << 32 | device();
  }
  clockStart = now();
  size_t slots = size_t(options.maxSequences);
  int64_t totalPages = 0;
  for (int32_t g = 0; g < numGroups(); ++g) {
    PoolOptions pool;
    pool.numPages = options.numPages[g];
    pool.maxPages = std::max(options.maxPages[g], options.numPages[g]);
    options.maxPages[g] = pool.maxPages;
    pool.pageSize = spec(g).pageSize;
    pool.group = g;
    pool.guardPage = options.guardPage;
    pool.exactChain = exact(g);
    pool.policy = options.policy;
    pool.score = options.score;
    pool.scoreContext = options.scoreContext;
    pool.allocator = allocator;
    pool.listener = this;
    PAGED_ATTN_RETURN_IF_ERROR(PagePool::create(pool, pools[g]));
    totalPages += pool.maxPages;
    // A copied last page is the one page that a sequence may have too many.
    tableWidth[g] = ceilDiv(options.maxTokens, spec(g).pageSize) + 1;
    if (!tables[g].allocate(allocator, (slots + 1) * size_t(tableWidth[g])))
      return outOfMemory();
  }
  int64_t work = options.maxPendingWork ? options.maxPendingWork
                                        : int64_t(slots) * numGroups() * 2;
  copyCapacity = work;
  zeroCapacity = options.fill == FillMode::None ? 0 : work + totalPages;
  slotCopyCapacity = work * 8;
  if (!sequences.allocate(allocator, slots + 1) ||
      !groupStates.allocate(allocator, (slots + 1) * numGroups()) ||
      !tokens.allocate(allocator, (slots + 1) * size_t(options.maxTokens)) ||
      !copies.allocate(allocator, size_t(copyCapacity)) ||
      !zeroes.allocate(allocator, size_t(zeroCapacity)) ||
      !slotCopies.allocate(allocator, size_t(slotCopyCapacity)) ||
      !events.allocate(allocator, size_t(options.maxEvents)))
    return outOfMemory();
  swaps.resize(slots);
  for (int32_t slot = options.maxSequences - 1; slot >= 0; --slot) {
    sequences[slot].nextUnused = unusedHead;
    unusedHead = slot;
  }
  counters.numGroups = numGroups();
  return options.ownMemory ? allocateOwnMemory() : Status::ok();
}

KVCacheManager::KVCacheManager(std::unique_ptr<ManagerImpl> impl)
    : impl_(std::move(impl)) {}

KVCacheManager::~KVCacheManager() {
  for (size_t slot = 0; slot < impl_->swaps.size(); ++slot)
    impl_->dropSwap(int32_t(slot));
}

Status KVCacheManager::create(const ManagerOptions &options,
                              std::unique_ptr<KVCacheManager> &manager) {
  return guarded([&]() -> Status {
    PAGED_ATTN_RETURN_IF_ERROR(validate(options));
    auto impl = std::make_unique<ManagerImpl>(options);
    PAGED_ATTN_RETURN_IF_ERROR(impl->initialize());
    manager.reset(new KVCacheManager(std::move(impl)));
    return Status::ok();
  });
}

Status ManagerImpl::checkGroup(int32_t group) const {
  if (group < 0 || group >= numGroups())
    return Status::error(StatusCode::NotFound,
                         "expected a group in [0, %d), got %d", numGroups(),
                         group);
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Pools
//===----------------------------------------------------------------------===//

Status KVCacheManager::memoryReport(MemoryReport &report) const {
  Lock lock(impl_->mutex);
  MemoryReport result;
  result.numGroups = impl_->numGroups();
  for (int32_t g = 0; g < result.numGroups; ++g) {
    GroupMemory &group = result.groups[g];
    const GroupSpec &spec = impl_->spec(g);
    group.pages = impl_->pools[g]->numPages();
    group.pageBytes = pageBytes(spec);
    group.poolBytes = group.pages * group.pageBytes;
    group.tokens = impl_->pools[g]->usable() * spec.pageSize;
    group.bytesPerToken = ceilDiv(group.pageBytes, spec.pageSize);
    group.offset = result.usedBytes;
    result.usedBytes += group.poolBytes;
  }
  result.budgetBytes = result.usedBytes;
  report = result;
  return Status::ok();
}

Status KVCacheManager::resizePool(int32_t group, int64_t numPages) {
  Lock lock(impl_->mutex);
  PAGED_ATTN_RETURN_IF_ERROR(impl_->checkGroup(group));
  impl_->tick();
  PAGED_ATTN_RETURN_IF_ERROR(impl_->pools[group]->resize(numPages));
  impl_->dropWorkFrom(group, numPages);
  return Status::ok();
}

Status KVCacheManager::pinPage(int32_t group, PageId page) {
  Lock lock(impl_->mutex);
  PAGED_ATTN_RETURN_IF_ERROR(impl_->checkGroup(group));
  impl_->tick();
  return impl_->pools[group]->pin(page);
}

Status KVCacheManager::unpinPage(int32_t group, PageId page) {
  Lock lock(impl_->mutex);
  PAGED_ATTN_RETURN_IF_ERROR(impl_->checkGroup(group));
  impl_->tick();
  return impl_->pools[group]->unpin(page);
}

Status KVCacheManager::resetPrefixCache() {
  Lock lock(impl_->mutex);
  impl_->tick();
  for (int32_t g = 0; g < impl_->numGroups(); ++g) {
    impl_->pools[g]->clearIdle();
    impl_->addEvent(EventKind::Cleared, g, kNoPage, kNoPage, 0, 0);
  }
  return Status::ok();
}

int64_t KVCacheManager::bookkeepingBytes(int32_t group) const {
  Lock lock(impl_->mutex);
  return impl_->checkGroup(group).isOk()
             ? impl_->pools[group]->bookkeepingBytes()
             : 0;
}

//===----------------------------------------------------------------------===//
// Work lists
//===----------------------------------------------------------------------===//

void ManagerImpl::freshPages(int32_t group, int32_t count, PageId *pages) {
  pools[group]->allocateSome(count, pages);
  for (int32_t i = 0; i < count && options.fill != FillMode::None; ++i)
    zeroes[numZeroes++] = PageZero{group, pages[i]};
}

/// The source stays referenced, with its ancestors, until the list is taken.
void ManagerImpl::addCopy(int32_t group, PageId source, PageId target,
                          int32_t numTokens) {
  pools[group]->refChain(source);
  copies[numCopies++] = PageCopy{group, source, target, numTokens};
  ++counters.copies;
}

void ManagerImpl::releaseCopies(int64_t count) {
  for (int64_t i = 0; i < count; ++i)
    pools[copies[i].group]->derefChain(copies[i].source);
  std::copy(copies.data() + count, copies.data() + numCopies, copies.data());
  numCopies -= count;
}

/// The owner of a page may have gone before the work was taken; after a pool
/// shrank, its memory may have gone, too.
void ManagerImpl::dropWorkFrom(int32_t group, int64_t end) {
  int64_t pageSize = spec(group).pageSize;
  auto *lastZero = std::remove_if(
      zeroes.data(), zeroes.data() + numZeroes, [&](const PageZero &zero) {
        return zero.group == group && zero.page >= end;
      });
  numZeroes = lastZero - zeroes.data();
  auto *lastSlot = std::remove_if(
      slotCopies.data(), slotCopies.data() + numSlotCopies,
      [&](const SlotCopy &copy) {
        return copy.group == group && copy.target / pageSize >= end;
      });
  numSlotCopies = lastSlot - slotCopies.data();
  // Sources are referenced, so only targets can lie past the end.
  int64_t kept = 0;
  for (int64_t i = 0; i < numCopies; ++i) {
    if (copies[i].group == group && copies[i].target >= end)
      pools[group]->derefChain(copies[i].source);
    else
      copies[kept++] = copies[i];
  }
  numCopies = kept;
}

namespace {

template <typename T>
void takeFront(HostArray<T> &list, int64_t &size, T *out, int64_t count) {
  std::copy(list.data(), list.data() + count, out);
  std::copy(list.data() + count, list.data() + size, list.data());
  size -= count;
}

} // namespace

Status KVCacheManager::takePagesToZero(PageZero *out, int64_t capacity,
                                       int64_t &count) {
  Lock lock(impl_->mutex);
  count = std::clamp<int64_t>(capacity, 0, impl_->numZeroes);
  takeFront(impl_->zeroes, impl_->numZeroes, out, count);
  return Status::ok();
}

Status KVCacheManager::takePageCopies(PageCopy *out, int64_t capacity,
                                      int64_t &count) {
  Lock lock(impl_->mutex);
  impl_->tick();
  count = std::clamp<int64_t>(capacity, 0, impl_->numCopies);
  for (int64_t i = 0; i < count; ++i)
    out[i] = impl_->copies[i];
  impl_->releaseCopies(count);
  return Status::ok();
}

Status KVCacheManager::takeSlotCopies(SlotCopy *out, int64_t capacity,
                                      int64_t &count) {
  Lock lock(impl_->mutex);
  count = std::clamp<int64_t>(capacity, 0, impl_->numSlotCopies);
  takeFront(impl_->slotCopies, impl_->numSlotCopies, out, count);
  return Status::ok();
}
