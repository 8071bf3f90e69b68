//===- IndexArrays.cpp - Tables and lengths of one integer type -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels take page ids and lengths of one type. The page table's type counts,
// it is the largest of them; the others are converted where they differ.
//
//===----------------------------------------------------------------------===//

#include "Shapes.h"

#include <algorithm>
#include <cstring>

using namespace mlir::paged_attn;

namespace {

template <typename From, typename To>
bool convert(const ArrayView &array, std::vector<char> &bytes) {
  int64_t count = array.sizes[0];
  bytes.resize(size_t(count) * sizeof(To));
  const char *from = static_cast<const char *>(array.data);
  for (int64_t i = 0; i < count; ++i) {
    From value;
    std::memcpy(&value, from + i * sizeof(From), sizeof(From));
    To converted = To(value);
    if (From(converted) != value)
      return false;
    std::memcpy(bytes.data() + i * sizeof(To), &converted, sizeof(To));
  }
  return true;
}

/// Entry `index` of an index operand of `type`.
int64_t load(const Argument &argument, const std::string &type, int64_t index) {
  if (type == "i64") {
    int64_t value;
    std::memcpy(&value, static_cast<const char *>(argument.data) + index * 8,
                8);
    return value;
  }
  int32_t value;
  std::memcpy(&value, static_cast<const char *>(argument.data) + index * 4, 4);
  return value;
}

} // namespace

CallError IndexArrays::take(const OptionalArray &array, const char *name,
                            size_t rank) {
  if (!array)
    return {};
  PAGED_ATTN_CHECK(checkType(*array, name, {"i32", "i64"}, "i32 or i64"));
  if (array->sizes.size() != rank)
    return valueError("expected " + std::string(name) + " to have " +
                      std::to_string(rank) + " dimensions, got " +
                      printSizes(array->sizes));
  if (type.empty())
    type = array->type;
  entries.push_back({name, toArgument(*array), {}});
  if (array->type == type)
    return {};
  Entry &entry = entries.back();
  std::vector<char> &bytes = entry.converted;
  bool fits = type == "i64" ? convert<int32_t, int64_t>(*array, bytes)
                            : convert<int64_t, int32_t>(*array, bytes);
  if (!fits)
    return valueError("expected every entry of " + std::string(name) +
                      " to fit " + type +
                      " like the page table, got one that "
                      "does not");
  entry.argument.data = bytes.data();
  return {};
}

CallError IndexArrays::read(const CacheArrays &cache,
                            const OptionalArray *offsets) {
  if (bool(cache.pageTable) == bool(cache.pageIndices) ||
      bool(cache.pageIndices) != bool(cache.pageIndptr))
    return valueError("expected either page_table or page_indices and "
                      "page_indptr");
  if (!cache.kvLens)
    return valueError("expected kv_lens with a page table, got none");
  entries.reserve(6); // entries point into themselves
  PAGED_ATTN_CHECK(take(cache.pageTable, "page_table", 2));
  PAGED_ATTN_CHECK(take(cache.pageIndices, "page_indices", 1));
  PAGED_ATTN_CHECK(take(cache.pageIndptr, "page_indptr", 1));
  PAGED_ATTN_CHECK(take(cache.kvLens, "kv_lens", 1));
  PAGED_ATTN_CHECK(take(cache.queryStarts, "query_starts", 1));
  if (offsets)
    PAGED_ATTN_CHECK(take(*offsets, "query_offsets", 1));
  if (cache.kvLens->sizes[0] == 0 && !cache.queryStarts)
    return valueError("expected kv_lens to have at least 1 entry without "
                      "query_starts, got 0");
  return {};
}

void IndexArrays::addTo(Arguments &arguments) const {
  for (const Entry &entry : entries)
    arguments[entry.name] = entry.argument;
}

const IndexArrays::Entry *IndexArrays::find(std::string_view name) const {
  for (const Entry &entry : entries)
    if (entry.name == name)
      return &entry;
  return nullptr;
}

void IndexArrays::getQueryLengths(int64_t numTokens, int64_t &most,
                                  int64_t &least) const {
  int64_t batch = find("kv_lens")->argument.sizes[0];
  const Entry *starts = find("query_starts");
  most = 0;
  least = 0;
  if (!starts) {
    most = least = numTokens / batch;
    return;
  }
  for (int64_t b = 0; b < batch; ++b) {
    int64_t length =
        load(starts->argument, type, b + 1) - load(starts->argument, type, b);
    most = std::max(most, length);
    if (length > 0)
      least = least == 0 ? length : std::min(least, length);
  }
}
