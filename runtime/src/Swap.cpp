//===- Swap.cpp - Sequences in host memory and files ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A swapped sequence is a snapshot of that one sequence. Its committed pages
// stay in the prefix cache until they are reclaimed, so that a swap-in that
// comes soon finds them there.
//
//===----------------------------------------------------------------------===//

#include "ManagerImpl.h"

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

Status checkTarget(const ManagerImpl &impl, SwapTarget target,
                   const char *path) {
  if (target == SwapTarget::Host)
    return Status::ok();
  if (!path || !*path)
    return Status::error(StatusCode::InvalidArgument,
                         "expected the path of a swap file, got none");
  for (const auto &record : impl.swaps)
    if (record && record->path == path)
      return Status::error(StatusCode::InvalidArgument,
                           "'%.100s' holds another swapped sequence", path);
  return Status::ok();
}

} // namespace

Status MappedFile::open(const char *path) {
  Status status = files_.map(path, data_, size_);
  isOpen_ = status.isOk();
  return status;
}

MappedFile::~MappedFile() {
  if (isOpen_)
    files_.unmap(data_, size_);
}

Status ManagerImpl::readSwap(int32_t slot, std::vector<uint8_t> &bytes) const {
  const SwapRecord &record = *swaps[slot];
  if (record.path.empty()) {
    bytes = record.bytes;
    return Status::ok();
  }
  MappedFile file(*options.files);
  PAGED_ATTN_RETURN_IF_ERROR(file.open(record.path.c_str()));
  bytes.assign(file.data(), file.data() + file.size());
  return Status::ok();
}

void ManagerImpl::dropSwap(int32_t slot) {
  if (swaps[slot] && !swaps[slot]->path.empty())
    (void)options.files->remove(swaps[slot]->path.c_str());
  swaps[slot].reset();
}

Status KVCacheManager::swapOut(SeqId sequence, SwapTarget target,
                               const char *path) {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    ManagerImpl &impl = *impl_;
    int32_t slot;
    PAGED_ATTN_RETURN_IF_ERROR(impl.findSlot(sequence, slot));
    PAGED_ATTN_RETURN_IF_ERROR(checkTarget(impl, target, path));
    auto record = std::make_unique<SwapRecord>();
    PAGED_ATTN_RETURN_IF_ERROR(
        impl.exportSlots(&slot, 1, /*withCache=*/false, record->bytes));
    if (target == SwapTarget::File) {
      record->path = path;
      FileSystem &files = *impl.options.files;
      Status status = writeFileAtomically(files, path, record->bytes.data(),
                                          record->bytes.size());
      if (!status.isOk()) {
        (void)files.remove(path);
        return status;
      }
      record->bytes = std::vector<uint8_t>();
    }
    impl.tick();
    for (int32_t g = 0; g < impl.numGroups(); ++g) {
      impl.storeLastPage(slot, g);
      impl.dropPages(slot, g, 0, KeepCache::Keep);
      impl.startChain(slot, g);
    }
    impl.swaps[slot] = std::move(record);
    impl.sequences[slot].state = SequenceState::Swapped;
    ++impl.sequences[slot].version;
    ++impl.counters.swapOuts;
    return Status::ok();
  });
}

Status KVCacheManager::swapIn(SeqId sequence) {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    ManagerImpl &impl = *impl_;
    int32_t slot;
    PAGED_ATTN_RETURN_IF_ERROR(
        impl.findSlot(sequence, slot, /*allowSwapped=*/true));
    if (!impl.swaps[slot])
      return Status::error(StatusCode::FailedPrecondition,
                           "sequence %lld is not swapped out",
                           static_cast<long long>(sequence));
    const SwapRecord &record = *impl.swaps[slot];
    std::vector<SeqId> handles;
    if (record.path.empty()) {
      PAGED_ATTN_RETURN_IF_ERROR(impl.importBytes(
          record.bytes.data(), record.bytes.size(), slot, handles));
    } else {
      MappedFile file(*impl.options.files);
      PAGED_ATTN_RETURN_IF_ERROR(file.open(record.path.c_str()));
      PAGED_ATTN_RETURN_IF_ERROR(
          impl.importBytes(file.data(), file.size(), slot, handles));
    }
    impl.dropSwap(slot);
    ++impl.counters.swapIns;
    return Status::ok();
  });
}
