//===- Invariants.cpp - Checks of a manager's structures ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Recounts every reference from its owners and compares it with what the pools
// and domains keep. For tests and for engines that suspect themselves.
//
//===----------------------------------------------------------------------===//

#include "ManagerImpl.h"

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

int64_t ceilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

Status broken(const char *what, int32_t slot, int64_t got) {
  return Status::error(StatusCode::Internal, "sequence slot %d: %s (%lld)",
                       slot, what, static_cast<long long>(got));
}

/// Lengths and table entries of one sequence; counts its references.
Status checkGroupOf(const ManagerImpl &impl, int32_t slot, int32_t group,
                    std::vector<uint32_t> &refs) {
  const Sequence &sequence = impl.sequences[slot];
  const GroupState &gs = impl.state(slot, group);
  int64_t pageSize = impl.spec(group).pageSize;
  if (gs.numPages < ceilDiv(sequence.numTokens, pageSize) ||
      gs.numPages > impl.tableWidth[group])
    return broken("too few or too many pages", slot, gs.numPages);
  if (gs.numHashed * pageSize > sequence.numCommitted)
    return broken("hashed past its committed tokens", slot, gs.numHashed);
  for (int32_t i = 0; i < gs.numPages; ++i) {
    PageId page = impl.table(slot, group)[i];
    if (page == kNoPage)
      continue;
    if (!impl.pools[group]->isUsable(page))
      return broken("table entry outside the pool", slot, page);
    ++refs[page];
  }
  if (!impl.windowIsMapped(slot, group, sequence.numCommitted))
    return broken("a page of its window is unmapped", slot, group);
  return Status::ok();
}

Status checkSequence(const ManagerImpl &impl, int32_t slot,
                     std::vector<uint32_t> *refs) {
  const Sequence &sequence = impl.sequences[slot];
  if (sequence.numCommitted < 0 || sequence.numCommitted > sequence.numTokens ||
      sequence.numTokens > impl.options.maxTokens)
    return broken("lengths out of order", slot, sequence.numTokens);
  bool swapped = sequence.state == SequenceState::Swapped;
  if (swapped != (impl.swaps[slot] != nullptr))
    return broken("swapped without a record, or the reverse", slot, swapped);
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    if (swapped && impl.state(slot, g).numPages != 0)
      return broken("swapped out but maps pages", slot, g);
    if (!swapped)
      PAGED_ATTN_RETURN_IF_ERROR(checkGroupOf(impl, slot, g, refs[g]));
  }
  return Status::ok();
}

/// Domains are held by sequences and by cached first pages.
Status checkDomains(const ManagerImpl &impl) {
  std::vector<uint32_t> held(impl.domains.size(), 0);
  for (int32_t slot = 0; slot < impl.options.maxSequences; ++slot)
    if (impl.sequences[slot].state != SequenceState::Unused)
      ++held[impl.sequences[slot].domain];
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    const PagePool &pool = *impl.pools[g];
    for (PageId page = 1; page < pool.numPages(); ++page)
      if (pool.isCached(page) && pool.isRoot(page))
        ++held[impl.domains.indexOfRootKey(pool.parentKeyOf(page))];
  }
  for (size_t i = 0; i < held.size(); ++i)
    if (held[i] != impl.domains.refs(int32_t(i)))
      return Status::error(StatusCode::Internal,
                           "domain %zu has %u references, its owners know %u",
                           i, impl.domains.refs(int32_t(i)), held[i]);
  return Status::ok();
}

Status checkUnused(const ManagerImpl &impl) {
  int64_t listed = 0, unused = 0;
  for (int32_t slot = impl.unusedHead; slot >= 0;
       slot = impl.sequences[slot].nextUnused)
    if (++listed > impl.options.maxSequences ||
        impl.sequences[slot].state != SequenceState::Unused)
      return broken("list of unused slots", slot, listed);
  for (int32_t slot = 0; slot < impl.options.maxSequences; ++slot)
    unused += impl.sequences[slot].state == SequenceState::Unused;
  return listed == unused ? Status::ok()
                          : broken("unlisted unused slots", 0, unused - listed);
}

} // namespace

Status ManagerImpl::checkAll() const {
  std::vector<uint32_t> refs[kMaxGroups];
  for (int32_t g = 0; g < numGroups(); ++g)
    refs[g].resize(size_t(options.maxPages[g]), 0);
  PAGED_ATTN_RETURN_IF_ERROR(checkUnused(*this));
  for (int32_t slot = 0; slot < options.maxSequences; ++slot)
    if (sequences[slot].state != SequenceState::Unused)
      PAGED_ATTN_RETURN_IF_ERROR(checkSequence(*this, slot, refs));
  for (int64_t i = 0; i < numCopies; ++i)
    pools[copies[i].group]->addChain(copies[i].source,
                                     refs[copies[i].group].data());
  for (int32_t g = 0; g < numGroups(); ++g) {
    PAGED_ATTN_RETURN_IF_ERROR(pools[g]->checkInvariants(refs[g].data()));
    PAGED_ATTN_RETURN_IF_ERROR(checkGuard(g));
  }
  return checkDomains(*this);
}

Status KVCacheManager::checkInvariants() const {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    return impl_->checkAll();
  });
}
