//===- CheckCall.cpp - What must hold before a kernel runs ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lengths, starts and page ids against the capacity of the cache.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/CompiledKernel.h"

#include <algorithm>
#include <cstring>

using namespace mlir::paged_attn;

namespace {

/// Kernels keep positions in 32 bits.
constexpr int64_t kMostPositions = INT32_MAX;

/// An index operand; absent when `data` is null.
class IndexView {
public:
  IndexView(const Arguments &arguments, const char *name,
            const std::string &type)
      : is64(type == "i64") {
    auto found = arguments.find(name);
    if (found == arguments.end())
      return;
    data = static_cast<const char *>(found->second.data);
    sizes = found->second.sizes;
  }
  explicit operator bool() const { return data != nullptr; }
  int64_t size(size_t dim) const { return sizes[dim]; }
  int64_t operator[](int64_t index) const {
    if (is64)
      return read<int64_t>(index);
    return read<int32_t>(index);
  }

private:
  template <typename T>
  T read(int64_t index) const {
    T value;
    std::memcpy(&value, data + index * int64_t(sizeof(T)), sizeof(T));
    return value;
  }
  const char *data = nullptr;
  std::vector<int64_t> sizes;
  bool is64;
};

std::string message(const std::string &operand, int64_t index,
                    const std::string &expected, int64_t got) {
  return "expected " + operand + "[" + std::to_string(index) + "] to be " +
         expected + ", got " + std::to_string(got);
}

/// Checks one call, sequence by sequence.
class Checker {
public:
  Checker(const Arguments &arguments, const CacheLimits &limits)
      : limits(limits), table(arguments, "page_table", limits.indexType),
        indices(arguments, "page_indices", limits.indexType),
        indptr(arguments, "page_indptr", limits.indexType),
        lens(arguments, "kv_lens", limits.indexType),
        starts(arguments, "query_starts", limits.indexType),
        offsets(arguments, "query_offsets", limits.indexType),
        numTokens(arguments.at("query").sizes[0]) {}

  std::string run();

private:
  std::string checkSizes();
  std::string checkStarts();
  std::string checkIndptr();
  std::string checkSequence(int64_t b);
  std::string checkPage(int64_t b, int64_t page);
  /// Pages of the row of sequence b.
  int64_t rowPages(int64_t b) const {
    return table ? table.size(1) : indptr[b + 1] - indptr[b];
  }
  int64_t queryLength(int64_t b) const {
    return starts ? starts[b + 1] - starts[b] : numTokens / lens.size(0);
  }

  const CacheLimits &limits;
  IndexView table, indices, indptr, lens, starts, offsets;
  int64_t numTokens;
};

std::string Checker::checkSizes() {
  int64_t batch = lens.size(0);
  auto expect = [&](const char *name, const IndexView &operand, int64_t size) {
    if (!operand || operand.size(0) == size)
      return std::string();
    return "expected " + std::string(name) + " to have " +
           std::to_string(size) + " entries for " + std::to_string(batch) +
           " sequences, got " + std::to_string(operand.size(0));
  };
  for (const std::string &error : {expect("page_table", table, batch),
                                   expect("page_indptr", indptr, batch + 1),
                                   expect("query_starts", starts, batch + 1),
                                   expect("query_offsets", offsets, batch)})
    if (!error.empty())
      return error;
  return "";
}

std::string Checker::checkStarts() {
  int64_t batch = lens.size(0);
  if (!starts) {
    if (batch > 0 && numTokens % batch != 0)
      return "expected query to have a multiple of " + std::to_string(batch) +
             " tokens without query_starts, got " + std::to_string(numTokens);
    return "";
  }
  if (starts[0] != 0)
    return message("query_starts", 0, "0", starts[0]);
  for (int64_t b = 0; b < batch; ++b)
    if (starts[b + 1] < starts[b])
      return message("query_starts", b + 1,
                     "at least " + std::to_string(starts[b]), starts[b + 1]);
  if (starts[batch] > numTokens)
    return message("query_starts", batch,
                   "at most the " + std::to_string(numTokens) +
                       " tokens of query",
                   starts[batch]);
  return "";
}

std::string Checker::checkIndptr() {
  if (!indptr)
    return "";
  if (indptr[0] < 0)
    return message("page_indptr", 0, "at least 0", indptr[0]);
  for (int64_t b = 0; b < lens.size(0); ++b)
    if (indptr[b + 1] < indptr[b])
      return message("page_indptr", b + 1,
                     "at least " + std::to_string(indptr[b]), indptr[b + 1]);
  if (indptr[lens.size(0)] > indices.size(0))
    return message("page_indptr", lens.size(0),
                   "at most the " + std::to_string(indices.size(0)) +
                       " entries of page_indices",
                   indptr[lens.size(0)]);
  return "";
}

std::string Checker::checkPage(int64_t b, int64_t page) {
  int64_t at = table ? b * table.size(1) + page : indptr[b] + page;
  int64_t id = table ? table[at] : indices[at];
  if (id >= 0 && id < limits.numPages)
    return "";
  std::string expected =
      "a page from 0 to " + std::to_string(limits.numPages - 1);
  if (!table)
    return message("page_indices", at, expected, id);
  return "expected page_table[" + std::to_string(b) + ", " +
         std::to_string(page) + "] to be " + expected + ", got " +
         std::to_string(id);
}

std::string Checker::checkSequence(int64_t b) {
  int64_t length = lens[b], newTokens = queryLength(b);
  int64_t capacity = rowPages(b) * limits.pageSize;
  if (length >= kMostPositions)
    return message("kv_lens", b,
                   "below " + std::to_string(kMostPositions) +
                       " (positions are 32 bits)",
                   length);
  if (length < 0 || length > capacity)
    return message("kv_lens", b,
                   "from 0 to the " + std::to_string(capacity) +
                       " slots of the sequence's pages",
                   length);
  if (!offsets && newTokens > length)
    return message("kv_lens", b,
                   "at least the " + std::to_string(newTokens) +
                       " new tokens of the sequence",
                   length);
  if (newTokens == 0 || length == 0)
    return "";
  // Positions that some row sees: [low, high) and the sink tokens.
  int64_t first = offsets ? offsets[b] : length - newTokens;
  int64_t last = first + newTokens - 1;
  int64_t low = 0, high = limits.causal ? std::min(last + 1, length) : length;
  int64_t sinks = 0;
  if (limits.window > 0) {
    low = std::max<int64_t>(0, first - limits.window + 1);
    sinks = std::min(limits.sinkTokens, high);
  }
  if (limits.chunk > 0) {
    low = std::max(low, first / limits.chunk * limits.chunk);
    high = std::min(high, (last / limits.chunk + 1) * limits.chunk);
    if (first >= limits.chunk)
      sinks = 0;
  }
  for (int64_t page = 0; page * limits.pageSize < high; ++page) {
    int64_t begin = page * limits.pageSize, end = begin + limits.pageSize;
    if (end <= low && begin >= sinks)
      continue;
    std::string error = checkPage(b, page);
    if (!error.empty())
      return error;
  }
  return "";
}

std::string Checker::run() {
  std::string error = checkSizes();
  if (error.empty())
    error = checkStarts();
  if (error.empty())
    error = checkIndptr();
  for (int64_t b = 0; error.empty() && b < lens.size(0); ++b)
    error = checkSequence(b);
  return error;
}

} // namespace

std::string mlir::paged_attn::checkCall(const Arguments &arguments,
                                        const CacheLimits &limits) {
  return Checker(arguments, limits).run();
}
