//===- Tiling.cpp - Tiling of attention over T and Hkv --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// External model of TilingInterface for attention on tensors (level 0 and 1).
// A tile keeps all B sequences: `starts` are cut to its rows and `offsets` say
// at which position each sequence's first row in the tile stands. KV heads are
// cut with their groups of query heads.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/Extensions.h"
#include "paged_attn/IR/PagedAttn.h"

#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Arith/Utils/Utils.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/TilingInterface.h"

using namespace mlir;
using namespace mlir::paged_attn;

namespace {

/// Operand groups of attention in the order of the td.
enum Group {
  kQuery,
  kKeys,
  kValues,
  kTable,
  kIndices,
  kIndptr,
  kLens,
  kStarts,
  kOffsets,
  kLayer,
  kKeyScale,
  kValueScale,
  kAlibi,
  kSinks,
  kBias,
  kCaptures,
  kOut,
  kLse,
  kNumGroups
};

/// A tile of the iteration domain: tokens and KV heads.
struct Tile {
  OpFoldResult token, numTokens, kvHead, numKVHeads;
  OpFoldResult head, numHeads; ///< the KV heads' query heads
};

/// Cuts one attention op to one tile.
class AttentionTiler {
public:
  AttentionTiler(OpBuilder &builder, AttentionOp op, const Tile &tile)
      : builder(builder), loc(op.getLoc()), op(op), tile(tile) {}

  TilingResult tileOp();

private:
  /// Where a dimension of an operand is cut.
  struct Cut {
    unsigned dim;
    OpFoldResult offset, size;
  };
  using Groups = SmallVector<SmallVector<Value>, kNumGroups>;

  Value slice(Value source, ArrayRef<Cut> cuts);
  void sliceGroup(Groups &groups, Group group, ArrayRef<Cut> cuts);
  void sliceScale(Groups &groups, Group group);
  void cutSequences(Groups &groups);
  Value makeStarts();
  Value cutStarts(Value starts);
  Value makeOffsets(Value starts);
  void cloneScore(Region &region, bool shiftsHeads);
  AttentionOp create(const Groups &groups, bool shiftsHeads);

  Value index(OpFoldResult value) {
    return getValueOrCreateConstantIndexOp(builder, loc, value);
  }
  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(builder, loc, value);
  }
  /// tensor[position] as an index.
  Value extract(Value tensor, Value position) {
    Value entry = tensor::ExtractOp::create(builder, loc, tensor, position);
    return arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                      entry);
  }
  /// A tensor of `like`'s element type whose entries `body` computes.
  Value generate(Value like, int64_t staticSize, Value size,
                 function_ref<Value(Value)> body);

  OpBuilder &builder;
  Location loc;
  AttentionOp op;
  const Tile &tile;
  SmallVector<Operation *> slices;
};

} // namespace

Value AttentionTiler::slice(Value source, ArrayRef<Cut> cuts) {
  SmallVector<OpFoldResult> sizes = tensor::getMixedSizes(builder, loc, source);
  SmallVector<OpFoldResult> offsets(sizes.size(), builder.getIndexAttr(0));
  SmallVector<OpFoldResult> strides(sizes.size(), builder.getIndexAttr(1));
  bool isWhole = true;
  for (const Cut &cut : cuts) {
    isWhole &= isZeroInteger(cut.offset) &&
               isEqualConstantIntOrValue(cut.size, sizes[cut.dim]);
    offsets[cut.dim] = cut.offset;
    sizes[cut.dim] = cut.size;
  }
  if (isWhole)
    return source;
  auto slice = tensor::ExtractSliceOp::create(builder, loc, source, offsets,
                                              sizes, strides);
  slices.push_back(slice);
  return slice;
}

void AttentionTiler::sliceGroup(Groups &groups, Group group,
                                ArrayRef<Cut> cuts) {
  for (Value &value : groups[group])
    value = slice(value, cuts);
}

/// Scales are one, [Hkv] or [P, S, Hkv].
void AttentionTiler::sliceScale(Groups &groups, Group group) {
  for (Value &value : groups[group]) {
    unsigned rank = cast<RankedTensorType>(value.getType()).getRank();
    if (rank > 0)
      value = slice(value, {{rank - 1, tile.kvHead, tile.numKVHeads}});
  }
}

Value AttentionTiler::generate(Value like, int64_t staticSize, Value size,
                               function_ref<Value(Value)> body) {
  Type element = cast<RankedTensorType>(like.getType()).getElementType();
  auto type = RankedTensorType::get({staticSize}, element);
  SmallVector<Value> sizes;
  if (ShapedType::isDynamic(staticSize))
    sizes.push_back(size);
  auto buildBody = [&](OpBuilder &nested, Location, ValueRange position) {
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToEnd(nested.getInsertionBlock());
    Value entry = arith::IndexCastOp::create(builder, loc, element,
                                             body(position.front()));
    tensor::YieldOp::create(builder, loc, entry);
  };
  return tensor::GenerateOp::create(builder, loc, type, sizes, buildBody);
}

/// Whether a bias has one entry per head or one for all decides how it is cut.
static bool hasUnknownBiasHeads(AttentionOp op) {
  Value bias = op.getBias();
  return bias && cast<ShapedType>(bias.getType()).isDynamicDim(1);
}

/// starts[b] = b * (T / B)
Value AttentionTiler::makeStarts() {
  int64_t numSequences = op.getNumSequences();
  Value lens = op.getKvLens();
  Value count = tensor::DimOp::create(builder, loc, lens, 0);
  Value tokens = tensor::DimOp::create(builder, loc, op.getQuery(), 0);
  Value divisor = arith::MaxSIOp::create(builder, loc, count, constant(1));
  Value perSequence = arith::DivSIOp::create(builder, loc, tokens, divisor);
  Value size = arith::AddIOp::create(builder, loc, count, constant(1));
  int64_t staticSize =
      ShapedType::isDynamic(numSequences) ? numSequences : numSequences + 1;
  return generate(lens, staticSize, size, [&](Value sequence) -> Value {
    return arith::MulIOp::create(builder, loc, sequence, perSequence);
  });
}

/// starts'[b] = min(max(starts[b] - t0, 0), n)
Value AttentionTiler::cutStarts(Value starts) {
  int64_t staticSize = cast<RankedTensorType>(starts.getType()).getDimSize(0);
  Value size = tensor::DimOp::create(builder, loc, starts, 0);
  Value token = index(tile.token), numTokens = index(tile.numTokens);
  Value zero = constant(0);
  return generate(starts, staticSize, size, [&](Value i) -> Value {
    Value start = extract(starts, i);
    Value shifted = arith::SubIOp::create(builder, loc, start, token);
    Value low = arith::MaxSIOp::create(builder, loc, shifted, zero);
    return arith::MinSIOp::create(builder, loc, low, numTokens);
  });
}

/// offsets'[b] = offsets[b] + max(0, t0 - starts[b]), where offsets[b] is
/// kv_len - q_len unless given.
Value AttentionTiler::makeOffsets(Value starts) {
  Value lens = op.getKvLens(), offsets = op.getQueryOffsets();
  Value size = tensor::DimOp::create(builder, loc, lens, 0);
  Value token = index(tile.token), zero = constant(0), one = constant(1);
  Value like = offsets ? offsets : lens;
  return generate(like, op.getNumSequences(), size, [&](Value b) -> Value {
    Value start = extract(starts, b), first;
    if (offsets) {
      first = extract(offsets, b);
    } else {
      Value next = arith::AddIOp::create(builder, loc, b, one);
      Value length =
          arith::SubIOp::create(builder, loc, extract(starts, next), start);
      first = arith::SubIOp::create(builder, loc, extract(lens, b), length);
    }
    Value before = arith::SubIOp::create(builder, loc, token, start);
    Value skipped = arith::MaxSIOp::create(builder, loc, before, zero);
    return arith::AddIOp::create(builder, loc, first, skipped);
  });
}

/// A tile of some tokens only has its own starts and offsets.
void AttentionTiler::cutSequences(Groups &groups) {
  OpFoldResult numTokens = tensor::getMixedSize(builder, loc, op.getQuery(), 0);
  if (isZeroInteger(tile.token) &&
      isEqualConstantIntOrValue(tile.numTokens, numTokens))
    return;
  Value starts = op.getQueryStarts() ? op.getQueryStarts() : makeStarts();
  groups[kOffsets] = {makeOffsets(starts)};
  groups[kStarts] = {cutStarts(starts)};
}

/// The region's query heads count from the tile's first one on, which comes
/// as the last capture.
void AttentionTiler::cloneScore(Region &region, bool shiftsHeads) {
  IRMapping mapping;
  op.getScore().cloneInto(&region, mapping);
  if (!shiftsHeads)
    return;
  Block &block = region.front();
  Value first = block.addArgument(builder.getIndexType(), loc);
  BlockArgument head = block.getArgument(2);
  OpBuilder::InsertionGuard guard(builder);
  builder.setInsertionPointToStart(&block);
  auto sum = arith::AddIOp::create(builder, loc, head, first);
  head.replaceAllUsesExcept(sum, sum);
}

AttentionOp AttentionTiler::create(const Groups &groups, bool shiftsHeads) {
  OperationState state(loc, op->getName());
  auto &properties = state.getOrAddProperties<AttentionOp::Properties>();
  properties = op.getProperties();
  for (auto [i, group] : llvm::enumerate(groups)) {
    properties.operandSegmentSizes[i] = group.size();
    state.addOperands(group);
  }
  state.addTypes(groups[kOut].front().getType());
  for (Value lse : groups[kLse])
    state.addTypes(lse.getType());
  state.addAttributes(llvm::to_vector(op->getDiscardableAttrs()));
  cloneScore(*state.addRegion(), shiftsHeads);
  return cast<AttentionOp>(builder.create(state));
}

TilingResult AttentionTiler::tileOp() {
  Groups groups(kNumGroups);
  for (unsigned i = 0; i < kNumGroups; ++i)
    groups[i] = llvm::to_vector(op.getODSOperands(i));
  Cut tokens{0, tile.token, tile.numTokens};
  Cut heads{1, tile.head, tile.numHeads};
  Cut headEntries{0, tile.head, tile.numHeads};
  for (Group group : {kQuery, kOut, kLse})
    sliceGroup(groups, group, {tokens, heads});
  for (Group group : {kAlibi, kSinks})
    sliceGroup(groups, group, headEntries);
  if (Value bias = op.getBias()) {
    bool isShared = cast<ShapedType>(bias.getType()).getDimSize(1) == 1;
    sliceGroup(groups, kBias,
               isShared ? ArrayRef(tokens) : ArrayRef({tokens, heads}));
  }
  sliceGroup(groups, kKeys,
             Cut{op.getKeyLayout().getDim('h'), tile.kvHead, tile.numKVHeads});
  sliceGroup(groups, kValues,
             Cut{op.getValueLayoutOrDefault().getDim('h'), tile.kvHead,
                 tile.numKVHeads});
  sliceScale(groups, kKeyScale);
  sliceScale(groups, kValueScale);
  cutSequences(groups);
  bool shiftsHeads = !op.getScore().empty() && !isZeroInteger(tile.head);
  if (shiftsHeads)
    groups[kCaptures].push_back(index(tile.head));
  AttentionOp tiled = create(groups, shiftsHeads);
  return {{tiled}, llvm::to_vector_of<Value>(tiled->getResults()), slices};
}

//===----------------------------------------------------------------------===//
// The interface
//===----------------------------------------------------------------------===//

namespace {

/// value * factor
OpFoldResult scaled(OpBuilder &builder, Location loc, OpFoldResult value,
                    int64_t factor) {
  AffineExpr symbol = builder.getAffineSymbolExpr(0);
  return affine::makeComposedFoldedAffineApply(builder, loc, symbol * factor,
                                               {value});
}

struct AttentionModel
    : public TilingInterface::ExternalModel<AttentionModel, AttentionOp> {
  SmallVector<utils::IteratorType> getLoopIteratorTypes(Operation *) const {
    return {utils::IteratorType::parallel, utils::IteratorType::parallel};
  }

  SmallVector<Range> getIterationDomain(Operation *op,
                                        OpBuilder &builder) const {
    auto attention = cast<AttentionOp>(op);
    Location loc = op->getLoc();
    OpFoldResult zero = builder.getIndexAttr(0), one = builder.getIndexAttr(1);
    unsigned headDim = attention.getKeyLayout().getDim('h');
    return {{zero, mixedSize(builder, loc, attention.getQuery(), 0), one},
            {zero, mixedSize(builder, loc, attention.getKeys(), headDim), one}};
  }

  FailureOr<TilingResult>
  getTiledImplementation(Operation *op, OpBuilder &builder,
                         ArrayRef<OpFoldResult> offsets,
                         ArrayRef<OpFoldResult> sizes) const {
    auto attention = cast<AttentionOp>(op);
    int64_t group = attention.getGroupSize();
    if (!attention.hasPureTensors() || ShapedType::isDynamic(group) ||
        hasUnknownBiasHeads(attention))
      return failure();
    Location loc = op->getLoc();
    Tile tile{offsets[0],
              sizes[0],
              offsets[1],
              sizes[1],
              scaled(builder, loc, offsets[1], group),
              scaled(builder, loc, sizes[1], group)};
    return AttentionTiler(builder, attention, tile).tileOp();
  }

  /// out [T, Hq, Dv], lse [T, Hq]
  LogicalResult
  getResultTilePosition(Operation *op, OpBuilder &builder, unsigned number,
                        ArrayRef<OpFoldResult> offsets,
                        ArrayRef<OpFoldResult> sizes,
                        SmallVector<OpFoldResult> &resultOffsets,
                        SmallVector<OpFoldResult> &resultSizes) const {
    auto attention = cast<AttentionOp>(op);
    int64_t group = attention.getGroupSize();
    if (ShapedType::isDynamic(group))
      return failure();
    Location loc = op->getLoc();
    resultOffsets = {offsets[0], scaled(builder, loc, offsets[1], group)};
    resultSizes = {sizes[0], scaled(builder, loc, sizes[1], group)};
    if (number == 0) {
      resultOffsets.push_back(builder.getIndexAttr(0));
      resultSizes.push_back(mixedSize(builder, loc, attention.getOut(), 2));
    }
    return success();
  }

  /// The tile that computes a part of a result: whole groups and head dims.
  LogicalResult getIterationDomainTileFromResultTile(
      Operation *op, OpBuilder &builder, unsigned number,
      ArrayRef<OpFoldResult> offsets, ArrayRef<OpFoldResult> sizes,
      SmallVectorImpl<OpFoldResult> &domainOffsets,
      SmallVectorImpl<OpFoldResult> &domainSizes) const {
    auto attention = cast<AttentionOp>(op);
    int64_t group = attention.getGroupSize();
    std::optional<int64_t> head = getConstantIntValue(offsets[1]);
    std::optional<int64_t> numHeads = getConstantIntValue(sizes[1]);
    if (ShapedType::isDynamic(group) || !head || !numHeads || *head % group ||
        *numHeads % group)
      return failure();
    if (number == 0 &&
        (!isZeroInteger(offsets[2]) ||
         getConstantIntValue(sizes[2]) != attention.getValueDim()))
      return failure();
    domainOffsets.assign({offsets[0], builder.getIndexAttr(*head / group)});
    domainSizes.assign({sizes[0], builder.getIndexAttr(*numHeads / group)});
    return success();
  }

  FailureOr<TilingResult>
  generateResultTileValue(Operation *op, OpBuilder &builder, unsigned number,
                          ArrayRef<OpFoldResult> offsets,
                          ArrayRef<OpFoldResult> sizes) const {
    SmallVector<OpFoldResult> domainOffsets, domainSizes;
    if (failed(getIterationDomainTileFromResultTile(
            op, builder, number, offsets, sizes, domainOffsets, domainSizes)))
      return failure();
    FailureOr<TilingResult> result =
        getTiledImplementation(op, builder, domainOffsets, domainSizes);
    if (failed(result))
      return failure();
    result->tiledValues = {result->tiledValues[number]};
    return result;
  }

private:
  static OpFoldResult mixedSize(OpBuilder &builder, Location loc, Value value,
                                int64_t dim) {
    int64_t size = cast<ShapedType>(value.getType()).getDimSize(dim);
    if (!ShapedType::isDynamic(size))
      return builder.getIndexAttr(size);
    return tensor::getMixedSize(builder, loc, value, dim);
  }
};

} // namespace

void paged_attn::registerTilingInterfaceModels(DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, PagedAttnDialect *) {
    AttentionOp::attachInterface<AttentionModel>(*context);
    context->loadDialect<affine::AffineDialect, arith::ArithDialect,
                         tensor::TensorDialect>();
  });
}
