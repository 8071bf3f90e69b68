//===- PagesVisitedTest.cpp - Which pages a kernel really touches ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The pools are made inaccessible before the call; the first access to a KV
// page faults, is noted, and opens that page alone. What was noted must be
// exactly the pages that the mask lets some row see.
//
//===----------------------------------------------------------------------===//

#include "TestUtils.h"

#include <csignal>
#include <set>
#include <sys/mman.h>
#include <unistd.h>

using namespace mlir::paged_attn;

namespace {

constexpr int64_t kMaxPages = 256;

/// A pool under guard, as the signal handler sees it. Pages are outermost and
/// each is a multiple of the operating system's page.
struct GuardedPool {
  char *base = nullptr;
  int64_t pageBytes = 0, numPages = 0;
  volatile bool visited[kMaxPages] = {};
};

constexpr int kNumPools = 2;
GuardedPool guardedPools[kNumPools];

/// Notes the KV page of the fault and opens it. A fault elsewhere falls back
/// to the default action when the access is tried again.
void onFault(int, siginfo_t *info, void *) {
  char *address = static_cast<char *>(info->si_addr);
  for (GuardedPool &pool : guardedPools) {
    if (!pool.base || address < pool.base ||
        address >= pool.base + pool.numPages * pool.pageBytes)
      continue;
    int64_t page = (address - pool.base) / pool.pageBytes;
    pool.visited[page] = true;
    mprotect(pool.base + page * pool.pageBytes, pool.pageBytes,
             PROT_READ | PROT_WRITE);
    return;
  }
  std::signal(SIGSEGV, SIG_DFL);
}

/// Guards the pools of a problem and handles faults while it lives.
class Guard {
public:
  explicit Guard(oracle::Problem &problem) {
    protect(guardedPools[0], problem.keyPool, problem.spec.pages());
    if (problem.valuePool)
      protect(guardedPools[1], problem.valuePool, problem.spec.pages());
    struct sigaction action = {};
    action.sa_sigaction = onFault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &previous);
  }
  ~Guard() {
    sigaction(SIGSEGV, &previous, nullptr);
    for (GuardedPool &pool : guardedPools) {
      if (pool.base)
        mprotect(pool.base, pool.numPages * pool.pageBytes,
                 PROT_READ | PROT_WRITE);
      pool.base = nullptr;
    }
  }
  Guard(const Guard &) = delete;
  Guard &operator=(const Guard &) = delete;

  static std::set<int64_t> visited(const GuardedPool &pool) {
    std::set<int64_t> pages;
    for (int64_t page = 0; page < pool.numPages; ++page)
      if (pool.visited[page])
        pages.insert(page);
    return pages;
  }

private:
  static void protect(GuardedPool &pool, oracle::Buffer &buffer,
                      int64_t numPages) {
    pool.numPages = numPages;
    pool.pageBytes = buffer.numBytes() / numPages;
    for (volatile bool &visited : pool.visited)
      visited = false;
    ASSERT_LE(numPages, kMaxPages);
    ASSERT_EQ(pool.pageBytes % sysconf(_SC_PAGESIZE), 0);
    ASSERT_EQ(
        reinterpret_cast<uintptr_t>(buffer.data()) % sysconf(_SC_PAGESIZE), 0u);
    pool.base = buffer.as<char>();
    ASSERT_EQ(mprotect(pool.base, buffer.numBytes(), PROT_NONE), 0);
  }
  struct sigaction previous = {};
};

/// Physical pages with a key that some row of its sequence sees.
std::set<int64_t> visiblePages(const oracle::Problem &problem) {
  const oracle::ProblemSpec &spec = problem.spec;
  std::set<int64_t> pages;
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (int64_t p = spec.kvLens[b] - spec.qLens[b]; p < spec.kvLens[b]; ++p)
      for (int64_t j = 0; j < spec.kvLens[b]; ++j)
        if (spec.mask.visible(p, j))
          pages.insert(problem.physicalPage(b, j / spec.pageSize));
  return pages;
}

struct VisitCase {
  const char *name;
  const char *mode;
  bool causal;
  int64_t window, sinkTokens, chunk; ///< tokens
  SequenceLengths lengths;
};

class PagesVisited
    : public testing::TestWithParam<std::tuple<Path, VisitCase>> {};

KernelSpec makeKernel(const VisitCase &test) {
  KernelSpec kernel;
  kernel.mode = test.mode;
  kernel.numHeads = 4;
  kernel.numKVHeads = 2;
  kernel.keyDim = kernel.valueDim = 64;
  kernel.pageSize = 16;
  kernel.causal = test.causal;
  kernel.window = test.window;
  kernel.sinkTokens = test.sinkTokens;
  kernel.chunk = test.chunk;
  return kernel;
}

TEST_P(PagesVisited, AreThoseTheMaskShows) {
  const auto &[path, test] = GetParam();
  KernelSpec spec = makeKernel(test);
  if (spec.pageSize * spec.numKVHeads * spec.keyDim * int64_t(sizeof(float)) %
          sysconf(_SC_PAGESIZE) !=
      0)
    GTEST_SKIP() << "needs KV pages of whole pages of the operating system";
  TestKernel kernel(spec, path.via);
  oracle::Problem problem = build(problemSpecOf(spec, test.lengths));
  std::set<int64_t> expected = visiblePages(problem);
  {
    Guard guard(problem);
    ASSERT_TRUE(kernel.run(problem));
  }
  expectRight(problem);
  EXPECT_LT(int64_t(expected.size()), problem.spec.pages());
  EXPECT_EQ(Guard::visited(guardedPools[0]), expected) << "keys";
  EXPECT_EQ(Guard::visited(guardedPools[1]), expected) << "values";
}

const VisitCase kCases[] = {
    {"decode", "decode", true, 0, 0, 0, {{1, 300}, {0, 50}, {1, 16}}},
    {"prefill", "prefill", true, 0, 0, 0, {{90, 90}, {0, 50}, {17, 70}}},
    {"not_causal", "prefill", false, 0, 0, 0, {{20, 90}, {0, 50}, {1, 16}}},
    {"window_decode", "decode", true, 40, 0, 0, {{1, 300}, {1, 16}, {2, 89}}},
    {"window_prefill", "prefill", true, 21, 0, 0, {{50, 300}, {9, 89}}},
    {"window_mixed", "mixed", true, 21, 0, 0, {{50, 300}, {1, 89}, {1, 16}}},
    {"sinks_decode", "decode", true, 33, 5, 0, {{1, 300}, {1, 16}, {3, 120}}},
    {"sinks_prefill", "prefill", true, 33, 18, 0, {{50, 300}, {9, 129}}},
    {"chunk_decode", "decode", true, 0, 0, 48, {{1, 300}, {1, 97}, {1, 96}}},
    {"chunk_prefill", "prefill", true, 0, 0, 40, {{50, 300}, {9, 129}}},
};

void PrintTo(const VisitCase &test, std::ostream *os) { *os << test.name; }

std::string
nameOf(const testing::TestParamInfo<std::tuple<Path, VisitCase>> &info) {
  const auto &[path, test] = info.param;
  return std::string(path.name) + "_" + test.name;
}

INSTANTIATE_TEST_SUITE_P(Paths, PagesVisited,
                         testing::Combine(testing::ValuesIn(kPaths),
                                          testing::ValuesIn(kCases)),
                         nameOf);

} // namespace
