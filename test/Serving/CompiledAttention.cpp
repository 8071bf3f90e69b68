//===- CompiledAttention.cpp - The workload's attention, compiled ---------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Turns a cache group into a module, compiles it once, binds a step's buffers.
//
//===----------------------------------------------------------------------===//

#include "CompiledAttention.h"

using namespace paged_attn;
using namespace paged_attn::test;
using namespace mlir::paged_attn;

namespace {

const char *typeName(ElementType type) {
  switch (type) {
  case ElementType::F16:
    return "f16";
  case ElementType::BF16:
    return "bf16";
  default:
    return "f32";
  }
}

/// Letters of a pool: pages first, then the order inside a page.
std::string layoutLetters(PageLayout layout) {
  switch (layout) {
  case PageLayout::HSD:
    return "phsd";
  case PageLayout::HDS:
    return "phds";
  default:
    return "pshd";
  }
}

/// Sizes of one side's pool in layout order.
std::vector<int64_t> poolSizes(const GroupSpec &spec, const SideSpec &side,
                               int64_t numPages) {
  std::vector<int64_t> sizes;
  for (char letter : layoutLetters(side.layout))
    sizes.push_back(letter == 'p'   ? numPages
                    : letter == 's' ? spec.pageSize
                    : letter == 'h' ? spec.numKVHeads
                                    : side.dim);
  return sizes;
}

std::string poolType(const GroupSpec &spec, const SideSpec &side) {
  std::string text = "memref<?x";
  std::vector<int64_t> sizes = poolSizes(spec, side, 0);
  for (size_t i = 1; i < sizes.size(); ++i)
    text += std::to_string(sizes[i]) + "x";
  return text + typeName(side.type) + ">";
}

std::string rowsType(int64_t heads, int64_t dim) {
  return "memref<?x" + std::to_string(heads) + "x" + std::to_string(dim) +
         "xf32>";
}

std::string maskText(const GroupSpec &spec) {
  std::string text = "causal";
  std::string window = std::to_string(spec.window);
  if (spec.windowKind == WindowKind::Chunked)
    text += ", chunk = " + window;
  else if (spec.windowKind != WindowKind::Full)
    text += ", window = " + window;
  if (spec.windowKind == WindowKind::SinkWindow)
    text += ", sink_tokens = " + std::to_string(spec.sinkTokens);
  return "#paged_attn.mask<" + text + ">";
}

std::string layoutsText(const GroupSpec &spec) {
  return "key_layout = #paged_attn.layout<\"" +
         layoutLetters(spec.keys.layout) +
         "\">, value_layout = #paged_attn.layout<\"" +
         layoutLetters(spec.values.layout) + "\">";
}

Argument buffer(const void *data, std::vector<int64_t> sizes) {
  Argument argument;
  argument.data = const_cast<void *>(data);
  argument.sizes = std::move(sizes);
  return argument;
}

/// Calls `function` with `arguments` in the order of its parameters.
std::string call(CompiledKernel &kernel, const std::string &function,
                 const std::vector<Argument> &arguments) {
  for (const FunctionInfo &info : kernel.getFunctions()) {
    if (info.name != function)
      continue;
    Arguments named;
    for (size_t i = 0; i < arguments.size(); ++i)
      named[info.arguments[i].name] = arguments[i];
    std::string error;
    std::optional<BoundCall> bound = kernel.bind(info, named, error);
    if (!bound)
      return error;
    bound->run(nullptr);
    return "";
  }
  return "expected a function " + function + ", got none";
}

} // namespace

std::string paged_attn::test::buildServingModule(const AttentionStep &step) {
  const GroupSpec &spec = *step.spec;
  std::string keys = poolType(spec, spec.keys);
  std::string values = poolType(spec, spec.values);
  std::string newKeys = rowsType(spec.numKVHeads, spec.keys.dim);
  std::string newValues = rowsType(spec.numKVHeads, spec.values.dim);
  std::string query = rowsType(step.numQueryHeads, spec.keys.dim);
  std::string out = rowsType(step.numQueryHeads, spec.values.dim);
  std::string scale = std::to_string(step.scale);
  return "func.func @append(%nk: " + newKeys + ", %nv: " + newValues +
         ", %s: memref<?xi64>, %k: " + keys + ", %v: " + values +
         ") {\n  paged_attn.append keys(%nk : " + newKeys + ") values(%nv : " +
         newValues + ") slots(%s : memref<?xi64>) outs(%k : " + keys +
         ", %v : " + values + ") {" + layoutsText(spec) +
         "}\n  return\n}\nfunc.func @attention(%q: " + query + ", %k: " + keys +
         ", %v: " + values +
         ", %t: memref<?x?xi32>, %l: memref<?xi32>, %s: memref<?xi32>, %o: " +
         out + ") {\n  paged_attn.attention auto query(%q : " + query +
         ") keys(%k : " + keys + ") values(%v : " + values +
         ") table(%t : memref<?x?xi32>) lens(%l : memref<?xi32>) "
         "starts(%s : memref<?xi32>) outs(%o : " +
         out + ") {" + layoutsText(spec) + ", mask = " + maskText(spec) +
         ", scale = " + scale + " : f32}\n  return\n}\n";
}

CompiledKernel *CompiledAttention::getKernel(const std::string &source,
                                             std::string &error) {
  std::unique_ptr<CompiledKernel> &kernel = kernels[source];
  if (kernel)
    return kernel.get();
  CompileOptions options;
  options.via = via;
  std::optional<TargetInfo> target = TargetInfo::get("native", error);
  if (!target)
    return nullptr;
  options.target = *target;
  kernel = CompiledKernel::compile(source, "serving.mlir", options, error);
  return kernel.get();
}

void CompiledAttention::run(const AttentionStep &step, int64_t numPages,
                            std::string &error) {
  CompiledKernel *kernel = getKernel(buildServingModule(step), error);
  if (!kernel)
    return;
  const GroupSpec &spec = *step.spec;
  int64_t tokens = step.numTokens, sequences = step.numSequences;
  Argument keys =
      buffer(step.memory.keys, poolSizes(spec, spec.keys, numPages));
  Argument values =
      buffer(step.memory.values, poolSizes(spec, spec.values, numPages));
  error = call(
      *kernel, "append",
      {buffer(step.newKeys, {tokens, spec.numKVHeads, spec.keys.dim}),
       buffer(step.newValues, {tokens, spec.numKVHeads, spec.values.dim}),
       buffer(step.slotMapping, {tokens}), keys, values});
  if (!error.empty())
    return;
  error = call(*kernel, "attention",
               {buffer(step.query, {tokens, step.numQueryHeads, spec.keys.dim}),
                keys, values,
                buffer(step.pageTable, {sequences, step.tableStride}),
                buffer(step.kvLens, {sequences}),
                buffer(step.queryStarts, {sequences + 1}),
                buffer(step.out,
                       {tokens, step.numQueryHeads, spec.values.dim})});
}
