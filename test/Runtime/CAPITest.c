/*===- CAPITest.c - Every function of the C API
-------------------------------===*\
|*                                                                            *|
|* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception                    *|
|*                                                                            *|
|* Compiled as C. Calls every function with good input and, where it can be   *|
|* wrong, with bad input. Exits with the line of the first surprise.          *|
|*                                                                            *|
\*===----------------------------------------------------------------------===*/

#include "paged_attn/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                       \
  do {                                                                         \
    if (!(condition)) {                                                        \
      fprintf(stderr, "line %d: expected %s\n", __LINE__, #condition);         \
      exit(1);                                                                 \
    }                                                                          \
  } while (0)
#define OK(call)                                                               \
  do {                                                                         \
    PagedAttnStatus status_ = (call);                                          \
    if (status_.code != PAGED_ATTN_OK || status_.message[0] != '\0') {         \
      fprintf(stderr, "line %d: %s: %s\n", __LINE__,                           \
              pagedAttnStatusCodeName(status_.code), status_.message);         \
      exit(1);                                                                 \
    }                                                                          \
  } while (0)
#define FAILS(call, expected)                                                  \
  do {                                                                         \
    PagedAttnStatus status_ = (call);                                          \
    CHECK(status_.code == (expected));                                         \
    CHECK(status_.message[0] != '\0');                                         \
  } while (0)

static uint64_t scoreCalls;

static uint64_t score(void *context, const PagedAttnIdlePage *page) {
  ++*(uint64_t *)context;
  return (uint64_t)page->page;
}

static uint64_t now(void *context) { return *(uint64_t *)context; }

static PagedAttnManager *makeManager(void) {
  static uint64_t time = 5;
  PagedAttnGroupSpec group;
  PagedAttnManagerOptions options;
  PagedAttnManager *manager = NULL;
  pagedAttnGroupSpecInit(&group, sizeof(group));
  CHECK(group.structSize == sizeof(group) && group.pageSize == 16);
  group.pageSize = 4;
  group.keys.dim = group.values.dim = 2;
  group.numPages = 32;
  group.maxPages = 40;
  pagedAttnManagerOptionsInit(&options, sizeof(options));
  CHECK(options.structSize == sizeof(options) && options.prefixCache == 1);
  options.groups = &group;
  options.maxSequences = 8;
  options.maxTokens = 64;
  options.ownMemory = 1;
  options.policy = PAGED_ATTN_CALLBACK;
  options.score = score;
  options.scoreContext = &scoreCalls;
  options.clock = now;
  options.clockContext = &time;
  OK(pagedAttnManagerCreate(&options, &manager));
  return manager;
}

static void testDescriptions(void) {
  PagedAttnGroupSpec groups[2];
  PagedAttnGroupMemory memory[2];
  PagedAttnManagerOptions options;
  PagedAttnManager *manager = NULL;
  struct {
    PagedAttnManagerOptions known;
    int64_t unknown;
  } newer;
  int64_t unused = -1;
  int g;
  CHECK(pagedAttnRuntimeVersion() >= 100);
  CHECK(strcmp(pagedAttnStatusCodeName(PAGED_ATTN_DATA_LOSS), "data loss") ==
        0);
  CHECK(strcmp(pagedAttnStatusCodeName(1234), "unknown status") == 0);
  for (g = 0; g < 2; ++g) {
    pagedAttnGroupSpecInit(&groups[g], sizeof(groups[g]));
    memory[g].structSize = sizeof(memory[g]);
  }
  groups[1].pageSize = 8;
  OK(pagedAttnPlanMemory(groups, 2, 1 << 22, 512, memory, &unused));
  CHECK(memory[1].offset == memory[0].poolBytes && unused >= 0);
  CHECK(memory[0].pages > 3 && memory[1].pageBytes * 2 == memory[0].pageBytes);
  FAILS(pagedAttnPlanMemory(groups, 2, 10, 512, memory, &unused),
        PAGED_ATTN_RESOURCE_EXHAUSTED);
  FAILS(pagedAttnPlanMemory(NULL, 2, 10, 512, memory, &unused),
        PAGED_ATTN_INVALID_ARGUMENT);
  /* Structs of other versions. */
  pagedAttnManagerOptionsInit(&options, sizeof(options));
  options.structSize = 0;
  FAILS(pagedAttnManagerCreate(&options, &manager),
        PAGED_ATTN_INVALID_ARGUMENT);
  memset(&newer, 0, sizeof(newer));
  groups[0].numPages = 8;
  pagedAttnManagerOptionsInit(&newer.known, sizeof(newer));
  newer.known.groups = groups;
  OK(pagedAttnManagerCreate(&newer.known, &manager));
  pagedAttnManagerDestroy(manager);
  newer.unknown = 1;
  FAILS(pagedAttnManagerCreate(&newer.known, &manager),
        PAGED_ATTN_INVALID_ARGUMENT);
  groups[0].keys.type = 17;
  newer.unknown = 0;
  FAILS(pagedAttnManagerCreate(&newer.known, &manager),
        PAGED_ATTN_INVALID_ARGUMENT);
  FAILS(pagedAttnManagerCreate(NULL, &manager), PAGED_ATTN_INVALID_ARGUMENT);
  pagedAttnManagerDestroy(NULL);
}

static int64_t addTokens(PagedAttnManager *manager, const int32_t *tokens,
                         int32_t count) {
  int64_t sequence = -1;
  PagedAttnSlotRequest request = {0, NULL, 0, 0, NULL};
  OK(pagedAttnAddSequence(manager, NULL, &sequence));
  request.sequence = sequence;
  request.tokens = tokens;
  request.numTokens = count;
  OK(pagedAttnAllocateSlots(manager, &request, 1, 0));
  OK(pagedAttnRunPendingWork(manager));
  OK(pagedAttnCommit(manager, &sequence, 1));
  return sequence;
}

static void testSequences(PagedAttnManager *manager, const int32_t *tokens) {
  PagedAttnExtraKey key = {3, "adapter", 7};
  PagedAttnDomain domain = {"tenant", 6, &key, 1};
  PagedAttnPrefixMatch match = {sizeof(match), 0, 0, 0};
  PagedAttnSequenceInfo info;
  int64_t slots[3], *groupSlots[1] = {slots};
  PagedAttnSlotRequest request = {0, NULL, 3, 2, groupSlots};
  int64_t a = addTokens(manager, tokens, 10), b, c, other, released = -1;
  int32_t matched = -1, read[4], path[2] = {0, 2};
  OK(pagedAttnMatchPrefix(manager, tokens, 10, NULL, &match));
  CHECK(match.numTokens == 10);
  OK(pagedAttnAddMatchedSequence(manager, match.handle, &b));
  FAILS(pagedAttnReleaseMatch(manager, match.handle), PAGED_ATTN_NOT_FOUND);
  OK(pagedAttnMatchPrefix(manager, tokens, 10, NULL, &match));
  OK(pagedAttnReleaseMatch(manager, match.handle));
  OK(pagedAttnPeekPrefix(manager, tokens, 10, &domain, &matched));
  CHECK(matched == 0);
  OK(pagedAttnAddSequence(manager, &domain, &other));
  request.sequence = b;
  request.tokens = tokens + 20;
  OK(pagedAttnAllocateSlots(manager, &request, 1, 1));
  CHECK(slots[1] == slots[0] + 1);
  FAILS(pagedAttnAllocateSlots(manager, NULL, 1, 0),
        PAGED_ATTN_INVALID_ARGUMENT);
  OK(pagedAttnRunPendingWork(manager));
  OK(pagedAttnCommitTree(manager, b, path, 2));
  OK(pagedAttnRunPendingWork(manager));
  OK(pagedAttnCommitTokens(manager, b, 2));
  info.structSize = sizeof(info);
  OK(pagedAttnSequenceInfo(manager, b, &info));
  CHECK(info.numTokens == 12 && info.numCommitted == 12 && !info.isSwapped);
  OK(pagedAttnSequenceTokens(manager, b, 10, 12, read));
  CHECK(read[0] == tokens[20] && read[1] == tokens[22]);
  OK(pagedAttnFork(manager, a, 6, &c));
  OK(pagedAttnTruncate(manager, c, 5));
  FAILS(pagedAttnTruncate(manager, c, 6), PAGED_ATTN_OUT_OF_RANGE);
  OK(pagedAttnSetPriority(manager, a, 0, 8, 90, 1000));
  OK(pagedAttnReleaseWindow(manager, a, &released));
  CHECK(released == 0);
  OK(pagedAttnFreeSequence(manager, c, 0));
  FAILS(pagedAttnFreeSequence(manager, c, 1), PAGED_ATTN_NOT_FOUND);
  OK(pagedAttnFreeSequence(manager, b, 1));
  OK(pagedAttnFreeSequence(manager, other, 1));
  OK(pagedAttnFreeSequence(manager, a, 1));
  OK(pagedAttnResetPrefixCache(manager));
}

static void testPools(PagedAttnManager *manager, const int32_t *tokens) {
  PagedAttnPoolMemory memory;
  PagedAttnGroupMemory report;
  PagedAttnPageMove moves[16];
  PagedAttnCompactionReport done;
  PagedAttnPageCopy copies[4];
  PagedAttnPageZero zeroes[4];
  PagedAttnSlotCopy slots[4];
  PagedAttnSlotRequest request = {0, NULL, 1, 0, NULL};
  int64_t a = addTokens(manager, tokens, 6), b, count = -1, bytes = 0;
  int32_t table[8];
  PagedAttnBatchViews views;
  memory.structSize = sizeof(memory);
  report.structSize = sizeof(report);
  done.structSize = sizeof(done);
  OK(pagedAttnPoolMemory(manager, 0, &memory));
  OK(pagedAttnAttachMemory(manager, 0, &memory));
  FAILS(pagedAttnAttachMemory(manager, 1, &memory), PAGED_ATTN_NOT_FOUND);
  OK(pagedAttnMemoryReport(manager, 0, &report));
  CHECK(report.pages == 32);
  FAILS(pagedAttnMemoryReport(manager, 5, &report), PAGED_ATTN_NOT_FOUND);
  OK(pagedAttnFork(manager, a, -1, &b));
  request.sequence = b;
  request.tokens = tokens;
  OK(pagedAttnAllocateSlots(manager, &request, 1, 0));
  OK(pagedAttnTakePageCopies(manager, copies, 4, &count));
  CHECK(count == 1 && copies[0].numTokens == 2);
  OK(pagedAttnTakePagesToZero(manager, zeroes, 4, &count));
  CHECK(count == 0);
  OK(pagedAttnTakeSlotCopies(manager, slots, 4, &count));
  CHECK(count == 0);
  OK(pagedAttnFreeSequence(manager, b, 0));
  memset(&views, 0, sizeof(views));
  views.structSize = sizeof(views);
  views.pageTable = table;
  views.tableStride = 8;
  OK(pagedAttnFillViews(manager, 0, &a, 1, &views));
  CHECK(table[0] > 0 && table[2] == -1 && views.numSlots == 0);
  CHECK(views.pageTable == table);
  OK(pagedAttnPinPage(manager, 0, table[0]));
  OK(pagedAttnUnpinPage(manager, 0, table[0]));
  FAILS(pagedAttnPinPage(manager, 0, 0), PAGED_ATTN_NOT_FOUND);
  OK(pagedAttnFork(manager, a, -1, &b));
  {
    int64_t both[2];
    int32_t common = -1;
    both[0] = a;
    both[1] = b;
    OK(pagedAttnNumCommonPrefixPages(manager, 0, both, 2, &common));
    CHECK(common == 1);
  }
  OK(pagedAttnFreeSequence(manager, b, 0));
  OK(pagedAttnCompact(manager, 0, moves, 16, &done));
  OK(pagedAttnRunMoves(manager, moves, done.moves));
  OK(pagedAttnCompactBelow(manager, 0, 8, moves, 16, &done));
  OK(pagedAttnRunMoves(manager, moves, done.moves));
  OK(pagedAttnResizePool(manager, 0, 8));
  OK(pagedAttnResizePool(manager, 0, 40));
  FAILS(pagedAttnResizePool(manager, 0, 41), PAGED_ATTN_INVALID_ARGUMENT);
  OK(pagedAttnBookkeepingBytes(manager, 0, &bytes));
  CHECK(bytes > 0);
  OK(pagedAttnFreeSequence(manager, a, 1));
}

static void testSnapshots(PagedAttnManager *manager, const int32_t *tokens,
                          const char *folder) {
  PagedAttnBuffer buffer = {NULL, 0};
  PagedAttnManager *second = makeManager();
  char path[512];
  int64_t a = addTokens(manager, tokens, 7), b, ids[4];
  int32_t count = -1;
  OK(pagedAttnExportSequence(manager, a, &buffer));
  OK(pagedAttnImportSequence(second, buffer.data, buffer.size, &b));
  FAILS(pagedAttnImportSequence(second, buffer.data, buffer.size - 1, &b),
        PAGED_ATTN_DATA_LOSS);
  pagedAttnBufferDestroy(&buffer);
  CHECK(buffer.data == NULL);
  OK(pagedAttnSwapOut(manager, a, NULL));
  FAILS(pagedAttnTruncate(manager, a, 1), PAGED_ATTN_FAILED_PRECONDITION);
  OK(pagedAttnSwapIn(manager, a));
  snprintf(path, sizeof(path), "%s/capi_swap.bin", folder);
  OK(pagedAttnSwapOut(manager, a, path));
  OK(pagedAttnSwapIn(manager, a));
  FAILS(pagedAttnImportManager(second, NULL, 0, ids, 4, &count),
        PAGED_ATTN_DATA_LOSS);
  OK(pagedAttnFreeSequence(second, b, 1));
  OK(pagedAttnExportManager(manager, &buffer));
  FAILS(
      pagedAttnImportManager(second, buffer.data, buffer.size, ids, 0, &count),
      PAGED_ATTN_OUT_OF_RANGE);
  OK(pagedAttnImportManager(second, buffer.data, buffer.size, ids, 4, &count));
  CHECK(count == 1);
  OK(pagedAttnFreeSequence(second, ids[0], 1));
  pagedAttnBufferDestroy(&buffer);
  snprintf(path, sizeof(path), "%s/capi_snapshot.bin", folder);
  OK(pagedAttnSave(manager, path));
  OK(pagedAttnLoad(second, path, ids, 4, &count));
  CHECK(count == 1);
  remove(path);
  FAILS(pagedAttnLoad(second, path, ids, 4, &count), PAGED_ATTN_NOT_FOUND);
  FAILS(pagedAttnSave(manager, "/nonexistent/folder/x"), PAGED_ATTN_NOT_FOUND);
  OK(pagedAttnCheckInvariants(second));
  pagedAttnManagerDestroy(second);
  OK(pagedAttnFreeSequence(manager, a, 1));
}

static void testObserving(PagedAttnManager *manager) {
  PagedAttnStats stats;
  PagedAttnGroupStats group;
  PagedAttnEvent events[200];
  PagedAttnEventReplay *replay = NULL;
  PagedAttnBuffer text = {NULL, 0};
  int64_t count = 0;
  uint64_t next = 0;
  stats.structSize = sizeof(stats);
  group.structSize = sizeof(group);
  OK(pagedAttnStats(manager, &stats));
  CHECK(stats.prefixQueries == 2 && stats.swapOuts == 2);
  OK(pagedAttnGroupStats(manager, 0, &group));
  CHECK(group.livePages + group.reclaimablePages + group.freePages ==
        group.usablePages);
  FAILS(pagedAttnGroupStats(manager, 1, &group), PAGED_ATTN_NOT_FOUND);
  OK(pagedAttnReadEvents(manager, 0, events, 200, &count, &next));
  CHECK(count > 0 && next == (uint64_t)count);
  OK(pagedAttnEventReplayCreate(&replay));
  OK(pagedAttnEventReplayApply(replay, events, count));
  CHECK(pagedAttnEventReplayNumCached(replay, 0) ==
        group.cachedPages - group.partlyFilledPages);
  CHECK(pagedAttnEventReplayHashOf(replay, 0, 9999) == 0);
  FAILS(pagedAttnEventReplayApply(replay, events, 1),
        PAGED_ATTN_FAILED_PRECONDITION);
  pagedAttnEventReplayDestroy(replay);
  OK(pagedAttnPrometheusText(manager, &text));
  CHECK(strstr((const char *)text.data, "paged_attn_pages{") != NULL);
  pagedAttnBufferDestroy(&text);
  OK(pagedAttnDumpText(manager, 0, &text));
  CHECK(strncmp((const char *)text.data, "group 0:", 8) == 0);
  pagedAttnBufferDestroy(&text);
  OK(pagedAttnDumpSvg(manager, 0, &text));
  CHECK(strncmp((const char *)text.data, "<svg ", 5) == 0);
  pagedAttnBufferDestroy(&text);
  pagedAttnBufferDestroy(NULL);
  OK(pagedAttnCheckInvariants(manager));
  FAILS(pagedAttnCheckInvariants(NULL), PAGED_ATTN_INVALID_ARGUMENT);
}

static void testPlans(void) {
  PagedAttnPlanOptions options;
  PagedAttnPlanView view;
  PagedAttnPlan *plan = NULL, *loaded = NULL;
  PagedAttnBuffer bytes = {NULL, 0};
  int32_t qLens[2] = {1, 1}, kvLens[2] = {5000, 100}, done = -1;
  pagedAttnPlanOptionsInit(&options, sizeof(options));
  options.numWorkers = 4;
  OK(pagedAttnPlanCreate(&options, qLens, kvLens, 2, &plan));
  OK(pagedAttnPlanVerify(plan, qLens, kvLens, 2));
  ++kvLens[0];
  FAILS(pagedAttnPlanVerify(plan, qLens, kvLens, 2),
        PAGED_ATTN_FAILED_PRECONDITION);
  ++kvLens[1];
  OK(pagedAttnPlanUpdate(plan, qLens, kvLens, 2, &done));
  CHECK(done == PAGED_ATTN_PLAN_ADVANCED);
  view.structSize = sizeof(view);
  OK(pagedAttnPlanView(plan, &view));
  CHECK(view.numWorkers == 4 && view.workerBegin[4] == view.numItems);
  CHECK(view.numMerges >= 1 && view.quality >= 1.0 && view.quality < 1.2);
  OK(pagedAttnPlanSave(plan, &bytes));
  OK(pagedAttnPlanLoad(bytes.data, bytes.size, &loaded));
  OK(pagedAttnPlanVerify(loaded, qLens, kvLens, 2));
  FAILS(pagedAttnPlanLoad(bytes.data, bytes.size - 4, &loaded),
        PAGED_ATTN_DATA_LOSS);
  pagedAttnBufferDestroy(&bytes);
  pagedAttnPlanDestroy(plan);
  pagedAttnPlanDestroy(loaded);
  pagedAttnPlanDestroy(NULL);
}

int main(int argc, char **argv) {
  int32_t tokens[64], i;
  PagedAttnManager *manager;
  for (i = 0; i < 64; ++i)
    tokens[i] = i * 3;
  testDescriptions();
  manager = makeManager();
  testSequences(manager, tokens);
  testPools(manager, tokens);
  testSnapshots(manager, tokens, argc > 1 ? argv[1] : ".");
  testObserving(manager);
  CHECK(scoreCalls > 0);
  pagedAttnManagerDestroy(manager);
  testPlans();
  puts("every function was called");
  return 0;
}
