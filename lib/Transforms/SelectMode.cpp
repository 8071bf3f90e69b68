//===- SelectMode.cpp - Level 0 to 1 --------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Gives every attention op a fixed mode, from what its types say about the
// number of sequences and new tokens.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Transforms/Passes.h"

#include "paged_attn/IR/PagedAttn.h"

#include "mlir/Interfaces/FunctionInterfaces.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_SELECTMODEPASS
#include "paged_attn/Transforms/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

/// Range of decode-tokens.
static constexpr int64_t kMinDecodeTokens = 1, kMaxDecodeTokens = 64;

/// The most new tokens that a sequence of `op` can have; kDynamic if unknown.
static int64_t getMostNewTokens(AttentionOp op) {
  int64_t numTokens = op.getNumTokens(), numSequences = op.getNumSequences();
  if (ShapedType::isDynamic(numTokens) || op.getQueryStarts())
    return numTokens;
  if (ShapedType::isDynamic(numSequences) || numSequences == 0)
    return ShapedType::kDynamic;
  return numTokens / numSequences;
}

static Mode selectMode(AttentionOp op, int64_t decodeTokens) {
  int64_t mostNewTokens = getMostNewTokens(op);
  if (ShapedType::isDynamic(mostNewTokens))
    return Mode::Mixed;
  if (mostNewTokens <= decodeTokens)
    return Mode::Decode;
  bool isUniform = op.getNumSequences() == 1 || !op.getQueryStarts();
  return isUniform ? Mode::Prefill : Mode::Mixed;
}

namespace {
struct SelectModePass
    : public paged_attn::impl::SelectModePassBase<SelectModePass> {
  using Base::Base;

  void runOnOperation() final {
    if (decodeTokens < kMinDecodeTokens || decodeTokens > kMaxDecodeTokens) {
      emitError(getOperation()->getLoc())
          << "expected decode-tokens from " << kMinDecodeTokens << " to "
          << kMaxDecodeTokens << ", got " << decodeTokens.getValue();
      return signalPassFailure();
    }
    getOperation()->walk([&](AttentionOp op) {
      if (op.getMode() == Mode::Auto)
        op.setMode(selectMode(op, decodeTokens));
    });
  }
};
} // namespace
