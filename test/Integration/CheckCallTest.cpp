//===- CheckCallTest.cpp - Calls that must be refused ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Breaks one entry of a good problem at a time: the check of a call names the
// operand, what was expected and what came.
//
//===----------------------------------------------------------------------===//

#include "TestUtils.h"

using namespace mlir::paged_attn;

namespace {

/// Three sequences over 11 pages of 4 tokens.
oracle::Problem makeGood(bool csr, int64_t window) {
  KernelSpec kernel;
  kernel.keyDim = kernel.valueDim = 4;
  kernel.pageSize = 4;
  kernel.csr = csr;
  kernel.window = window;
  return build(problemSpecOf(kernel, {{1, 6}, {3, 9}, {2, 11}}));
}

class CheckCall : public testing::TestWithParam<bool> {
protected:
  CheckCall() : problem(makeGood(GetParam(), 0)) {}

  void set(oracle::Buffer &buffer, int64_t index, int64_t value) {
    oracle::storeIndex(problem.spec.indexType, buffer.data(), index, value);
  }
  oracle::Buffer &pages() {
    return GetParam() ? problem.pageIndices : problem.pageTable;
  }
  std::string check() {
    return checkCall(makeArguments(problem), makeLimits(problem.spec));
  }

  oracle::Problem problem;
};

TEST_P(CheckCall, GoodCalls) {
  EXPECT_EQ(check(), "");
  problem = makeGood(GetParam(), 2);
  set(pages(), 0, 1000); // the window hides page 0 of sequence 0
  EXPECT_EQ(check(), "");
}

TEST_P(CheckCall, PagesOutOfRange) {
  std::string place = GetParam() ? "page_indices[1]" : "page_table[0, 1]";
  for (int64_t page : {int64_t(-1), int64_t(11), int64_t(2147483647)}) {
    set(pages(), 1, page);
    EXPECT_EQ(check(), "expected " + place +
                           " to be a page from 0 to 10, got " +
                           std::to_string(page));
  }
}

TEST_P(CheckCall, Lengths) {
  set(problem.kvLens, 2, 13);
  EXPECT_EQ(check(), "expected kv_lens[2] to be from 0 to the 12 slots of the "
                     "sequence's pages, got 13");
  set(problem.kvLens, 2, -1);
  EXPECT_EQ(check(), "expected kv_lens[2] to be from 0 to the 12 slots of the "
                     "sequence's pages, got -1");
  set(problem.kvLens, 2, 1);
  EXPECT_EQ(check(), "expected kv_lens[2] to be at least the 2 new tokens of "
                     "the sequence, got 1");
}

TEST_P(CheckCall, Starts) {
  set(problem.queryStarts, 3, 7);
  EXPECT_EQ(check(),
            "expected query_starts[3] to be at most the 6 tokens of query, "
            "got 7");
  set(problem.queryStarts, 3, 3);
  EXPECT_EQ(check(), "expected query_starts[3] to be at least 4, got 3");
  set(problem.queryStarts, 0, 1);
  EXPECT_EQ(check(), "expected query_starts[0] to be 0, got 1");
}

class CheckCsrCall : public CheckCall {};

TEST_P(CheckCsrCall, Indptr) {
  set(problem.pageIndptr, 3, 9);
  EXPECT_EQ(check(), "expected page_indptr[3] to be at most the 8 entries of "
                     "page_indices, got 9");
  set(problem.pageIndptr, 2, 1);
  EXPECT_EQ(check(), "expected page_indptr[2] to be at least 2, got 1");
}

std::string nameOf(const testing::TestParamInfo<bool> &info) {
  return info.param ? "csr" : "dense";
}

INSTANTIATE_TEST_SUITE_P(Tables, CheckCall, testing::Values(false, true),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(Tables, CheckCsrCall, testing::Values(true), nameOf);

} // namespace
