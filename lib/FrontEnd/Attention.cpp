//===- Attention.cpp - paged_attn.attention on arrays ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//   1. check shapes and element types;
//   2. check lengths, starts and page ids;
//   3. choose the mode from the lengths, make the spec, take its kernel;
//   4. run.
//
//===----------------------------------------------------------------------===//

#include "KernelCache.h"
#include "Shapes.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace mlir::paged_attn;

/// Most new tokens of a sequence that decodes: the decode-tokens of
/// --paged-attn-select-mode.
constexpr int64_t kDecodeTokens = 8;

namespace {

/// A call whose shapes have been checked.
struct CheckedCall {
  CheckedCache cache;
  IndexArrays indices;
  Arguments arguments;
};

int64_t numHeads(const AttentionCall &call) { return call.query.sizes[1]; }

CallError checkQuery(const AttentionCall &call, const CheckedCache &cache) {
  PAGED_ATTN_CHECK(checkFloat(call.query, "q"));
  PAGED_ATTN_CHECK(
      checkSizes(call.query, "q", "[T, Hq, Dk]", {-1, -1, cache.keys.dim}));
  if (numHeads(call) < 1 || numHeads(call) % cache.keys.heads)
    return valueError("expected q to have a positive multiple of the " +
                      std::to_string(cache.keys.heads) +
                      " KV heads of k_pages, got " +
                      std::to_string(numHeads(call)) + " query heads");
  return {};
}

CallError checkOuts(const AttentionCall &call, const CheckedCache &cache) {
  PAGED_ATTN_CHECK(checkFloat(call.out, "out"));
  PAGED_ATTN_CHECK(checkSizes(call.out, "out", "[T, Hq, Dv]",
                              {call.query.sizes[0], numHeads(call), -1}));
  int64_t valueDim = call.out.sizes[2];
  bool isLatent = cache.kind == Pools::Latent;
  if (valueDim < 1 || valueDim > cache.values.dim ||
      (!isLatent && valueDim != cache.values.dim))
    return valueError("expected the last dimension of out to be " +
                      std::string(isLatent ? "from 1 to " : "") +
                      std::to_string(cache.values.dim) +
                      " like the head dim of the values, got " +
                      std::to_string(valueDim));
  if (!call.lse)
    return {};
  PAGED_ATTN_CHECK(checkType(*call.lse, "lse", {"f32"}, "f32"));
  return checkSizes(*call.lse, "lse", "[T, Hq]",
                    {call.query.sizes[0], numHeads(call)});
}

CallError checkPerHead(const OptionalArray &array, const char *name,
                       int64_t heads) {
  if (!array)
    return {};
  PAGED_ATTN_CHECK(checkType(*array, name, {"f32"}, "f32"));
  return checkSizes(*array, name, "[Hq]", {heads});
}

CallError checkBias(const AttentionCall &call) {
  if (!call.bias)
    return {};
  PAGED_ATTN_CHECK(checkFloat(*call.bias, "bias"));
  PAGED_ATTN_CHECK(checkSizes(*call.bias, "bias", "[T, 1 or Hq, K]",
                              {call.query.sizes[0], -1, -1}));
  int64_t heads = call.bias->sizes[1];
  if (heads != 1 && heads != numHeads(call))
    return valueError("expected bias to have 1 or " +
                      std::to_string(numHeads(call)) + " heads, got " +
                      std::to_string(heads));
  return {};
}

/// The bias covers every key position of the call.
CallError checkBiasLength(const AttentionCall &call, const Arguments &arguments,
                          const std::string &indexType) {
  if (!call.bias)
    return {};
  const Argument &lens = arguments.at("kv_lens");
  int64_t width = indexType == "i64" ? 8 : 4;
  for (int64_t b = 0; b < lens.sizes[0]; ++b) {
    int64_t length = 0; // little endian, and lengths are not negative
    std::memcpy(&length, static_cast<const char *>(lens.data) + b * width,
                size_t(width));
    if (length > call.bias->sizes[2])
      return valueError("expected bias to reach kv_lens[" + std::to_string(b) +
                        "] = " + std::to_string(length) + " keys, got " +
                        std::to_string(call.bias->sizes[2]));
  }
  return {};
}

CallError checkScale(const OptionalArray &scale, const char *name,
                     const ArrayView &pool, const char *poolName,
                     const PoolSizes &sizes) {
  bool isQuantised = pool.type == "i8" || pool.type == "f8E4M3FN";
  if (!scale) {
    if (pool.type == "i8")
      return valueError("expected " + std::string(name) + " with " + poolName +
                        " of i8, got none");
    return {};
  }
  if (!isQuantised)
    return valueError("expected no " + std::string(name) + " with " + poolName +
                      " of " + pool.type);
  PAGED_ATTN_CHECK(checkType(*scale, name, {"f32"}, "f32"));
  const std::vector<int64_t> &got = scale->sizes;
  if (got.empty() || got == std::vector<int64_t>{sizes.heads} ||
      got == std::vector<int64_t>{sizes.pages, sizes.slots, sizes.heads})
    return {};
  return valueError("expected " + std::string(name) +
                    " to be one number, [Hkv] = [" +
                    std::to_string(sizes.heads) + "] or [P, S, Hkv] = " +
                    printSizes({sizes.pages, sizes.slots, sizes.heads}) +
                    ", got " + printSizes(got));
}

CallError checkScales(const AttentionCall &call, const CheckedCache &cache) {
  const char *types = "f32, f16, bf16, i8 or f8E4M3FN";
  auto checkPool = [&](const ArrayView &pool, const char *name) {
    return checkType(pool, name, {"f32", "f16", "bf16", "i8", "f8E4M3FN"},
                     types);
  };
  PAGED_ATTN_CHECK(checkPool(call.cache.keys, "k_pages"));
  PAGED_ATTN_CHECK(checkScale(call.keyScale, "k_scale", call.cache.keys,
                              "k_pages", cache.keys));
  if (cache.kind == Pools::Latent) {
    if (call.valueScale)
      return valueError("expected no v_scale without v_pages: values are part "
                        "of the keys");
    return {};
  }
  const ArrayView &values =
      call.cache.values ? *call.cache.values : call.cache.keys;
  const char *name = call.cache.values ? "v_pages" : "k_pages";
  PAGED_ATTN_CHECK(checkPool(values, name));
  return checkScale(call.valueScale, "v_scale", values, name, cache.values);
}

CallError checkNotNegative(int64_t value, const char *name) {
  if (value >= 0)
    return {};
  return valueError("expected " + std::string(name) +
                    " to be 0 (none) or more tokens, got " +
                    std::to_string(value));
}

CallError checkOptions(const AttentionCall &call) {
  PAGED_ATTN_CHECK(checkNotNegative(call.window, "window"));
  PAGED_ATTN_CHECK(checkNotNegative(call.sinkTokens, "sink_tokens"));
  PAGED_ATTN_CHECK(checkNotNegative(call.chunk, "chunk"));
  if (call.sinkTokens > 0 && call.window == 0)
    return valueError("expected a window with sink_tokens, got none");
  if (call.scale && !std::isfinite(*call.scale))
    return valueError("expected scale to be finite, got " +
                      std::to_string(*call.scale));
  if (!std::isfinite(call.softcap) || call.softcap < 0)
    return valueError("expected softcap to be 0 (none) or finite and "
                      "positive, got " +
                      std::to_string(call.softcap));
  if (call.mode != "auto" && call.mode != "prefill" && call.mode != "decode" &&
      call.mode != "mixed")
    return valueError("expected mode to be auto, prefill, decode or mixed, "
                      "got '" +
                      call.mode + "'");
  if (call.numThreads < 0)
    return valueError("expected num_threads to be 0 (all) or more, got " +
                      std::to_string(call.numThreads));
  return {};
}

CacheLimits makeLimits(const AttentionCall &call, const CheckedCall &checked) {
  CacheLimits limits;
  limits.numPages = checked.cache.keys.pages;
  limits.pageSize = checked.cache.keys.slots;
  limits.indexType = checked.indices.getType();
  limits.causal = call.causal;
  limits.window = call.window;
  limits.sinkTokens = call.sinkTokens;
  limits.chunk = call.chunk;
  return limits;
}

void addArguments(const AttentionCall &call, CheckedCall &checked) {
  Arguments &arguments = checked.arguments;
  auto add = [&](const char *name, const OptionalArray &array) {
    if (array)
      arguments[name] = toArgument(*array);
  };
  arguments["query"] = toArgument(call.query);
  arguments["keys"] = toArgument(call.cache.keys);
  add("values", call.cache.values);
  checked.indices.addTo(arguments);
  if (call.cache.layer)
    arguments["layer"].integer = *call.cache.layer;
  add("k_scale", call.keyScale);
  add("v_scale", call.valueScale);
  add("alibi_slopes", call.alibiSlopes);
  add("sinks", call.sinks);
  add("bias", call.bias);
  arguments["out"] = toArgument(call.out);
  add("lse", call.lse);
}

CallError check(const AttentionCall &call, CheckedCall &checked) {
  PAGED_ATTN_CHECK(checkOptions(call));
  PAGED_ATTN_CHECK(checkCache(call.cache, checked.cache));
  PAGED_ATTN_CHECK(checkQuery(call, checked.cache));
  PAGED_ATTN_CHECK(checkOuts(call, checked.cache));
  PAGED_ATTN_CHECK(checkScales(call, checked.cache));
  PAGED_ATTN_CHECK(
      checkPerHead(call.alibiSlopes, "alibi_slopes", numHeads(call)));
  PAGED_ATTN_CHECK(checkPerHead(call.sinks, "sinks", numHeads(call)));
  PAGED_ATTN_CHECK(checkBias(call));
  PAGED_ATTN_CHECK(checked.indices.read(call.cache, &call.queryOffsets));
  addArguments(call, checked);
  std::string error = checkCall(checked.arguments, makeLimits(call, checked));
  if (!error.empty())
    return valueError(error);
  return checkBiasLength(call, checked.arguments, checked.indices.getType());
}

CallError chooseMode(const AttentionCall &call, const CheckedCall &checked,
                     std::string &mode) {
  int64_t most = 0, least = 0;
  checked.indices.getQueryLengths(call.query.sizes[0], most, least);
  constexpr int64_t kMostDecodeTokens = 64; // C17 of the op
  if (call.mode == "decode" && most > kMostDecodeTokens)
    return valueError("expected at most " + std::to_string(kMostDecodeTokens) +
                      " new tokens a sequence in mode decode, got " +
                      std::to_string(most));
  mode = call.mode;
  if (mode == "auto")
    mode = most <= kDecodeTokens   ? "decode"
           : least > kDecodeTokens ? "prefill"
                                   : "mixed";
  return {};
}

KernelSpec describe(const AttentionCall &call, const CheckedCall &checked,
                    const std::string &mode) {
  KernelSpec spec;
  spec.mode = mode;
  spec.queryType = call.query.type;
  spec.keyType = call.cache.keys.type;
  spec.valueType =
      call.cache.values ? call.cache.values->type : call.cache.keys.type;
  spec.outType = call.out.type;
  spec.indexType = checked.indices.getType();
  spec.pools = checked.cache.kind;
  spec.keyLayout = call.cache.keyLayout;
  spec.valueLayout = call.cache.valueLayout;
  spec.csr = call.cache.pageIndices.has_value();
  spec.numHeads = numHeads(call);
  spec.numKVHeads = checked.cache.keys.heads;
  spec.keyDim = checked.cache.keys.dim;
  spec.valueDim = call.out.sizes[2];
  spec.pageSize = checked.cache.keys.slots;
  spec.causal = call.causal;
  spec.window = call.window;
  spec.sinkTokens = call.sinkTokens;
  spec.chunk = call.chunk;
  spec.scale = call.scale;
  spec.softcap = call.softcap;
  spec.hasAlibi = call.alibiSlopes.has_value();
  spec.hasSinks = call.sinks.has_value();
  spec.wantsLse = call.lse.has_value();
  spec.hasQueryStarts = call.cache.queryStarts.has_value();
  spec.hasQueryOffsets = call.queryOffsets.has_value();
  auto rank = [](const OptionalArray &scale) {
    return scale ? std::optional<int64_t>(scale->sizes.size()) : std::nullopt;
  };
  spec.keyScaleRank = rank(call.keyScale);
  spec.valueScaleRank = rank(call.valueScale);
  if (call.bias) {
    spec.biasType = call.bias->type;
    spec.biasHeads = call.bias->sizes[1];
  }
  return spec;
}

CacheKey makeKey(const KernelSpec &spec, const std::optional<Via> &via) {
  CacheKey key;
  key.add("attention").add(spec.mode).add(spec.queryType).add(spec.keyType);
  key.add(spec.valueType).add(spec.outType).add(spec.indexType);
  key.add(spec.keyLayout.dims).add(spec.keyLayout.pack);
  key.add(spec.valueLayout.dims).add(spec.valueLayout.pack);
  for (int64_t number : {int64_t(spec.pools),
                         int64_t(spec.csr),
                         spec.numHeads,
                         spec.numKVHeads,
                         spec.keyDim,
                         spec.valueDim,
                         spec.pageSize,
                         int64_t(spec.causal),
                         spec.window,
                         spec.sinkTokens,
                         spec.chunk,
                         int64_t(spec.hasAlibi),
                         int64_t(spec.hasSinks),
                         int64_t(spec.wantsLse),
                         int64_t(spec.hasQueryStarts),
                         int64_t(spec.hasQueryOffsets),
                         spec.keyScaleRank.value_or(-1),
                         spec.valueScaleRank.value_or(-1),
                         spec.biasHeads,
                         via ? int64_t(*via) : -1,
                         int64_t(bool(spec.scale))})
    key.add(number);
  key.add(spec.scale.value_or(0)).add(spec.softcap).add(spec.biasType);
  return key;
}

} // namespace

CallError mlir::paged_attn::makeSpec(const AttentionCall &call,
                                     KernelSpec &spec) {
  CheckedCall checked;
  PAGED_ATTN_CHECK(check(call, checked));
  std::string mode;
  PAGED_ATTN_CHECK(chooseMode(call, checked, mode));
  spec = describe(call, checked, mode);
  return {};
}

CallError mlir::paged_attn::runAttention(const AttentionCall &call) {
  CheckedCall checked;
  PAGED_ATTN_CHECK(check(call, checked));
  std::string mode;
  PAGED_ATTN_CHECK(chooseMode(call, checked, mode));
  KernelSpec spec = describe(call, checked, mode);
  CallError error;
  auto kernel = getKernel(
      makeKey(spec, call.via),
      [&] {
        return KernelRequest{buildModule(spec), call.via, Via::Reference};
      },
      error);
  if (!kernel || call.query.sizes[0] == 0)
    return error;
  return runKernel(*kernel, checked.arguments, call.numThreads);
}
