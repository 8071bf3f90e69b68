//===- SnapshotReader.cpp - Importing of snapshots ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Turns the bytes of a snapshot into sequences and cached pages. All that can
// fail comes first: reading, comparing, planning pages, acquiring domains and
// scratch. Then pages are taken and filled, by steps that cannot fail. Pages
// that sequences of the snapshot share stay shared.
//
//===----------------------------------------------------------------------===//

#include "SnapshotFormat.h"

#include "ManagerImpl.h"

#include <algorithm>
#include <cstring>
#include <map>

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

/// A page to make: tokens [first, first + count) of sequence `sequence`.
struct NewPage {
  int32_t sequence;
  int32_t first;
  int32_t count;
  bool complete; ///< every slot is there, so it may enter the cache
  PageId page;
};

class Importer {
public:
  Importer(ManagerImpl &impl, const uint8_t *bytes, const SnapshotContent &in)
      : impl(impl), bytes(bytes), in(in) {}
  ~Importer();

  Status checkGroups() const;
  /// `intoSlot`: the swapped sequence that comes back, or -1 for new ones.
  Status prepare(int32_t intoSlot);
  void run(std::vector<SeqId> &handles);

private:
  Status planSequence(int32_t sequence);
  Status planPage(int32_t sequence, int32_t group, int32_t index);
  bool hasToken(const SnapshotSequence &sequence, int32_t group,
                int32_t position) const;
  void planCached(int32_t sequence);
  Status prepareSwapped(int32_t sequence);
  Status prepareScratch();
  void fill(int32_t group, const NewPage &page);
  bool copyWhole(int32_t group, PageId page, int32_t source);
  void keepPriority(int32_t group, PageId page, const int32_t *sources,
                    size_t count);
  PageSide blobSide(int32_t group, int32_t layer, Side which, int32_t page);
  void copyToken(int32_t group, int32_t source, int32_t sourceSlot,
                 PageId target, int32_t targetSlot);
  void place(int32_t sequence, int32_t slot);
  void commitPlaced(int32_t sequence, int32_t slot);
  void placeCached(int32_t sequence);
  bool adoptKnown(int32_t slot, int32_t group);
  bool knowsDigests() const;
  void placeWindowed(int32_t group);
  void storeWindowed(int32_t group, const SnapshotCached &from);

  ManagerImpl &impl;
  const uint8_t *bytes;
  const SnapshotContent &in;
  int32_t intoSlot = -1;
  std::vector<int32_t> domains; ///< [numDomains], each with one reference
  std::vector<NewPage> pages[kMaxGroups];
  std::map<std::vector<int32_t>, int32_t> known[kMaxGroups];
  /// [sequence][group][page] -> entry of `pages`, or -1.
  std::vector<std::vector<std::vector<int32_t>>> entries;
  std::vector<std::unique_ptr<SwapRecord>> records; ///< [sequence]
  std::vector<bool> used[kMaxGroups]; ///< page has its first owner
  std::vector<float> row;
};

Importer::~Importer() {
  for (int32_t index : domains)
    impl.domains.release(index);
}

//===----------------------------------------------------------------------===//
// Planning
//===----------------------------------------------------------------------===//

Status Importer::checkGroups() const {
  if (int32_t(in.groups.size()) != impl.numGroups())
    return Status::error(StatusCode::InvalidArgument,
                         "expected a snapshot of %d groups, got %zu",
                         impl.numGroups(), in.groups.size());
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    const GroupSpec &a = in.groups[size_t(g)].spec, &b = impl.spec(g);
    if (a.numLayers != b.numLayers || a.numKVHeads != b.numKVHeads ||
        a.keys.dim != b.keys.dim || a.values.dim != b.values.dim)
      return Status::error(StatusCode::InvalidArgument,
                           "expected group %d with %d layers, %d heads, dims "
                           "%d and %d, got %d, %d, %d and %d",
                           g, b.numLayers, b.numKVHeads, b.keys.dim,
                           b.values.dim, a.numLayers, a.numKVHeads, a.keys.dim,
                           a.values.dim);
    if (a.windowKind != b.windowKind || a.window != b.window ||
        a.sinkTokens != b.sinkTokens)
      return Status::error(StatusCode::InvalidArgument,
                           "expected group %d with window %d and %d sinks, "
                           "got %d and %d",
                           g, b.window, b.sinkTokens, a.window, a.sinkTokens);
  }
  return Status::ok();
}

bool Importer::hasToken(const SnapshotSequence &sequence, int32_t group,
                        int32_t position) const {
  const std::vector<int32_t> &table = sequence.tables[size_t(group)];
  auto page = size_t(position / in.groups[size_t(group)].spec.pageSize);
  return page < table.size() && table[page] >= 0;
}

/// A page is known by the pages of the snapshot that its tokens come from.
Status Importer::planPage(int32_t sequence, int32_t group, int32_t index) {
  const SnapshotSequence &from = in.sequences[size_t(sequence)];
  const GroupSpec &spec = impl.spec(group);
  int32_t sourceSize = in.groups[size_t(group)].spec.pageSize;
  int32_t first = index * spec.pageSize;
  int32_t end = std::min(first + spec.pageSize, int32_t(from.tokens.size()));
  NewPage page{sequence, first, end - first, true, kNoPage};
  int64_t window = windowStart(spec, from.numCommitted);
  for (int32_t at = first; at < end; ++at) {
    if (hasToken(from, group, at))
      continue;
    page.complete = false;
    if (at >= window ||
        (spec.windowKind == WindowKind::SinkWindow && at < spec.sinkTokens))
      return Status::error(StatusCode::DataLoss,
                           "snapshot: token %d of sequence %d is missing in "
                           "group %d",
                           at, sequence, group);
  }
  std::vector<int32_t> key;
  for (int32_t at = first / sourceSize; at * sourceSize < end; ++at)
    key.push_back(from.tables[size_t(group)][size_t(at)]);
  key.push_back(first % sourceSize);
  auto next = int32_t(pages[group].size());
  auto [place, isNew] = known[group].emplace(std::move(key), next);
  if (isNew)
    pages[group].push_back(page);
  else if (NewPage &other = pages[group][size_t(place->second)];
           other.count < page.count)
    other = page; // The longer of two forks tells how much to copy.
  entries[size_t(sequence)][size_t(group)].push_back(place->second);
  return Status::ok();
}

Status Importer::planSequence(int32_t sequence) {
  const SnapshotSequence &from = in.sequences[size_t(sequence)];
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    int32_t pageSize = impl.spec(g).pageSize;
    auto numTokens = int32_t(from.tokens.size());
    for (int32_t i = 0; int64_t(i) * pageSize < numTokens; ++i) {
      if (impl.neededByWindow(g, i, from.numCommitted))
        PAGED_ATTN_RETURN_IF_ERROR(planPage(sequence, g, i));
      else
        entries[size_t(sequence)][size_t(g)].push_back(-1);
    }
  }
  return Status::ok();
}

/// Marks the pages, the last partly filled, that the snapshot has all tokens
/// of: 0 there, -1 not.
void Importer::planCached(int32_t sequence) {
  const SnapshotSequence &from = in.sequences[size_t(sequence)];
  auto numTokens = int32_t(from.tokens.size());
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    int32_t pageSize = impl.spec(g).pageSize;
    std::vector<int32_t> &out = entries[size_t(sequence)][size_t(g)];
    for (int32_t i = 0; i * int64_t(pageSize) < numTokens; ++i) {
      int32_t end =
          int32_t(std::min<int64_t>(numTokens, (i + 1) * int64_t(pageSize)));
      bool complete = true;
      for (int32_t at = i * pageSize; at < end; ++at)
        complete &= hasToken(from, g, at);
      if (!complete && impl.exact(g))
        break; // Nothing after it can be found.
      out.push_back(complete ? 0 : -1);
    }
  }
}

Status Importer::prepareSwapped(int32_t sequence) {
  const SnapshotSequence &from = in.sequences[size_t(sequence)];
  const uint8_t *begin = bytes + in.nested.offset + from.nestedOffset;
  SnapshotContent nested;
  PAGED_ATTN_RETURN_IF_ERROR(
      parseSnapshot(begin, size_t(from.nestedBytes), nested));
  if (nested.sequences.size() != 1 || nested.sequences[0].tokens != from.tokens)
    return Status::error(StatusCode::DataLoss,
                         "snapshot: swapped sequence %d has other tokens",
                         sequence);
  auto record = std::make_unique<SwapRecord>();
  record->bytes.assign(begin, begin + from.nestedBytes);
  records[size_t(sequence)] = std::move(record);
  return Status::ok();
}

Status Importer::prepareScratch() {
  int32_t longest = 1;
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    const GroupSpec &spec = impl.spec(g);
    longest = std::max({longest, spec.keys.dim, spec.values.dim});
    if (int64_t(pages[g].size()) > impl.pools[g]->available())
      return Status::error(StatusCode::ResourceExhausted,
                           "group %d has %lld pages left, expected %zu", g,
                           static_cast<long long>(impl.pools[g]->available()),
                           pages[g].size());
    used[g].resize(pages[g].size(), false);
  }
  row.resize(size_t(longest));
  return Status::ok();
}

Status Importer::prepare(int32_t into) {
  intoSlot = into;
  entries.resize(in.sequences.size());
  records.resize(in.sequences.size());
  int64_t wanted = 0, unused = 0;
  for (size_t s = 0; s < in.sequences.size(); ++s) {
    const SnapshotSequence &from = in.sequences[s];
    entries[s].resize(size_t(impl.numGroups()));
    if (int64_t(from.tokens.size()) > impl.options.maxTokens) {
      if (from.kind == SnapshotKind::CacheOnly)
        continue;
      return Status::error(StatusCode::OutOfRange,
                           "expected sequences of at most %d tokens, got %zu",
                           impl.options.maxTokens, from.tokens.size());
    }
    if (from.kind == SnapshotKind::CacheOnly)
      planCached(int32_t(s));
    else
      ++wanted;
    if (from.kind == SnapshotKind::Swapped)
      PAGED_ATTN_RETURN_IF_ERROR(prepareSwapped(int32_t(s)));
    if (from.kind == SnapshotKind::Live)
      PAGED_ATTN_RETURN_IF_ERROR(planSequence(int32_t(s)));
  }
  for (int32_t slot = impl.unusedHead; slot >= 0 && unused < wanted;
       slot = impl.sequences[slot].nextUnused)
    ++unused;
  if (intoSlot < 0 && unused < wanted)
    return Status::error(StatusCode::ResourceExhausted,
                         "expected %lld unused sequences, got %lld",
                         static_cast<long long>(wanted),
                         static_cast<long long>(unused));
  PAGED_ATTN_RETURN_IF_ERROR(prepareScratch());
  domains.reserve(in.domains.size());
  for (const std::string &domain : in.domains)
    domains.push_back(impl.domains.acquireEncoded(domain));
  return Status::ok();
}

//===----------------------------------------------------------------------===//
// Filling
//===----------------------------------------------------------------------===//

PageSide Importer::blobSide(int32_t group, int32_t layer, Side which,
                            int32_t page) {
  const SnapshotGroup &from = in.groups[size_t(group)];
  const GroupSpec &spec = from.spec;
  bool keys = which == Side::Keys;
  const SideSpec &side = keys ? spec.keys : spec.values;
  uint64_t keyBytes = blobSideBytes(spec, spec.keys) +
                      uint64_t(sideScaleBytes(spec, spec.keys));
  uint64_t valueBytes = blobSideBytes(spec, spec.values) +
                        uint64_t(sideScaleBytes(spec, spec.values));
  const uint8_t *data =
      bytes + from.region.offset + uint64_t(page) * blobPageBytes(spec) +
      uint64_t(layer) * (keyBytes + valueBytes) + (keys ? 0 : keyBytes);
  const float *fixed = keys ? from.keyScales.data() : from.valueScales.data();
  const float *scale = nullptr;
  if (side.scales == ScaleKind::PerTensor)
    scale = fixed + layer;
  else if (side.scales == ScaleKind::PerHead)
    scale = fixed + int64_t(layer) * spec.numKVHeads;
  else if (side.scales == ScaleKind::PerTokenHead)
    scale = reinterpret_cast<const float *>(data + blobSideBytes(spec, side));
  // The source is only read; PageSide serves both directions.
  return PageSide{spec.pageSize, spec.numKVHeads, side,
                  const_cast<uint8_t *>(data), const_cast<float *>(scale)};
}

void Importer::copyToken(int32_t group, int32_t source, int32_t sourceSlot,
                         PageId target, int32_t targetSlot) {
  for (int32_t layer = 0; layer < impl.spec(group).numLayers; ++layer)
    for (int32_t which = 0; which < impl.numSides(group); ++which) {
      PageSide from = blobSide(group, layer, Side(which), source);
      PageSide to = impl.pageSide(group, layer, Side(which), target);
      if (sameEncoding(from, to))
        copySlotRaw(from, sourceSlot, to, targetSlot);
      else
        convertSlot(from, sourceSlot, to, targetSlot, row.data());
    }
}

/// Copies a page that needs no conversion at all; false when it does.
bool Importer::copyWhole(int32_t group, PageId page, int32_t source) {
  const GroupSpec &a = in.groups[size_t(group)].spec, &b = impl.spec(group);
  if (a.pageSize != b.pageSize || a.keys.layout != b.keys.layout ||
      a.values.layout != b.values.layout)
    return false;
  for (int32_t layer = 0; layer < b.numLayers; ++layer)
    for (int32_t which = 0; which < impl.numSides(group); ++which)
      if (!sameEncoding(blobSide(group, layer, Side(which), source),
                        impl.pageSide(group, layer, Side(which), page)))
        return false;
  for (int32_t layer = 0; layer < b.numLayers; ++layer)
    for (int32_t which = 0; which < impl.numSides(group); ++which) {
      PageSide from = blobSide(group, layer, Side(which), source);
      PageSide to = impl.pageSide(group, layer, Side(which), page);
      std::memcpy(to.data, from.data, size_t(sidePageBytes(b, to.side)));
      if (int64_t scaleBytes = sideScaleBytes(b, to.side))
        std::memcpy(to.scales, from.scales, size_t(scaleBytes));
    }
  return true;
}

void Importer::fill(int32_t group, const NewPage &page) {
  const SnapshotSequence &from = in.sequences[size_t(page.sequence)];
  const std::vector<int32_t> &table = from.tables[size_t(group)];
  int32_t sourceSize = in.groups[size_t(group)].spec.pageSize;
  int32_t firstSource = page.first / sourceSize;
  int32_t lastSource = (page.first + page.count - 1) / sourceSize;
  keepPriority(group, page.page, &table[size_t(firstSource)],
               size_t(lastSource - firstSource + 1));
  if (!page.complete)
    impl.pools[group]->setHoles(page.page);
  else if (page.first % sourceSize == 0 &&
           copyWhole(group, page.page, table[size_t(firstSource)]))
    return;
  impl.fillPage(group, page.page, impl.options.fill);
  for (int32_t at = page.first; at < page.first + page.count; ++at)
    if (hasToken(from, group, at))
      copyToken(group, table[size_t(at / sourceSize)], at % sourceSize,
                page.page, at - page.first);
}

/// Gives a page the highest priority of the pages that it is made of.
void Importer::keepPriority(int32_t group, PageId page, const int32_t *sources,
                            size_t count) {
  const SnapshotGroup &from = in.groups[size_t(group)];
  int priority = -1;
  uint32_t ttlMs = 0;
  for (size_t i = 0; i < count && !from.priorities.empty(); ++i)
    if (int32_t source = sources[i];
        source >= 0 && from.priorities[size_t(source)] > priority) {
      priority = from.priorities[size_t(source)];
      ttlMs = from.ttlMs[size_t(source)];
    }
  if (priority >= 0)
    impl.pools[group]->setPriority(page, priority, ttlMs);
}

/// Maps the planned pages of a live sequence.
void Importer::place(int32_t sequence, int32_t slot) {
  const SnapshotSequence &from = in.sequences[size_t(sequence)];
  Sequence &seq = impl.sequences[slot];
  std::copy(from.tokens.begin(), from.tokens.end(), impl.tokensOf(slot));
  seq.numTokens = int32_t(from.tokens.size());
  seq.numCommitted = 0;
  seq.state = SequenceState::Live;
  ++seq.version;
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    const std::vector<int32_t> &planned = entries[size_t(sequence)][size_t(g)];
    impl.startChain(slot, g);
    for (size_t i = 0; i < planned.size(); ++i) {
      PageId &entry = impl.table(slot, g)[i];
      entry = kNoPage;
      if (planned[i] < 0)
        continue;
      auto index = size_t(planned[i]);
      entry = pages[g][index].page;
      if (used[g][index]) { // The first owner has the page's own.
        impl.pools[g]->ref(entry);
        impl.pools[g]->markShared(entry);
      }
      used[g][index] = true;
    }
    impl.state(slot, g).numPages = int32_t(planned.size());
  }
}

void Importer::commitPlaced(int32_t sequence, int32_t slot) {
  const SnapshotSequence &from = in.sequences[size_t(sequence)];
  impl.sequences[slot].numCommitted = from.numCommitted;
  if (!impl.options.prefixCache)
    return;
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    int32_t full = from.numCommitted / impl.spec(g).pageSize;
    for (int32_t i = 0; i < full; ++i) {
      int32_t index = entries[size_t(sequence)][size_t(g)][size_t(i)];
      impl.commitPage(slot, g, index < 0 || pages[g][size_t(index)].complete);
    }
    impl.storeLastPage(slot, g);
  }
}

/// Maps the cache's page for the next full page of a slot, if it has one.
bool Importer::adoptKnown(int32_t slot, int32_t group) {
  GroupState &gs = impl.state(slot, group);
  PagePool &pool = *impl.pools[group];
  const TokenId *tokens =
      impl.tokensOf(slot) + int64_t(gs.numHashed) * impl.spec(group).pageSize;
  Chain chain = gs.chain;
  uint64_t parent = impl.parentKey(slot, group, gs.numHashed, chain.digest);
  impl.nextChain(group, tokens, chain);
  PageId page = pool.lookup(chain.content, parent, tokens);
  if (page == kNoPage)
    return false;
  pool.ref(page);
  pool.markShared(page);
  impl.table(slot, group)[gs.numHashed++] = page;
  gs.chain = chain;
  return true;
}

/// Brings cached pages back as far as pages are free; evicts nothing.
void Importer::placeCached(int32_t sequence) {
  const SnapshotSequence &from = in.sequences[size_t(sequence)];
  int32_t slot = impl.scratchSlot();
  Sequence &seq = impl.sequences[slot];
  auto numTokens = int32_t(from.tokens.size());
  seq.domain = domains[from.domain];
  seq.numCommitted = numTokens;
  std::copy(from.tokens.begin(), from.tokens.end(), impl.tokensOf(slot));
  for (int32_t g = 0; g < impl.numGroups(); ++g) {
    const std::vector<int32_t> &planned = entries[size_t(sequence)][size_t(g)];
    int32_t pageSize = impl.spec(g).pageSize;
    GroupState &gs = impl.state(slot, g);
    gs = GroupState();
    impl.startChain(slot, g);
    for (size_t i = 0; i < planned.size(); ++i) {
      gs.numPages = int32_t(i) + 1;
      PageId &entry = impl.table(slot, g)[i];
      entry = kNoPage;
      int32_t first = int32_t(i) * pageSize;
      int32_t count = std::min(pageSize, numTokens - first);
      if (planned[i] >= 0 && count == pageSize && adoptKnown(slot, g))
        continue;
      if (planned[i] >= 0 && impl.pools[g]->numFree() > 0) {
        entry = impl.pools[g]->allocateOne();
        fill(g, NewPage{sequence, first, count, true, entry});
      } else if (impl.exact(g)) {
        gs.numPages = int32_t(i);
        break;
      }
      if (count == pageSize)
        impl.commitPage(slot, g, /*store=*/true);
      else
        impl.storeLastPage(slot, g);
    }
    impl.dropPages(slot, g, 0, KeepCache::Keep);
  }
}

/// Whether digests of the snapshot are those of this manager, or can be: one
/// without a key of its own takes over the snapshot's while nothing depends on
/// it.
bool Importer::knowsDigests() const {
  if (impl.secret == in.secret)
    return true;
  bool isEmpty = impl.options.secret == 0 && in.secret != 0;
  for (int32_t slot = 0; slot < impl.options.maxSequences; ++slot)
    isEmpty &= impl.sequences[slot].state == SequenceState::Unused;
  for (int32_t g = 0; g < impl.numGroups(); ++g)
    isEmpty &= impl.pools[g]->numCached() == 0;
  return isEmpty;
}

void Importer::storeWindowed(int32_t group, const SnapshotCached &from) {
  PagePool &pool = *impl.pools[group];
  int32_t pageSize = impl.spec(group).pageSize, agreeing = 0;
  auto count = int32_t(from.tokens.size());
  bool isRoot = from.domain >= 0;
  int32_t domain = isRoot ? domains[size_t(from.domain)] : -1;
  uint64_t parent = isRoot ? impl.domains.rootKey(domain) : from.parentKey;
  const TokenId *tokens = from.tokens.data();
  if (count < pageSize)
    (void)pool.lookupPartial(from.hash, parent, tokens, count, agreeing);
  if (agreeing == count ||
      (count == pageSize && pool.lookup(from.hash, parent, tokens) != kNoPage))
    return;
  PageId page = pool.allocateOne();
  auto source = int32_t(from.page);
  if (!copyWhole(group, page, source)) {
    impl.fillPage(group, page, impl.options.fill);
    for (int32_t at = 0; at < count; ++at)
      copyToken(group, source, at, page, at);
  }
  keepPriority(group, page, &source, 1);
  // Nobody knows any more what the hash before the page was.
  if (count == pageSize)
    pool.insert(page, from.hash, /*parentHash=*/0, parent, tokens, isRoot);
  else
    pool.insertPartial(page, from.hash, parent, tokens, count, isRoot);
  if (isRoot && pool.isCached(page))
    impl.domains.ref(domain);
  pool.deref(page);
}

/// Brings back what a manager of windowed groups had cached. Digests are by
/// page, so other page sizes cannot use them.
void Importer::placeWindowed(int32_t group) {
  const SnapshotGroup &from = in.groups[size_t(group)];
  if (from.spec.pageSize != impl.spec(group).pageSize || impl.exact(group))
    return;
  for (const SnapshotCached &page : from.cached)
    if (impl.pools[group]->numFree() > 0)
      storeWindowed(group, page);
}

void Importer::run(std::vector<SeqId> &handles) {
  bool placesWindowed = impl.options.prefixCache && knowsDigests();
  for (int32_t g = 0; g < impl.numGroups() && placesWindowed; ++g)
    if (!in.groups[size_t(g)].cached.empty())
      impl.secret = in.secret;
  for (int32_t g = 0; g < impl.numGroups(); ++g)
    for (NewPage &page : pages[g]) {
      page.page = impl.pools[g]->allocateOne();
      fill(g, page);
    }
  for (size_t s = 0; s < in.sequences.size(); ++s) {
    const SnapshotSequence &from = in.sequences[s];
    if (from.kind == SnapshotKind::CacheOnly)
      continue;
    int32_t slot = intoSlot;
    if (intoSlot < 0) {
      (void)impl.takeSlot(domains[from.domain], SequenceState::Live, slot);
      impl.domains.ref(domains[from.domain]);
      handles.push_back(impl.handle(slot)); // Reserved by the caller.
    }
    if (from.kind == SnapshotKind::Live) {
      place(int32_t(s), slot);
      continue;
    }
    Sequence &seq = impl.sequences[slot];
    std::copy(from.tokens.begin(), from.tokens.end(), impl.tokensOf(slot));
    seq.numTokens = int32_t(from.tokens.size());
    seq.numCommitted = from.numCommitted;
    seq.state = SequenceState::Swapped;
    impl.swaps[slot] = std::move(records[s]);
  }
  size_t next = 0;
  for (size_t s = 0; s < in.sequences.size(); ++s)
    if (in.sequences[s].kind != SnapshotKind::CacheOnly) {
      int32_t slot =
          intoSlot >= 0 ? intoSlot : int32_t(uint32_t(handles[next++]));
      if (in.sequences[s].kind == SnapshotKind::Live)
        commitPlaced(int32_t(s), slot);
    }
  for (size_t s = 0; s < in.sequences.size(); ++s)
    if (in.sequences[s].kind == SnapshotKind::CacheOnly &&
        impl.options.prefixCache)
      placeCached(int32_t(s));
  for (int32_t g = 0; g < impl.numGroups() && placesWindowed; ++g)
    placeWindowed(g);
}

} // namespace

/// `intoSlot` >= 0 brings one swapped sequence back.
Status ManagerImpl::importBytes(const uint8_t *bytes, size_t size,
                                int32_t intoSlot, std::vector<SeqId> &handles) {
  // Scales are read in place; bytes from elsewhere may lie anywhere.
  if (reinterpret_cast<uintptr_t>(bytes) % alignof(uint64_t) != 0) {
    std::vector<uint8_t> aligned(bytes, bytes + size);
    return importBytes(aligned.data(), size, intoSlot, handles);
  }
  for (int32_t g = 0; g < numGroups(); ++g)
    PAGED_ATTN_RETURN_IF_ERROR(needMemory(g));
  if (workPending())
    return Status::error(StatusCode::FailedPrecondition,
                         "expected the work lists to be taken");
  SnapshotContent content;
  PAGED_ATTN_RETURN_IF_ERROR(parseSnapshot(bytes, size, content));
  Importer importer(*this, bytes, content);
  PAGED_ATTN_RETURN_IF_ERROR(importer.checkGroups());
  if (intoSlot >= 0) {
    const TokenId *own = tokensOf(intoSlot);
    if (content.sequences.size() != 1 ||
        content.sequences[0].kind != SnapshotKind::Live ||
        !std::equal(content.sequences[0].tokens.begin(),
                    content.sequences[0].tokens.end(), own,
                    own + sequences[intoSlot].numTokens))
      return Status::error(StatusCode::DataLoss,
                           "the swapped bytes hold another sequence");
  }
  PAGED_ATTN_RETURN_IF_ERROR(importer.prepare(intoSlot));
  std::vector<SeqId> made;
  made.reserve(content.sequences.size());
  tick();
  importer.run(made);
  handles.swap(made);
  return Status::ok();
}

Status KVCacheManager::importSequence(const uint8_t *bytes, size_t size,
                                      SeqId &sequence) {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    SnapshotContent content;
    PAGED_ATTN_RETURN_IF_ERROR(parseSnapshot(bytes, size, content));
    if (content.sequences.size() != 1 ||
        content.sequences[0].kind != SnapshotKind::Live)
      return Status::error(StatusCode::InvalidArgument,
                           "expected a snapshot of one sequence, got %zu",
                           content.sequences.size());
    std::vector<SeqId> handles;
    PAGED_ATTN_RETURN_IF_ERROR(impl_->importBytes(bytes, size, -1, handles));
    sequence = handles[0];
    return Status::ok();
  });
}

Status KVCacheManager::importManager(const uint8_t *bytes, size_t size,
                                     std::vector<SeqId> &sequences) {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    for (int32_t slot = 0; slot < impl_->options.maxSequences; ++slot)
      if (impl_->sequences[slot].state != SequenceState::Unused)
        return Status::error(StatusCode::FailedPrecondition,
                             "expected a manager without sequences and "
                             "matches, got one");
    return impl_->importBytes(bytes, size, -1, sequences);
  });
}

Status KVCacheManager::load(const char *path, std::vector<SeqId> &sequences) {
  MappedFile file(*impl_->options.files);
  PAGED_ATTN_RETURN_IF_ERROR(file.open(path));
  return importManager(file.data(), file.size(), sequences);
}
