//===- PrefixCache.cpp - Matching and storing of prefixes -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A page is known by its parent and its own tokens. In full groups the parent
// is a page (place and generation), so a match compares every token from the
// first on. Windowed groups reclaim heads before tails; there the parent is a
// keyed digest of all tokens before, beside the page's own tokens.
//
//===----------------------------------------------------------------------===//

#include "ManagerImpl.h"

#include <algorithm>
#include <numeric>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

uint64_t hashPage(const TokenId *tokens, int32_t pageSize, uint64_t seed) {
  return XXH3_64bits_withSeed(tokens, sizeof(TokenId) * size_t(pageSize), seed);
}

/// Hash of a partly filled page: what stands before it and its first token.
uint64_t hashOfPartial(uint64_t chain, TokenId first) {
  return hashPage(&first, 1, ~chain);
}

} // namespace

//===----------------------------------------------------------------------===//
// Chains
//===----------------------------------------------------------------------===//

void ManagerImpl::nextChain(int32_t group, const TokenId *tokens,
                            Chain &chain) const {
  int32_t pageSize = spec(group).pageSize;
  chain.content = hashPage(tokens, pageSize, chain.content);
  if (!exact(group))
    chain.digest = hashPage(tokens, pageSize, chain.digest ^ secret);
}

void ManagerImpl::startChain(int32_t slot, int32_t group) {
  GroupState &gs = state(slot, group);
  gs.numHashed = 0;
  gs.chain.content = domains.contentHash(sequences[slot].domain);
  gs.chain.digest = gs.chain.content ^ secret;
}

void ManagerImpl::rebuildChain(int32_t slot, int32_t group, int32_t numHashed) {
  GroupState &gs = state(slot, group);
  startChain(slot, group);
  gs.numHashed = numHashed;
  if (numHashed > 0 && exact(group) && options.prefixCache) {
    gs.chain.content = pools[group]->hashOf(table(slot, group)[numHashed - 1]);
    return;
  }
  int32_t pageSize = spec(group).pageSize;
  for (int32_t i = 0; i < numHashed; ++i)
    nextChain(group, tokensOf(slot) + int64_t(i) * pageSize, gs.chain);
}

/// Parent key of entry `page`, whose chain so far has `digest`.
uint64_t ManagerImpl::parentKey(int32_t slot, int32_t group, int32_t page,
                                uint64_t digest) const {
  if (page == 0)
    return domains.rootKey(sequences[slot].domain);
  if (exact(group))
    return pools[group]->keyOf(table(slot, group)[page - 1]);
  return digest;
}

//===----------------------------------------------------------------------===//
// Storing
//===----------------------------------------------------------------------===//

/// Forks that share an entry share all before it, so one page may stand for
/// the other in all of them. Keeps every chain whole.
void ManagerImpl::replaceShared(int32_t group, int32_t index, PageId from,
                                PageId to) {
  for (int32_t slot = 0; slot < options.maxSequences; ++slot) {
    Sequence &sequence = sequences[slot];
    if (sequence.state == SequenceState::Unused ||
        index >= state(slot, group).numPages ||
        table(slot, group)[index] != from)
      continue;
    table(slot, group)[index] = to;
    pools[group]->ref(to);
    pools[group]->deref(from);
    ++sequence.version;
  }
}

void ManagerImpl::commitPage(int32_t slot, int32_t group, bool store) {
  const GroupState &gs = state(slot, group);
  Chain after = gs.chain;
  nextChain(group,
            tokensOf(slot) + int64_t(gs.numHashed) * spec(group).pageSize,
            after);
  commitHashed(slot, group, after, store);
}

/// Chains after each of `count` pages, whose look-ups are then near.
void ManagerImpl::hashAhead(int32_t group, const TokenId *tokens, int32_t count,
                            Chain &chain, Chain *after) const {
  uint64_t hashes[PagePool::kAhead];
  for (int32_t i = 0; i < count; ++i) {
    nextChain(group, tokens + int64_t(i) * spec(group).pageSize, chain);
    after[i] = chain;
    hashes[i] = chain.content;
  }
  if (count > 1)
    pools[group]->prefetchLookup(hashes, count);
}

void ManagerImpl::commitPages(int32_t slot, int32_t group, int32_t end) {
  const GroupState &gs = state(slot, group);
  while (gs.numHashed < end) {
    Chain after[PagePool::kAhead], chain = gs.chain;
    int32_t begin = gs.numHashed;
    int32_t count = std::min(PagePool::kAhead, end - begin);
    const TokenId *tokens =
        tokensOf(slot) + int64_t(begin) * spec(group).pageSize;
    hashAhead(group, tokens, count, chain, after);
    if (count > 1)
      pools[group]->prefetchInsert(table(slot, group) + begin, count, tokens);
    for (int32_t i = 0; i < count; ++i)
      commitHashed(slot, group, after[i], /*store=*/true);
  }
}

void ManagerImpl::commitHashed(int32_t slot, int32_t group, const Chain &after,
                               bool store) {
  GroupState &gs = state(slot, group);
  PagePool &pool = *pools[group];
  int32_t index = gs.numHashed++;
  PageId &entry = table(slot, group)[index];
  const TokenId *tokens =
      tokensOf(slot) + int64_t(index) * spec(group).pageSize;
  uint64_t parent = parentKey(slot, group, index, gs.chain.digest);
  uint64_t before = gs.chain.content;
  gs.chain = after;
  if (entry == kNoPage || !store || pool.hasHoles(entry))
    return;
  PageId known = pool.lookup(after.content, parent, tokens);
  if (known == entry)
    return; // A fork of a committed page.
  if (pool.isPartlyFilled(entry))
    pool.removePartial(entry);
  if (known == kNoPage) {
    if (pool.isCached(entry))
      return;
    if (index == 0)
      domains.ref(sequences[slot].domain);
    pool.insert(entry, after.content, before, parent, tokens, index == 0);
    return;
  }
  // The cache has these tokens already: share its page.
  pool.recordHit(known);
  ++sequences[slot].version;
  if (pool.refs(entry) > 1) {
    replaceShared(group, index, entry, known);
    return;
  }
  pool.ref(known);
  pool.deref(entry);
  entry = known;
}

void ManagerImpl::storeLastPage(int32_t slot, int32_t group) {
  const GroupState &gs = state(slot, group);
  PagePool &pool = *pools[group];
  int32_t pageSize = spec(group).pageSize, index = gs.numHashed;
  int32_t count = sequences[slot].numCommitted - index * pageSize;
  if (!options.prefixCache || count <= 0 || count >= pageSize ||
      index >= gs.numPages)
    return;
  PageId page = table(slot, group)[index];
  if (page == kNoPage || pool.hasHoles(page) ||
      pool.cachedTokens(page) >= count ||
      (workPending() && isPending(group, page)))
    return;
  const TokenId *tokens = tokensOf(slot) + int64_t(index) * pageSize;
  if (pool.isPartlyFilled(page)) {
    pool.extendPartial(page, tokens, count);
    return;
  }
  if (index > 0 && exact(group) &&
      !pool.isCached(table(slot, group)[index - 1]))
    return; // Nothing would find it.
  uint64_t parent = parentKey(slot, group, index, gs.chain.digest);
  uint64_t hash = hashOfPartial(gs.chain.content, tokens[0]);
  int32_t agreeing;
  (void)pool.lookupPartial(hash, parent, tokens, count, agreeing);
  if (agreeing == count)
    return; // The cache has these tokens already.
  pool.insertPartial(page, hash, parent, tokens, count, index == 0);
  if (index == 0 && pool.isCached(page))
    domains.ref(sequences[slot].domain);
}

void ManagerImpl::commitSlot(int32_t slot, int32_t numTokens) {
  int32_t fresh = numTokens - sequences[slot].numCommitted;
  sequences[slot].numCommitted = numTokens;
  if (!options.prefixCache)
    return;
  for (int32_t g = 0; g < numGroups(); ++g) {
    commitPages(slot, g, numTokens / spec(g).pageSize);
    // One token at a time is decoding: its page gets full or is stored when
    // the sequence is freed.
    if (fresh > 1)
      storeLastPage(slot, g);
  }
}

bool ManagerImpl::isPending(int32_t group, PageId page) const {
  int64_t pageSize = spec(group).pageSize;
  for (int64_t i = 0; i < numCopies; ++i)
    if (copies[i].group == group &&
        (copies[i].source == page || copies[i].target == page))
      return true;
  for (int64_t i = 0; i < numZeroes; ++i)
    if (zeroes[i].group == group && zeroes[i].page == page)
      return true;
  for (int64_t i = 0; i < numSlotCopies; ++i)
    if (slotCopies[i].group == group &&
        (slotCopies[i].source / pageSize == page ||
         slotCopies[i].target / pageSize == page))
      return true;
  return false;
}

Status ManagerImpl::needDone(int32_t slot, int32_t begin, int32_t end) const {
  if (!workPending() || begin == end)
    return Status::ok();
  for (int32_t g = 0; g < numGroups(); ++g) {
    // From the first page on that the commit may put into the cache.
    int32_t pageSize = spec(g).pageSize;
    int32_t first = std::min(begin / pageSize, state(slot, g).numHashed);
    for (int32_t i = first; i <= (end - 1) / pageSize; ++i)
      if (PageId page = table(slot, g)[i];
          page != kNoPage && isPending(g, page))
        return Status::error(StatusCode::FailedPrecondition,
                             "expected the pending work on page %d of group "
                             "%d to be taken",
                             page, g);
  }
  return Status::ok();
}

Status KVCacheManager::commit(const SeqId *sequences, int32_t count) {
  Lock lock(impl_->mutex);
  int32_t slot;
  for (int32_t i = 0; i < count; ++i)
    PAGED_ATTN_RETURN_IF_ERROR(impl_->findSlot(sequences[i], slot));
  for (int32_t i = 0; i < count && impl_->workPending(); ++i) {
    slot = int32_t(uint32_t(sequences[i]));
    const Sequence &seq = impl_->sequences[slot];
    PAGED_ATTN_RETURN_IF_ERROR(
        impl_->needDone(slot, seq.numCommitted, seq.numTokens));
  }
  impl_->tick();
  for (int32_t i = 0; i < count; ++i) {
    slot = int32_t(uint32_t(sequences[i]));
    impl_->commitSlot(slot, impl_->sequences[slot].numTokens);
  }
  return Status::ok();
}

Status KVCacheManager::commitTokens(SeqId sequence, int32_t numTokens) {
  Lock lock(impl_->mutex);
  int32_t slot;
  PAGED_ATTN_RETURN_IF_ERROR(impl_->findSlot(sequence, slot));
  const Sequence &seq = impl_->sequences[slot];
  if (numTokens < 0 || numTokens > seq.numTokens - seq.numCommitted)
    return Status::error(StatusCode::OutOfRange,
                         "expected at most %d new tokens, got %d",
                         seq.numTokens - seq.numCommitted, numTokens);
  PAGED_ATTN_RETURN_IF_ERROR(
      impl_->needDone(slot, seq.numCommitted, seq.numCommitted + numTokens));
  impl_->tick();
  impl_->commitSlot(slot, seq.numCommitted + numTokens);
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Matching
//===----------------------------------------------------------------------===//

GroupMatch ManagerImpl::lookUpGroup(int32_t group, uint64_t root,
                                    uint64_t start, const TokenId *tokens,
                                    int32_t numTokens, int32_t slot) const {
  const PagePool &pool = *pools[group];
  int32_t pageSize = spec(group).pageSize, full = numTokens / pageSize;
  PageId *pages = table(slot, group);
  Chain chain{start, start ^ secret}, after[PagePool::kAhead];
  uint64_t key = root, partialChain = start, partialKey = root;
  int32_t i = 0, partialIndex = 0, firstHashed = 0, numHashed = 0;
  for (; i < full; ++i) {
    const TokenId *own = tokens + int64_t(i) * pageSize;
    if (i == firstHashed + numHashed) {
      // Few at first, for prompts of which the cache has nothing.
      firstHashed = i;
      numHashed = std::min(full - i, i == 0 ? 2 : PagePool::kAhead);
      hashAhead(group, own, numHashed, chain, after);
    }
    const Chain &here = after[i - firstHashed];
    pages[i] = pool.lookup(here.content, key, own);
    if (pages[i] == kNoPage && exact(group))
      break;
    key = exact(group) ? pool.keyOf(pages[i]) : here.digest;
    if (pages[i] == kNoPage)
      continue;
    partialIndex = i + 1;
    partialChain = here.content;
    partialKey = key;
  }
  int32_t matched = partialIndex * pageSize, agreeing = 0;
  GroupMatch found{i, partialIndex, kNoPage, matched};
  if (matched < numTokens)
    found.partialPage = pool.lookupPartial(
        hashOfPartial(partialChain, tokens[matched]), partialKey,
        tokens + matched, numTokens - matched, agreeing);
  found.tokens += agreeing;
  return found;
}

void ManagerImpl::lookUp(uint64_t root, uint64_t chainStart,
                         const TokenId *tokens, int32_t numTokens, int32_t slot,
                         GroupMatch *found) const {
  for (int32_t g = 0; g < numGroups(); ++g)
    found[g] = lookUpGroup(g, root, chainStart, tokens, numTokens, slot);
}

/// Longest prefix up to `bound` tokens whose window is there, in one group.
int32_t ManagerImpl::longestIn(int32_t group, int32_t slot,
                               const GroupMatch &found, int32_t bound) const {
  if (exact(group))
    return std::min(bound, found.tokens);
  int32_t pageSize = spec(group).pageSize;
  const PageId *pages = table(slot, group);
  int32_t best = 0, run = 0;
  int32_t sinkPages = 0; // Leading pages that are there.
  while (sinkPages < found.pages && pages[sinkPages] != kNoPage)
    ++sinkPages;
  int64_t sinks = spec(group).windowKind == WindowKind::SinkWindow
                      ? spec(group).sinkTokens
                      : 0;
  auto fits = [&](int64_t length, int64_t last) {
    int64_t first = windowStart(spec(group), length) / pageSize;
    int64_t needed = std::max<int64_t>(0, last - first + 1);
    int64_t needSinks =
        std::min<int64_t>((sinks + pageSize - 1) / pageSize, last + 1);
    return run >= needed && sinkPages >= needSinks;
  };
  int32_t end = std::max(found.pages, found.partialIndex + 1);
  for (int32_t i = 0; i < end && int64_t(i) * pageSize < bound; ++i) {
    bool isThere = i < found.pages && pages[i] != kNoPage;
    bool isPartial =
        !isThere && i == found.partialIndex && found.partialPage != kNoPage;
    int64_t length = std::min<int64_t>(bound, (int64_t(i) + 1) * pageSize);
    if (isPartial) {
      length = std::min<int64_t>(bound, found.tokens);
      ++run;
      sinkPages += sinkPages == i;
    } else {
      run = isThere ? run + 1 : 0;
    }
    // A partly used page is copied, so it has to be there itself.
    bool partly = length % pageSize != 0;
    if ((!partly || isThere || isPartial) && fits(length, i))
      best = int32_t(length);
    if (isPartial)
      run = 0; // Its other slots are missing.
  }
  return best;
}

int32_t ManagerImpl::commonLength(int32_t slot, const GroupMatch *found,
                                  int32_t bound) const {
  for (int32_t g = 0; g < numGroups() && bound > 0; ++g)
    if (int32_t length = longestIn(g, slot, found[g], bound); length < bound) {
      bound = length;
      g = -1; // A shorter prefix needs other pages of the other groups.
    }
  return bound;
}

bool ManagerImpl::adoptMatch(int32_t slot, int32_t matched,
                             const GroupMatch *found, PrefixMatch &match) {
  PageId sources[kMaxGroups];
  bool possible = numCopies + numGroups() <= copyCapacity;
  for (int32_t g = 0; g < numGroups(); ++g) {
    int32_t pageSize = spec(g).pageSize, full = matched / pageSize;
    PageId *pages = table(slot, g);
    sources[g] = matched % pageSize == 0 ? kNoPage
                 : full < found[g].pages && pages[full] != kNoPage
                     ? pages[full]
                     : found[g].partialPage;
    for (int32_t i = 0; i < full; ++i)
      if (pages[i] != kNoPage && neededByWindow(g, i, matched))
        pools[g]->ref(pages[i]);
    if (sources[g] != kNoPage) {
      pools[g]->ref(sources[g]);
      possible &= pools[g]->available() > 0;
    }
  }
  bool copies = false;
  for (int32_t g = 0; g < numGroups(); ++g)
    copies |= sources[g] != kNoPage;
  if (copies && !possible) {
    for (int32_t g = 0; g < numGroups(); ++g) {
      if (sources[g] != kNoPage)
        pools[g]->deref(sources[g]);
      for (int32_t i = matched / spec(g).pageSize; i-- > 0;)
        if (PageId page = table(slot, g)[i];
            page != kNoPage && neededByWindow(g, i, matched))
          pools[g]->deref(page);
    }
    return false;
  }
  for (int32_t g = 0; g < numGroups(); ++g) {
    int32_t pageSize = spec(g).pageSize, full = matched / pageSize;
    PageId *pages = table(slot, g);
    for (int32_t i = 0; i < full; ++i) {
      if (pages[i] != kNoPage && neededByWindow(g, i, matched))
        pools[g]->recordHit(pages[i]);
      else
        pages[i] = kNoPage;
    }
    state(slot, g).numPages = full;
    if (sources[g] != kNoPage) {
      pools[g]->recordHit(sources[g]);
      pages[full] = pools[g]->allocateOne();
      addCopy(g, sources[g], pages[full], matched % pageSize);
      pools[g]->deref(sources[g]);
      ++state(slot, g).numPages;
      match.copiedTokens = std::max(match.copiedTokens, matched % pageSize);
    }
    sequences[slot].numTokens = sequences[slot].numCommitted = matched;
    rebuildChain(slot, g, full);
  }
  counters.partialHits += copies;
  return true;
}

void ManagerImpl::matchIntoSlot(int32_t slot, const TokenId *tokens,
                                int32_t numTokens, PrefixMatch &match) {
  GroupMatch found[kMaxGroups];
  int32_t domain = sequences[slot].domain;
  lookUp(domains.rootKey(domain), domains.contentHash(domain), tokens,
         numTokens, slot, found);
  int32_t matched = commonLength(slot, found, numTokens);
  std::copy_n(tokens, matched, tokensOf(slot));
  if (!adoptMatch(slot, matched, found, match)) {
    // Without room for a copy only whole pages of all groups are of use.
    int32_t step = 1;
    for (int32_t g = 0; g < numGroups(); ++g)
      step = int32_t(std::lcm(int64_t(step), int64_t(spec(g).pageSize)));
    do
      matched = commonLength(slot, found, matched / step * step);
    while (matched % step != 0);
    (void)adoptMatch(slot, matched, found, match);
  }
  match.numTokens = matched;
  ++counters.prefixQueries;
  counters.queriedTokens += uint64_t(numTokens);
  counters.hitTokens += uint64_t(matched);
}

Status KVCacheManager::matchPrefix(const TokenId *tokens, int32_t numTokens,
                                   const PrefixDomain &domain,
                                   PrefixMatch &match) {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    ManagerImpl &impl = *impl_;
    if (numTokens < 0 || numTokens > impl.options.maxTokens)
      return Status::error(StatusCode::OutOfRange,
                           "expected at most %d tokens, got %d",
                           impl.options.maxTokens, numTokens);
    int32_t index = impl.domains.acquire(domain), slot = 0;
    Status status = impl.takeSlot(index, SequenceState::Match, slot);
    if (!status.isOk()) {
      impl.domains.release(index);
      return status;
    }
    impl.tick();
    match = PrefixMatch();
    impl.matchIntoSlot(slot, tokens, impl.options.prefixCache ? numTokens : 0,
                       match);
    match.handle = impl.handle(slot);
    return Status::ok();
  });
}

Status KVCacheManager::peekPrefix(const TokenId *tokens, int32_t numTokens,
                                  const PrefixDomain &domain,
                                  int32_t &matched) const {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    matched = 0;
    if (numTokens < 0 || numTokens > impl_->options.maxTokens)
      return Status::error(StatusCode::OutOfRange,
                           "expected at most %d tokens, got %d",
                           impl_->options.maxTokens, numTokens);
    int32_t index = impl_->domains.find(domain);
    if (index < 0 || !impl_->options.prefixCache)
      return Status::ok();
    GroupMatch found[kMaxGroups];
    int32_t scratch = impl_->scratchSlot();
    impl_->lookUp(impl_->domains.rootKey(index),
                  impl_->domains.contentHash(index), tokens, numTokens, scratch,
                  found);
    matched = impl_->commonLength(scratch, found, numTokens);
    return Status::ok();
  });
}

namespace {

Status findMatch(const ManagerImpl &impl, SeqId match, int32_t &slot) {
  slot = int32_t(uint32_t(uint64_t(match)));
  if (match < 0 || slot < 0 || slot >= impl.options.maxSequences ||
      impl.handle(slot) != match ||
      impl.sequences[slot].state != SequenceState::Match)
    return Status::error(StatusCode::NotFound,
                         "expected a held match, got handle %lld",
                         static_cast<long long>(match));
  return Status::ok();
}

} // namespace

Status KVCacheManager::releaseMatch(SeqId match) {
  Lock lock(impl_->mutex);
  int32_t slot;
  PAGED_ATTN_RETURN_IF_ERROR(findMatch(*impl_, match, slot));
  impl_->tick();
  impl_->freeSlot(slot, KeepCache::Keep);
  return Status::ok();
}

Status KVCacheManager::addMatchedSequence(SeqId match, SeqId &sequence) {
  Lock lock(impl_->mutex);
  int32_t slot;
  PAGED_ATTN_RETURN_IF_ERROR(findMatch(*impl_, match, slot));
  Sequence &seq = impl_->sequences[slot];
  seq.state = SequenceState::Live;
  seq.generation = (seq.generation + 1) & 0x7fffffffu;
  sequence = impl_->handle(slot);
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Events
//===----------------------------------------------------------------------===//

void ManagerImpl::addEvent(EventKind kind, int32_t group, PageId page,
                           PageId movedTo, uint64_t hash, uint64_t parentHash) {
  if (options.maxEvents > 0)
    events[nextEvent % uint64_t(options.maxEvents)] =
        CacheEvent{nextEvent, kind, group, page, movedTo, hash, parentHash};
  ++nextEvent;
}

void ManagerImpl::pageStored(int32_t group, PageId page, uint64_t hash,
                             uint64_t parentHash) {
  addEvent(EventKind::Stored, group, page, kNoPage, hash, parentHash);
}

void ManagerImpl::pageRemoved(int32_t group, PageId page, uint64_t hash,
                              uint64_t parentKey, bool isRoot) {
  if (hash != 0)
    addEvent(EventKind::Removed, group, page, kNoPage, hash, 0);
  if (isRoot)
    domains.release(domains.indexOfRootKey(parentKey));
}
