//===- MakeCorpus.cpp - Writes the seed corpora ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A few inputs of every kind from which a fuzzer starts: random operations, a
// snapshot of one sequence, of a manager, of a swapped sequence, and plans.
//
//===----------------------------------------------------------------------===//

#include "OperationStream.h"
#include "paged_attn/Plan.h"

#include <cstdio>
#include <fstream>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

void writeFile(const std::string &path, const std::vector<uint8_t> &bytes) {
  std::ofstream(path, std::ios::binary)
      .write(reinterpret_cast<const char *>(bytes.data()),
             std::streamsize(bytes.size()));
}

void check(const Status &status) {
  if (!status.isOk()) {
    std::fprintf(stderr, "%s\n", status.message());
    std::exit(1);
  }
}

SeqId add(KVCacheManager &manager, const std::vector<TokenId> &tokens) {
  SeqId sequence;
  check(manager.addSequence(PrefixDomain(), sequence));
  SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()), 0,
                      nullptr};
  check(manager.allocateSlots(&request, 1));
  check(manager.commit(&sequence, 1));
  return sequence;
}

void writeOperations(const std::string &folder) {
  for (uint8_t policy = 0; policy < 6; ++policy) {
    RandomChoices random(policy);
    std::vector<uint8_t> bytes{policy};
    for (int i = 0; i < 600; ++i)
      bytes.push_back(uint8_t(random.below(256)));
    writeFile(folder + "/policy" + std::to_string(policy), bytes);
  }
}

void writeSnapshots(const std::string &folder) {
  std::unique_ptr<KVCacheManager> manager;
  ManagerOptions options = tinyOptions(4, 16);
  options.policy = EvictionPolicy::Priority;
  check(KVCacheManager::create(options, manager));
  std::vector<uint8_t> bytes;
  check(manager->exportManager(bytes));
  writeFile(folder + "/empty", bytes);
  SeqId a = add(*manager, iota(6)), b;
  check(manager->exportSequence(a, bytes));
  writeFile(folder + "/sequence", bytes);
  check(manager->fork(a, 5, b));
  check(manager->freeSequence(add(*manager, iota(8, 50))));
  check(manager->exportManager(bytes));
  writeFile(folder + "/manager", bytes);
  check(manager->setPriority(a, 0, 4, 80, 5000));
  check(manager->exportManager(bytes));
  writeFile(folder + "/priorities", bytes);
  check(manager->swapOut(b, SwapTarget::Host));
  check(manager->exportManager(bytes));
  writeFile(folder + "/swapped", bytes);
  ManagerOptions windowed = tinyOptions(4, 16);
  windowed.groups[0] = tinyWindow(4, WindowKind::Sliding, 5);
  check(KVCacheManager::create(windowed, manager));
  check(manager->freeSequence(add(*manager, iota(10))));
  check(manager->exportManager(bytes));
  writeFile(folder + "/windowed", bytes);
}

void writePlans(const std::string &folder) {
  for (int windowed = 0; windowed < 2; ++windowed) {
    PlanOptions options;
    options.numWorkers = 3;
    options.windowKind = windowed ? WindowKind::SinkWindow : WindowKind::Full;
    options.window = 40;
    options.sinkTokens = 3;
    int32_t qLens[3] = {1, 0, 50}, kvLens[3] = {700, 5, 90};
    Plan plan;
    std::vector<uint8_t> bytes;
    check(buildPlan(options, qLens, kvLens, 3, plan));
    check(savePlan(plan, bytes));
    writeFile(folder + (windowed ? "/window" : "/full"), bytes);
  }
}

} // namespace

int main(int argc, char **argv) {
  std::string folder = argc > 1 ? argv[1] : ".";
  writeOperations(folder + "/operations");
  writeSnapshots(folder + "/snapshot");
  writePlans(folder + "/plan");
  return 0;
}
