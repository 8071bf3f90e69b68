/*===- runtime.h - C API of the page-table runtime ----------------*- C -*-===*\
|*                                                                            *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|* The C face of KVCacheManager.h and Plan.h: same model, same words, same    *|
|* thread rule (any thread; one lock per manager; one thread per sequence).   *|
|* Functions return a status by value and write results through pointers;     *|
|* on failure nothing is written and nothing changed. Structs that may grow   *|
|* begin with `structSize`, which the caller sets to `sizeof` of what it was  *|
|* compiled with (the `...Init` functions do that). Others are frozen.        *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#ifndef PAGED_ATTN_RUNTIME_H
#define PAGED_ATTN_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#define PAGED_ATTN_CAPI __attribute__((visibility("default")))

#ifdef __cplusplus
extern "C" {
#endif

/*===--- Status
 * -------------------------------------------------------------===*/

/** What went wrong. Values are stable. */
typedef enum PagedAttnStatusCode {
  PAGED_ATTN_OK = 0,
  PAGED_ATTN_INVALID_ARGUMENT = 1,
  PAGED_ATTN_NOT_FOUND = 2,
  PAGED_ATTN_RESOURCE_EXHAUSTED = 3,
  PAGED_ATTN_FAILED_PRECONDITION = 4,
  PAGED_ATTN_OUT_OF_RANGE = 5,
  PAGED_ATTN_DATA_LOSS = 6,
  PAGED_ATTN_IO_ERROR = 7,
  PAGED_ATTN_INTERNAL = 8
} PagedAttnStatusCode;

/** Result of a call: `code`, and a text that is empty when fine. */
typedef struct PagedAttnStatus {
  int32_t code; /**< PagedAttnStatusCode */
  char message[180];
} PagedAttnStatus;

/** Name of a code, such as "data loss"; never null. */
PAGED_ATTN_CAPI const char *pagedAttnStatusCodeName(int32_t code);
/** Version of the library: major * 10000 + minor * 100 + patch. */
PAGED_ATTN_CAPI int32_t pagedAttnRuntimeVersion(void);

/*===--- Descriptions
 * -------------------------------------------------------===*/

/** Storage types. */
typedef enum PagedAttnElementType {
  PAGED_ATTN_F32 = 0,
  PAGED_ATTN_F16 = 1,
  PAGED_ATTN_BF16 = 2,
  PAGED_ATTN_F8E4M3 = 3,
  PAGED_ATTN_I8 = 4,
  PAGED_ATTN_I4 = 5
} PagedAttnElementType;
/** Order of slot, head and dim inside a page. */
typedef enum PagedAttnPageLayout {
  PAGED_ATTN_SHD = 0,
  PAGED_ATTN_HSD = 1,
  PAGED_ATTN_HDS = 2
} PagedAttnPageLayout;
/** Which earlier tokens a row still sees. */
typedef enum PagedAttnWindowKind {
  PAGED_ATTN_FULL = 0,
  PAGED_ATTN_SLIDING = 1,
  PAGED_ATTN_CHUNKED = 2,
  PAGED_ATTN_SINK_WINDOW = 3
} PagedAttnWindowKind;
/** Granularity of the scales of a quantised pool. */
typedef enum PagedAttnScaleKind {
  PAGED_ATTN_SCALE_NONE = 0,
  PAGED_ATTN_SCALE_PER_TENSOR = 1,
  PAGED_ATTN_SCALE_PER_HEAD = 2,
  PAGED_ATTN_SCALE_PER_TOKEN_HEAD = 3
} PagedAttnScaleKind;
/** Which idle page is reclaimed first. */
typedef enum PagedAttnEvictionPolicy {
  PAGED_ATTN_LRU = 0,
  PAGED_ATTN_LFU = 1,
  PAGED_ATTN_SLRU = 2,
  PAGED_ATTN_FIFO = 3,
  PAGED_ATTN_PRIORITY = 4,
  PAGED_ATTN_CALLBACK = 5
} PagedAttnEvictionPolicy;
/** What fresh pages are filled with. */
typedef enum PagedAttnFillMode {
  PAGED_ATTN_FILL_NONE = 0,
  PAGED_ATTN_FILL_ZERO = 1,
  PAGED_ATTN_FILL_NAN = 2
} PagedAttnFillMode;

/** One side (keys or values) of a group's pages; frozen. */
typedef struct PagedAttnSideSpec {
  int32_t dim;    /**< head dim, elements; values: 0 for latent attention */
  int32_t type;   /**< PagedAttnElementType */
  int32_t layout; /**< PagedAttnPageLayout */
  int32_t scales; /**< PagedAttnScaleKind */
} PagedAttnSideSpec;

/** Layers that share one page table, and the size of their pool. */
typedef struct PagedAttnGroupSpec {
  size_t structSize;
  int32_t pageSize;   /**< slots in a page */
  int32_t numLayers;  /**< layers of the group */
  int32_t numKVHeads; /**< KV heads */
  PagedAttnSideSpec keys;
  PagedAttnSideSpec values;
  int32_t windowKind; /**< PagedAttnWindowKind */
  int32_t window;     /**< tokens */
  int32_t sinkTokens; /**< tokens */
  int64_t numPages;   /**< null (and guard) page included */
  int64_t maxPages;   /**< bound of resizing; 0: numPages */
} PagedAttnGroupSpec;

/** What a scoring callback sees of an idle page; frozen. */
typedef struct PagedAttnIdlePage {
  int32_t page;
  int32_t uses;       /**< hits since it was cached */
  int32_t priority;   /**< 0..100 */
  uint32_t bornMs;    /**< hand-out */
  uint32_t touchedMs; /**< last use */
} PagedAttnIdlePage;
/** Score of an idle page; the lowest is reclaimed first. */
typedef uint64_t (*PagedAttnEvictionScore)(void *context,
                                           const PagedAttnIdlePage *page);

/** How to make a manager. */
typedef struct PagedAttnManagerOptions {
  size_t structSize;
  const PagedAttnGroupSpec *groups; /**< [numGroups], equal struct sizes */
  int32_t numGroups;                /**< 1..16 */
  int32_t maxSequences;             /**< held matches count */
  int32_t maxTokens;                /**< longest sequence */
  int32_t maxPendingWork;           /**< entries per list; 0: default */
  int32_t maxEvents;                /**< ring of events; 0: none */
  int32_t prefixCache;              /**< 0 or 1 */
  int32_t ownMemory;                /**< 1: pools in host memory */
  int32_t guardPage;                /**< 1: a page that nobody may write */
  int32_t fill;                     /**< PagedAttnFillMode */
  int32_t policy;                   /**< PagedAttnEvictionPolicy */
  PagedAttnEvictionScore score;     /**< for the callback policy */
  void *scoreContext;
  uint64_t (*clock)(void *context); /**< milliseconds; null: steady clock */
  void *clockContext;
  uint64_t secret; /**< key of windowed digests; 0: random */
} PagedAttnManagerOptions;

/** Fills in the defaults and `structSize` (pass sizeof). */
PAGED_ATTN_CAPI void pagedAttnGroupSpecInit(PagedAttnGroupSpec *spec,
                                            size_t structSize);
PAGED_ATTN_CAPI void
pagedAttnManagerOptionsInit(PagedAttnManagerOptions *options,
                            size_t structSize);

/** Where a group's pages lie; see PoolMemory in KVCacheManager.h. */
typedef struct PagedAttnPoolMemory {
  size_t structSize;
  uint8_t *keys;
  uint8_t *values;
  int64_t keyPageStride, keyLayerStride;     /**< bytes */
  int64_t valuePageStride, valueLayerStride; /**< bytes */
  float *keyScales;
  float *valueScales;
} PagedAttnPoolMemory;

/** What one group takes of a byte budget. */
typedef struct PagedAttnGroupMemory {
  size_t structSize;
  int64_t pages;
  int64_t pageBytes;
  int64_t poolBytes;
  int64_t tokens;
  int64_t bytesPerToken;
  int64_t offset; /**< byte offset in the budget */
} PagedAttnGroupMemory;

/** Divides a budget over groups; see planMemory in Types.h. `groups`
    [numGroups] gets one entry each, with `structSize` set by the caller. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnPlanMemory(
    const PagedAttnGroupSpec *specs, int32_t numGroups, int64_t budgetBytes,
    int64_t contextTokens, PagedAttnGroupMemory *groups, int64_t *unusedBytes);

/*===--- Manager
 * ------------------------------------------------------------===*/

typedef struct PagedAttnManager PagedAttnManager;

/** Bytes or a zero-terminated text that the library allocated. */
typedef struct PagedAttnBuffer {
  uint8_t *data;
  size_t size; /**< bytes, without a text's zero */
} PagedAttnBuffer;
/** Frees a buffer and empties it; null data is fine. */
PAGED_ATTN_CAPI void pagedAttnBufferDestroy(PagedAttnBuffer *buffer);

/** Makes a manager; free it with pagedAttnManagerDestroy. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnManagerCreate(
    const PagedAttnManagerOptions *options, PagedAttnManager **manager);
/** Frees a manager and its swap files; null is fine. */
PAGED_ATTN_CAPI void pagedAttnManagerDestroy(PagedAttnManager *manager);

/** Tells where a group's pages lie; the caller owns them. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnAttachMemory(PagedAttnManager *manager, int32_t group,
                      const PagedAttnPoolMemory *memory);
/** Where they lie. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnPoolMemory(const PagedAttnManager *manager, int32_t group,
                    PagedAttnPoolMemory *memory);
/** What one group takes, as built. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnMemoryReport(const PagedAttnManager *manager, int32_t group,
                      PagedAttnGroupMemory *memory);
/** Grows or shrinks a pool up to `maxPages`. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnResizePool(PagedAttnManager *manager,
                                                    int32_t group,
                                                    int64_t numPages);
/** Keeps a cached page and those before it until unpinned. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnPinPage(PagedAttnManager *manager,
                                                 int32_t group, int32_t page);
/** Ends a pin of the same page. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnUnpinPage(PagedAttnManager *manager,
                                                   int32_t group, int32_t page);
/** Drops all cached pages that nobody uses. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnResetPrefixCache(PagedAttnManager *manager);

/*===--- Sequences
 * ----------------------------------------------------------===*/

/** Part of what a page's tokens depend on besides the tokens; frozen. */
typedef struct PagedAttnExtraKey {
  uint32_t tag;
  const void *data; /**< [bytes] */
  size_t bytes;
} PagedAttnExtraKey;
/** Only sequences of equal domains share pages; frozen. Null means none. */
typedef struct PagedAttnDomain {
  const void *salt; /**< [saltBytes] */
  size_t saltBytes;
  const PagedAttnExtraKey *keys; /**< [numKeys] */
  int32_t numKeys;
} PagedAttnDomain;

/** What a match found. */
typedef struct PagedAttnPrefixMatch {
  size_t structSize;
  int64_t handle;
  int32_t numTokens;
  int32_t copiedTokens;
} PagedAttnPrefixMatch;

/** One sequence's part of pagedAttnAllocateSlots; frozen. */
typedef struct PagedAttnSlotRequest {
  int64_t sequence;
  const int32_t *tokens; /**< [numTokens] */
  int32_t numTokens;
  int32_t lookahead;     /**< slots to have ready past them */
  int64_t *const *slots; /**< null, or [numGroups] -> null or [numTokens] */
} PagedAttnSlotRequest;

/** Lengths of a sequence. */
typedef struct PagedAttnSequenceInfo {
  size_t structSize;
  int32_t numTokens;
  int32_t numCommitted;
  int32_t isSwapped;
  int32_t numPages[16];
} PagedAttnSequenceInfo;

/** Longest cached prefix of `tokens` [numTokens], held by `match->handle`. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnMatchPrefix(
    PagedAttnManager *manager, const int32_t *tokens, int32_t numTokens,
    const PagedAttnDomain *domain, PagedAttnPrefixMatch *match);
/** Gives a match back. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnReleaseMatch(PagedAttnManager *manager,
                                                      int64_t match);
/** Length of the match only; takes nothing. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnPeekPrefix(
    const PagedAttnManager *manager, const int32_t *tokens, int32_t numTokens,
    const PagedAttnDomain *domain, int32_t *matched);
/** New empty sequence. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnAddSequence(PagedAttnManager *manager, const PagedAttnDomain *domain,
                     int64_t *sequence);
/** Turns a match into a sequence; the handle is used up. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnAddMatchedSequence(
    PagedAttnManager *manager, int64_t match, int64_t *sequence);
/** Slots for new tokens of all requests [count], or of none. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnAllocateSlots(
    PagedAttnManager *manager, const PagedAttnSlotRequest *requests,
    int32_t count, int64_t reservePages);
/** Tells that the KV of all new tokens of `sequences` [count] is written. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnCommit(PagedAttnManager *manager,
                                                const int64_t *sequences,
                                                int32_t count);
/** The same for the first `numTokens` new tokens of one. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnCommitTokens(PagedAttnManager *manager,
                                                      int64_t sequence,
                                                      int32_t numTokens);
/** New sequence of the first `position` tokens (-1: all), pages shared. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnFork(PagedAttnManager *manager,
                                              int64_t parent, int32_t position,
                                              int64_t *child);
/** Forgets the tokens from `numTokens` on. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnTruncate(PagedAttnManager *manager,
                                                  int64_t sequence,
                                                  int32_t numTokens);
/** Keeps the new tokens at `path` [count], ascending, of a draft tree. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnCommitTree(PagedAttnManager *manager,
                                                    int64_t sequence,
                                                    const int32_t *path,
                                                    int32_t count);
/** Unmaps what no token to come sees; `released` pages, may be null. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnReleaseWindow(
    PagedAttnManager *manager, int64_t sequence, int64_t *released);
/** `keepCache` 1: its committed pages stay in the prefix cache. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnFreeSequence(PagedAttnManager *manager,
                                                      int64_t sequence,
                                                      int32_t keepCache);
/** Priority 0..100 of the pages of tokens [begin, end), for `ttlMs` (0: ever).
 */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnSetPriority(PagedAttnManager *manager,
                                                     int64_t sequence,
                                                     int32_t begin, int32_t end,
                                                     int32_t priority,
                                                     uint32_t ttlMs);
/** Lengths of a sequence. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnSequenceInfo(const PagedAttnManager *manager, int64_t sequence,
                      PagedAttnSequenceInfo *info);
/** Copies tokens [begin, end) into `tokens` [end - begin]. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnSequenceTokens(const PagedAttnManager *manager, int64_t sequence,
                        int32_t begin, int32_t end, int32_t *tokens);

/*===--- Work lists
 * ---------------------------------------------------------===*/

/** Frozen. Slots are page * pageSize + slot. */
typedef struct PagedAttnPageCopy {
  int32_t group, source, target, numTokens;
} PagedAttnPageCopy;
typedef struct PagedAttnPageZero {
  int32_t group, page;
} PagedAttnPageZero;
typedef struct PagedAttnSlotCopy {
  int32_t group, reserved;
  int64_t source, target;
} PagedAttnSlotCopy;
typedef struct PagedAttnPageMove {
  int32_t group, source, target;
} PagedAttnPageMove;
/** What a compaction did. */
typedef struct PagedAttnCompactionReport {
  size_t structSize;
  int64_t moves, runsBefore, runsAfter, mappedPages;
} PagedAttnCompactionReport;

/** Hands out up to `capacity` pages to fill, in order. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnTakePagesToZero(PagedAttnManager *manager, PagedAttnPageZero *out,
                         int64_t capacity, int64_t *count);
/** Hands out up to `capacity` page copies, in order. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnTakePageCopies(PagedAttnManager *manager, PagedAttnPageCopy *out,
                        int64_t capacity, int64_t *count);
/** Hands out up to `capacity` slot copies, in order. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnTakeSlotCopies(PagedAttnManager *manager, PagedAttnSlotCopy *out,
                        int64_t capacity, int64_t *count);
/** Runs all lists on pools in host memory. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnRunPendingWork(PagedAttnManager *manager);
/** Makes runs of consecutive pages; `moves` [capacity] are to be run. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnCompact(
    PagedAttnManager *manager, int32_t group, PagedAttnPageMove *moves,
    int64_t capacity, PagedAttnCompactionReport *report);
/** Moves referenced pages at or past `end` below it. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnCompactBelow(PagedAttnManager *manager, int32_t group, int64_t end,
                      PagedAttnPageMove *moves, int64_t capacity,
                      PagedAttnCompactionReport *report);
/** Runs moves on pools in host memory. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnRunMoves(
    PagedAttnManager *manager, const PagedAttnPageMove *moves, int64_t count);

/*===--- Views
 * --------------------------------------------------------------===*/

/** State of a page-table row between calls; zero it when new. Frozen. */
typedef struct PagedAttnViewRow {
  int64_t sequence;
  uint32_t version;
  int32_t pagesWritten;
} PagedAttnViewRow;

/** The caller's buffers for one group; null ones are skipped. */
typedef struct PagedAttnBatchViews {
  size_t structSize;
  int32_t *pageTable;      /**< [numSequences][tableStride], -1 unmapped */
  int64_t tableStride;     /**< entries */
  PagedAttnViewRow *rows;  /**< [numSequences] */
  int32_t *pageIndptr;     /**< [numSequences + 1] */
  int32_t *pageIndices;    /**< [indicesCapacity] */
  int64_t indicesCapacity; /**< entries */
  int32_t *lastPageTokens; /**< [numSequences] */
  int32_t *kvLens;         /**< [numSequences] */
  int32_t *queryStarts;    /**< [numSequences + 1] */
  int64_t *slotMapping;    /**< [slotCapacity], -1 = skip */
  int64_t slotCapacity;    /**< entries */
  int64_t numSlots;        /**< out */
} PagedAttnBatchViews;

/** Writes what kernels take for `sequences` [count]. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnFillViews(
    const PagedAttnManager *manager, int32_t group, const int64_t *sequences,
    int32_t count, PagedAttnBatchViews *views);
/** Leading pages that all of `sequences` [count] share. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnNumCommonPrefixPages(
    const PagedAttnManager *manager, int32_t group, const int64_t *sequences,
    int32_t count, int32_t *pages);

/*===--- Tiers and snapshots
 * ------------------------------------------------===*/

/** `path` null: host memory; otherwise a file, removed when swapped in. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnSwapOut(PagedAttnManager *manager,
                                                 int64_t sequence,
                                                 const char *path);
/** Brings a swapped sequence back. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnSwapIn(PagedAttnManager *manager,
                                                int64_t sequence);
/** One sequence as a snapshot; free `bytes` with pagedAttnBufferDestroy. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnExportSequence(
    const PagedAttnManager *manager, int64_t sequence, PagedAttnBuffer *bytes);
/** Makes a sequence of a snapshot of one. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnImportSequence(PagedAttnManager *manager, const uint8_t *bytes,
                        size_t size, int64_t *sequence);
/** All sequences and the prefix cache as a snapshot. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnExportManager(const PagedAttnManager *manager, PagedAttnBuffer *bytes);
/** `sequences` [capacity] gets the handles, `count` their number; fails with
    OutOfRange, and imports nothing, when there are more than `capacity`. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnImportManager(
    PagedAttnManager *manager, const uint8_t *bytes, size_t size,
    int64_t *sequences, int32_t capacity, int32_t *count);
/** Writes that snapshot to a file, atomically. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnSave(const PagedAttnManager *manager,
                                              const char *path);
/** Imports a file into a manager without sequences; as ImportManager. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnLoad(PagedAttnManager *manager,
                                              const char *path,
                                              int64_t *sequences,
                                              int32_t capacity, int32_t *count);

/*===--- Observability
 * ------------------------------------------------------===*/

/** counts[0]: zeros; counts[i]: values in [2^(i-1), 2^i). Frozen. */
typedef struct PagedAttnHistogram {
  uint64_t counts[33];
  uint64_t total;
  uint64_t sum;
} PagedAttnHistogram;

/** Counters of a manager; see ManagerStats in Stats.h. */
typedef struct PagedAttnStats {
  size_t structSize;
  int64_t sequences, swappedSequences, cachedTokens;
  uint64_t prefixQueries, queriedTokens, hitTokens, partialHits;
  uint64_t copies, moves, swapOuts, swapIns;
  double hitRate;
} PagedAttnStats;
/** Counters of a group; see GroupStats in Stats.h. */
typedef struct PagedAttnGroupStats {
  size_t structSize;
  int64_t totalPages, usablePages, livePages, cachedPages, reclaimablePages;
  int64_t freePages, pinnedPages, runs, mappedPages, wastedSlots;
  double fragmentation;
  uint64_t allocations, releases, evictions;
  PagedAttnHistogram lifetimeMs, idleMs, reuseGapMs;
  int64_t partlyFilledPages; /**< cached ones that are not in the event log */
} PagedAttnGroupStats;

typedef enum PagedAttnEventKind {
  PAGED_ATTN_EVENT_STORED = 0,
  PAGED_ATTN_EVENT_REMOVED = 1,
  PAGED_ATTN_EVENT_CLEARED = 2,
  PAGED_ATTN_EVENT_MOVED = 3
} PagedAttnEventKind;
/** One entry of the event log; frozen. */
typedef struct PagedAttnEvent {
  uint64_t sequence; /**< number of the event */
  int32_t kind;      /**< PagedAttnEventKind */
  int32_t group;
  int32_t page;
  int32_t movedTo;
  uint64_t hash;
  uint64_t parentHash;
} PagedAttnEvent;

/** Counters of a manager. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnStats(const PagedAttnManager *manager,
                                               PagedAttnStats *stats);
/** Counters of a group. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnGroupStats(
    const PagedAttnManager *manager, int32_t group, PagedAttnGroupStats *stats);
/** Events from number `first` on; OutOfRange when some were overwritten. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnReadEvents(
    const PagedAttnManager *manager, uint64_t first, PagedAttnEvent *out,
    int64_t capacity, int64_t *count, uint64_t *next);
/** All counters in the text format of Prometheus. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnPrometheusText(const PagedAttnManager *manager, PagedAttnBuffer *text);
/** A page table for people, one line per sequence. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnDumpText(
    const PagedAttnManager *manager, int32_t group, PagedAttnBuffer *text);
/** The same as a drawing. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnDumpSvg(
    const PagedAttnManager *manager, int32_t group, PagedAttnBuffer *svg);
/** Recounts everything; Internal with a text when something is broken. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnCheckInvariants(const PagedAttnManager *manager);
/** Host memory of a group's page records, bytes. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnBookkeepingBytes(
    const PagedAttnManager *manager, int32_t group, int64_t *bytes);

/** The set of cached pages as events tell it. */
typedef struct PagedAttnEventReplay PagedAttnEventReplay;
/** An empty replay; free it with pagedAttnEventReplayDestroy. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnEventReplayCreate(PagedAttnEventReplay **replay);
/** Frees a replay; null is fine. */
PAGED_ATTN_CAPI void pagedAttnEventReplayDestroy(PagedAttnEventReplay *replay);
/** Applies events [count] in order. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnEventReplayApply(
    PagedAttnEventReplay *replay, const PagedAttnEvent *events, int64_t count);
/** Hash of a cached page, 0 when it is not cached. */
PAGED_ATTN_CAPI uint64_t pagedAttnEventReplayHashOf(
    const PagedAttnEventReplay *replay, int32_t group, int32_t page);
/** Number of cached pages of a group. */
PAGED_ATTN_CAPI int64_t pagedAttnEventReplayNumCached(
    const PagedAttnEventReplay *replay, int32_t group);

/*===--- Plans
 * --------------------------------------------------------------===*/

typedef enum PagedAttnSplitMode {
  PAGED_ATTN_SPLIT_NONE = 0,
  PAGED_ATTN_SPLIT_BALANCED = 1,
  PAGED_ATTN_SPLIT_FIXED = 2
} PagedAttnSplitMode;
typedef enum PagedAttnPlanUpdateKind {
  PAGED_ATTN_PLAN_KEPT = 0,
  PAGED_ATTN_PLAN_ADVANCED = 1,
  PAGED_ATTN_PLAN_REBUILT = 2
} PagedAttnPlanUpdateKind;

/** What a plan is made for; see PlanOptions in Plan.h. */
typedef struct PagedAttnPlanOptions {
  size_t structSize;
  int32_t numKVHeads, pageSize, queryTile, numWorkers;
  int32_t splits;      /**< PagedAttnSplitMode */
  int32_t splitTokens; /**< fixed splits only */
  int32_t causal;      /**< 0 or 1 */
  int32_t windowKind;  /**< PagedAttnWindowKind */
  int32_t window, sinkTokens;
  double perItem, perKVToken, perRowKVToken, perPartialRow;
} PagedAttnPlanOptions;
/** Fills in the defaults and `structSize` (pass sizeof). */
PAGED_ATTN_CAPI void pagedAttnPlanOptionsInit(PagedAttnPlanOptions *options,
                                              size_t structSize);

/** Frozen; see WorkItem and MergeItem in Plan.h. */
typedef struct PagedAttnWorkItem {
  int32_t sequence, head, queryBegin, queryEnd, kvBegin, kvEnd, partial;
  int32_t reserved;
} PagedAttnWorkItem;
typedef struct PagedAttnMergeItem {
  int32_t sequence, head, queryBegin, queryEnd, firstPartial, numPartials;
} PagedAttnMergeItem;

/** A plan's arrays, owned by the plan, valid until it changes. */
typedef struct PagedAttnPlanView {
  size_t structSize;
  const PagedAttnWorkItem *items; /**< [numItems] in the order of workers */
  int64_t numItems;
  const int32_t *workerBegin; /**< [numWorkers + 1] into items */
  int32_t numWorkers;
  const PagedAttnMergeItem *merges; /**< [numMerges] */
  int64_t numMerges;
  int32_t numPartials;
  double makespan, lowerBound, quality;
} PagedAttnPlanView;

typedef struct PagedAttnPlan PagedAttnPlan;
/** Plans `count` sequences; free it with pagedAttnPlanDestroy. */
PAGED_ATTN_CAPI PagedAttnStatus
pagedAttnPlanCreate(const PagedAttnPlanOptions *options, const int32_t *qLens,
                    const int32_t *kvLens, int32_t count, PagedAttnPlan **plan);
/** Frees a plan; null is fine. */
PAGED_ATTN_CAPI void pagedAttnPlanDestroy(PagedAttnPlan *plan);
/** `done` gets a PagedAttnPlanUpdateKind. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnPlanUpdate(PagedAttnPlan *plan,
                                                    const int32_t *qLens,
                                                    const int32_t *kvLens,
                                                    int32_t count,
                                                    int32_t *done);
/** Checks a plan against lengths; FailedPrecondition with the reason. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnPlanVerify(const PagedAttnPlan *plan,
                                                    const int32_t *qLens,
                                                    const int32_t *kvLens,
                                                    int32_t count);
/** Points `view` at a plan's arrays. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnPlanView(const PagedAttnPlan *plan,
                                                  PagedAttnPlanView *view);
/** A plan as bytes; free them with pagedAttnBufferDestroy. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnPlanSave(const PagedAttnPlan *plan,
                                                  PagedAttnBuffer *bytes);
/** A plan of bytes; DataLoss on others. */
PAGED_ATTN_CAPI PagedAttnStatus pagedAttnPlanLoad(const uint8_t *bytes,
                                                  size_t size,
                                                  PagedAttnPlan **plan);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* PAGED_ATTN_RUNTIME_H */
