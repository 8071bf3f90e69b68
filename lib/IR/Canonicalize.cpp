//===- Canonicalize.cpp - Folds and canonical forms -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What an op can be simplified to without knowing a target: casts are folded
// in, and an attention op (level 0 and 1) loses operands and mask properties
// that change nothing.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/PagedAttn.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/PatternMatch.h"

using namespace mlir;
using namespace mlir::paged_attn;

//===----------------------------------------------------------------------===//
// Folds
//===----------------------------------------------------------------------===//

/// What `operand` was before a cast that only forgot sizes or strides; null
/// when there is none.
static Value getCastSource(OpOperand &operand) {
  Operation *definition = operand.get().getDefiningOp();
  if (auto cast = dyn_cast_or_null<memref::CastOp>(definition))
    return memref::CastOp::canFoldIntoConsumerOp(cast) ? cast.getSource()
                                                       : Value();
  if (auto cast = dyn_cast_or_null<tensor::CastOp>(definition))
    return tensor::canFoldIntoConsumerOp(cast) ? cast.getSource() : Value();
  return {};
}

/// Operands become the source of their cast, but for `keep`, values whose type
/// a region repeats, and outs that a result's type repeats.
static LogicalResult foldCasts(DestinationStyleOpInterface op,
                               ValueRange keep) {
  bool folded = false;
  for (OpOperand &operand : op->getOpOperands()) {
    bool isTied = op.isDpsInit(&operand) && op->getNumResults() > 0;
    Value source = getCastSource(operand);
    if (!source || isTied || llvm::is_contained(keep, operand.get()))
      continue;
    operand.set(source);
    folded = true;
  }
  return success(folded);
}

LogicalResult AttentionOp::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &) {
  return foldCasts(*this, getCaptures());
}

#define PAGED_ATTN_FOLD(Op)                                                    \
  LogicalResult Op::fold(FoldAdaptor, SmallVectorImpl<OpFoldResult> &) {       \
    return foldCasts(*this, {});                                               \
  }

PAGED_ATTN_FOLD(AppendOp)
PAGED_ATTN_FOLD(GatherOp)
PAGED_ATTN_FOLD(CopyPagesOp)
PAGED_ATTN_FOLD(MergeStatesOp)
PAGED_ATTN_FOLD(LoadQueryOp)
PAGED_ATTN_FOLD(LoadTileOp)
PAGED_ATTN_FOLD(OnlineUpdateOp)
PAGED_ATTN_FOLD(CombineOp)
PAGED_ATTN_FOLD(FinalizeOp)

//===----------------------------------------------------------------------===//
// Canonical forms of attention
//===----------------------------------------------------------------------===//

namespace {

/// On tensors: an lse result that nobody reads is not computed.
struct DropUnusedLse : public OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const override {
    if (!op.getLse() || op.getNumResults() != 2)
      return rewriter.notifyMatchFailure(op, "has no lse result");
    if (!op.getResult(1).use_empty())
      return rewriter.notifyMatchFailure(op, "lse is used");
    OperationState state(
        op.getLoc(), op->getName(), op->getOperands().drop_back(),
        op.getResult(0).getType(), llvm::to_vector(op->getDiscardableAttrs()));
    auto &properties = state.getOrAddProperties<AttentionOp::Properties>();
    properties = op.getProperties();
    properties.operandSegmentSizes.back() = 0;
    rewriter.inlineRegionBefore(op.getScore(), *state.addRegion(),
                                state.regions.back()->end());
    Operation *newOp = rewriter.create(state);
    rewriter.replaceAllUsesWith(op.getResult(0), newOp->getResult(0));
    rewriter.eraseOp(op);
    return success();
  }
};

/// Constant starts 0, n, 2n, ..., B n = T say what their absence says. With
/// one token per sequence, mode auto is decode.
struct DropEvenStarts : public OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const override {
    DenseIntElementsAttr starts;
    if (!op.getQueryStarts() ||
        !matchPattern(op.getQueryStarts(), m_Constant(&starts)))
      return rewriter.notifyMatchFailure(op, "has no constant starts");
    int64_t numSequences = starts.getNumElements() - 1;
    int64_t numTokens = op.getNumTokens();
    if (ShapedType::isDynamic(numTokens) || numSequences < 1 ||
        numTokens % numSequences != 0)
      return rewriter.notifyMatchFailure(op, "T is no known multiple of B");
    int64_t perSequence = numTokens / numSequences;
    for (auto [i, start] : llvm::enumerate(starts.getValues<APInt>()))
      if (start.getSExtValue() != static_cast<int64_t>(i) * perSequence)
        return rewriter.notifyMatchFailure(op, "q_lens differ");
    rewriter.modifyOpInPlace(op, [&] {
      op.getQueryStartsMutable().clear();
      if (perSequence == 1 && op.getMode() == Mode::Auto)
        op.setMode(Mode::Decode);
    });
    return success();
  }
};

/// With a dense table no position reaches N * S: a window (with its sink
/// tokens) or chunk that is at least as large hides nothing.
struct DropWideMask : public OpRewritePattern<AttentionOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const override {
    std::optional<MaskAttr> mask = op.getMask();
    if (!mask)
      return rewriter.notifyMatchFailure(op, "has no mask");
    std::optional<int64_t> positions = getMostPositions(op);
    auto isWide = [&](int64_t tokens) {
      return positions && tokens >= *positions;
    };
    bool dropWindow = isWide(mask->getWindow());
    auto narrow = MaskAttr::get(
        getContext(), mask->getCausal(), dropWindow ? 0 : mask->getWindow(),
        dropWindow ? 0 : mask->getSinkTokens(),
        isWide(mask->getChunk()) ? 0 : mask->getChunk());
    if (narrow == *mask && !narrow.isFull())
      return rewriter.notifyMatchFailure(op, "the mask can hide keys");
    rewriter.modifyOpInPlace(op, [&] {
      if (narrow.isFull())
        op.removeMaskAttr();
      else
        op.setMaskAttr(narrow);
    });
    return success();
  }

private:
  /// Positions of queries and keys lie below this; offsets may lie anywhere.
  static std::optional<int64_t> getMostPositions(AttentionOp op) {
    if (!op.getPageTable() || op.getQueryOffsets())
      return std::nullopt;
    int64_t pages = cast<ShapedType>(op.getPageTable().getType()).getDimSize(1);
    int64_t slots = op.getPageSize(), positions;
    if (ShapedType::isDynamic(pages) || ShapedType::isDynamic(slots) ||
        llvm::MulOverflow(pages, slots, positions))
      return std::nullopt;
    return std::max<int64_t>(positions, 1);
  }
};

/// A cast of a tensor into an out moves to the result, one into a capture into
/// the score region. Stands before the pattern that MLIR has for every
/// destination-style op, which knows no regions.
struct FoldTiedCasts : public OpRewritePattern<AttentionOp> {
  explicit FoldTiedCasts(MLIRContext *context)
      : OpRewritePattern(context, /*benefit=*/2) {}

  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const override {
    bool folded = false;
    for (OpResult result : op->getResults())
      folded |= moveToResult(result, *op.getTiedOpOperand(result), rewriter);
    for (OpOperand &capture : op.getCapturesMutable())
      folded |= moveIntoScore(op, capture, rewriter);
    if (!folded)
      return rewriter.notifyMatchFailure(op, "no out or capture is a cast");
    return success();
  }

private:
  static bool moveToResult(OpResult result, OpOperand &out,
                           PatternRewriter &rewriter) {
    Value source = getCastSource(out);
    if (!source)
      return false;
    Operation *op = result.getOwner();
    Type type = result.getType();
    rewriter.modifyOpInPlace(op, [&] {
      out.set(source);
      result.setType(source.getType());
    });
    rewriter.setInsertionPointAfter(op);
    auto cast = tensor::CastOp::create(rewriter, op->getLoc(), type, result);
    rewriter.replaceAllUsesExcept(result, cast, cast);
    return true;
  }

  static bool moveIntoScore(AttentionOp op, OpOperand &capture,
                            PatternRewriter &rewriter) {
    Value source = getCastSource(capture);
    if (!source || !isa<RankedTensorType>(source.getType()))
      return false;
    Block &block = op.getScore().front();
    unsigned first = op.getCaptures().getBeginOperandIndex();
    BlockArgument argument =
        block.getArgument(block.getNumArguments() - op.getCaptures().size() +
                          capture.getOperandNumber() - first);
    Type type = argument.getType();
    rewriter.modifyOpInPlace(op, [&] {
      capture.set(source);
      argument.setType(source.getType());
    });
    rewriter.setInsertionPointToStart(&block);
    auto cast = tensor::CastOp::create(rewriter, op.getLoc(), type, argument);
    rewriter.replaceAllUsesExcept(argument, cast, cast);
    return true;
  }
};

/// A cast of a result to a type that knows more moves to its out.
struct FoldResultCast : public OpRewritePattern<tensor::CastOp> {
  using OpRewritePattern::OpRewritePattern;

  LogicalResult matchAndRewrite(tensor::CastOp cast,
                                PatternRewriter &rewriter) const override {
    auto result = dyn_cast<OpResult>(cast.getSource());
    auto op = cast.getSource().getDefiningOp<AttentionOp>();
    auto type = dyn_cast<RankedTensorType>(cast.getType());
    if (!op || !type || !result.hasOneUse())
      return rewriter.notifyMatchFailure(cast, "no only use of an attention");
    if (type == result.getType() ||
        !tensor::preservesStaticInformation(result.getType(), type))
      return rewriter.notifyMatchFailure(cast, "says no more than the result");
    OpOperand *out = op.getTiedOpOperand(result);
    rewriter.setInsertionPoint(op);
    Value newOut =
        tensor::CastOp::create(rewriter, cast.getLoc(), type, out->get());
    rewriter.modifyOpInPlace(op, [&] {
      out->set(newOut);
      result.setType(type);
    });
    rewriter.replaceOp(cast, result);
    return success();
  }
};

} // namespace

void AttentionOp::getCanonicalizationPatterns(RewritePatternSet &patterns,
                                              MLIRContext *context) {
  patterns.add<DropUnusedLse, DropEvenStarts, DropWideMask, FoldResultCast,
               FoldTiedCasts>(context);
}
