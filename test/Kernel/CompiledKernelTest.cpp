//===- CompiledKernelTest.cpp - Compile, bind and run ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work loops through executors of several sizes, and arguments that do not
// fit.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/CompiledKernel.h"
#include "paged_attn/Kernel/KernelSpec.h"

#include <gtest/gtest.h>

namespace mlir::paged_attn {
namespace {

CompileOptions hostOptions(Via via) {
  CompileOptions options;
  std::string error;
  options.via = via;
  options.target = *TargetInfo::get("native", error);
  return options;
}

/// One KV head, one query head, head dim 4, pages of 2 slots; all queries 0,
/// so that out is the mean of the visible values.
class MeanOfValues : public ::testing::TestWithParam<Via> {
protected:
  MeanOfValues() {
    spec.mode = "decode";
    spec.keyDim = spec.valueDim = 4;
    spec.pageSize = 2;
    spec.wantsLse = spec.hasQueryStarts = false;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>(i / 4);
    arguments["query"] = {query.data(), {2, 1, 4}, 0};
    arguments["keys"] = {keys.data(), {3, 2, 1, 4}, 0};
    arguments["values"] = {values.data(), {3, 2, 1, 4}, 0};
    arguments["page_table"] = {table.data(), {2, 2}, 0};
    arguments["kv_lens"] = {lens.data(), {2}, 0};
    arguments["out"] = {out.data(), {2, 1, 4}, 0};
    kernel = CompiledKernel::compile(buildModule(spec), "spec",
                                     hostOptions(GetParam()), error);
  }

  KernelSpec spec;
  std::vector<float> query = std::vector<float>(8),
                     keys = std::vector<float>(24),
                     values = std::vector<float>(24),
                     out = std::vector<float>(8);
  std::vector<int32_t> table{2, 0, 1, -1}, lens{3, 1};
  Arguments arguments;
  std::string error;
  std::unique_ptr<CompiledKernel> kernel;
};

TEST_P(MeanOfValues, isTheSameOnAnyThreads) {
  ASSERT_TRUE(kernel) << error;
  auto call = kernel->bind(kernel->getFunctions()[0], arguments, error);
  ASSERT_TRUE(call) << error;
  Executor one(1), two(2);
  const ExecutorHandle *handles[] = {nullptr, one.getHandle(), two.getHandle()};
  for (const ExecutorHandle *handle : handles) {
    std::fill(out.begin(), out.end(), -1.0f);
    call->run(handle);
    for (int d = 0; d < 4; ++d) {
      EXPECT_NEAR(out[d], (4 + 5 + 0) / 3.0f, 1e-5f); // page 2, then page 0
      EXPECT_NEAR(out[4 + d], 2.0f, 1e-5f);           // page 1
    }
  }
}

TEST_P(MeanOfValues, rejectsArgumentsThatDoNotFit) {
  ASSERT_TRUE(kernel) << error;
  const FunctionInfo &function = kernel->getFunctions()[0];
  arguments["keys"].sizes[1] = 3;
  EXPECT_FALSE(kernel->bind(function, arguments, error));
  EXPECT_EQ(error, "expected dimension 1 of keys to be 2, got 3");
  arguments["keys"].sizes = {3, 2, 4};
  EXPECT_FALSE(kernel->bind(function, arguments, error));
  EXPECT_EQ(error, "expected keys to have rank 4, got 3");
  arguments.erase("keys");
  EXPECT_FALSE(kernel->bind(function, arguments, error));
  EXPECT_EQ(error, "expected every argument of 'attention' to be an operand "
                   "of its attention op, got 'keys'");
}

INSTANTIATE_TEST_SUITE_P(Ways, MeanOfValues,
                         ::testing::Values(Via::Vector, Via::Linalg,
                                           Via::Reference));

TEST(KernelSpec, comesBackFromItsModule) {
  KernelSpec spec;
  spec.name = "step";
  spec.mode = "mixed";
  spec.numHeads = 8;
  spec.numKVHeads = 2;
  spec.keyLayout = spec.valueLayout = {"phds", 2};
  spec.keyType = spec.valueType = "bf16";
  spec.csr = true;
  spec.window = 100;
  spec.sinkTokens = 4;
  spec.softcap = 30;
  spec.scale = 0.1f;
  spec.hasSinks = true;
  std::string error;
  std::string text = buildModule(spec);
  std::vector<KernelSpec> specs = readSpecs(text, "spec", error);
  ASSERT_EQ(specs.size(), 1u) << error;
  EXPECT_EQ(buildModule(specs[0]), text);
}

TEST(KernelSpec, isJudgedByTheVerifier) {
  KernelSpec spec;
  spec.numHeads = 3;
  spec.numKVHeads = 2;
  std::string error;
  EXPECT_FALSE(compileObject(buildModule(spec), "spec",
                             hostOptions(Via::Linalg), error));
  EXPECT_NE(error.find("spec:2:3: 'paged_attn.attention' op"),
            std::string::npos)
      << error;
}

} // namespace
} // namespace mlir::paged_attn
