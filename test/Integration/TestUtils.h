//===- TestUtils.h - Kernels and problems of the tests ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compiles the kernel of a spec, builds problems for it and runs it on them.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TEST_INTEGRATION_TESTUTILS_H
#define PAGED_ATTN_TEST_INTEGRATION_TESTUTILS_H

#include "paged_attn/Check/ProblemCall.h"

#include "gtest/gtest.h"

#include <cstring>

namespace mlir::paged_attn {

/// q_len and kv_len of each sequence, tokens.
using SequenceLengths = std::vector<std::pair<int64_t, int64_t>>;

/// A problem spec for `kernel` that must exist.
inline oracle::ProblemSpec problemSpecOf(const KernelSpec &kernel,
                                         const SequenceLengths &lengths) {
  std::string error;
  std::optional<oracle::ProblemSpec> spec = makeProblemSpec(kernel, error);
  EXPECT_TRUE(spec) << error;
  oracle::ProblemSpec result = spec.value_or(oracle::ProblemSpec());
  for (auto [qLen, kvLen] : lengths) {
    result.qLens.push_back(qLen);
    result.kvLens.push_back(kvLen);
  }
  return result;
}

/// A problem that must build.
inline oracle::Problem build(const oracle::ProblemSpec &spec,
                             uint64_t seed = 1) {
  std::string error;
  std::optional<oracle::Problem> problem =
      oracle::makeProblem(spec, seed, error);
  EXPECT_TRUE(problem) << error;
  return problem ? std::move(*problem) : oracle::Problem();
}

/// The kernel of a spec, compiled for this machine.
class TestKernel {
public:
  TestKernel(const KernelSpec &spec, Via via, const TileOptions &tile = {})
      : name(spec.name) {
    std::string error;
    CompileOptions options;
    options.via = via;
    options.tile = tile;
    std::optional<TargetInfo> target = TargetInfo::get("native", error);
    if (target)
      options.target = *target;
    kernel = CompiledKernel::compile(buildModule(spec), "spec", options, error);
    EXPECT_TRUE(kernel) << error << "\n" << buildModule(spec);
  }

  /// Runs on `problem`; null executor: in the calling thread. False, and the
  /// test fails, when the kernel does not exist or the call is refused.
  bool run(oracle::Problem &problem, const Executor *executor = nullptr) {
    const FunctionInfo *function =
        kernel ? findFunction(kernel->getFunctions(), name) : nullptr;
    if (!function)
      return false;
    Arguments arguments = makeArguments(problem);
    std::string error = checkCall(arguments, makeLimits(problem.spec));
    EXPECT_EQ(error, "");
    std::optional<BoundCall> call = kernel->bind(*function, arguments, error);
    EXPECT_TRUE(call) << error;
    if (!call || !error.empty())
      return false;
    call->run(executor ? executor->getHandle() : nullptr);
    return true;
  }

private:
  std::string name;
  std::unique_ptr<CompiledKernel> kernel;
};

/// The outputs of `problem` agree with the oracle.
inline Verdict expectRight(const oracle::Problem &problem) {
  Verdict verdict = judge(problem);
  EXPECT_LE(verdict.outError, verdict.outTolerance);
  EXPECT_LE(verdict.lseError, verdict.lseTolerance);
  return verdict;
}

/// Elements [begin, end) of `buffer`.
inline std::vector<double> elementsOf(const oracle::Buffer &buffer,
                                      oracle::ElementType type, int64_t begin,
                                      int64_t end) {
  std::vector<double> elements;
  for (int64_t i = begin; i < end; ++i)
    elements.push_back(oracle::loadElement(type, buffer.data(), i));
  return elements;
}

/// All of `out` of a problem.
inline std::vector<double> outOf(const oracle::Problem &problem) {
  const oracle::ProblemSpec &spec = problem.spec;
  return elementsOf(problem.out, spec.outputType, 0,
                    spec.numTokens() * spec.numHeads * spec.valueDim);
}

/// The same bits in both buffers.
inline bool sameBits(const oracle::Buffer &x, const oracle::Buffer &y) {
  return x.numBytes() == y.numBytes() &&
         std::memcmp(x.data(), y.data(), x.numBytes()) == 0;
}

/// The paths that run everywhere, with their names.
struct Path {
  Via via;
  const char *name;
};
constexpr Path kPaths[] = {{Via::Vector, "vector"},
                           {Via::Linalg, "linalg"},
                           {Via::Reference, "reference"}};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_TEST_INTEGRATION_TESTUTILS_H
