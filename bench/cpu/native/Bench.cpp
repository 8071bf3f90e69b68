//===- Bench.cpp - Our side of the CPU benchmark --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Binds the compiled kernel to the oracle's problem and hands out single timed
// passes of the kernel and of the oracle's ceilings.
//
//===----------------------------------------------------------------------===//

#include "Bench.h"

#include "ReadCase.h"
#include "paged_attn/Oracle/Ceilings.h"

#include <chrono>
#include <cstdio>
#include <cstring>

using namespace mlir::paged_attn;
using namespace paged_attn_bench;
namespace oracle = ::paged_attn::oracle;

namespace {

using Clock = std::chrono::steady_clock;

double secondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

} // namespace

struct PagedAttnBench {
  explicit PagedAttnBench(int numThreads) : executor(numThreads) {}

  Executor executor;
  oracle::Problem problem;
  std::unique_ptr<CompiledKernel> kernel;
  std::optional<BoundCall> call;
  oracle::PagedRead reads[2]; ///< by PagedAttnBenchOrder
  double compileSeconds = 0;
};

namespace {

bool bindKernel(PagedAttnBench &bench, const Case &benchCase,
                std::string &error) {
  Clock::time_point begin = Clock::now();
  bench.kernel = CompiledKernel::compile(buildModule(benchCase.kernel), "case",
                                         benchCase.compile, error);
  bench.compileSeconds = secondsSince(begin);
  if (!bench.kernel)
    return false;
  const FunctionInfo *function =
      findFunction(bench.kernel->getFunctions(), benchCase.kernel.name);
  Arguments arguments = makeArguments(bench.problem);
  bench.call = bench.kernel->bind(*function, arguments, error);
  if (!bench.call)
    return false;
  error = checkCall(arguments, makeLimits(bench.problem.spec));
  return error.empty();
}

std::unique_ptr<PagedAttnBench> open(std::string_view text,
                                     std::string &error) {
  std::optional<Case> benchCase = readCase(text, error);
  if (!benchCase)
    return nullptr;
  std::optional<oracle::Problem> problem =
      oracle::makeProblem(benchCase->problem, benchCase->seed, error);
  if (!problem)
    return nullptr;
  auto bench = std::make_unique<PagedAttnBench>(benchCase->numThreads);
  bench->problem = std::move(*problem);
  if (!bindKernel(*bench, *benchCase, error))
    return nullptr;
  bench->reads[PagedAttnBenchByHead] =
      oracle::pagedReadOf(bench->problem, oracle::ReadOrder::ByHead);
  bench->reads[PagedAttnBenchByPage] =
      oracle::pagedReadOf(bench->problem, oracle::ReadOrder::ByPage);
  return bench;
}

/// Rows of a pool in logical order, with their factors.
void copyPool(const oracle::Problem &problem, const oracle::PoolView &view,
              float *rows) {
  const oracle::ProblemSpec &spec = problem.spec;
  for (int64_t b = 0; b < spec.batch(); ++b)
    for (int64_t position = 0; position < spec.kvLens[b]; ++position) {
      int64_t page = problem.physicalPage(b, position / spec.pageSize);
      for (int64_t head = 0; head < spec.numKvHeads; ++head) {
        int64_t row = view.rowOffset(page, position % spec.pageSize, head);
        float factor = view.factor(page, position % spec.pageSize, head);
        for (int64_t d = 0; d < view.depth; ++d)
          *rows++ = factor * loadElement(view.type, view.data,
                                         row + view.shape.depthOffset(d));
      }
    }
}

} // namespace

PagedAttnBench *pagedAttnBenchOpen(const char *spec, char *error,
                                   int64_t errorBytes) {
  std::string message;
  std::unique_ptr<PagedAttnBench> bench = open(spec, message);
  if (!bench)
    std::snprintf(error, errorBytes, "%s", message.c_str());
  return bench.release();
}

void pagedAttnBenchClose(PagedAttnBench *bench) { delete bench; }

double pagedAttnBenchCompileSeconds(const PagedAttnBench *bench) {
  return bench->compileSeconds;
}

double pagedAttnBenchPagedBytes(const PagedAttnBench *bench) {
  return static_cast<double>(bench->reads[PagedAttnBenchByHead].numBytes());
}

void pagedAttnBenchResetOut(PagedAttnBench *bench) {
  bench->problem.resetOutputs();
}

double pagedAttnBenchRun(PagedAttnBench *bench) {
  Clock::time_point begin = Clock::now();
  bench->call->run(bench->executor.getHandle());
  return secondsSince(begin);
}

double pagedAttnBenchReadPages(PagedAttnBench *bench,
                               PagedAttnBenchOrder order) {
  return oracle::measurePagedRead(bench->reads[order],
                                  bench->executor.getNumThreads())
      .perWallSecond();
}

void pagedAttnBenchCopyRows(const PagedAttnBench *bench,
                            PagedAttnBenchRows which, float *rows) {
  const oracle::Problem &problem = bench->problem;
  const oracle::ProblemSpec &spec = problem.spec;
  if (which == PagedAttnBenchKeys)
    return copyPool(problem, problem.keys(), rows);
  if (which == PagedAttnBenchValues)
    return copyPool(problem, problem.values(), rows);
  bool isQuery = which == PagedAttnBenchQuery;
  const oracle::Buffer &buffer = isQuery ? problem.query : problem.out;
  loadElements(isQuery ? spec.queryType : spec.outputType, buffer.data(), 0,
               spec.numTokens() * spec.numHeads *
                   (isQuery ? spec.keyDim : spec.valueDim),
               rows);
}

double pagedAttnBenchReadSequential(int64_t numBytes, int32_t numThreads) {
  static oracle::Buffer buffer;
  if (buffer.numBytes() < numBytes) {
    buffer = oracle::Buffer::allocate(numBytes, oracle::Backing::HugePages);
    if (!buffer)
      return 0;
    std::memset(buffer.data(), 1, numBytes); // else all pages are the zero page
  }
  return oracle::measureSequentialRead(buffer.data(), numBytes, numThreads)
      .perWallSecond();
}

double pagedAttnBenchFma(int32_t numThreads) {
  return oracle::measureFma(numThreads).perWallSecond();
}

double pagedAttnBenchDot(int32_t type, int32_t numThreads) {
  oracle::PassResult result = oracle::measureDot(
      type == 0 ? oracle::DotType::BF16 : oracle::DotType::Int8, numThreads);
  return result.amount > 0 ? result.perWallSecond() : 0;
}

const char *pagedAttnBenchFmaInstructions(void) {
  return oracle::fmaInstructions();
}
