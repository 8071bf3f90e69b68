//===- Tile.cpp - Level 1 to 2: work items over KV tiles ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One pattern per mode. Decode: a work item is a sequence and a KV head.
// Prefill: a query tile and a KV head. Mixed: the same list of query tiles,
// where a sequence of few new tokens takes the decode tile.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Transforms/Passes.h"

#include "../IndexMath.h"
#include "../WrapBuffers.h"
#include "SplitDecode.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/PatternMatch.h"
#include "mlir/Transforms/WalkPatternRewriteDriver.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_TILEPASS
#include "paged_attn/Transforms/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

//===----------------------------------------------------------------------===//
// What can be tiled
//===----------------------------------------------------------------------===//

/// A row of a tile is unrolled into vectors.
constexpr int64_t kMostHeadDim = 4096;

/// One error at the op for what this path does not lower.
static LogicalResult checkTileable(AttentionOp op) {
  if (!op.getScore().empty())
    return op.emitOpError("expected no score region on the tiled path, got one "
                          "(convert-paged-attn-to-loops lowers it)");
  if (op.getBias())
    return op.emitOpError("expected no bias on the tiled path, got one "
                          "(convert-paged-attn-to-loops lowers it)");
  std::pair<StringRef, int64_t> sizes[] = {
      {"a static number of query heads", op.getNumQueryHeads()},
      {"a static number of KV heads", op.getNumKVHeads()},
      {"a static head dim of keys", op.getKeyDim()},
      {"a static head dim of values", op.getValueDim()},
      {"a static page size", op.getPageSize()}};
  for (auto [what, size] : sizes)
    if (ShapedType::isDynamic(size))
      return op.emitOpError("expected ")
             << what << " to tile, got a dynamic one";
  if (int64_t dim = std::max(op.getKeyDim(), op.getValueDim());
      dim > kMostHeadDim)
    return op.emitOpError("expected head dims of at most ")
           << kMostHeadDim << " on the tiled path, got " << dim
           << " (convert-paged-attn-to-loops lowers it)";
  return success();
}

//===----------------------------------------------------------------------===//
// Sequences
//===----------------------------------------------------------------------===//

/// All new tokens of a sequence in tiles of `sizes.tokens`: loops inside the
/// work item.
static OutSlice emitWholeSequence(OpBuilder &builder, AttentionOp op,
                                  const SequenceValues &sequence, Value kvHead,
                                  const TileSizes &sizes, OutSlice outs) {
  Location loc = op.getLoc();
  IndexMath math(builder, loc);
  Value zero = math.constant(0), step = math.constant(sizes.tokens);
  auto body = [&](OpBuilder &nested, Location loc, Value token,
                  ValueRange carried) {
    IndexMath math(nested, loc);
    Value count = math.min(step, math.sub(sequence.numRows, token));
    OutSlice all = OutSlice::get(carried);
    auto slice = [&](Value source, int64_t inner, bool insert,
                     Value piece) -> Value {
      SmallVector<OpFoldResult> offsets{token, nested.getIndexAttr(0)};
      SmallVector<OpFoldResult> extents{getAsOpFoldResult(count),
                                        nested.getIndexAttr(op.getGroupSize())};
      if (inner) {
        offsets.push_back(nested.getIndexAttr(0));
        extents.push_back(nested.getIndexAttr(inner));
      }
      SmallVector<OpFoldResult> strides(offsets.size(), nested.getIndexAttr(1));
      if (insert)
        return tensor::InsertSliceOp::create(nested, loc, piece, source,
                                             offsets, extents, strides);
      return tensor::ExtractSliceOp::create(nested, loc, source, offsets,
                                            extents, strides);
    };
    OutSlice part{slice(all.out, op.getValueDim(), false, Value()),
                  all.lse ? slice(all.lse, 0, false, Value()) : Value()};
    part =
        emitRowTile(nested, op, {sequence, kvHead, token, count}, sizes, part);
    SmallVector<Value> yielded{
        slice(all.out, op.getValueDim(), true, part.out)};
    if (all.lse)
      yielded.push_back(slice(all.lse, 0, true, part.lse));
    scf::YieldOp::create(nested, loc, yielded);
  };
  auto loop = scf::ForOp::create(builder, loc, zero, sequence.numRows, step,
                                 outs.values(), body);
  return OutSlice::get(loop.getResults());
}

//===----------------------------------------------------------------------===//
// Patterns
//===----------------------------------------------------------------------===//

namespace {

/// Base of the patterns: one mode, tensors.
struct TilePattern : public OpRewritePattern<AttentionOp> {
  TilePattern(MLIRContext *context, Mode mode, const TilePassOptions &options)
      : OpRewritePattern(context), mode(mode), options(options) {}

  LogicalResult matchAndRewrite(AttentionOp op,
                                PatternRewriter &rewriter) const final {
    if (op.getMode() != mode)
      return rewriter.notifyMatchFailure(op, "another mode");
    if (!op.hasPureTensors())
      return rewriter.notifyMatchFailure(op, "on memrefs");
    WorkEmitter work(rewriter, op);
    emit(rewriter, op, work);
    SmallVector<Value> results(work.results);
    rewriter.replaceOp(op, results);
    return success();
  }

  virtual void emit(OpBuilder &builder, AttentionOp op,
                    WorkEmitter &work) const = 0;

protected:
  Mode mode;
  TilePassOptions options;
};

/// Work item = (sequence, KV head), or with splits of the keys
/// emitSplitDecode.
struct TileDecode final : public TilePattern {
  TileDecode(MLIRContext *context, const TilePassOptions &options)
      : TilePattern(context, Mode::Decode, options) {}

  void emit(OpBuilder &builder, AttentionOp op, WorkEmitter &work) const final {
    TileSizes sizes = decodeTileSizes(op, options);
    if (int64_t tokens = splitTokens(op, options))
      return emitSplitDecode(builder, op, work, sizes, tokens);
    work.forEachItem(work.numSequences(), [&](OpBuilder &nested, Value item,
                                              Value kvHead, OutSlice outs) {
      SequenceValues sequence = readSequence(nested, op, item);
      OutSlice slice = extractRows(nested, op, outs, sequence.firstRow,
                                   sequence.numRows, kvHead);
      slice = emitWholeSequence(nested, op, sequence, kvHead, sizes, slice);
      insertRowsInParallel(nested, op, slice, outs, sequence.firstRow,
                           sequence.numRows, kvHead);
    });
  }
};

/// Work item = (query tile, KV head), the last tiles first: with a causal mask
/// they take longest.
struct TilePrefill final : public TilePattern {
  TilePrefill(MLIRContext *context, const TilePassOptions &options)
      : TilePattern(context, Mode::Prefill, options) {}

  void emit(OpBuilder &builder, AttentionOp op, WorkEmitter &work) const final {
    TileSizes sizes = prefillTileSizes(op, options);
    Value count = countQueryTiles(builder, op, work, sizes.tokens);
    work.forEachItem(count, [&](OpBuilder &nested, Value item, Value kvHead,
                                OutSlice outs) {
      IndexMath math(nested, op.getLoc());
      Value reversed = math.sub(math.sub(count, item), math.constant(1));
      RowTile tile = findQueryTile(nested, op, reversed, kvHead, sizes.tokens);
      Value row = math.add(tile.sequence.firstRow, tile.token);
      OutSlice slice =
          extractRows(nested, op, outs, row, tile.numTokens, kvHead);
      slice = emitRowTile(nested, op, tile, sizes, slice);
      insertRowsInParallel(nested, op, slice, outs, row, tile.numTokens,
                           kvHead);
    });
  }
};

/// One list of query tiles; a sequence of at most `decode-tokens` new tokens
/// is one of them and takes the decode tile.
struct TileMixed final : public TilePattern {
  TileMixed(MLIRContext *context, const TilePassOptions &options)
      : TilePattern(context, Mode::Mixed, options) {}

  void emit(OpBuilder &builder, AttentionOp op, WorkEmitter &work) const final {
    TileSizes prefill = prefillTileSizes(op, options);
    TileSizes decode = decodeTileSizes(op, options);
    Value count = countQueryTiles(builder, op, work, prefill.tokens);
    Location loc = op.getLoc();
    work.forEachItem(
        count, [&](OpBuilder &nested, Value item, Value kvHead, OutSlice outs) {
          IndexMath math(nested, loc);
          Value reversed = math.sub(math.sub(count, item), math.constant(1));
          RowTile tile =
              findQueryTile(nested, op, reversed, kvHead, prefill.tokens);
          Value row = math.add(tile.sequence.firstRow, tile.token);
          OutSlice slice =
              extractRows(nested, op, outs, row, tile.numTokens, kvHead);
          if (decode.tokens == prefill.tokens) { // one tile serves both
            insertRowsInParallel(nested, op,
                                 emitRowTile(nested, op, tile, prefill, slice),
                                 outs, row, tile.numTokens, kvHead);
            return;
          }
          Value decodes =
              math.compare(arith::CmpIPredicate::sle, tile.sequence.numRows,
                           math.constant(decode.tokens));
          auto branch = [&](const TileSizes &sizes) {
            return [&, sizes](OpBuilder &inner, Location loc) {
              OutSlice done = emitRowTile(inner, op, tile, sizes, slice);
              scf::YieldOp::create(inner, loc, done.values());
            };
          };
          auto choice = scf::IfOp::create(nested, loc, decodes, branch(decode),
                                          branch(prefill));
          insertRowsInParallel(nested, op, OutSlice::get(choice.getResults()),
                               outs, row, tile.numTokens, kvHead);
        });
  }
};

} // namespace

//===----------------------------------------------------------------------===//
// Pass
//===----------------------------------------------------------------------===//

/// Checks that an option lies in [low, high].
static LogicalResult checkOption(Operation *op, StringRef name, int64_t value,
                                 int64_t low, int64_t high) {
  if (value >= low && value <= high)
    return success();
  return op->emitError("expected ")
         << name << " between " << low << " and " << high << ", got " << value;
}

namespace {
struct TilePass : public paged_attn::impl::TilePassBase<TilePass> {
  using Base::Base;

  void runOnOperation() final {
    Operation *root = getOperation();
    if (failed(checkOption(root, "query-tokens", queryTokens, 0, 1024)) ||
        failed(checkOption(root, "decode-tokens", decodeTokens, 1, 64)) ||
        failed(checkOption(root, "kv-tokens", kvTokens, 0, 1024)) ||
        failed(checkOption(root, "split-tokens", splitTokens, -1, 1 << 20)) ||
        failed(checkOption(root, "cores", cores, 0, 1 << 20)) ||
        failed(checkOption(root, "l1-kib", l1KiB, 1, 1 << 20)) ||
        failed(checkOption(root, "l2-kib", l2KiB, 0, 1 << 20)))
      return signalPassFailure();
    IRRewriter rewriter(&getContext());
    SmallVector<AttentionOp> ops;
    root->walk([&](AttentionOp op) { ops.push_back(op); });
    for (AttentionOp op : ops) {
      if (op.getMode() == Mode::Auto)
        continue;
      if (failed(checkTileable(op)))
        return signalPassFailure();
      if (!op.hasPureTensors())
        wrapBuffers(op, rewriter);
    }
    TilePassOptions options{queryTokens, decodeTokens, kvTokens, splitTokens,
                            cores,       l1KiB,        l2KiB};
    RewritePatternSet patterns(&getContext());
    patterns.add<TileDecode, TilePrefill, TileMixed>(&getContext(), options);
    walkAndApplyPatterns(root, std::move(patterns));
  }
};
} // namespace
