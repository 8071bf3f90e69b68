//===- KernelSpec.cpp - Spec to level-0 module ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes the text of level 0, so that what is compiled can be printed and
// kept as it is.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/KernelSpec.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

#include <vector>

using namespace mlir::paged_attn;

namespace {

/// `memref<?x8x128xf32>`
std::string memref(const std::vector<int64_t> &sizes, const std::string &type) {
  std::string text = "memref<";
  for (int64_t size : sizes)
    text += (size == kDynamicSize ? "?" : std::to_string(size)) + "x";
  return text + type + ">";
}

/// Sizes of a pool in the order of its layout.
std::vector<int64_t> poolSizes(const LayoutSpec &layout, const KernelSpec &spec,
                               int64_t depth) {
  std::vector<int64_t> sizes;
  for (char letter : layout.dims)
    switch (letter) {
    case 's':
      sizes.push_back(spec.pageSize);
      break;
    case 'h':
      sizes.push_back(spec.numKVHeads);
      break;
    case 'd':
      sizes.push_back(depth / layout.pack);
      break;
    case 'c':
      sizes.push_back(2);
      break;
    default: // pages and layers
      sizes.push_back(kDynamicSize);
    }
  if (layout.pack > 1)
    sizes.push_back(layout.pack);
  return sizes;
}

std::string layoutText(const LayoutSpec &layout) {
  std::string pack =
      layout.pack > 1 ? ", pack = " + std::to_string(layout.pack) : "";
  return "#paged_attn.layout<\"" + layout.dims + "\"" + pack + ">";
}

/// The mask attribute, empty when nothing is masked.
std::string maskText(const KernelSpec &spec) {
  std::string text = spec.causal ? "causal" : "";
  auto add = [&](const char *name, int64_t tokens) {
    if (tokens != 0)
      text += (text.empty() ? "" : ", ") + std::string(name) + " = " +
              std::to_string(tokens);
  };
  add("window", spec.window);
  add("sink_tokens", spec.sinkTokens);
  add("chunk", spec.chunk);
  return text.empty() ? text : "#paged_attn.mask<" + text + ">";
}

/// Collects the parameters of the function and the clauses of the op.
class Writer {
public:
  explicit Writer(const KernelSpec &spec) : spec(spec) {}
  std::string write();

private:
  /// Declares %name and returns `%name : type`.
  std::string declare(const std::string &name, const std::string &type) {
    parameters += (parameters.empty() ? "%" : ", %") + name + ": " + type;
    return "%" + name + " : " + type;
  }
  void clause(const std::string &keyword, const std::string &name,
              const std::string &type) {
    op += " " + keyword + "(" + declare(name, type) + ")";
  }
  void writePools();
  void writeTables();
  void writeScale(const char *keyword, const char *name,
                  std::optional<int64_t> rank);
  void writeOuts();
  void writeAttributes();

  const KernelSpec &spec;
  std::string parameters, op;
};

void Writer::writePools() {
  clause("keys", "keys",
         memref(poolSizes(spec.keyLayout, spec, spec.keyDim), spec.keyType));
  if (spec.pools == Pools::Separate)
    clause("values", "values",
           memref(poolSizes(spec.valueLayout, spec, spec.valueDim),
                  spec.valueType));
}

void Writer::writeTables() {
  int64_t batch = spec.batch;
  int64_t starts = batch == kDynamicSize ? kDynamicSize : batch + 1;
  if (spec.csr) {
    op += " csr(" +
          declare("page_indices", memref({kDynamicSize}, spec.indexType)) +
          ", " + declare("page_indptr", memref({starts}, spec.indexType)) + ")";
  } else {
    clause("table", "page_table",
           memref({batch, kDynamicSize}, spec.indexType));
  }
  clause("lens", "kv_lens", memref({batch}, spec.indexType));
  if (spec.hasQueryStarts)
    clause("starts", "query_starts", memref({starts}, spec.indexType));
  if (spec.hasQueryOffsets)
    clause("offsets", "query_offsets", memref({batch}, spec.indexType));
  if (spec.keyLayout.dims.find('l') != std::string::npos ||
      (spec.pools == Pools::Separate &&
       spec.valueLayout.dims.find('l') != std::string::npos)) {
    declare("layer", "index");
    op += " layer(%layer)";
  }
  writeScale("k_scale", "k_scale", spec.keyScaleRank);
  writeScale("v_scale", "v_scale", spec.valueScaleRank);
  if (spec.hasAlibi)
    clause("alibi", "alibi_slopes", memref({spec.numHeads}, "f32"));
  if (spec.hasSinks)
    clause("sinks", "sinks", memref({spec.numHeads}, "f32"));
  if (!spec.biasType.empty())
    clause(
        "bias", "bias",
        memref({spec.numTokens, spec.biasHeads, kDynamicSize}, spec.biasType));
}

void Writer::writeScale(const char *keyword, const char *name,
                        std::optional<int64_t> rank) {
  if (!rank)
    return;
  std::vector<int64_t> sizes;
  if (*rank == 1)
    sizes = {spec.numKVHeads};
  else if (*rank == 3)
    sizes = {kDynamicSize, spec.pageSize, spec.numKVHeads};
  clause(keyword, name, memref(sizes, "f32"));
}

void Writer::writeOuts() {
  op += " outs(" +
        declare("out", memref({spec.numTokens, spec.numHeads, spec.valueDim},
                              spec.outType));
  if (spec.wantsLse)
    op += ", " + declare("lse", memref({spec.numTokens, spec.numHeads}, "f32"));
  op += ")";
}

void Writer::writeAttributes() {
  op += " {key_layout = " + layoutText(spec.keyLayout);
  if (spec.pools == Pools::Separate)
    op += ", value_layout = " + layoutText(spec.valueLayout);
  std::string mask = maskText(spec);
  if (!mask.empty())
    op += ", mask = " + mask;
  llvm::raw_string_ostream os(op);
  if (spec.scale)
    os << ", scale = " << llvm::format("%.9e", *spec.scale) << " : f32";
  if (spec.softcap != 0)
    os << ", softcap = " << llvm::format("%.9e", spec.softcap) << " : f32";
  os << "}";
}

std::string Writer::write() {
  op = "  paged_attn.attention " + spec.mode;
  clause("query", "query",
         memref({spec.numTokens, spec.numHeads, spec.keyDim}, spec.queryType));
  writePools();
  writeTables();
  writeOuts();
  writeAttributes();
  return "func.func @" + spec.name + "(" + parameters + ") {\n" + op +
         "\n  return\n}\n";
}

} // namespace

std::string mlir::paged_attn::buildModule(const KernelSpec &spec) {
  return Writer(spec).write();
}
