//===- MergeStates.cpp - paged_attn.merge_states on arrays ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parts of one attention, each with its log of the denominator, become one.
//
//===----------------------------------------------------------------------===//

#include "KernelCache.h"
#include "ModuleWriter.h"

using namespace mlir::paged_attn;

static CallError check(const MergeCall &call) {
  if (call.parts.size() < 2 || call.parts.size() != call.lses.size())
    return valueError("expected at least 2 parts and as many lses, got " +
                      std::to_string(call.parts.size()) + " and " +
                      std::to_string(call.lses.size()));
  const std::vector<int64_t> &sizes = call.parts[0].sizes;
  PAGED_ATTN_CHECK(
      checkSizes(call.parts[0], "parts[0]", "[T, Hq, Dv]", {-1, -1, -1}));
  std::vector<int64_t> lseSizes = {sizes[0], sizes[1]};
  for (size_t i = 0; i < call.parts.size(); ++i) {
    std::string index = "[" + std::to_string(i) + "]";
    PAGED_ATTN_CHECK(checkFloat(call.parts[i], "parts" + index));
    PAGED_ATTN_CHECK(
        checkSizes(call.parts[i], "parts" + index, "[T, Hq, Dv]", sizes));
    PAGED_ATTN_CHECK(checkType(call.lses[i], "lses" + index, {"f32"}, "f32"));
    PAGED_ATTN_CHECK(
        checkSizes(call.lses[i], "lses" + index, "[T, Hq]", lseSizes));
  }
  PAGED_ATTN_CHECK(checkFloat(call.out, "out"));
  PAGED_ATTN_CHECK(checkSizes(call.out, "out", "[T, Hq, Dv]", sizes));
  if (!call.lse)
    return {};
  PAGED_ATTN_CHECK(checkType(*call.lse, "lse", {"f32"}, "f32"));
  return checkSizes(*call.lse, "lse", "[T, Hq]", lseSizes);
}

CallError mlir::paged_attn::runMerge(const MergeCall &call) {
  PAGED_ATTN_CHECK(check(call));
  auto typesOf = [](const std::vector<ArrayView> &arrays) {
    std::vector<std::string> types;
    for (const ArrayView &array : arrays) {
      std::vector<bool> dynamic(array.sizes.size(), false);
      dynamic[0] = true;
      types.push_back(memrefType(array, dynamic));
    }
    return types;
  };
  std::vector<ArrayView> outs = {call.out};
  if (call.lse)
    outs.push_back(*call.lse);
  ModuleWriter writer("merge_states");
  writer.variadicClause("parts", call.parts, typesOf(call.parts));
  writer.variadicClause("lses", call.lses, typesOf(call.lses));
  writer.clause("outs", outs, typesOf(outs));
  return runModule(writer, /*numThreads=*/0);
}
