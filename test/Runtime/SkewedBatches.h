//===- SkewedBatches.h - Batches that are hard to balance -------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The batches over which the quality of plans is tested and reported.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TEST_RUNTIME_SKEWEDBATCHES_H
#define PAGED_ATTN_TEST_RUNTIME_SKEWEDBATCHES_H

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace paged_attn::test {

/// Lengths of a batch.
struct Batch {
  std::vector<int32_t> qLens, kvLens;
  void add(int32_t q, int32_t kv) {
    qLens.push_back(q);
    kvLens.push_back(kv);
  }
  int32_t count() const { return int32_t(qLens.size()); }
};

/// Skewed decode batches: one long sequence among short ones, a power law, all
/// equal, two classes; and a mixed batch with chunked prefill.
inline std::vector<std::pair<std::string, Batch>> skewedBatches() {
  std::vector<std::pair<std::string, Batch>> batches(5);
  std::mt19937 random(3);
  for (auto &[name, batch] : batches)
    batch = Batch();
  batches[0].first = "one long";
  batches[0].second.add(1, 131072);
  for (int i = 0; i < 31; ++i)
    batches[0].second.add(1, 512);
  batches[1].first = "power law";
  for (int i = 0; i < 64; ++i)
    batches[1].second.add(1, int32_t(65536 / std::pow(i + 1, 1.2)) + 16);
  batches[2].first = "equal";
  for (int i = 0; i < 17; ++i)
    batches[2].second.add(1, 4096);
  batches[3].first = "two classes";
  for (int i = 0; i < 40; ++i)
    batches[3].second.add(1, i % 4 ? 300 : 16000);
  batches[4].first = "mixed";
  batches[4].second.add(2048, 8192);
  for (int i = 0; i < 32; ++i)
    batches[4].second.add(1, int32_t(100 + random() % 8000));
  return batches;
}

} // namespace paged_attn::test

#endif // PAGED_ATTN_TEST_RUNTIME_SKEWEDBATCHES_H
