//===- Parallel.h - Independent items on threads ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs items on std::thread; results must not depend on the order.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_ORACLE_PARALLEL_H
#define PAGED_ATTN_LIB_ORACLE_PARALLEL_H

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace paged_attn::oracle {

/// All threads of the machine for `requested` <= 0, at least 1.
inline int resolveThreads(int requested) {
  if (requested > 0)
    return requested;
  return std::max(1u, std::thread::hardware_concurrency());
}

/// Calls body(item) once for each item in [0, numItems), items handed out in
/// order to `numThreads` threads (<= 0: all of the machine).
template <typename Body>
void parallelFor(int64_t numItems, int numThreads, const Body &body) {
  std::atomic<int64_t> nextItem{0};
  auto work = [&] {
    for (int64_t item; (item = nextItem.fetch_add(1)) < numItems;)
      body(item);
  };
  std::vector<std::thread> helpers;
  int64_t wanted = std::min<int64_t>(resolveThreads(numThreads), numItems);
  for (int64_t t = 1; t < wanted; ++t)
    helpers.emplace_back(work);
  work();
  for (std::thread &helper : helpers)
    helper.join();
}

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_LIB_ORACLE_PARALLEL_H
