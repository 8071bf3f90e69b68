//===- Calls.cpp - attention, append, merge_states ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Python arguments to the calls of the front end. The public functions, with
// their documents, are in python/paged_attn/_ops.py.
//
//===----------------------------------------------------------------------===//

#include "Arrays.h"
#include "Bindings.h"
#include "Options.h"

#include <nanobind/stl/string.h>

using namespace paged_attn_python;
using namespace mlir::paged_attn;

namespace {

/// Operands of one call: views in the call, owners here.
class Operands {
public:
  /// None where `value` is None.
  OptionalArray read(nb::handle value, const char *name,
                     Access access = Access::Read) {
    if (value.is_none())
      return std::nullopt;
    operands.push_back(readArray(value, name, access));
    return operands.back().view;
  }
  OptionalArray readIndex(nb::handle value, const char *name) {
    return value.is_none() ? std::nullopt
                           : read(asIndices(value, name), name, Access::Index);
  }
  OptionalArray readFloats(nb::handle value, const char *name) {
    return value.is_none() ? std::nullopt
                           : read(asArray(value, "float32"), name);
  }
  ArrayView need(nb::handle value, const char *name,
                 Access access = Access::Read) {
    operands.push_back(readArray(value, name, access));
    return operands.back().view;
  }
  const ArrayOperand &last() const { return operands.back(); }

private:
  std::vector<ArrayOperand> operands;
};

/// A layout whose h and c stand side by side may come with both in one
/// dimension, as JAX's ragged paged attention has them: [..., 2 * Hkv, ...].
void splitCombinedHeads(ArrayView &pool, const LayoutSpec &layout) {
  size_t at = layout.dims.find("hc");
  size_t rank = layout.dims.size() + (layout.pack > 1 ? 1 : 0);
  if (at == std::string::npos || pool.sizes.size() + 1 != rank ||
      pool.sizes[at] % 2)
    return;
  pool.sizes[at] /= 2;
  pool.sizes.insert(pool.sizes.begin() + at + 1, 2);
}

/// Page table or its CSR form, lengths and starts.
void readTable(Operands &operands, nb::handle table, nb::handle lens,
               nb::handle starts, CacheArrays &cache) {
  if (nb::isinstance<nb::tuple>(table)) {
    nb::tuple csr = nb::borrow<nb::tuple>(table);
    if (csr.size() != 2)
      nb::raise_type_error("expected page_table to be an array or the pair "
                           "(page_indices, page_indptr), got %zu entries",
                           csr.size());
    cache.pageIndices = operands.readIndex(csr[0], "page_indices");
    cache.pageIndptr = operands.readIndex(csr[1], "page_indptr");
  } else {
    cache.pageTable = operands.readIndex(table, "page_table");
  }
  cache.kvLens = operands.readIndex(lens, "kv_lens");
  cache.queryStarts = operands.readIndex(starts, "query_starts");
}

void readPools(Operands &operands, nb::handle keys, nb::handle values,
               nb::handle layout, nb::handle layer, Access access,
               CacheArrays &cache) {
  readLayouts(layout, cache.keyLayout, cache.valueLayout);
  cache.keys = operands.need(keys, "k_pages", access);
  cache.values = operands.read(values, "v_pages", access);
  splitCombinedHeads(cache.keys, cache.keyLayout);
  if (!layer.is_none())
    cache.layer = toInteger(layer, "layer");
}

/// Throws what `error` says.
void check(const CallError &error) {
  switch (error.kind) {
  case CallError::Kind::None:
    return;
  case CallError::Kind::Type:
    throw nb::type_error(error.message.c_str());
  case CallError::Kind::Value:
    throw nb::value_error(error.message.c_str());
  case CallError::Kind::Compile:
    raiseCompileError(error.message);
  }
}

/// An out that the caller gave, or a new one.
struct Result {
  nb::object array;
  Framework framework = Framework::Numpy;
  bool isNew = false;
  ArrayView view;

  nb::object finish() { return isNew ? finishResult(framework, array) : array; }
};

Result readResult(Operands &operands, nb::handle given, const char *name,
                  const ArrayOperand &like, const std::vector<int64_t> &sizes,
                  const std::string &dtype) {
  Result result;
  result.framework = like.framework;
  result.isNew = given.is_none();
  result.array =
      result.isNew ? makeResult(like, sizes, dtype) : nb::borrow(given);
  result.view = operands.need(result.array, name, Access::Write);
  return result;
}

nb::object finish(Result &out, std::optional<Result> &lse) {
  if (!lse)
    return out.finish();
  return nb::make_tuple(out.finish(), lse->finish());
}

/// Sizes of out: [T, Hq, Dv]. What is wrong with them is found by the call.
std::vector<int64_t> outSizes(const ArrayView &query, const CacheArrays &cache,
                              nb::handle valueDim) {
  int64_t dim = 0;
  if (valueDim.is_none())
    check(readValueDim(cache, dim));
  else
    dim = toInteger(valueDim, "value_dim");
  if (query.sizes.size() != 3)
    throw nb::value_error(("expected q to be [T, Hq, Dk], got " +
                           std::to_string(query.sizes.size()) + " dimensions")
                              .c_str());
  if (dim < 1)
    throw nb::value_error(
        ("expected value_dim to be positive, got " + std::to_string(dim))
            .c_str());
  return {query.sizes[0], query.sizes[1], dim};
}

void readOptions(const Options &options, AttentionCall &call) {
  call.mode = options.getText("mode");
  call.causal = options.getBool("causal");
  call.window = options.getInteger("window", 0);
  call.sinkTokens = options.getInteger("sink_tokens", 0);
  call.chunk = options.getInteger("chunk", 0);
  call.scale = options.getFloat("scale");
  call.softcap = options.getFloat("softcap").value_or(0);
  call.numThreads = int(options.getInteger("num_threads", 0));
  call.via = options.getVia();
}

/// A call of attention with what keeps its memory alive.
struct BoundAttention {
  Operands operands;
  AttentionCall call;
  Result out;
  std::optional<Result> lse;

  BoundAttention(nb::handle q, nb::handle kPages, nb::handle vPages,
                 nb::handle pageTable, nb::handle kvLens,
                 nb::handle queryStarts, const nb::kwargs &keywords) {
    Options options(keywords);
    call.query = operands.need(q, "q");
    ArrayOperand like = operands.last();
    readPools(operands, kPages, vPages, options.get("layout"),
              options.get("layer"), Access::Read, call.cache);
    readTable(operands, pageTable, kvLens, queryStarts, call.cache);
    call.queryOffsets =
        operands.readIndex(options.get("query_offsets"), "query_offsets");
    call.keyScale = operands.readFloats(options.get("k_scale"), "k_scale");
    call.valueScale = operands.readFloats(options.get("v_scale"), "v_scale");
    call.alibiSlopes =
        operands.readFloats(options.get("alibi_slopes"), "alibi_slopes");
    call.sinks = operands.readFloats(options.get("sinks"), "sinks");
    call.bias = operands.read(options.get("bias"), "bias");
    readOptions(options, call);
    makeResults(options, like);
  }

  void makeResults(const Options &options, const ArrayOperand &like) {
    std::vector<int64_t> sizes =
        outSizes(call.query, call.cache, options.get("value_dim"));
    check(checkFloat(call.query, "q"));
    out = readResult(operands, options.get("out"), "out", like, sizes, "");
    call.out = out.view;
    if (!options.getBool("return_lse"))
      return;
    lse = readResult(operands, options.get("lse"), "lse", like,
                     {sizes[0], sizes[1]}, "float32");
    call.lse = lse->view;
  }
};

nb::object attention(nb::handle q, nb::handle kPages, nb::handle vPages,
                     nb::handle pageTable, nb::handle kvLens,
                     nb::handle queryStarts, const nb::kwargs &keywords) {
  BoundAttention bound(q, kPages, vPages, pageTable, kvLens, queryStarts,
                       keywords);
  CallError error;
  {
    nb::gil_scoped_release release;
    error = runAttention(bound.call);
  }
  check(error);
  return finish(bound.out, bound.lse);
}

/// The fields of the KernelSpec that `attention` compiles for such a call.
nb::dict describe(nb::handle q, nb::handle kPages, nb::handle vPages,
                  nb::handle pageTable, nb::handle kvLens,
                  nb::handle queryStarts, const nb::kwargs &keywords) {
  BoundAttention bound(q, kPages, vPages, pageTable, kvLens, queryStarts,
                       keywords);
  KernelSpec spec;
  check(makeSpec(bound.call, spec));
  return toDict(spec);
}

void append(nb::handle k, nb::handle v, nb::handle kPages, nb::handle vPages,
            const nb::kwargs &keywords) {
  Options options(keywords);
  Operands operands;
  AppendCall call;
  call.keys = operands.need(k, "k");
  call.values = operands.read(v, "v");
  readPools(operands, kPages, vPages, options.get("layout"),
            options.get("layer"), Access::Write, call.cache);
  call.slots = operands.readIndex(options.get("slots"), "slots");
  if (!options.get("page_table").is_none())
    readTable(operands, options.get("page_table"), options.get("kv_lens"),
              options.get("query_starts"), call.cache);
  CallError error;
  {
    nb::gil_scoped_release release;
    error = runAppend(call);
  }
  check(error);
}

nb::object mergeStates(const nb::sequence &parts, const nb::sequence &lses,
                       nb::handle givenOut, nb::handle givenLse,
                       bool returnLse) {
  Operands operands;
  MergeCall call;
  std::optional<ArrayOperand> like;
  for (nb::handle part : parts) {
    call.parts.push_back(operands.need(part, "parts"));
    if (!like)
      like = operands.last();
  }
  for (nb::handle lse : lses)
    call.lses.push_back(operands.need(lse, "lses"));
  if (!like)
    throw nb::value_error("expected at least 2 parts, got 0");
  std::vector<int64_t> sizes = like->view.sizes;
  Result out = readResult(operands, givenOut, "out", *like, sizes, "");
  call.out = out.view;
  std::optional<Result> lse;
  if (returnLse) {
    sizes.resize(std::min<size_t>(sizes.size(), 2));
    lse = readResult(operands, givenLse, "lse", *like, sizes, "float32");
    call.lse = lse->view;
  }
  CallError error;
  {
    nb::gil_scoped_release release;
    error = runMerge(call);
  }
  check(error);
  return finish(out, lse);
}

} // namespace

void paged_attn_python::bindCalls(nb::module_ &module) {
  using namespace nb::literals;
  module.def("attention", &attention, "q"_a.none(), "k_pages"_a.none(),
             "v_pages"_a.none(), "page_table"_a.none(), "kv_lens"_a.none(),
             "query_starts"_a.none(), "options"_a);
  module.def("describe", &describe, "q"_a.none(), "k_pages"_a.none(),
             "v_pages"_a.none(), "page_table"_a.none(), "kv_lens"_a.none(),
             "query_starts"_a.none(), "options"_a);
  module.def("append", &append, "k"_a.none(), "v"_a.none(), "k_pages"_a.none(),
             "v_pages"_a.none(), "options"_a);
  module.def("merge_states", &mergeStates, "parts"_a, "lses"_a, "out"_a.none(),
             "lse"_a.none(), "return_lse"_a);
  module.def("cache_info", [] {
    KernelCacheInfo info = getKernelCacheInfo();
    nb::dict dict;
    dict["kernels"] = info.kernels;
    dict["hits"] = info.hits;
    dict["misses"] = info.misses;
    dict["from_disk"] = info.fromDisk;
    return dict;
  });
  module.def("clear_cache", &clearKernelCache);
}
