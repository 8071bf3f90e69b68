//===- ThreadTest.cpp - The thread rule -----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One thread steps while others match prefixes, read stats, events and texts,
// and drive sequences of their own. Run it under the thread sanitizer.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"

#include <atomic>
#include <gtest/gtest.h>
#include <thread>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

constexpr int kSteps = 2000;

class ThreadTest : public testing::Test {
protected:
  void SetUp() override {
    ManagerOptions options = tinyOptions(4, 200);
    options.maxSequences = 32;
    ASSERT_OK(KVCacheManager::create(options, manager));
  }
  /// Adds, grows, forks and frees sequences.
  void step(TokenId salt, int steps) {
    for (int i = 0; i < steps; ++i) {
      SeqId a, b;
      std::vector<TokenId> tokens = iota(10 + i % 7, salt + i % 5);
      EXPECT_OK(manager->addSequence(PrefixDomain(), a));
      SlotRequest request{a, tokens.data(), int32_t(tokens.size()), 1, nullptr};
      EXPECT_OK(manager->allocateSlots(&request, 1));
      EXPECT_OK(manager->runPendingWork());
      EXPECT_OK(manager->commit(&a, 1)); // Work of others is no matter.
      EXPECT_OK(manager->fork(a, 7, b));
      EXPECT_OK(manager->freeSequence(a));
      EXPECT_OK(manager->freeSequence(b, KeepCache::Drop));
    }
  }
  std::unique_ptr<KVCacheManager> manager;
};

TEST_F(ThreadTest, OneStepsWhileOthersWatch) {
  std::atomic<bool> stop{false};
  std::thread matcher([&] {
    std::vector<TokenId> prompt = iota(12);
    while (!stop) {
      PrefixMatch match;
      int32_t peeked;
      EXPECT_OK(manager->peekPrefix(prompt.data(), 12, PrefixDomain(), peeked));
      EXPECT_OK(manager->matchPrefix(prompt.data(), 12, PrefixDomain(), match));
      EXPECT_OK(manager->releaseMatch(match.handle));
    }
  });
  std::thread watcher([&] {
    uint64_t next = 0;
    std::vector<CacheEvent> events(64);
    while (!stop) {
      ManagerStats stats;
      EXPECT_OK(manager->stats(stats));
      EXPECT_EQ(stats.groups[0].livePages + stats.groups[0].reclaimablePages +
                    stats.groups[0].freePages,
                stats.groups[0].usablePages);
      int64_t count;
      if (!manager->readEvents(next, events.data(), 64, count, next).isOk())
        next = 0;
      std::string text;
      EXPECT_OK(manager->prometheusText(text));
    }
  });
  step(0, kSteps);
  stop = true;
  matcher.join();
  watcher.join();
  EXPECT_OK(manager->checkInvariants());
}

TEST_F(ThreadTest, ThreadsDriveTheirOwnSequences) {
  std::vector<std::thread> threads;
  for (TokenId salt : {0, 3, 1000})
    threads.emplace_back([this, salt] { step(salt, kSteps / 4); });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_OK(manager->checkInvariants());
  ManagerStats stats;
  ASSERT_OK(manager->stats(stats));
  EXPECT_EQ(stats.groups[0].livePages, 0);
}

} // namespace
