//===- Kernels.h - Instruction-set variants of the ceilings -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The loops that the ceilings time, chosen by what the running CPU has.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_ORACLE_KERNELS_H
#define PAGED_ATTN_LIB_ORACLE_KERNELS_H

#include "paged_attn/Oracle/Ceilings.h"

namespace paged_attn::oracle {

/// Runs `numSteps` dependent steps of independent accumulators
/// a = a * factor + addend; returns their sum, so that no work is dropped.
using FmaFunction = float (*)(int64_t numSteps, float factor, float addend);

struct FmaKernel {
  FmaFunction run;
  int64_t flopsPerStep; ///< accumulators * lanes * 2
  const char *instructions;
};

/// The widest variant that this CPU runs.
FmaKernel selectFmaKernel();

/// The same for dot products of a short type; returns a mix of the sums.
using DotFunction = float (*)(int64_t numSteps);

struct DotKernel {
  DotFunction run; ///< null: this CPU has no such instructions
  int64_t opsPerStep;
};

DotKernel selectDotKernel(DotType type);

/// One thread's part of a paged read.
struct ReadPart {
  const PagedPool *pools;
  int64_t numPools;
  const PagedChunk *chunks;
  int64_t numChunks;
  int64_t chunksAhead; ///< prefetch distance
};

/// Reads every byte of the part; returns a mix of them, so that no load is
/// dropped.
using ReadFunction = uint64_t (*)(const ReadPart &part);

/// The variant with the widest loads that this CPU runs.
ReadFunction selectReadKernel();

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_LIB_ORACLE_KERNELS_H
