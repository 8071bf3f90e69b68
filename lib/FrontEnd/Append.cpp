//===- Append.cpp - paged_attn.append on arrays ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Checks every slot before the first is written.
//
//===----------------------------------------------------------------------===//

#include "KernelCache.h"
#include "ModuleWriter.h"

#include <cstring>

using namespace mlir::paged_attn;

namespace {

CallError checkTokens(const AppendCall &call, const CheckedCache &cache) {
  PAGED_ATTN_CHECK(checkFloat(call.keys, "k"));
  PAGED_ATTN_CHECK(checkSizes(call.keys, "k", "[T, Hkv, Dk]",
                              {-1, cache.keys.heads, cache.keys.dim}));
  bool needsValues = cache.kind != Pools::Latent;
  if (needsValues != call.values.has_value())
    return valueError(needsValues
                          ? "expected v for the values of the cache, got none"
                          : "expected no v without v_pages: values are part of "
                            "the keys");
  if (!call.values)
    return {};
  PAGED_ATTN_CHECK(checkFloat(*call.values, "v"));
  return checkSizes(*call.values, "v", "[T, Hkv, Dv]",
                    {call.keys.sizes[0], cache.keys.heads, cache.values.dim});
}

CallError checkPools(const AppendCall &call) {
  PAGED_ATTN_CHECK(checkFloat(call.cache.keys, "k_pages"));
  if (call.cache.values)
    return checkFloat(*call.cache.values, "v_pages");
  return {};
}

CallError checkSlots(const AppendCall &call, const CheckedCache &cache) {
  const ArrayView &slots = *call.slots;
  PAGED_ATTN_CHECK(checkType(slots, "slots", {"i32", "i64"}, "i32 or i64"));
  PAGED_ATTN_CHECK(checkSizes(slots, "slots", "[T]", {call.keys.sizes[0]}));
  const char *data = static_cast<const char *>(slots.data);
  int64_t numSlots = cache.keys.pages * cache.keys.slots;
  for (int64_t t = 0; t < slots.sizes[0]; ++t) {
    int64_t slot = 0;
    int32_t narrow = 0;
    if (slots.type == "i64") {
      std::memcpy(&slot, data + t * 8, 8);
    } else {
      std::memcpy(&narrow, data + t * 4, 4);
      slot = narrow;
    }
    if (slot < -1 || slot >= numSlots)
      return valueError("expected slots[" + std::to_string(t) +
                        "] to be -1 (skip) or a slot from 0 to " +
                        std::to_string(numSlots - 1) + ", got " +
                        std::to_string(slot));
  }
  return {};
}

/// The pages of the new tokens, and only those, must be in range.
CallError checkTable(const AppendCall &call, const CheckedCache &cache,
                     const IndexArrays &indices) {
  Arguments arguments;
  arguments["query"] = toArgument(call.keys); // for the number of tokens
  indices.addTo(arguments);
  CacheLimits limits;
  limits.numPages = cache.keys.pages;
  limits.pageSize = cache.keys.slots;
  limits.indexType = indices.getType();
  limits.causal = true;
  limits.window = 1;
  std::string error = checkCall(arguments, limits);
  return error.empty() ? CallError() : valueError(error);
}

void writeTable(const AppendCall &call, const IndexArrays &indices,
                ModuleWriter &writer) {
  Arguments arguments;
  indices.addTo(arguments);
  auto get = [&](const char *name) {
    const Argument &argument = arguments.at(name);
    return ArrayView{argument.data, indices.getType(), argument.sizes};
  };
  std::string vector = "memref<?x" + indices.getType() + ">";
  std::string matrix = "memref<?x?x" + indices.getType() + ">";
  if (call.cache.pageTable)
    writer.clause("table", {get("page_table")}, {matrix});
  else
    writer.clause("csr", {get("page_indices"), get("page_indptr")},
                  {vector, vector});
  writer.clause("lens", {get("kv_lens")}, {vector});
  if (call.cache.queryStarts)
    writer.clause("starts", {get("query_starts")}, {vector});
}

void writeModule(const AppendCall &call, const IndexArrays &indices,
                 ModuleWriter &writer) {
  std::vector<bool> tokens = {true, false, false};
  writer.clause("keys", {call.keys}, {memrefType(call.keys, tokens)});
  if (call.values)
    writer.clause("values", {*call.values}, {memrefType(*call.values, tokens)});
  if (call.slots)
    writer.clause("slots", {*call.slots},
                  {"memref<?x" + call.slots->type + ">"});
  else
    writeTable(call, indices, writer);
  if (call.cache.layer)
    writer.add(" layer(" +
               writer.declare("index", {nullptr, {}, *call.cache.layer}) + ")");
  std::vector<ArrayView> pools = {call.cache.keys};
  std::vector<std::string> types = {
      poolType(call.cache.keys, call.cache.keyLayout)};
  if (call.cache.values) {
    pools.push_back(*call.cache.values);
    types.push_back(poolType(*call.cache.values, call.cache.valueLayout));
  }
  writer.clause("outs", pools, types);
  writer.add(" {key_layout = " + layoutAttribute(call.cache.keyLayout));
  if (call.cache.values)
    writer.add(", value_layout = " + layoutAttribute(call.cache.valueLayout));
  writer.add("}");
}

} // namespace

CallError mlir::paged_attn::runAppend(const AppendCall &call) {
  CheckedCache cache;
  PAGED_ATTN_CHECK(checkPools(call));
  PAGED_ATTN_CHECK(checkCache(call.cache, cache));
  PAGED_ATTN_CHECK(checkTokens(call, cache));
  IndexArrays indices;
  bool hasTable = call.cache.pageTable || call.cache.pageIndices;
  if (hasTable == call.slots.has_value())
    return valueError("expected either slots or a page table with kv_lens");
  if (call.slots) {
    PAGED_ATTN_CHECK(checkSlots(call, cache));
  } else {
    PAGED_ATTN_CHECK(indices.read(call.cache, nullptr));
    PAGED_ATTN_CHECK(checkTable(call, cache, indices));
  }
  ModuleWriter writer("append");
  writeModule(call, indices, writer);
  return runModule(writer, /*numThreads=*/1);
}
