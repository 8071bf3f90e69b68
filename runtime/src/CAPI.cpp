//===- CAPI.cpp - C API: managers, sequences, work lists, views -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Thin: every function checks its pointers and calls its C++ namesake.
//
//===----------------------------------------------------------------------===//

#include "CAPISupport.h"

#include <cstdlib>

using namespace paged_attn;

namespace {

// Frozen structs have the layout of their C++ namesakes.
template <typename C, typename Cpp>
constexpr bool kSameLayout =
    sizeof(C) == sizeof(Cpp) && alignof(C) == alignof(Cpp);
static_assert(kSameLayout<PagedAttnSlotRequest, SlotRequest> &&
              kSameLayout<PagedAttnPageCopy, PageCopy> &&
              kSameLayout<PagedAttnPageZero, PageZero> &&
              kSameLayout<PagedAttnSlotCopy, SlotCopy> &&
              kSameLayout<PagedAttnPageMove, PageMove> &&
              kSameLayout<PagedAttnViewRow, ViewRow>);
static_assert(offsetof(PagedAttnSlotRequest, slots) ==
                  offsetof(SlotRequest, slots) &&
              offsetof(PagedAttnSlotCopy, target) ==
                  offsetof(SlotCopy, target) &&
              offsetof(PagedAttnViewRow, pagesWritten) ==
                  offsetof(ViewRow, pagesWritten));

/// Checks an enum value against the number of its values.
Status checkEnum(const char *name, int32_t value, int32_t count) {
  if (value < 0 || value >= count)
    return Status::error(StatusCode::InvalidArgument,
                         "expected %s in [0, %d), got %d", name, count, value);
  return Status::ok();
}

Status toSide(const PagedAttnSideSpec &in, SideSpec &out) {
  PAGED_ATTN_RETURN_IF_ERROR(checkEnum("type", in.type, 6));
  PAGED_ATTN_RETURN_IF_ERROR(checkEnum("layout", in.layout, 3));
  PAGED_ATTN_RETURN_IF_ERROR(checkEnum("scales", in.scales, 4));
  out = SideSpec{in.dim, ElementType(in.type), PageLayout(in.layout),
                 ScaleKind(in.scales)};
  return Status::ok();
}

uint64_t callScore(void *context, const IdlePage &page) {
  const auto *owner = static_cast<const PagedAttnManager *>(context);
  PagedAttnIdlePage copy = {page.page, page.uses, page.priority, page.bornMs,
                            page.touchedMs};
  return owner->score(owner->scoreContext, &copy);
}

/// Entry `index` of an array of structs of the caller's size.
const PagedAttnGroupSpec *groupAt(const PagedAttnGroupSpec *groups,
                                  int32_t index) {
  return reinterpret_cast<const PagedAttnGroupSpec *>(
      reinterpret_cast<const uint8_t *>(groups) +
      size_t(index) * groups->structSize);
}

Status toGroups(const PagedAttnGroupSpec *groups, int32_t count,
                GroupSpec *specs, int64_t *numPages, int64_t *maxPages) {
  if (count < 1 || count > kMaxGroups)
    return Status::error(StatusCode::InvalidArgument,
                         "expected 1 to %d groups, got %d", kMaxGroups, count);
  if (!groups)
    return nullArgument("groups");
  for (int32_t g = 0; g < count; ++g) {
    PagedAttnGroupSpec group;
    PAGED_ATTN_RETURN_IF_ERROR(readStruct(groupAt(groups, g), "group", group));
    if (groupAt(groups, g)->structSize != groups->structSize)
      return Status::error(StatusCode::InvalidArgument,
                           "expected equal struct sizes of groups");
    PAGED_ATTN_RETURN_IF_ERROR(toGroupSpec(group, specs[g]));
    if (numPages) {
      numPages[g] = group.numPages;
      maxPages[g] = group.maxPages;
    }
  }
  return Status::ok();
}

Status toOptions(const PagedAttnManagerOptions &in, ManagerOptions &out) {
  out.numGroups = in.numGroups;
  PAGED_ATTN_RETURN_IF_ERROR(toGroups(in.groups, in.numGroups, out.groups,
                                      out.numPages, out.maxPages));
  PAGED_ATTN_RETURN_IF_ERROR(checkEnum("fill", in.fill, 3));
  PAGED_ATTN_RETURN_IF_ERROR(checkEnum("policy", in.policy, 6));
  out.maxSequences = in.maxSequences;
  out.maxTokens = in.maxTokens;
  out.maxPendingWork = in.maxPendingWork;
  out.maxEvents = in.maxEvents;
  out.prefixCache = in.prefixCache != 0;
  out.ownMemory = in.ownMemory != 0;
  out.guardPage = in.guardPage != 0;
  out.fill = FillMode(in.fill);
  out.policy = EvictionPolicy(in.policy);
  out.clock = in.clock;
  out.clockContext = in.clockContext;
  out.secret = in.secret;
  return Status::ok();
}

PagedAttnGroupMemory toC(const GroupMemory &memory) {
  return {0,
          memory.pages,
          memory.pageBytes,
          memory.poolBytes,
          memory.tokens,
          memory.bytesPerToken,
          memory.offset};
}

} // namespace

Status paged_attn::toGroupSpec(const PagedAttnGroupSpec &in, GroupSpec &out) {
  PAGED_ATTN_RETURN_IF_ERROR(checkEnum("windowKind", in.windowKind, 4));
  out.pageSize = in.pageSize;
  out.numLayers = in.numLayers;
  out.numKVHeads = in.numKVHeads;
  out.windowKind = WindowKind(in.windowKind);
  out.window = in.window;
  out.sinkTokens = in.sinkTokens;
  PAGED_ATTN_RETURN_IF_ERROR(toSide(in.keys, out.keys));
  return toSide(in.values, out.values);
}

PrefixDomain paged_attn::toDomain(const PagedAttnDomain *domain,
                                  std::vector<ExtraKey> &keys) {
  PrefixDomain out;
  if (!domain)
    return out;
  for (int32_t i = 0; i < domain->numKeys; ++i)
    keys.push_back(ExtraKey{domain->keys[i].tag, domain->keys[i].data,
                            domain->keys[i].bytes});
  out.salt = domain->salt;
  out.saltBytes = domain->saltBytes;
  out.keys = keys.data();
  out.numKeys = int32_t(keys.size());
  return out;
}

Status paged_attn::toBuffer(const void *data, size_t size,
                            PagedAttnBuffer *out) {
  if (!out)
    return nullArgument("a buffer");
  auto *copy = static_cast<uint8_t *>(std::malloc(size + 1));
  if (!copy)
    return Status::error(StatusCode::ResourceExhausted, "out of host memory");
  if (size > 0)
    std::memcpy(copy, data, size);
  copy[size] = 0;
  *out = PagedAttnBuffer{copy, size};
  return Status::ok();
}

extern "C" {

//===----------------------------------------------------------------------===//
// Status and descriptions
//===----------------------------------------------------------------------===//

const char *pagedAttnStatusCodeName(int32_t code) {
  return statusCodeName(StatusCode(code));
}

int32_t pagedAttnRuntimeVersion(void) { return 100; }

void pagedAttnBufferDestroy(PagedAttnBuffer *buffer) {
  if (!buffer)
    return;
  std::free(buffer->data);
  *buffer = PagedAttnBuffer{nullptr, 0};
}

void pagedAttnGroupSpecInit(PagedAttnGroupSpec *spec, size_t structSize) {
  GroupSpec defaults;
  PagedAttnGroupSpec value = {};
  value.pageSize = defaults.pageSize;
  value.numLayers = defaults.numLayers;
  value.numKVHeads = defaults.numKVHeads;
  value.keys.dim = defaults.keys.dim;
  value.values.dim = defaults.values.dim;
  spec->structSize = structSize;
  writeStruct(value, spec);
}

void pagedAttnManagerOptionsInit(PagedAttnManagerOptions *options,
                                 size_t structSize) {
  ManagerOptions defaults;
  PagedAttnManagerOptions value = {};
  value.numGroups = defaults.numGroups;
  value.maxSequences = defaults.maxSequences;
  value.maxTokens = defaults.maxTokens;
  value.maxEvents = defaults.maxEvents;
  value.prefixCache = defaults.prefixCache;
  options->structSize = structSize;
  writeStruct(value, options);
}

PagedAttnStatus pagedAttnPlanMemory(const PagedAttnGroupSpec *specs,
                                    int32_t numGroups, int64_t budgetBytes,
                                    int64_t contextTokens,
                                    PagedAttnGroupMemory *groups,
                                    int64_t *unusedBytes) {
  return toC(guarded([&]() -> Status {
    GroupSpec made[kMaxGroups];
    PAGED_ATTN_RETURN_IF_ERROR(
        toGroups(specs, numGroups, made, nullptr, nullptr));
    PAGED_ATTN_RETURN_IF_ERROR(checkOut(groups, "groups"));
    MemoryReport report;
    PAGED_ATTN_RETURN_IF_ERROR(
        planMemory(made, numGroups, budgetBytes, contextTokens, report));
    size_t stride = groups->structSize;
    for (int32_t g = 0; g < numGroups; ++g) {
      auto *out = reinterpret_cast<PagedAttnGroupMemory *>(
          reinterpret_cast<uint8_t *>(groups) + size_t(g) * stride);
      out->structSize = stride;
      writeStruct(::toC(report.groups[g]), out);
    }
    if (unusedBytes)
      *unusedBytes = report.unusedBytes;
    return Status::ok();
  }));
}

//===----------------------------------------------------------------------===//
// Manager
//===----------------------------------------------------------------------===//

PagedAttnStatus pagedAttnManagerCreate(const PagedAttnManagerOptions *options,
                                       PagedAttnManager **manager) {
  return toC(guarded([&]() -> Status {
    if (!manager)
      return nullArgument("manager");
    PagedAttnManagerOptions in;
    PAGED_ATTN_RETURN_IF_ERROR(readStruct(options, "options", in));
    ManagerOptions out;
    PAGED_ATTN_RETURN_IF_ERROR(toOptions(in, out));
    auto made = std::make_unique<PagedAttnManager>();
    made->score = in.score;
    made->scoreContext = in.scoreContext;
    if (in.score) {
      out.score = callScore;
      out.scoreContext = made.get();
    }
    PAGED_ATTN_RETURN_IF_ERROR(KVCacheManager::create(out, made->manager));
    *manager = made.release();
    return Status::ok();
  }));
}

void pagedAttnManagerDestroy(PagedAttnManager *manager) { delete manager; }

PagedAttnStatus pagedAttnAttachMemory(PagedAttnManager *manager, int32_t group,
                                      const PagedAttnPoolMemory *memory) {
  return onManager(manager, [&](KVCacheManager &m) {
    PagedAttnPoolMemory in;
    PAGED_ATTN_RETURN_IF_ERROR(readStruct(memory, "memory", in));
    return m.attachMemory(
        group, PoolMemory{in.keys, in.values, in.keyPageStride,
                          in.keyLayerStride, in.valuePageStride,
                          in.valueLayerStride, in.keyScales, in.valueScales});
  });
}

PagedAttnStatus pagedAttnPoolMemory(const PagedAttnManager *manager,
                                    int32_t group,
                                    PagedAttnPoolMemory *memory) {
  return onManager(manager, [&](const KVCacheManager &m) {
    PAGED_ATTN_RETURN_IF_ERROR(checkOut(memory, "memory"));
    PoolMemory pool;
    PAGED_ATTN_RETURN_IF_ERROR(m.poolMemory(group, pool));
    writeStruct(PagedAttnPoolMemory{0, pool.keys, pool.values,
                                    pool.keyPageStride, pool.keyLayerStride,
                                    pool.valuePageStride, pool.valueLayerStride,
                                    pool.keyScales, pool.valueScales},
                memory);
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnMemoryReport(const PagedAttnManager *manager,
                                      int32_t group,
                                      PagedAttnGroupMemory *memory) {
  return onManager(manager, [&](const KVCacheManager &m) {
    PAGED_ATTN_RETURN_IF_ERROR(checkOut(memory, "memory"));
    MemoryReport report;
    PAGED_ATTN_RETURN_IF_ERROR(m.memoryReport(report));
    if (group < 0 || group >= report.numGroups)
      return Status::error(StatusCode::NotFound,
                           "expected a group in [0, %d), got %d",
                           report.numGroups, group);
    writeStruct(::toC(report.groups[group]), memory);
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnResizePool(PagedAttnManager *manager, int32_t group,
                                    int64_t numPages) {
  return onManager(manager, [&](KVCacheManager &m) {
    return m.resizePool(group, numPages);
  });
}

PagedAttnStatus pagedAttnPinPage(PagedAttnManager *manager, int32_t group,
                                 int32_t page) {
  return onManager(manager,
                   [&](KVCacheManager &m) { return m.pinPage(group, page); });
}

PagedAttnStatus pagedAttnUnpinPage(PagedAttnManager *manager, int32_t group,
                                   int32_t page) {
  return onManager(manager,
                   [&](KVCacheManager &m) { return m.unpinPage(group, page); });
}

PagedAttnStatus pagedAttnResetPrefixCache(PagedAttnManager *manager) {
  return onManager(manager,
                   [&](KVCacheManager &m) { return m.resetPrefixCache(); });
}

//===----------------------------------------------------------------------===//
// Sequences
//===----------------------------------------------------------------------===//

PagedAttnStatus pagedAttnMatchPrefix(PagedAttnManager *manager,
                                     const int32_t *tokens, int32_t numTokens,
                                     const PagedAttnDomain *domain,
                                     PagedAttnPrefixMatch *match) {
  return onManager(manager, [&](KVCacheManager &m) {
    PAGED_ATTN_RETURN_IF_ERROR(checkOut(match, "match"));
    if (numTokens > 0 && !tokens)
      return nullArgument("tokens");
    std::vector<ExtraKey> keys;
    PrefixMatch found;
    PAGED_ATTN_RETURN_IF_ERROR(
        m.matchPrefix(tokens, numTokens, toDomain(domain, keys), found));
    writeStruct(PagedAttnPrefixMatch{0, found.handle, found.numTokens,
                                     found.copiedTokens},
                match);
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnReleaseMatch(PagedAttnManager *manager,
                                      int64_t match) {
  return onManager(manager,
                   [&](KVCacheManager &m) { return m.releaseMatch(match); });
}

PagedAttnStatus pagedAttnPeekPrefix(const PagedAttnManager *manager,
                                    const int32_t *tokens, int32_t numTokens,
                                    const PagedAttnDomain *domain,
                                    int32_t *matched) {
  return onManager(manager, [&](const KVCacheManager &m) {
    if (!matched || (numTokens > 0 && !tokens))
      return nullArgument("tokens and matched");
    std::vector<ExtraKey> keys;
    return m.peekPrefix(tokens, numTokens, toDomain(domain, keys), *matched);
  });
}

PagedAttnStatus pagedAttnAddSequence(PagedAttnManager *manager,
                                     const PagedAttnDomain *domain,
                                     int64_t *sequence) {
  return onManager(manager, [&](KVCacheManager &m) {
    if (!sequence)
      return nullArgument("sequence");
    std::vector<ExtraKey> keys;
    return m.addSequence(toDomain(domain, keys), *sequence);
  });
}

PagedAttnStatus pagedAttnAddMatchedSequence(PagedAttnManager *manager,
                                            int64_t match, int64_t *sequence) {
  return onManager(manager, [&](KVCacheManager &m) {
    return sequence ? m.addMatchedSequence(match, *sequence)
                    : nullArgument("sequence");
  });
}

PagedAttnStatus pagedAttnAllocateSlots(PagedAttnManager *manager,
                                       const PagedAttnSlotRequest *requests,
                                       int32_t count, int64_t reservePages) {
  return onManager(manager, [&](KVCacheManager &m) {
    if (count > 0 && !requests)
      return nullArgument("requests");
    return m.allocateSlots(reinterpret_cast<const SlotRequest *>(requests),
                           count, reservePages);
  });
}

PagedAttnStatus pagedAttnCommit(PagedAttnManager *manager,
                                const int64_t *sequences, int32_t count) {
  return onManager(manager, [&](KVCacheManager &m) {
    if (count > 0 && !sequences)
      return nullArgument("sequences");
    return m.commit(sequences, count);
  });
}

PagedAttnStatus pagedAttnCommitTokens(PagedAttnManager *manager,
                                      int64_t sequence, int32_t numTokens) {
  return onManager(manager, [&](KVCacheManager &m) {
    return m.commitTokens(sequence, numTokens);
  });
}

PagedAttnStatus pagedAttnFork(PagedAttnManager *manager, int64_t parent,
                              int32_t position, int64_t *child) {
  return onManager(manager, [&](KVCacheManager &m) {
    return child ? m.fork(parent, position, *child) : nullArgument("child");
  });
}

PagedAttnStatus pagedAttnTruncate(PagedAttnManager *manager, int64_t sequence,
                                  int32_t numTokens) {
  return onManager(manager, [&](KVCacheManager &m) {
    return m.truncate(sequence, numTokens);
  });
}

PagedAttnStatus pagedAttnCommitTree(PagedAttnManager *manager, int64_t sequence,
                                    const int32_t *path, int32_t count) {
  return onManager(manager, [&](KVCacheManager &m) {
    if (count > 0 && !path)
      return nullArgument("path");
    return m.commitTree(sequence, path, count);
  });
}

PagedAttnStatus pagedAttnReleaseWindow(PagedAttnManager *manager,
                                       int64_t sequence, int64_t *released) {
  return onManager(manager, [&](KVCacheManager &m) {
    int64_t ignored = 0;
    return m.releaseWindow(sequence, released ? *released : ignored);
  });
}

PagedAttnStatus pagedAttnFreeSequence(PagedAttnManager *manager,
                                      int64_t sequence, int32_t keepCache) {
  return onManager(manager, [&](KVCacheManager &m) {
    return m.freeSequence(sequence,
                          keepCache ? KeepCache::Keep : KeepCache::Drop);
  });
}

PagedAttnStatus pagedAttnSetPriority(PagedAttnManager *manager,
                                     int64_t sequence, int32_t begin,
                                     int32_t end, int32_t priority,
                                     uint32_t ttlMs) {
  return onManager(manager, [&](KVCacheManager &m) {
    return m.setPriority(sequence, begin, end, priority, ttlMs);
  });
}

PagedAttnStatus pagedAttnSequenceInfo(const PagedAttnManager *manager,
                                      int64_t sequence,
                                      PagedAttnSequenceInfo *info) {
  return onManager(manager, [&](const KVCacheManager &m) {
    PAGED_ATTN_RETURN_IF_ERROR(checkOut(info, "info"));
    SequenceInfo found;
    PAGED_ATTN_RETURN_IF_ERROR(m.sequenceInfo(sequence, found));
    PagedAttnSequenceInfo out = {
        0, found.numTokens, found.numCommitted, found.isSwapped, {}};
    std::copy(found.numPages, found.numPages + kMaxGroups, out.numPages);
    writeStruct(out, info);
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnSequenceTokens(const PagedAttnManager *manager,
                                        int64_t sequence, int32_t begin,
                                        int32_t end, int32_t *tokens) {
  return onManager(manager, [&](const KVCacheManager &m) {
    if (end > begin && !tokens)
      return nullArgument("tokens");
    return m.sequenceTokens(sequence, begin, end, tokens);
  });
}

//===----------------------------------------------------------------------===//
// Work lists
//===----------------------------------------------------------------------===//

PagedAttnStatus pagedAttnTakePagesToZero(PagedAttnManager *manager,
                                         PagedAttnPageZero *out,
                                         int64_t capacity, int64_t *count) {
  return onManager(manager, [&](KVCacheManager &m) {
    if (capacity > 0 && !out)
      return nullArgument("out");
    return count ? m.takePagesToZero(reinterpret_cast<PageZero *>(out),
                                     capacity, *count)
                 : nullArgument("count");
  });
}

PagedAttnStatus pagedAttnTakePageCopies(PagedAttnManager *manager,
                                        PagedAttnPageCopy *out,
                                        int64_t capacity, int64_t *count) {
  return onManager(manager, [&](KVCacheManager &m) {
    if (capacity > 0 && !out)
      return nullArgument("out");
    return count ? m.takePageCopies(reinterpret_cast<PageCopy *>(out), capacity,
                                    *count)
                 : nullArgument("count");
  });
}

PagedAttnStatus pagedAttnTakeSlotCopies(PagedAttnManager *manager,
                                        PagedAttnSlotCopy *out,
                                        int64_t capacity, int64_t *count) {
  return onManager(manager, [&](KVCacheManager &m) {
    if (capacity > 0 && !out)
      return nullArgument("out");
    return count ? m.takeSlotCopies(reinterpret_cast<SlotCopy *>(out), capacity,
                                    *count)
                 : nullArgument("count");
  });
}

PagedAttnStatus pagedAttnRunPendingWork(PagedAttnManager *manager) {
  return onManager(manager,
                   [&](KVCacheManager &m) { return m.runPendingWork(); });
}

PagedAttnStatus pagedAttnCompact(PagedAttnManager *manager, int32_t group,
                                 PagedAttnPageMove *moves, int64_t capacity,
                                 PagedAttnCompactionReport *report) {
  return onManager(manager, [&](KVCacheManager &m) {
    PAGED_ATTN_RETURN_IF_ERROR(checkOut(report, "report"));
    CompactionReport done;
    PAGED_ATTN_RETURN_IF_ERROR(
        m.compact(group, reinterpret_cast<PageMove *>(moves), capacity, done));
    writeStruct(PagedAttnCompactionReport{0, done.moves, done.runsBefore,
                                          done.runsAfter, done.mappedPages},
                report);
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnCompactBelow(PagedAttnManager *manager, int32_t group,
                                      int64_t end, PagedAttnPageMove *moves,
                                      int64_t capacity,
                                      PagedAttnCompactionReport *report) {
  return onManager(manager, [&](KVCacheManager &m) {
    PAGED_ATTN_RETURN_IF_ERROR(checkOut(report, "report"));
    CompactionReport done;
    PAGED_ATTN_RETURN_IF_ERROR(m.compactBelow(
        group, end, reinterpret_cast<PageMove *>(moves), capacity, done));
    writeStruct(PagedAttnCompactionReport{0, done.moves, done.runsBefore,
                                          done.runsAfter, done.mappedPages},
                report);
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnRunMoves(PagedAttnManager *manager,
                                  const PagedAttnPageMove *moves,
                                  int64_t count) {
  return onManager(manager, [&](KVCacheManager &m) {
    return m.runMoves(reinterpret_cast<const PageMove *>(moves), count);
  });
}

//===----------------------------------------------------------------------===//
// Views
//===----------------------------------------------------------------------===//

PagedAttnStatus pagedAttnFillViews(const PagedAttnManager *manager,
                                   int32_t group, const int64_t *sequences,
                                   int32_t count, PagedAttnBatchViews *views) {
  return onManager(manager, [&](const KVCacheManager &m) {
    PagedAttnBatchViews in;
    PAGED_ATTN_RETURN_IF_ERROR(readStruct(views, "views", in));
    if (count > 0 && !sequences)
      return nullArgument("sequences");
    BatchViews out;
    out.pageTable = in.pageTable;
    out.tableStride = in.tableStride;
    out.rows = reinterpret_cast<ViewRow *>(in.rows);
    out.pageIndptr = in.pageIndptr;
    out.pageIndices = in.pageIndices;
    out.indicesCapacity = in.indicesCapacity;
    out.lastPageTokens = in.lastPageTokens;
    out.kvLens = in.kvLens;
    out.queryStarts = in.queryStarts;
    out.slotMapping = in.slotMapping;
    out.slotCapacity = in.slotCapacity;
    PAGED_ATTN_RETURN_IF_ERROR(m.fillViews(group, sequences, count, out));
    in.numSlots = out.numSlots;
    writeStruct(in, views);
    return Status::ok();
  });
}

PagedAttnStatus pagedAttnNumCommonPrefixPages(const PagedAttnManager *manager,
                                              int32_t group,
                                              const int64_t *sequences,
                                              int32_t count, int32_t *pages) {
  return onManager(manager, [&](const KVCacheManager &m) {
    if (count > 0 && !sequences)
      return nullArgument("sequences");
    return pages ? m.numCommonPrefixPages(group, sequences, count, *pages)
                 : nullArgument("pages");
  });
}

} // extern "C"
