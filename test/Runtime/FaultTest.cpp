//===- FaultTest.cpp - Failure at every point in turn ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lets the first, second, third... allocation or file operation of a call fail
// until the call succeeds. Each time: a status, nothing changed, invariants
// hold. Leaks are found by the address sanitizer.
//
//===----------------------------------------------------------------------===//

#include "FailingNew.h"
#include "TestSupport.h"
#include "paged_attn/Plan.h"
#include "paged_attn/runtime.h"

#include <functional>
#include <gtest/gtest.h>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

enum class Kind {
  Full,   ///< sequences and a cache, files in memory
  Empty,  ///< nothing yet
  OnDisk, ///< like Full, with files of the system
  EmptyOnDisk,
  Windowed, ///< like Full, of windowed groups only
  EmptyWindowed,
};

/// A manager with forks, a windowed group, cached, swapped and free pages.
struct World {
  explicit World(Kind kind = Kind::Full) {
    ManagerOptions options = tinyOptions(4, 40);
    options.numGroups = 2;
    if (kind == Kind::Windowed || kind == Kind::EmptyWindowed)
      options.groups[0] = tinyWindow(4, WindowKind::Sliding, 9);
    options.groups[1] = tinyWindow(3, WindowKind::Sliding, 6);
    options.numPages[1] = 40;
    options.policy = EvictionPolicy::Priority;
    bool onDisk = kind == Kind::OnDisk || kind == Kind::EmptyOnDisk;
    options.files = onDisk ? nullptr : &files;
    folder = onDisk ? testFile("") : "";
    EXPECT_OK(KVCacheManager::create(options, manager));
    if (kind == Kind::Empty || kind == Kind::EmptyOnDisk ||
        kind == Kind::EmptyWindowed)
      return;
    a = add(iota(10));
    EXPECT_OK(manager->setPriority(a, 0, 5, 80, 60000));
    EXPECT_OK(manager->fork(a, 7, b));
    SeqId other = add(iota(3, 60));
    c = add(iota(9, 30));
    EXPECT_OK(manager->freeSequence(other, KeepCache::Drop));
    EXPECT_OK(manager->freeSequence(add(iota(12, 80))));
    EXPECT_OK(manager->exportSequence(a, one));
    EXPECT_OK(manager->exportManager(all));
    EXPECT_OK(manager->save(path("saved").c_str()));
    swapped = add(iota(5, 90));
    EXPECT_OK(
        manager->swapOut(swapped, SwapTarget::File, path("swapped").c_str()));
  }
  std::string path(const char *name) const { return folder + name; }
  SeqId add(const std::vector<TokenId> &tokens) {
    SeqId sequence = kNoSequence;
    EXPECT_OK(manager->addSequence(PrefixDomain(), sequence));
    SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()), 0,
                        nullptr};
    EXPECT_OK(manager->allocateSlots(&request, 1));
    EXPECT_OK(manager->commit(&sequence, 1));
    return sequence;
  }
  MemoryFileSystem files;
  std::string folder;
  std::unique_ptr<KVCacheManager> manager;
  SeqId a = 0, b = 0, c = 0, swapped = 0;
  std::vector<uint8_t> one, all;
};

using Call = std::function<Status(World &)>;

/// Runs `call` in fresh worlds until no allocation fails any more.
void failEveryAllocation(const char *name, const Call &call,
                         Kind kind = Kind::Full) {
  SCOPED_TRACE(name);
  bool failed = true;
  int64_t point = 0;
  for (; failed; ++point) {
    ASSERT_LT(point, 5000) << "never succeeds";
    World world(kind);
    std::string before = fingerprint(*world.manager);
    failNewAfter(point);
    Status status = call(world);
    failed = stopFailingNew();
    ASSERT_OK(world.manager->checkInvariants());
    if (!failed) {
      EXPECT_OK(status);
    } else if (!status.isOk()) {
      EXPECT_EQ(status.code(), StatusCode::ResourceExhausted) << point;
      EXPECT_EQ(fingerprint(*world.manager), before) << point;
    }
  }
  EXPECT_GT(point, 1) << "nothing was allocated, so nothing could fail";
}

/// The same for file operations, which must fail with IoError.
void failEveryFileOperation(const char *name, const Call &call,
                            Kind kind = Kind::Full) {
  SCOPED_TRACE(name);
  for (int64_t point = 0;; ++point) {
    World world(kind);
    if (kind == Kind::Empty) {
      World other;
      world.files.files = other.files.files;
    }
    std::string before = fingerprint(*world.manager);
    auto filesBefore = world.files.files;
    world.files.operations = 0;
    world.files.failAt = point;
    Status status = call(world);
    bool failed = world.files.operations > point;
    world.files.failAt = -1;
    ASSERT_OK(world.manager->checkInvariants());
    EXPECT_EQ(world.files.mapped, 0);
    EXPECT_TRUE(world.files.handles.empty());
    if (!failed) {
      EXPECT_OK(status);
      EXPECT_GT(point, 0) << "no file operation at all";
      return;
    }
    EXPECT_EQ(status.code(), StatusCode::IoError);
    EXPECT_EQ(fingerprint(*world.manager), before);
    // Only a rename that is done may be seen: the file is whole then.
    EXPECT_EQ(world.files.files.count("new.tmp"), 0u);
    if (world.files.files.count("new") == 0)
      EXPECT_EQ(world.files.files, filesBefore);
  }
}

TEST(FaultTest, CreationFailsAtEveryAllocation) {
  FailingAllocator allocator;
  bool failed = true;
  for (int64_t point = 0; failed; ++point) {
    ManagerOptions options = tinyOptions(4, 16);
    options.allocator = allocator.allocator();
    options.policy = EvictionPolicy::LFU;
    allocator.calls = 0;
    allocator.failAt = point;
    std::unique_ptr<KVCacheManager> manager;
    Status status = KVCacheManager::create(options, manager);
    failed = allocator.calls > point;
    EXPECT_EQ(status.isOk(), !failed);
    if (failed)
      EXPECT_EQ(status.code(), StatusCode::ResourceExhausted);
    EXPECT_EQ(manager != nullptr, !failed);
    manager.reset();
    EXPECT_EQ(allocator.outstanding, 0);
  }
  failEveryAllocation("create", [](World &) {
    std::unique_ptr<KVCacheManager> manager;
    return KVCacheManager::create(tinyOptions(), manager);
  });
}

TEST(FaultTest, SequenceCallsFailAtEveryAllocation) {
  static const std::string kSalt(100, 's'); // No short string.
  static const std::vector<TokenId> kPrompt = iota(10);
  PrefixDomain domain;
  domain.salt = kSalt.data();
  domain.saltBytes = kSalt.size();
  failEveryAllocation("add", [&](World &w) {
    SeqId sequence;
    return w.manager->addSequence(domain, sequence);
  });
  failEveryAllocation("match", [&](World &w) {
    PrefixMatch match;
    return w.manager->matchPrefix(kPrompt.data(), 10, domain, match);
  });
  failEveryAllocation("peek", [&](World &w) {
    int32_t matched;
    return w.manager->peekPrefix(kPrompt.data(), 10, domain, matched);
  });
}

TEST(FaultTest, SnapshotCallsFailAtEveryAllocation) {
  failEveryAllocation("export", [](World &w) {
    std::vector<uint8_t> bytes;
    return w.manager->exportSequence(w.a, bytes);
  });
  failEveryAllocation("import", [](World &w) {
    SeqId sequence;
    return w.manager->importSequence(w.one.data(), w.one.size(), sequence);
  });
  failEveryAllocation("export all", [](World &w) {
    std::vector<uint8_t> bytes;
    return w.manager->exportManager(bytes);
  });
  static const std::vector<uint8_t> kAll = World().all;
  failEveryAllocation(
      "import all",
      [](World &w) {
        std::vector<SeqId> ids;
        return w.manager->importManager(kAll.data(), kAll.size(), ids);
      },
      Kind::Empty);
  failEveryAllocation(
      "export all windowed",
      [](World &w) {
        std::vector<uint8_t> bytes;
        return w.manager->exportManager(bytes);
      },
      Kind::Windowed);
  static const std::vector<uint8_t> kWindowed = World(Kind::Windowed).all;
  failEveryAllocation(
      "import all windowed",
      [](World &w) {
        std::vector<SeqId> ids;
        return w.manager->importManager(kWindowed.data(), kWindowed.size(),
                                        ids);
      },
      Kind::EmptyWindowed);
  failEveryAllocation("count", [](World &w) {
    int32_t count;
    return countSequences(w.all.data(), w.all.size(), count);
  });
  failEveryAllocation("swap out", [](World &w) {
    return w.manager->swapOut(w.c, SwapTarget::Host);
  });
  failEveryAllocation("swap in",
                      [](World &w) { return w.manager->swapIn(w.swapped); });
}

TEST(FaultTest, CallsWithFilesFailAtEveryAllocation) {
  static const std::string kNew = testFile("new");
  static const std::string kSaved = testFile("saved");
  failEveryAllocation(
      "save", [](World &w) { return w.manager->save(kNew.c_str()); },
      Kind::OnDisk);
  failEveryAllocation(
      "swap out",
      [](World &w) {
        return w.manager->swapOut(w.c, SwapTarget::File, kNew.c_str());
      },
      Kind::OnDisk);
  failEveryAllocation(
      "swap in", [](World &w) { return w.manager->swapIn(w.swapped); },
      Kind::OnDisk);
  World saved(Kind::OnDisk);
  failEveryAllocation(
      "load",
      [](World &w) {
        std::vector<SeqId> ids;
        return w.manager->load(kSaved.c_str(), ids);
      },
      Kind::EmptyOnDisk);
  for (const std::string &path : {kNew, kSaved})
    (void)std::remove(path.c_str());
}

TEST(FaultTest, ObservingCallsFailAtEveryAllocation) {
  failEveryAllocation("invariants",
                      [](World &w) { return w.manager->checkInvariants(); });
  failEveryAllocation("prometheus", [](World &w) {
    std::string text;
    return w.manager->prometheusText(text);
  });
  failEveryAllocation("text", [](World &w) {
    std::string text;
    return w.manager->dumpText(0, text);
  });
  failEveryAllocation("svg", [](World &w) {
    std::string text;
    return w.manager->dumpSvg(0, text);
  });
  failEveryAllocation("compact", [](World &w) {
    PageMove moves[16];
    CompactionReport report;
    return w.manager->compact(0, moves, 16, report);
  });
  failEveryAllocation("compact below", [](World &w) {
    PageMove moves[16];
    CompactionReport report;
    return w.manager->compactBelow(0, 8, moves, 16, report);
  });
}

/// Calls of the C API that make objects or buffers of their own.
TEST(FaultTest, CallsOfTheCAPIFailAtEveryAllocation) {
  auto toStatus = [](const PagedAttnStatus &status) {
    return status.code == PAGED_ATTN_OK
               ? Status::ok()
               : Status::error(StatusCode(status.code), "%s", status.message);
  };
  failEveryAllocation("create, texts, bytes", [&](World &) -> Status {
    PagedAttnGroupSpec group;
    PagedAttnManagerOptions options;
    PagedAttnManager *manager = nullptr;
    pagedAttnGroupSpecInit(&group, sizeof(group));
    pagedAttnManagerOptionsInit(&options, sizeof(options));
    group.numPages = 8;
    options.groups = &group;
    options.ownMemory = 1;
    Status status = toStatus(pagedAttnManagerCreate(&options, &manager));
    using Text =
        PagedAttnStatus (*)(const PagedAttnManager *, PagedAttnBuffer *);
    for (Text text :
         {Text(pagedAttnPrometheusText), Text(pagedAttnExportManager)})
      if (status.isOk()) {
        PagedAttnBuffer buffer = {};
        status = toStatus(text(manager, &buffer));
        pagedAttnBufferDestroy(&buffer);
      }
    pagedAttnManagerDestroy(manager);
    return status;
  });
  failEveryAllocation("replay", [&](World &) -> Status {
    PagedAttnEventReplay *replay = nullptr;
    PagedAttnEvent event = {};
    event.hash = 7;
    event.page = 1;
    Status status = toStatus(pagedAttnEventReplayCreate(&replay));
    if (status.isOk())
      status = toStatus(pagedAttnEventReplayApply(replay, &event, 1));
    pagedAttnEventReplayDestroy(replay);
    return status;
  });
}

TEST(FaultTest, PlansFailAtEveryAllocation) {
  static const int32_t kQ[3] = {1, 20, 1}, kKV[3] = {900, 40, 3};
  static PlanOptions options;
  options.numWorkers = 4;
  static Plan good;
  ASSERT_OK(buildPlan(options, kQ, kKV, 3, good));
  static std::vector<uint8_t> bytes;
  ASSERT_OK(savePlan(good, bytes));
  failEveryAllocation("build", [](World &) {
    Plan plan;
    return buildPlan(options, kQ, kKV, 3, plan);
  });
  failEveryAllocation("verify",
                      [](World &) { return verifyPlan(good, kQ, kKV, 3); });
  failEveryAllocation("save", [](World &) {
    std::vector<uint8_t> out;
    return savePlan(good, out);
  });
  failEveryAllocation("load", [](World &) {
    Plan plan;
    return loadPlan(bytes.data(), bytes.size(), plan);
  });
}

TEST(FaultTest, EveryFileOperationFails) {
  failEveryFileOperation("save",
                         [](World &w) { return w.manager->save("new"); });
  failEveryFileOperation(
      "load",
      [](World &w) {
        std::vector<SeqId> ids;
        return w.manager->load("saved", ids);
      },
      Kind::Empty);
  failEveryFileOperation("swap out", [](World &w) {
    return w.manager->swapOut(w.c, SwapTarget::File, "new");
  });
  failEveryFileOperation("swap in",
                         [](World &w) { return w.manager->swapIn(w.swapped); });
}

} // namespace
