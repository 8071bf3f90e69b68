//===- CoverageTest.cpp - Every option, layout and type against the oracle ===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Runs small problems down both paths of the ladder and compares each with the
// oracle and with the other. Slots that hold no token are NaN, and so are
// pages that the mask hides; lengths stand on and beside page edges.
//
//===----------------------------------------------------------------------===//

#include "CoverageCases.h"
#include "TestUtils.h"

#include "paged_attn/Oracle/Tolerance.h"

using namespace mlir::paged_attn;

namespace {

class Coverage : public testing::TestWithParam<CoverageCase> {};

TEST_P(Coverage, AgreesWithOracle) {
  const CoverageCase &test = GetParam();
  oracle::ProblemSpec spec = problemSpecOf(test.kernel, test.lengths);
  spec.paddingRows = test.paddingRows;
  spec.numLayers = test.numLayers;
  spec.layer = test.numLayers - 1;
  const KernelSpec &kernel = test.kernel;
  if (kernel.window > 0 || kernel.chunk > 0)
    spec.poison = oracle::Poison::Masked;

  oracle::Problem problem = build(spec);
  std::vector<double> first;
  for (const Path &path : kPaths) {
    SCOPED_TRACE(path.name);
    problem.resetOutputs();
    ASSERT_TRUE(TestKernel(kernel, path.via).run(problem));
    Verdict verdict = expectRight(problem);
    std::vector<double> out = outOf(problem);
    if (!first.empty()) {
      EXPECT_LE(oracle::compare(first, out).maxAbsError, verdict.outTolerance);
    }
    first = out;
  }
}

std::string nameOf(const testing::TestParamInfo<CoverageCase> &info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(Modes, Coverage, testing::ValuesIn(modeCases()),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(Masks, Coverage, testing::ValuesIn(maskCases()),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(Scores, Coverage, testing::ValuesIn(scoreCases()),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(Heads, Coverage, testing::ValuesIn(headCases()),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(Types, Coverage, testing::ValuesIn(typeCases()),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(Quantised, Coverage,
                         testing::ValuesIn(quantisedCases()), nameOf);
INSTANTIATE_TEST_SUITE_P(Layouts, Coverage, testing::ValuesIn(layoutCases()),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(Pages, Coverage, testing::ValuesIn(pageCases()),
                         nameOf);
INSTANTIATE_TEST_SUITE_P(HeadDims, Coverage, testing::ValuesIn(headDimCases()),
                         nameOf);

} // namespace
