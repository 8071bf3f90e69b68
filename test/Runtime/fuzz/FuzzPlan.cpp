//===- FuzzPlan.cpp - Fuzzing of plans and their format -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Bytes are loaded as a plan, as they are and with a right checksum, and are
// also read as options and lengths from which a plan is made, checked, stored
// and advanced.
//
//===----------------------------------------------------------------------===//

#include "TestSupport.h"
#include "paged_attn/Plan.h"

#include <cstdio>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace paged_attn;

namespace {

/// Place of the checksum, the last field of the header.
constexpr size_t kChecksumOffset = 128;
constexpr size_t kPlanHeaderBytes = 136;

void require(const Status &status) {
  if (status.isOk())
    return;
  std::fprintf(stderr, "%s\n", status.message());
  std::abort();
}

void load(const uint8_t *data, size_t size) {
  Plan plan;
  std::vector<uint8_t> again;
  if (!loadPlan(data, size, plan).isOk())
    return;
  require(savePlan(plan, again));
  require(verifyPlan(plan, plan.qLens.data(), plan.kvLens.data(),
                     int32_t(plan.qLens.size())));
}

void build(const uint8_t *data, size_t size) {
  if (size < 10)
    return;
  PlanOptions options;
  options.numKVHeads = 1 + data[0] % 4;
  options.pageSize = 1 + data[1] % 33;
  options.queryTile = 1 + data[2] % 70;
  options.numWorkers = 1 + data[3] % 20;
  options.splits = SplitMode(data[4] % 3);
  options.splitTokens = options.pageSize * (1 + data[5] % 9);
  options.causal = data[6] % 2;
  options.windowKind = WindowKind(data[7] % 4);
  options.window = 1 + data[8];
  options.sinkTokens = data[9] % 40;
  std::vector<int32_t> qLens, kvLens;
  for (size_t i = 10; i + 2 < size && qLens.size() < 12; i += 3) {
    kvLens.push_back(data[i] + data[i + 1]);
    qLens.push_back(std::min<int32_t>(data[i + 2] % 32, kvLens.back()));
  }
  auto count = int32_t(qLens.size());
  Plan plan;
  require(buildPlan(options, qLens.data(), kvLens.data(), count, plan));
  require(verifyPlan(plan, qLens.data(), kvLens.data(), count));
  for (int step = 0; step < 3; ++step) {
    for (int32_t &length : kvLens)
      ++length;
    PlanUpdate done;
    require(updatePlan(qLens.data(), kvLens.data(), count, plan, done));
    require(verifyPlan(plan, qLens.data(), kvLens.data(), count));
  }
  std::vector<uint8_t> bytes;
  require(savePlan(plan, bytes));
  require(loadPlan(bytes.data(), bytes.size(), plan));
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  load(data, size);
  if (size >= kPlanHeaderBytes) {
    std::vector<uint8_t> sealed(data, data + size);
    uint64_t checksum = XXH3_64bits_withSeed(
        sealed.data() + kPlanHeaderBytes, size - kPlanHeaderBytes,
        XXH3_64bits(sealed.data(), kChecksumOffset));
    std::memcpy(sealed.data() + kChecksumOffset, &checksum, sizeof(checksum));
    load(sealed.data(), sealed.size());
  }
  build(data, size);
  return 0;
}
