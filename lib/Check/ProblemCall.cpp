//===- ProblemCall.cpp - A compiled kernel on a problem -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Translates between the kernel's description and the oracle's.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Check/ProblemCall.h"

#include "paged_attn/Oracle/Tolerance.h"

#include <limits>

using namespace mlir::paged_attn;

//===----------------------------------------------------------------------===//
// Kernel spec -> problem
//===----------------------------------------------------------------------===//

namespace {

bool setType(const char *name, const std::string &text,
             oracle::ElementType &type, std::string &error) {
  std::optional<oracle::ElementType> parsed = oracle::parseElementType(text);
  if (parsed)
    type = *parsed;
  else
    error = std::string("expected the type of ") + name +
            " to be f32, f16, bf16, i8 or f8E4M3FN, got '" + text + "'";
  return parsed.has_value();
}

oracle::ScaleKind scaleKindOf(std::optional<int64_t> rank) {
  if (!rank)
    return oracle::ScaleKind::None;
  return *rank == 0   ? oracle::ScaleKind::Tensor
         : *rank == 1 ? oracle::ScaleKind::Head
                      : oracle::ScaleKind::Token;
}

bool setLayout(const LayoutSpec &layout, oracle::PoolLayout &result,
               std::string &error) {
  std::optional<oracle::PoolLayout> parsed =
      oracle::PoolLayout::parse(layout.dims, layout.pack, error);
  if (parsed)
    result = *parsed;
  return parsed.has_value();
}

bool setTypes(const KernelSpec &kernel, oracle::ProblemSpec &spec,
              std::string &error) {
  std::optional<oracle::IndexType> index =
      oracle::parseIndexType(kernel.indexType);
  if (!index) {
    error = "expected the type of indices to be i32 or i64, got '" +
            kernel.indexType + "'";
    return false;
  }
  spec.indexType = *index;
  spec.poolKind = kernel.pools == Pools::Separate ? oracle::PoolKind::Separate
                  : kernel.pools == Pools::Pair   ? oracle::PoolKind::Pair
                                                  : oracle::PoolKind::Latent;
  spec.keyScale = scaleKindOf(kernel.keyScaleRank);
  spec.valueScale = scaleKindOf(kernel.valueScaleRank);
  spec.tableKind =
      kernel.csr ? oracle::TableKind::Csr : oracle::TableKind::Dense;
  return setType("query", kernel.queryType, spec.queryType, error) &&
         setType("keys", kernel.keyType, spec.keyType, error) &&
         setType("values", kernel.valueType, spec.valueType, error) &&
         setType("out", kernel.outType, spec.outputType, error) &&
         setLayout(kernel.keyLayout, spec.keyLayout, error) &&
         setLayout(kernel.valueLayout, spec.valueLayout, error);
}

} // namespace

std::optional<oracle::ProblemSpec>
mlir::paged_attn::makeProblemSpec(const KernelSpec &kernel,
                                  std::string &error) {
  oracle::ProblemSpec spec;
  if (!setTypes(kernel, spec, error))
    return std::nullopt;
  spec.numHeads = kernel.numHeads;
  spec.numKvHeads = kernel.numKVHeads;
  spec.keyDim = kernel.keyDim;
  spec.valueDim = kernel.valueDim;
  spec.pageSize = kernel.pageSize;
  spec.mask.causal = kernel.causal;
  spec.mask.window = kernel.window;
  spec.mask.sinkTokens = kernel.sinkTokens;
  spec.mask.chunk = kernel.chunk;
  spec.scale = kernel.scale;
  spec.softcap = kernel.softcap;
  spec.hasAlibi = kernel.hasAlibi;
  spec.hasSinks = kernel.hasSinks;
  spec.wantsLse = kernel.wantsLse;
  spec.hasQueryStarts = kernel.hasQueryStarts;
  return spec;
}

void mlir::paged_attn::applyStaticSizes(const FunctionInfo &function,
                                        const KernelSpec &kernel,
                                        oracle::ProblemSpec &spec) {
  for (const ArgumentInfo &argument : function.arguments) {
    if (argument.name == "keys") {
      int64_t pages = argument.sizes[kernel.keyLayout.dims.find('p')];
      if (pages != kDynamicSize)
        spec.numPages = pages;
      size_t layers = kernel.keyLayout.dims.find('l');
      if (layers != std::string::npos && argument.sizes[layers] != kDynamicSize)
        spec.numLayers = argument.sizes[layers];
    }
    if (argument.name == "page_table" && argument.sizes[1] != kDynamicSize)
      spec.numColumns = argument.sizes[1];
  }
}

//===----------------------------------------------------------------------===//
// Problem -> arguments
//===----------------------------------------------------------------------===//

const FunctionInfo *
mlir::paged_attn::findFunction(const std::vector<FunctionInfo> &functions,
                               const std::string &name) {
  for (const FunctionInfo &function : functions)
    if (function.name == name)
      return &function;
  return nullptr;
}

Arguments mlir::paged_attn::makeArguments(oracle::Problem &problem) {
  const oracle::ProblemSpec &spec = problem.spec;
  int64_t tokens = spec.numTokens(), batch = spec.batch();
  Arguments arguments;
  auto add = [&](const char *name, oracle::Buffer &buffer,
                 std::vector<int64_t> sizes) {
    if (buffer)
      arguments[name] = {buffer.data(), std::move(sizes), 0};
  };
  add("query", problem.query, {tokens, spec.numHeads, spec.keyDim});
  add("keys", problem.keyPool, problem.keyShape.dims());
  add("values", problem.valuePool, problem.valueShape.dims());
  auto addScale = [&](const char *name, oracle::Buffer &buffer,
                      oracle::ScaleKind kind) {
    std::vector<int64_t> sizes;
    if (kind == oracle::ScaleKind::Token)
      sizes = {spec.pages(), spec.pageSize};
    if (kind != oracle::ScaleKind::Tensor)
      sizes.push_back(spec.numKvHeads);
    add(name, buffer, sizes);
  };
  addScale("k_scale", problem.keyScale, spec.keyScale);
  addScale("v_scale", problem.valueScale, spec.valueScale);
  add("page_table", problem.pageTable, {batch, spec.columns()});
  add("page_indices", problem.pageIndices,
      {problem.pageIndices.numBytes() / byteWidth(spec.indexType)});
  add("page_indptr", problem.pageIndptr, {batch + 1});
  add("kv_lens", problem.kvLens, {batch});
  add("query_starts", problem.queryStarts, {batch + 1});
  add("alibi_slopes", problem.alibiSlopes, {spec.numHeads});
  add("sinks", problem.sinks, {spec.numHeads});
  add("out", problem.out, {tokens, spec.numHeads, spec.valueDim});
  add("lse", problem.lse, {tokens, spec.numHeads});
  arguments["layer"].integer = spec.layer;
  return arguments;
}

CacheLimits mlir::paged_attn::makeLimits(const oracle::ProblemSpec &spec) {
  CacheLimits limits;
  limits.numPages = spec.pages();
  limits.pageSize = spec.pageSize;
  limits.indexType = toString(spec.indexType);
  limits.causal = spec.mask.causal;
  limits.window = spec.mask.window;
  limits.sinkTokens = spec.mask.sinkTokens;
  limits.chunk = spec.mask.chunk;
  return limits;
}

/// Rows that see no key, padding rows among them, are 0 exactly
/// (docs/Numerics.md), whatever the tolerance of the others.
static bool areEmptyRowsZero(const oracle::Problem &problem,
                             const oracle::AttentionResult &expected) {
  int64_t dim = problem.spec.valueDim;
  for (size_t row = 0; row < expected.numVisible.size(); ++row)
    for (int64_t d = 0; expected.numVisible[row] == 0 && d < dim; ++d)
      if (loadElement(problem.spec.outputType, problem.out.data(),
                      int64_t(row) * dim + d) != 0)
        return false;
  return true;
}

Verdict mlir::paged_attn::judge(const oracle::Problem &problem,
                                int numThreads) {
  oracle::OracleOptions options;
  options.numThreads = numThreads;
  oracle::AttentionResult expected = oracle::attention(problem, options);
  oracle::Tolerance tolerance =
      oracle::deriveTolerance(problem, expected, options);
  Verdict verdict;
  verdict.outError =
      oracle::compare(expected.out, problem.out.data(), problem.spec.outputType)
          .maxAbsError;
  verdict.outTolerance = tolerance.out;
  if (problem.spec.wantsLse) {
    verdict.lseError = oracle::compare(expected.lse, problem.lse.data(),
                                       oracle::ElementType::F32)
                           .maxAbsError;
    verdict.lseTolerance = tolerance.lse;
  }
  if (!areEmptyRowsZero(problem, expected))
    verdict.outError = std::numeric_limits<double>::infinity();
  verdict.passed = verdict.outError <= verdict.outTolerance &&
                   verdict.lseError <= verdict.lseTolerance;
  return verdict;
}
