//===- CrashTest.cpp - Files of a process that is killed ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A child saves one of two managers over and over and is killed at some moment
// (SIGKILL). The file under its name is always one of the two, whole.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"

#include <csignal>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

constexpr int kKills = 25;

std::unique_ptr<KVCacheManager> managerOf(int32_t numTokens) {
  std::unique_ptr<KVCacheManager> manager;
  ManagerOptions options = tinyOptions(4, 2048);
  options.maxTokens = 4096;
  EXPECT_OK(KVCacheManager::create(options, manager));
  std::vector<TokenId> tokens = iota(numTokens);
  SeqId sequence;
  EXPECT_OK(manager->addSequence(PrefixDomain(), sequence));
  SlotRequest request{sequence, tokens.data(), numTokens, 0, nullptr};
  EXPECT_OK(manager->allocateSlots(&request, 1));
  EXPECT_OK(manager->commit(&sequence, 1));
  return manager;
}

TEST(CrashTest, AKilledSaveLeavesAWholeFile) {
  std::string path = testFile("killed");
  auto small = managerOf(100), large = managerOf(4000);
  ASSERT_OK(small->save(path.c_str()));
  int64_t lengths[2] = {0, 0};
  // Until the child got as far as a save of the large one, too.
  for (int kill = 0; kill < kKills || (lengths[1] == 0 && kill < 400); ++kill) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0)
      for (int i = 0;; ++i)
        if (!(i % 2 ? small : large)->save(path.c_str()).isOk())
          _exit(1);
    usleep(useconds_t(500 + kill * 700));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "a save failed";
    std::unique_ptr<KVCacheManager> loaded;
    ManagerOptions options = tinyOptions(4, 2048);
    options.maxTokens = 4096;
    ASSERT_OK(KVCacheManager::create(options, loaded));
    std::vector<SeqId> ids;
    ASSERT_OK(loaded->load(path.c_str(), ids));
    ASSERT_EQ(ids.size(), 1u);
    SequenceInfo info;
    ASSERT_OK(loaded->sequenceInfo(ids[0], info));
    ASSERT_TRUE(info.numTokens == 100 || info.numTokens == 4000);
    ++lengths[info.numTokens == 4000];
  }
  EXPECT_GT(lengths[1], 0);
  (void)std::remove(path.c_str());
  (void)std::remove((path + ".tmp").c_str());
}

} // namespace
