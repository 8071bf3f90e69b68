//===- Snapshot.cpp - Writing of snapshots --------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Gathers sequences, their pages (each once) and the prefix cache into the
// bytes of SnapshotFormat.h. Cached prefixes that no sequence uses are written
// as sequences of kind CacheOnly, one per last page of a chain. Managers of
// windowed groups only have no chains; their idle pages go with their digests.
//
//===----------------------------------------------------------------------===//

#include "SnapshotFormat.h"

#include "ManagerImpl.h"

#include <algorithm>
#include <cstring>
#include <set>
#include <unordered_map>

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

class Exporter {
public:
  explicit Exporter(const ManagerImpl &impl) : impl(impl) {
    content.groups.resize(size_t(impl.numGroups()));
    for (int32_t g = 0; g < impl.numGroups(); ++g)
      startGroup(g);
  }
  void addLive(int32_t slot);
  Status addSwapped(int32_t slot);
  void addCache();
  void write(std::vector<uint8_t> &bytes);

private:
  void startGroup(int32_t group);
  uint32_t domainOf(int32_t index);
  int32_t pageIndex(int32_t group, PageId page);
  void addChain(int32_t group, PageId leaf);
  void addChains(int32_t group);
  void addWindowed(int32_t group);
  void addPriorities(int32_t group);
  void layOut(uint64_t metaBytes);
  void writePage(int32_t group, PageId page, uint8_t *out) const;

  const ManagerImpl &impl;
  SnapshotContent content;
  std::unordered_map<int32_t, uint32_t> domains;
  std::vector<PageId> pages[kMaxGroups];
  std::unordered_map<PageId, int32_t> indices[kMaxGroups];
  std::vector<uint8_t> nested;
  std::set<std::pair<uint32_t, std::vector<TokenId>>> chains;
};

void Exporter::startGroup(int32_t group) {
  const GroupSpec &spec = impl.spec(group);
  SnapshotGroup &out = content.groups[size_t(group)];
  out.spec = spec;
  auto scales = [&](const SideSpec &side, const float *from) {
    int64_t count = side.dim == 0                         ? 0
                    : side.scales == ScaleKind::PerTensor ? 1
                    : side.scales == ScaleKind::PerHead   ? spec.numKVHeads
                                                          : 0;
    return std::vector<float>(from, from + count * spec.numLayers);
  };
  out.keyScales = scales(spec.keys, impl.memory[group].keyScales);
  out.valueScales = scales(spec.values, impl.memory[group].valueScales);
}

uint32_t Exporter::domainOf(int32_t index) {
  auto [place, isNew] =
      domains.emplace(index, uint32_t(content.domains.size()));
  if (isNew)
    content.domains.push_back(impl.domains.encoded(index));
  return place->second;
}

int32_t Exporter::pageIndex(int32_t group, PageId page) {
  if (page == kNoPage)
    return -1;
  auto [place, isNew] =
      indices[group].emplace(page, int32_t(pages[group].size()));
  if (isNew)
    pages[group].push_back(page);
  return place->second;
}

void Exporter::addLive(int32_t slot) {
  const Sequence &from = impl.sequences[slot];
  SnapshotSequence out;
  out.kind = SnapshotKind::Live;
  out.domain = domainOf(from.domain);
  out.numCommitted = from.numCommitted;
  out.tokens.assign(impl.tokensOf(slot), impl.tokensOf(slot) + from.numTokens);
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    int32_t pageSize = impl.spec(g).pageSize;
    int32_t count = (from.numTokens + pageSize - 1) / pageSize;
    out.tables.emplace_back();
    for (int32_t i = 0; i < count; ++i)
      out.tables.back().push_back(pageIndex(g, impl.table(slot, g)[i]));
  }
  content.sequences.push_back(std::move(out));
}

Status Exporter::addSwapped(int32_t slot) {
  const Sequence &from = impl.sequences[slot];
  SnapshotSequence out;
  out.kind = SnapshotKind::Swapped;
  out.domain = domainOf(from.domain);
  out.numCommitted = from.numCommitted;
  out.tokens.assign(impl.tokensOf(slot), impl.tokensOf(slot) + from.numTokens);
  out.tables.resize(size_t(impl.numGroups()));
  out.nestedOffset = nested.size();
  std::vector<uint8_t> record;
  PAGED_ATTN_RETURN_IF_ERROR(impl.readSwap(slot, record));
  nested.insert(nested.end(), record.begin(), record.end());
  out.nestedBytes = record.size();
  content.sequences.push_back(std::move(out));
  return Status::ok();
}

/// Writes the prefix that ends in `leaf`, with the pages that windowed groups
/// still hold of it.
void Exporter::addChain(int32_t group, PageId leaf) {
  const PagePool &pool = *impl.pools[group];
  std::vector<PageId> chain;
  for (PageId page = leaf; page != kNoPage; page = pool.parentPage(page))
    chain.push_back(page);
  if (!pool.isRoot(chain.back()))
    return;
  SnapshotSequence out;
  out.kind = SnapshotKind::CacheOnly;
  for (auto page = chain.rbegin(); page != chain.rend(); ++page)
    out.tokens.insert(out.tokens.end(), pool.tokensOf(*page),
                      pool.tokensOf(*page) + pool.cachedTokens(*page));
  int32_t domain = impl.domains.indexOfRootKey(pool.parentKeyOf(chain.back()));
  out.domain = domainOf(domain);
  if (!chains.emplace(out.domain, out.tokens).second)
    return;
  auto numTokens = int32_t(out.tokens.size());
  out.numCommitted = numTokens;
  GroupMatch found[kMaxGroups];
  impl.lookUp(impl.domains.rootKey(domain), impl.domains.contentHash(domain),
              out.tokens.data(), numTokens, impl.scratchSlot(), found);
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    out.tables.emplace_back();
    for (int32_t i = 0; i < found[g].pages; ++i)
      out.tables.back().push_back(
          pageIndex(g, impl.table(impl.scratchSlot(), g)[i]));
    // A partly filled page, when it has all the rest.
    if (found[g].partialIndex == found[g].pages &&
        found[g].partialPage != kNoPage && found[g].tokens == numTokens)
      out.tables.back().push_back(pageIndex(g, found[g].partialPage));
  }
  content.sequences.push_back(std::move(out));
}

void Exporter::addChains(int32_t group) {
  const PagePool &pool = *impl.pools[group];
  std::vector<bool> hasChild(size_t(pool.numPages()), false);
  for (PageId page = 1; page < pool.numPages(); ++page)
    if (pool.isCached(page))
      if (PageId parent = pool.parentPage(page); parent != kNoPage)
        hasChild[size_t(parent)] = true;
  for (PageId page = 1; page < pool.numPages(); ++page)
    if (pool.isCached(page) && !hasChild[size_t(page)])
      addChain(group, page);
}

void Exporter::addWindowed(int32_t group) {
  const PagePool &pool = *impl.pools[group];
  content.secret = impl.secret;
  for (PageId page = 1; page < pool.numPages(); ++page) {
    if (!pool.isCached(page))
      continue;
    SnapshotCached out;
    out.page = uint32_t(pageIndex(group, page));
    out.hash = pool.hashOf(page);
    out.parentKey = pool.parentKeyOf(page);
    if (pool.isRoot(page))
      out.domain =
          int32_t(domainOf(impl.domains.indexOfRootKey(out.parentKey)));
    out.tokens.assign(pool.tokensOf(page),
                      pool.tokensOf(page) + pool.cachedTokens(page));
    content.groups[size_t(group)].cached.push_back(std::move(out));
  }
}

void Exporter::addCache() {
  bool hasChains = false;
  for (int32_t g = 0; g < impl.numGroups(); ++g)
    hasChains |= impl.exact(g);
  for (int32_t g = 0; g < impl.numGroups(); ++g)
    if (impl.exact(g))
      addChains(g);
    else if (!hasChains)
      addWindowed(g);
}

void Exporter::addPriorities(int32_t group) {
  SnapshotGroup &out = content.groups[size_t(group)];
  bool isDefault = true;
  for (PageId page : pages[group]) {
    uint32_t ttlMs;
    int priority = impl.pools[group]->priorityOf(page, ttlMs);
    isDefault &= priority == kDefaultPriority && ttlMs == 0;
    out.priorities.push_back(uint8_t(priority));
    out.ttlMs.push_back(ttlMs);
  }
  if (isDefault) {
    out.priorities.clear();
    out.ttlMs.clear();
  }
}

uint64_t roundUp(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

void Exporter::layOut(uint64_t metaBytes) {
  uint64_t end = roundUp(kSnapshotHeaderBytes + metaBytes, kRegionAlignment);
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    SnapshotGroup &group = content.groups[size_t(g)];
    group.numPages = pages[g].size();
    group.region.offset = end;
    group.region.bytes =
        roundUp(group.numPages * blobPageBytes(group.spec), kRegionAlignment);
    end += group.region.bytes;
  }
  content.nested.offset = end;
  content.nested.bytes = roundUp(nested.size(), kRegionAlignment);
}

void Exporter::writePage(int32_t group, PageId page, uint8_t *out) const {
  const GroupSpec &spec = impl.spec(group);
  for (int32_t layer = 0; layer < spec.numLayers; ++layer)
    for (int32_t which = 0; which < impl.numSides(group); ++which) {
      PageSide side = impl.pageSide(group, layer, Side(which), page);
      std::memcpy(out, side.data, size_t(sidePageBytes(spec, side.side)));
      out += blobSideBytes(spec, side.side);
      if (int64_t bytes = sideScaleBytes(spec, side.side)) {
        std::memcpy(out, side.scales, size_t(bytes));
        out += bytes;
      }
    }
}

void Exporter::write(std::vector<uint8_t> &bytes) {
  for (int32_t g = 0; g < impl.numGroups(); ++g)
    addPriorities(g);
  std::vector<uint8_t> meta;
  writeMetadata(content, kSnapshotVersion, meta);
  layOut(meta.size());
  meta.clear();
  writeMetadata(content, kSnapshotVersion, meta);
  bytes.assign(size_t(content.nested.offset + content.nested.bytes), 0);
  SnapshotHeader header = {};
  std::memcpy(header.magic, kSnapshotMagic, sizeof(header.magic));
  header.version = kSnapshotVersion;
  header.byteOrder = kByteOrderMark;
  header.fileBytes = bytes.size();
  header.metaBytes = meta.size();
  header.dataOffset = content.groups[0].region.offset;
  std::memcpy(bytes.data(), &header, sizeof(header));
  std::memcpy(bytes.data() + kSnapshotHeaderBytes, meta.data(), meta.size());
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    const SnapshotGroup &group = content.groups[size_t(g)];
    for (size_t i = 0; i < pages[g].size(); ++i)
      writePage(g, pages[g][i],
                bytes.data() + group.region.offset +
                    i * blobPageBytes(group.spec));
  }
  std::copy(nested.begin(), nested.end(),
            bytes.begin() + ptrdiff_t(content.nested.offset));
  (void)sealSnapshot(bytes.data(), bytes.size());
}

} // namespace

Status ManagerImpl::exportSlots(const int32_t *slots, int32_t count,
                                bool withCache,
                                std::vector<uint8_t> &bytes) const {
  for (int32_t g = 0; g < numGroups(); ++g)
    PAGED_ATTN_RETURN_IF_ERROR(needMemory(g));
  if (workPending())
    return Status::error(StatusCode::FailedPrecondition,
                         "expected the work lists to be taken");
  tick();
  Exporter exporter(*this);
  for (int32_t i = 0; i < count; ++i) {
    if (sequences[slots[i]].state == SequenceState::Swapped)
      PAGED_ATTN_RETURN_IF_ERROR(exporter.addSwapped(slots[i]));
    else
      exporter.addLive(slots[i]);
  }
  if (withCache)
    exporter.addCache();
  std::vector<uint8_t> made;
  exporter.write(made);
  bytes.swap(made);
  return Status::ok();
}

Status ManagerImpl::exportAll(std::vector<uint8_t> &bytes) const {
  std::vector<int32_t> slots;
  for (int32_t slot = 0; slot < options.maxSequences; ++slot)
    if (sequences[slot].state == SequenceState::Live ||
        sequences[slot].state == SequenceState::Swapped)
      slots.push_back(slot);
  return exportSlots(slots.data(), int32_t(slots.size()), options.prefixCache,
                     bytes);
}

Status KVCacheManager::exportSequence(SeqId sequence,
                                      std::vector<uint8_t> &bytes) const {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    int32_t slot;
    PAGED_ATTN_RETURN_IF_ERROR(impl_->findSlot(sequence, slot, true));
    if (impl_->sequences[slot].state == SequenceState::Swapped)
      return impl_->readSwap(slot, bytes);
    return impl_->exportSlots(&slot, 1, /*withCache=*/false, bytes);
  });
}

Status KVCacheManager::exportManager(std::vector<uint8_t> &bytes) const {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    return impl_->exportAll(bytes);
  });
}

Status KVCacheManager::save(const char *path) const {
  return guarded([&]() -> Status {
    std::vector<uint8_t> bytes;
    PAGED_ATTN_RETURN_IF_ERROR(exportManager(bytes));
    return writeFileAtomically(*impl_->options.files, path, bytes.data(),
                               bytes.size());
  });
}
