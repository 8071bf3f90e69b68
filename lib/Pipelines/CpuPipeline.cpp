//===- CpuPipeline.cpp - Level 0 to LLVM on the CPU -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The stages of paged-attn-cpu, paged-attn-to-linalg and paged-attn-reference.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Pipelines/Pipelines.h"

using namespace mlir;

void paged_attn::buildCpuPipeline(OpPassManager &, const CpuPipelineOptions &,
                                  Stage) {}

void paged_attn::registerPipelines() {}
