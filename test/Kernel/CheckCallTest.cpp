//===- CheckCallTest.cpp - What must hold before a kernel runs ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One call that is right, and every way to get it wrong, whole messages.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/CompiledKernel.h"

#include <gtest/gtest.h>

namespace mlir::paged_attn {
namespace {

/// Two sequences with 2 and 1 new tokens, 7 and 3 tokens in pages of 4.
class CheckCall : public ::testing::Test {
protected:
  CheckCall() {
    limits.numPages = 5;
    limits.pageSize = 4;
    limits.causal = true;
    arguments["query"].sizes = {3, 1, 8};
    add("page_table", table, {2, 2});
    add("kv_lens", lens, {2});
    add("query_starts", starts, {3});
  }

  void add(const char *name, std::vector<int32_t> &values,
           std::vector<int64_t> sizes) {
    arguments[name] = {values.data(), std::move(sizes), 0};
  }
  std::string check() { return checkCall(arguments, limits); }

  std::vector<int32_t> table{4, 0, 2, -1}, lens{7, 3}, starts{0, 2, 3};
  std::vector<int32_t> indices{4, 0, 2}, indptr{0, 2, 3};
  Arguments arguments;
  CacheLimits limits;
};

TEST_F(CheckCall, acceptsUnusedEntries) { EXPECT_EQ(check(), ""); }

TEST_F(CheckCall, rejectsOperandsThatAreTooShort) {
  arguments["query_starts"].sizes = {2};
  EXPECT_EQ(check(), "expected query_starts to have 3 entries for 2 sequences, "
                     "got 2");
  arguments["query_starts"].sizes = {3};
  arguments["page_table"].sizes = {1, 2};
  EXPECT_EQ(check(),
            "expected page_table to have 2 entries for 2 sequences, got 1");
}

TEST_F(CheckCall, rejectsPositionsBeyond32Bits) {
  lens[0] = INT32_MAX;
  EXPECT_EQ(check(), "expected kv_lens[0] to be below 2147483647 (positions "
                     "are 32 bits), got 2147483647");
}

TEST_F(CheckCall, rejectsPagesOutOfRange) {
  table[1] = 5;
  EXPECT_EQ(check(),
            "expected page_table[0, 1] to be a page from 0 to 4, got 5");
  table[1] = -1;
  EXPECT_EQ(check(),
            "expected page_table[0, 1] to be a page from 0 to 4, got -1");
}

TEST_F(CheckCall, ignoresPagesThatTheWindowHides) {
  limits.window = 2;
  table[0] = -1; // rows 5 and 6 see positions 4 to 6
  EXPECT_EQ(check(), "");
  limits.sinkTokens = 1;
  EXPECT_EQ(check(),
            "expected page_table[0, 0] to be a page from 0 to 4, got -1");
}

TEST_F(CheckCall, ignoresPagesOfOtherChunks) {
  limits.chunk = 4;
  table[0] = 99;
  EXPECT_EQ(check(), "");
}

TEST_F(CheckCall, rejectsLengths) {
  lens[0] = 9;
  EXPECT_EQ(check(), "expected kv_lens[0] to be from 0 to the 8 slots of the "
                     "sequence's pages, got 9");
  lens[0] = 1;
  EXPECT_EQ(check(), "expected kv_lens[0] to be at least the 2 new tokens of "
                     "the sequence, got 1");
  lens[0] = -1;
  EXPECT_EQ(check(), "expected kv_lens[0] to be from 0 to the 8 slots of the "
                     "sequence's pages, got -1");
}

TEST_F(CheckCall, rejectsStarts) {
  starts = {0, 2, 1};
  EXPECT_EQ(check(), "expected query_starts[2] to be at least 2, got 1");
  starts = {1, 2, 3};
  EXPECT_EQ(check(), "expected query_starts[0] to be 0, got 1");
  starts = {0, 2, 4};
  EXPECT_EQ(check(), "expected query_starts[2] to be at most the 3 tokens of "
                     "query, got 4");
}

TEST_F(CheckCall, needsWholeSequencesWithoutStarts) {
  arguments.erase("query_starts");
  EXPECT_EQ(check(), "expected query to have a multiple of 2 tokens without "
                     "query_starts, got 3");
  arguments["query"].sizes[0] = 4;
  EXPECT_EQ(check(), "");
}

TEST_F(CheckCall, checksCsrTables) {
  arguments.erase("page_table");
  add("page_indices", indices, {3});
  add("page_indptr", indptr, {3});
  EXPECT_EQ(check(), "");
  indices[2] = 7;
  EXPECT_EQ(check(),
            "expected page_indices[2] to be a page from 0 to 4, got 7");
  indptr[2] = 4;
  EXPECT_EQ(check(), "expected page_indptr[2] to be at most the 3 entries of "
                     "page_indices, got 4");
  indptr[2] = 1;
  EXPECT_EQ(check(), "expected page_indptr[2] to be at least 2, got 1");
}

} // namespace
} // namespace mlir::paged_attn
