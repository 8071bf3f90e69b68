//===- ProblemCall.h - A compiled kernel on a problem -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Where the compiler and the oracle meet: a kernel spec becomes a problem, a
// problem becomes the arguments of a compiled function, and the oracle judges
// what came out. Shared by paged-attn-run and the tests; nothing else links
// both sides.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_CHECK_PROBLEMCALL_H
#define PAGED_ATTN_CHECK_PROBLEMCALL_H

#include "paged_attn/Kernel/CompiledKernel.h"
#include "paged_attn/Kernel/KernelSpec.h"
#include "paged_attn/Oracle/Oracle.h"

namespace mlir::paged_attn {

namespace oracle = ::paged_attn::oracle;

/// A problem for `kernel` without sequences. Nothing and a one-line `error`
/// when the oracle lacks a type or layout of the kernel.
std::optional<oracle::ProblemSpec> makeProblemSpec(const KernelSpec &kernel,
                                                   std::string &error);

/// Takes over sizes of pools and tables that a user's module fixes.
void applyStaticSizes(const FunctionInfo &function, const KernelSpec &kernel,
                      oracle::ProblemSpec &spec);

/// The function `name` of `functions`, or null.
const FunctionInfo *findFunction(const std::vector<FunctionInfo> &functions,
                                 const std::string &name);

/// The buffers of `problem` under the names of the op's operands.
Arguments makeArguments(oracle::Problem &problem);

/// What checkCall holds the arguments of such a problem against.
CacheLimits makeLimits(const oracle::ProblemSpec &spec);

/// The oracle's judgement of the outputs of a problem.
struct Verdict {
  bool passed = false;
  double outError = 0, outTolerance = 0; ///< largest, absolute
  double lseError = 0, lseTolerance = 0; ///< 0 without lse
};

/// Compares `out` and `lse` of `problem` with the oracle. 0 threads: all.
Verdict judge(const oracle::Problem &problem, int numThreads = 0);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_CHECK_PROBLEMCALL_H
