//===- ReadCase.h - A case of the benchmark from JSON -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The JSON object that the driver passes, as a kernel spec, a problem spec and
// compile options.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_BENCH_CPU_NATIVE_READCASE_H
#define PAGED_ATTN_BENCH_CPU_NATIVE_READCASE_H

#include "paged_attn/Check/ProblemCall.h"

namespace paged_attn_bench {

/// What a case asks for.
struct Case {
  mlir::paged_attn::KernelSpec kernel;
  mlir::paged_attn::CompileOptions compile;
  paged_attn::oracle::ProblemSpec problem;
  uint64_t seed = 0;
  int numThreads = 0; ///< 0: all of the machine
};

/// Reads `text`; nothing and a one-line `error` when something is missing,
/// unknown or does not fit.
std::optional<Case> readCase(std::string_view text, std::string &error);

} // namespace paged_attn_bench

#endif // PAGED_ATTN_BENCH_CPU_NATIVE_READCASE_H
