//===- KVCacheManager.h - Sequences over paged KV caches --------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sequences of tokens on pages of one or more cache groups: prefix reuse,
// slots, forks, windows, swapping, snapshots, and the views and work lists
// that kernels take. docs/PageTable.md draws the model.
//
// Thread rule: every method may be called from any thread; one mutex guards
// the manager. A sequence is driven by one thread at a time, and buffers that
// the caller passes are written only during the call. Pool memory is not
// guarded: run kernels and `runPendingWork` on the thread that steps.
//
// No method throws. A failed call changes nothing, apart from counters.
// `allocateSlots`, `commit`, `fillViews`, `truncate`, `fork`, `freeSequence`,
// `releaseWindow`, `commitTree` and the `take...` calls never allocate.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_KVCACHEMANAGER_H
#define PAGED_ATTN_KVCACHEMANAGER_H

#include "paged_attn/FileSystem.h"
#include "paged_attn/PagePool.h"
#include "paged_attn/Stats.h"
#include "paged_attn/Types.h"

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace paged_attn {

/// What fresh pages are filled with before a kernel sees them.
enum class FillMode : uint8_t { None, Zero, NaN };

/// What a page's tokens depend on besides the tokens: only sequences with an
/// equal domain share pages.
struct ExtraKey {
  uint32_t tag = 0;           ///< kind of key: adapter, media, ...
  const void *data = nullptr; ///< [bytes]
  size_t bytes = 0;
};
struct PrefixDomain {
  const void *salt = nullptr; ///< [saltBytes], for example a tenant
  size_t saltBytes = 0;
  const ExtraKey *keys = nullptr; ///< [numKeys]
  int32_t numKeys = 0;
};

/// How to make a manager. All arrays are sized by it, once.
struct ManagerOptions {
  int32_t numGroups = 1;
  GroupSpec groups[kMaxGroups];
  int64_t numPages[kMaxGroups] = {}; ///< null (and guard) page included
  int64_t maxPages[kMaxGroups] = {}; ///< bound of `resizePool`; 0: numPages
  int32_t maxSequences = 256;        ///< matches that are held count
  int32_t maxTokens = 8192;          ///< longest sequence
  int32_t maxPendingWork = 0;        ///< entries per work list; 0: enough for
                                     ///< one page per sequence and group
  int32_t maxEvents = 4096;          ///< ring of events; 0: none
  bool prefixCache = true;
  bool ownMemory = false; ///< allocate the pools in host memory
  bool guardPage = false; ///< a page after the last that nobody may write
  FillMode fill = FillMode::None;
  EvictionPolicy policy = EvictionPolicy::LRU;
  EvictionScore score = nullptr;
  void *scoreContext = nullptr;
  /// Milliseconds of a monotonic clock; null: the steady clock.
  uint64_t (*clock)(void *context) = nullptr;
  void *clockContext = nullptr;
  HostAllocator allocator;
  FileSystem *files = nullptr; ///< null: POSIX; must outlive the manager
  uint64_t secret = 0; ///< key of the digests of windowed groups; 0: random
};

/// Where the pages of a group lie. Pointers may be null when nobody needs the
/// bytes on the host (no snapshots, no `runPendingWork`).
struct PoolMemory {
  uint8_t *keys = nullptr;   ///< page p of layer l: keys + l * keyLayerStride
                             ///<   + p * keyPageStride
  uint8_t *values = nullptr; ///< null for latent groups
  int64_t keyPageStride = 0, keyLayerStride = 0;     ///< bytes
  int64_t valuePageStride = 0, valueLayerStride = 0; ///< bytes
  float *keyScales = nullptr;   ///< [layers][maxPages][slots][heads] per token,
                                ///< [layers][heads] per head, [layers] per
                                ///< tensor, null for none
  float *valueScales = nullptr; ///< same for values
};

/// What `matchPrefix` found.
struct PrefixMatch {
  SeqId handle = kNoSequence; ///< pass to `addSequence` or `releaseMatch`
  int32_t numTokens = 0;      ///< tokens that need no prefill
  int32_t copiedTokens = 0;   ///< those of them on a copied last page (most of
                              ///< all groups)
};

/// One sequence's part of `allocateSlots`.
struct SlotRequest {
  SeqId sequence = kNoSequence;
  const TokenId *tokens = nullptr; ///< [numTokens], appended
  int32_t numTokens = 0;
  int32_t lookahead = 0;           ///< slots to have ready past them
  int64_t *const *slots = nullptr; ///< optional [numGroups] -> [numTokens]:
                                   ///< page * pageSize + slot of each token
};

/// Work for the device before the next kernel. Run slot copies first, then
/// zeroes, then page copies, each list in order.
struct PageCopy {
  int32_t group;
  PageId source;
  PageId target;
  int32_t numTokens; ///< leading slots that matter
};
struct PageZero {
  int32_t group;
  PageId page;
};
struct SlotCopy {
  int32_t group;
  int32_t reserved;
  int64_t source; ///< page * pageSize + slot
  int64_t target;
};
struct PageMove {
  int32_t group;
  PageId source;
  PageId target;
};

/// What a compaction did.
struct CompactionReport {
  int64_t moves = 0;
  int64_t runsBefore = 0; ///< runs of consecutive pages over all sequences
  int64_t runsAfter = 0;
  int64_t mappedPages = 0;
};

/// Row of a caller's page table, for writing only what changed. Zero it when
/// the buffer is new.
struct ViewRow {
  SeqId sequence;
  uint32_t version;
  int32_t pagesWritten;
};

/// The caller's buffers for one group; null ones are skipped.
struct BatchViews {
  int32_t *pageTable = nullptr;   ///< [numSequences][tableStride], -1 unmapped
  int64_t tableStride = 0;        ///< entries
  ViewRow *rows = nullptr;        ///< [numSequences], same buffer as last time
  int32_t *pageIndptr = nullptr;  ///< CSR [numSequences + 1]
  int32_t *pageIndices = nullptr; ///< CSR [indicesCapacity], -1 for released
  int64_t indicesCapacity = 0;    ///< entries
  int32_t *lastPageTokens = nullptr; ///< [numSequences], 0 when empty
  int32_t *kvLens = nullptr;         ///< [numSequences], new tokens included
  int32_t *queryStarts = nullptr;    ///< [numSequences + 1]
  int64_t *slotMapping = nullptr;    ///< [slotCapacity], -1 = skip
  int64_t slotCapacity = 0;
  int64_t numSlots = 0; ///< out: uncommitted tokens of the batch
};

/// Lengths of a sequence.
struct SequenceInfo {
  int32_t numTokens = 0;    ///< kv_len: committed and new
  int32_t numCommitted = 0; ///< q_len = numTokens - numCommitted
  bool isSwapped = false;
  int32_t numPages[kMaxGroups] = {}; ///< table entries, lookahead included
};

/// What remains of a freed sequence.
enum class KeepCache : uint8_t { Keep, Drop };
/// Where `swapOut` puts the pages.
enum class SwapTarget : uint8_t { Host, File };

struct ManagerImpl;

class PAGED_ATTN_EXPORT KVCacheManager {
public:
  /// Makes a manager; InvalidArgument names the option and the value,
  /// ResourceExhausted says that memory ended. `manager` is unchanged on
  /// failure.
  static Status create(const ManagerOptions &options,
                       std::unique_ptr<KVCacheManager> &manager);
  ~KVCacheManager();
  KVCacheManager(const KVCacheManager &) = delete;
  KVCacheManager &operator=(const KVCacheManager &) = delete;

  //===--- Memory ---------------------------------------------------------===//
  /// Tells where a group's pages lie; the caller owns them.
  Status attachMemory(int32_t group, const PoolMemory &memory);
  /// Where a group's pages lie; FailedPrecondition when nobody said.
  Status poolMemory(int32_t group, PoolMemory &memory) const;
  /// Bytes per group as built (offsets in a packed budget).
  Status memoryReport(MemoryReport &report) const;
  /// Grows or shrinks a group's pool up to its `maxPages`. Shrinking fails
  /// while a page above the new end is referenced; `compact` first.
  Status resizePool(int32_t group, int64_t numPages);
  /// Keeps a cached page, and the cached pages before it, from being reclaimed
  /// until `unpinPage` of the same page; NotFound when it is not cached. Moves
  /// of a compaction leave pinned pages where they are.
  Status pinPage(int32_t group, PageId page);
  Status unpinPage(int32_t group, PageId page);
  /// Drops every page of the prefix cache that no sequence uses.
  Status resetPrefixCache();

  //===--- Sequences ------------------------------------------------------===//
  /// Longest cached prefix of `tokens` [numTokens], its pages held until the
  /// handle is used. Pass one token less than the prompt, so that one is left
  /// to compute. A partial last page is copied (see `takePageCopies`) when a
  /// page is free for it.
  Status matchPrefix(const TokenId *tokens, int32_t numTokens,
                     const PrefixDomain &domain, PrefixMatch &match);
  /// Gives a match back that no sequence is made of.
  Status releaseMatch(SeqId handle);
  /// Length of the match only; takes nothing, for routers.
  Status peekPrefix(const TokenId *tokens, int32_t numTokens,
                    const PrefixDomain &domain, int32_t &matched) const;
  /// New empty sequence.
  Status addSequence(const PrefixDomain &domain, SeqId &sequence);
  /// Turns a match into a sequence that holds the matched tokens; the handle
  /// is used up and is not the sequence's.
  Status addMatchedSequence(SeqId match, SeqId &sequence);
  /// Appends tokens and maps pages for them, for all requests or for none.
  /// `reservePages` stay available in every group.
  Status allocateSlots(const SlotRequest *requests, int32_t count,
                       int64_t reservePages = 0);
  /// Tells that the KV of all new tokens is written: full pages enter the
  /// prefix cache; pages that it holds already are shared instead.
  /// FailedPrecondition while pending work names one of their pages.
  Status commit(const SeqId *sequences, int32_t count);
  /// Commits only the first `numTokens` new tokens of one sequence.
  Status commitTokens(SeqId sequence, int32_t numTokens);
  /// New sequence of the parent's first `position` tokens (-1: all), on the
  /// same pages. Whoever writes a shared page first copies it.
  Status fork(SeqId parent, int32_t position, SeqId &child);
  /// Forgets the tokens from `numTokens` on.
  Status truncate(SeqId sequence, int32_t numTokens);
  /// Speculative decoding: of the new tokens (a tree, in the order of
  /// `allocateSlots`) keeps those at `path` [count], ascending, moves them
  /// together (`takeSlotCopies`) and forgets the others. FailedPrecondition
  /// while pending work names one of their pages.
  Status commitTree(SeqId sequence, const int32_t *path, int32_t count);
  /// Unmaps the pages that no token to come can see; returns how many.
  Status releaseWindow(SeqId sequence, int64_t &released);
  /// Ends a sequence, swapped out or not. Its handle is refused from then on.
  Status freeSequence(SeqId sequence, KeepCache keep = KeepCache::Keep);
  /// Priority 0..100 of the pages of tokens [begin, end); after `ttlMs` (0:
  /// never) it is the default again.
  Status setPriority(SeqId sequence, int32_t begin, int32_t end, int priority,
                     uint32_t ttlMs);
  /// Lengths of a sequence, swapped out or not; NotFound for other handles.
  Status sequenceInfo(SeqId sequence, SequenceInfo &info) const;
  /// Copies tokens [begin, end) into `tokens`.
  Status sequenceTokens(SeqId sequence, int32_t begin, int32_t end,
                        TokenId *tokens) const;

  //===--- Work lists -----------------------------------------------------===//
  /// Hands out up to `capacity` entries in order; `count` is how many.
  Status takePagesToZero(PageZero *out, int64_t capacity, int64_t &count);
  Status takePageCopies(PageCopy *out, int64_t capacity, int64_t &count);
  Status takeSlotCopies(SlotCopy *out, int64_t capacity, int64_t &count);
  /// Runs all three lists on pools in host memory.
  Status runPendingWork();
  /// Moves pages so that sequences lie on runs of consecutive pages, at most
  /// `capacity` moves, which are written to `moves` and must be run in order
  /// before any kernel. Needs empty work lists.
  Status compact(int32_t group, PageMove *moves, int64_t capacity,
                 CompactionReport &report);
  /// Moves referenced pages at or past `end` below it, for `resizePool`.
  Status compactBelow(int32_t group, int64_t end, PageMove *moves,
                      int64_t capacity, CompactionReport &report);
  /// Runs moves on pools in host memory.
  Status runMoves(const PageMove *moves, int64_t count);

  //===--- Views ----------------------------------------------------------===//
  /// Writes what kernels take for `sequences` [count] into the caller's
  /// buffers.
  Status fillViews(int32_t group, const SeqId *sequences, int32_t count,
                   BatchViews &views) const;
  /// Leading pages that all sequences share, for cascade attention.
  Status numCommonPrefixPages(int32_t group, const SeqId *sequences,
                              int32_t count, int32_t &pages) const;

  //===--- Tiers and snapshots --------------------------------------------===//
  /// Moves a sequence's pages to host memory or to the file `path`, which must
  /// not hold another one. Needs pool memory on the host and empty work lists.
  Status swapOut(SeqId sequence, SwapTarget target, const char *path = nullptr);
  /// Brings them back; ResourceExhausted when pages are short, DataLoss when
  /// the file was harmed. The sequence stays swapped out then.
  Status swapIn(SeqId sequence);
  /// One sequence as a snapshot in `bytes`; needs empty work lists.
  Status exportSequence(SeqId sequence, std::vector<uint8_t> &bytes) const;
  /// Makes a sequence of a snapshot of one. Other page sizes, layouts, types
  /// and scales are converted; InvalidArgument when the model differs, DataLoss
  /// when the bytes were harmed, ResourceExhausted when pages are short.
  Status importSequence(const uint8_t *bytes, size_t size, SeqId &sequence);
  /// Writes all sequences and the prefix cache to a file, atomically.
  Status save(const char *path) const;
  /// Reads `save`'s file into a manager without sequences. `sequences` gets
  /// the handles in the order of the saved ones.
  Status load(const char *path, std::vector<SeqId> &sequences);
  /// The bytes of `save`, and `load` of such bytes.
  Status exportManager(std::vector<uint8_t> &bytes) const;
  Status importManager(const uint8_t *bytes, size_t size,
                       std::vector<SeqId> &sequences);

  //===--- Observability --------------------------------------------------===//
  /// Counters of now. Holds the mutex while it counts runs over all tables.
  Status stats(ManagerStats &stats) const;
  /// Events numbered `first` and later; OutOfRange when some were overwritten.
  /// `next` is the number to ask for next time.
  Status readEvents(uint64_t first, CacheEvent *out, int64_t capacity,
                    int64_t &count, uint64_t &next) const;
  /// All counters in the text format of Prometheus.
  Status prometheusText(std::string &text) const;
  /// A page table for people: one line per sequence, or a drawing.
  Status dumpText(int32_t group, std::string &text) const;
  Status dumpSvg(int32_t group, std::string &svg) const;
  /// Checks every structure; Internal with a text when something is broken.
  Status checkInvariants() const;
  /// Host memory of a group's page records and index, in bytes, the tokens of
  /// cached pages aside.
  int64_t bookkeepingBytes(int32_t group) const;

private:
  explicit KVCacheManager(std::unique_ptr<ManagerImpl> impl);
  std::unique_ptr<ManagerImpl> impl_;
};

/// Number of sequences in a snapshot (swapped ones included, cached prefixes
/// not); DataLoss when the bytes are not a whole snapshot.
PAGED_ATTN_EXPORT Status countSequences(const uint8_t *bytes, size_t size,
                                        int32_t &count);

/// The set of cached pages as events tell it.
class PAGED_ATTN_EXPORT EventReplay {
public:
  /// Applies events in order; FailedPrecondition on a hole or contradiction,
  /// with the events before it applied.
  Status apply(const CacheEvent *events, int64_t count);
  /// Hash of a cached page, or 0 when the page is not cached.
  uint64_t hashOf(int32_t group, PageId page) const;
  int64_t numCached(int32_t group) const;

private:
  Status applyOne(const CacheEvent &event);
  uint64_t next_ = 0;
  std::unordered_map<PageId, uint64_t> pages_[kMaxGroups];
};

} // namespace paged_attn

#endif // PAGED_ATTN_KVCACHEMANAGER_H
