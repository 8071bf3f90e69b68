//===- Kernel.cpp - Kernels that can be looked into -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A spec compiled to any level of the ladder. The public classes, with their
// documents, are in python/paged_attn/_kernel.py.
//
//===----------------------------------------------------------------------===//

#include "Bindings.h"
#include "Options.h"

#include "paged_attn/Kernel/KernelSpec.h"

#include <nanobind/stl/string.h>

using namespace paged_attn_python;
using namespace mlir::paged_attn;

namespace {

Pools parsePools(const std::string &name) {
  if (name == "separate")
    return Pools::Separate;
  if (name == "pair")
    return Pools::Pair;
  if (name == "latent")
    return Pools::Latent;
  throw nb::value_error(
      ("expected pools to be separate, pair or latent, got '" + name + "'")
          .c_str());
}

const char *printPools(Pools pools) {
  constexpr const char *kNames[] = {"separate", "pair", "latent"};
  return kNames[int(pools)];
}

std::string printLayout(const LayoutSpec &layout) {
  std::string pack =
      layout.pack > 1 ? ", pack=" + std::to_string(layout.pack) : "";
  return layout.dims + pack;
}

std::optional<int64_t> optionalInteger(const Options &options,
                                       const char *name) {
  if (options.get(name).is_none())
    return std::nullopt;
  return options.getInteger(name, 0);
}

KernelSpec readSpec(const nb::kwargs &keywords) {
  Options options(keywords);
  KernelSpec spec;
  spec.mode = options.getText("mode");
  spec.queryType = options.getText("query_type");
  spec.keyType = options.getText("key_type");
  spec.valueType = options.getText("value_type");
  spec.outType = options.getText("out_type");
  spec.indexType = options.getText("index_type");
  spec.pools = parsePools(options.getText("pools"));
  readLayouts(options.get("layout"), spec.keyLayout, spec.valueLayout);
  spec.csr = options.getBool("csr");
  spec.numHeads = options.getInteger("num_heads", 1);
  spec.numKVHeads = options.getInteger("num_kv_heads", 1);
  spec.keyDim = options.getInteger("head_dim", 64);
  spec.valueDim = options.getInteger("value_dim", spec.keyDim);
  spec.pageSize = options.getInteger("page_size", 16);
  spec.causal = options.getBool("causal");
  spec.window = options.getInteger("window", 0);
  spec.sinkTokens = options.getInteger("sink_tokens", 0);
  spec.chunk = options.getInteger("chunk", 0);
  spec.scale = options.getFloat("scale");
  spec.softcap = options.getFloat("softcap").value_or(0);
  spec.hasAlibi = options.getBool("has_alibi");
  spec.hasSinks = options.getBool("has_sinks");
  spec.wantsLse = options.getBool("return_lse");
  spec.hasQueryStarts = options.getBool("has_query_starts");
  spec.hasQueryOffsets = options.getBool("has_query_offsets");
  spec.keyScaleRank = optionalInteger(options, "k_scale_rank");
  spec.valueScaleRank = optionalInteger(options, "v_scale_rank");
  if (!options.get("bias_type").is_none())
    spec.biasType = options.getText("bias_type");
  spec.biasHeads = options.getInteger("bias_heads", 1);
  return spec;
}

template <typename T>
nb::object orNone(const std::optional<T> &value) {
  return value ? nb::cast(*value) : nb::none();
}

} // namespace

nb::dict paged_attn_python::toDict(const KernelSpec &spec) {
  nb::dict dict;
  dict["mode"] = spec.mode;
  dict["query_type"] = spec.queryType;
  dict["key_type"] = spec.keyType;
  dict["value_type"] = spec.valueType;
  dict["out_type"] = spec.outType;
  dict["index_type"] = spec.indexType;
  dict["pools"] = printPools(spec.pools);
  dict["layout"] = nb::make_tuple(printLayout(spec.keyLayout),
                                  printLayout(spec.valueLayout));
  dict["csr"] = spec.csr;
  dict["num_heads"] = spec.numHeads;
  dict["num_kv_heads"] = spec.numKVHeads;
  dict["head_dim"] = spec.keyDim;
  dict["value_dim"] = spec.valueDim;
  dict["page_size"] = spec.pageSize;
  dict["causal"] = spec.causal;
  dict["window"] = spec.window;
  dict["sink_tokens"] = spec.sinkTokens;
  dict["chunk"] = spec.chunk;
  dict["scale"] = orNone(spec.scale);
  dict["softcap"] = spec.softcap;
  dict["has_alibi"] = spec.hasAlibi;
  dict["has_sinks"] = spec.hasSinks;
  dict["return_lse"] = spec.wantsLse;
  dict["has_query_starts"] = spec.hasQueryStarts;
  dict["has_query_offsets"] = spec.hasQueryOffsets;
  dict["k_scale_rank"] = orNone(spec.keyScaleRank);
  dict["v_scale_rank"] = orNone(spec.valueScaleRank);
  dict["bias_type"] =
      spec.biasType.empty() ? nb::none() : nb::cast(spec.biasType);
  dict["bias_heads"] = spec.biasHeads;
  return dict;
}

void paged_attn_python::bindKernel(nb::module_ &module) {
  using namespace nb::literals;
  module.def("build_module", [](const nb::kwargs &spec) {
    return buildModule(readSpec(spec));
  });
  module.def(
      "compile_to",
      [](const std::string &source, const std::string &level,
         const std::string &cpu, nb::handle via) {
        std::string error;
        CompileOptions options;
        std::optional<Emit> emit = parseEmit(level, error);
        if (emit && !via.is_none()) {
          std::optional<Via> parsed =
              parseVia(nb::cast<std::string>(via), error);
          options.via = parsed.value_or(options.via);
        }
        std::optional<TargetInfo> target;
        if (error.empty())
          target = TargetInfo::get(cpu, error);
        if (!error.empty())
          throw nb::value_error(error.c_str());
        options.target = *target;
        std::optional<std::string> result;
        {
          nb::gil_scoped_release release;
          result = compileTo(source, "spec", *emit, options, error);
        }
        if (!result)
          raiseCompileError(error);
        return nb::bytes(result->data(), result->size());
      },
      "source"_a, "level"_a, "cpu"_a, "via"_a.none());
}
