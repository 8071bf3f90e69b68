//===- Verifiers.cpp - Constraints of the ops of level 0 ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Every constraint of the td is marked // Cn. What ODS checks (ranks, element
// types) has no line here.
//
//===----------------------------------------------------------------------===//

#include "VerifierUtils.h"

using namespace mlir;
using namespace mlir::paged_attn;
using namespace mlir::paged_attn::verifier;

/// Most new tokens of a sequence in mode decode: the largest decode tile.
static constexpr int64_t kMaxDecodeTokens = 64;

//===----------------------------------------------------------------------===//
// attention
//===----------------------------------------------------------------------===//

static Pool keyPool(AttentionOp op) {
  return {"keys", op.getKeys(), op.getKeyLayout()};
}

/// The pool that holds V under the name of its operand.
static Pool valuePool(AttentionOp op) {
  if (!op.getValues())
    return keyPool(op);
  return {"values", op.getValues(), op.getValueLayoutOrDefault()};
}

/// query [T, Hq, Dk], out [T, Hq, Dv], lse [T, Hq]
static LogicalResult verifyRowShapes(AttentionOp op) {
  Size tokens = sizeOf("query", "tokens", op.getQuery(), 0);
  Size heads = sizeOf("query", "query heads", op.getQuery(), 1);
  Size sizes[] = {
      heads,
      sizeOf("query", "elements in the head dim", op.getQuery(), 2),
      sizeOf("out", "elements in the head dim", op.getOut(), 2),
  };
  for (Size size : sizes)
    if (failed(expectPositive(op, size))) // C1
      return failure();
  if (failed(expectSame(op, sizeOf("out", "tokens", op.getOut(), 0),
                        tokens)) || // C1
      failed(
          expectSame(op, sizeOf("out", "query heads", op.getOut(), 1), heads)))
    return failure();
  if (!op.getLse())
    return success();
  return success(
      succeeded(expectSame(op, sizeOf("lse", "tokens", op.getLse(), 0),
                           tokens)) && // C1
      succeeded(
          expectSame(op, sizeOf("lse", "query heads", op.getLse(), 1), heads)));
}

static LogicalResult verifyPools(AttentionOp op) {
  Pool keys = keyPool(op), values = valuePool(op);
  if (failed(verifyPool(op, keys)) || failed(verifyPool(op, values))) // C2, C3
    return failure();
  if (!op.getValues() && values.layout != op.getValueLayoutOrDefault()) // C2
    return op.emitOpError("expected without values no value_layout, or ")
           << keys.layout << ", got " << op.getValueLayoutOrDefault();
  for (Pool pool : {keys, values})
    if (op.getValues() && pool.layout.hasDim('c')) // C3
      return op.emitOpError("expected layouts without c beside values, got ")
             << pool.layout << " for " << pool.name;
  return verifyLayer(op, op.getLayer(),
                     keys.layout.hasDim('l') ||
                         values.layout.hasDim('l')); // C3
}

/// Hq is a multiple of Hkv.
static LogicalResult verifyGroup(AttentionOp op) {
  int64_t heads = op.getNumQueryHeads(), kvHeads = op.getNumKVHeads();
  if (ShapedType::isDynamic(heads) || ShapedType::isDynamic(kvHeads) ||
      heads % kvHeads == 0)
    return success();
  return op.emitOpError("expected query to have a multiple of ") // C4
         << kvHeads << " query heads, got " << heads;
}

static LogicalResult verifyHeadDims(AttentionOp op) {
  Pool keys = keyPool(op), values = valuePool(op);
  StringRef unit = "elements in the head dim";
  Size keyDim{"keys", unit, keys.getShape().headDim};
  Size valueDim{"out", unit, op.getValueDim()};
  if (failed(expectSame(op, keyDim, {"query", unit, op.getKeyDim()}))) // C5
    return failure();
  if (!op.isLatent())
    return expectSame(op, {values.name, unit, values.getShape().headDim}, // C5
                      valueDim);
  if (ShapedType::isDynamic(keyDim.value) || valueDim.value <= keyDim.value)
    return success();
  return op.emitOpError("expected out to have at most ") // C5
         << keyDim.value << " " << unit << " like keys, got " << valueDim.value;
}

/// Key and value pools hold the same tokens.
static LogicalResult verifySamePages(AttentionOp op) {
  if (!op.getValues())
    return success();
  PoolShape keys = keyPool(op).getShape(), values = valuePool(op).getShape();
  std::tuple<StringRef, int64_t, int64_t> sizes[] = {
      {"pages", values.numPages, keys.numPages},
      {"slots in a page", values.pageSize, keys.pageSize},
      {"KV heads", values.numKVHeads, keys.numKVHeads}};
  for (auto [unit, got, like] : sizes)
    if (failed(
            expectSame(op, {"values", unit, got}, {"keys", unit, like}))) // C6
      return failure();
  return success();
}

/// Names of the page tables that are given.
template <typename OpTy>
static SmallVector<StringRef> givenTables(OpTy op) {
  SmallVector<StringRef> given;
  if (op.getPageTable())
    given.push_back("table");
  if (op.getPageIndices())
    given.push_back("csr");
  return given;
}

/// The halves of a CSR table come together.
template <typename OpTy>
static LogicalResult verifyCsr(OpTy op) {
  if (bool(op.getPageIndices()) == bool(op.getPageIndptr()))
    return success();
  return op.emitOpError("expected page indices and indptr in csr, got only ")
         << (op.getPageIndices() ? "page indices" : "indptr");
}

static LogicalResult verifySequences(AttentionOp op) {
  if (failed(expectOneOf(op, "table and csr", givenTables(op))) || // C7
      failed(verifyCsr(op)))                                       // C7
    return failure();
  BatchOperand operands[] = {{"lens", "entries", op.getKvLens(), 0},
                             {"table", "rows", op.getPageTable(), 0},
                             {"indptr", "entries", op.getPageIndptr(), 1},
                             {"starts", "entries", op.getQueryStarts(), 1},
                             {"offsets", "entries", op.getQueryOffsets(), 0}};
  if (failed(verifyBatch(op, operands))) // C8
    return failure();
  if (op.getQueryStarts())
    return success();
  return verifyEvenSplit(op, sizeOf("query", "tokens", op.getQuery(), 0), // C9
                         sizeOf("lens", "entries", op.getKvLens(), 0));
}

static LogicalResult verifyScoreOperands(AttentionOp op) {
  Size heads = sizeOf("query", "query heads", op.getQuery(), 1);
  std::pair<StringRef, Value> perHead[] = {{"alibi", op.getAlibiSlopes()},
                                           {"sinks", op.getSinks()}};
  for (auto [name, value] : perHead)
    if (value && failed(expectSame(op, sizeOf(name, "entries", value, 0),
                                   heads))) // C10
      return failure();
  Value bias = op.getBias();
  if (!bias)
    return success();
  if (failed(expectSame(op, sizeOf("bias", "tokens", bias, 0),
                        sizeOf("query", "tokens", op.getQuery(), 0)))) // C10
    return failure();
  Size biasHeads = sizeOf("bias", "query heads", bias, 1);
  if (biasHeads.value == 1)
    return success();
  return expectSame(op, biasHeads, heads); // C10
}

static LogicalResult verifyNumbers(AttentionOp op) {
  std::optional<APFloat> scale = op.getScale(), softcap = op.getSoftcap();
  if (scale && !scale->isFinite()) // C11
    return op.emitOpError("expected a finite scale, got ") << op.getScaleAttr();
  if (softcap && (!softcap->isFinite() || softcap->isNegative() ||
                  softcap->isZero())) // C11
    return op.emitOpError("expected a finite, positive softcap, got ")
           << op.getSoftcapAttr();
  std::optional<Type> accumulation = op.getAccumulation();
  if (accumulation && !accumulation->isF32()) // C12
    return op.emitOpError("expected accumulation in f32, got ")
           << *accumulation;
  return success();
}

/// Scales fit their pools.
static LogicalResult verifyScales(AttentionOp op) { // C13, C18
  if (failed(verifyScale(op, "k_scale", op.getKeyScale(), keyPool(op))))
    return failure();
  if (!op.isLatent())
    return verifyScale(op, "v_scale", op.getValueScale(), valuePool(op));
  if (op.getValueScale()) // C13
    return op.emitOpError(
        "expected no v_scale where keys hold the values, got one");
  return success();
}

/// Decode tiles hold all new tokens of a sequence.
static LogicalResult verifyMode(AttentionOp op) {
  int64_t tokens = op.getNumTokens(), sequences = op.getNumSequences();
  if (op.getMode() != Mode::Decode || ShapedType::isDynamic(tokens) ||
      ShapedType::isDynamic(sequences) ||
      tokens <= kMaxDecodeTokens * sequences)
    return success();
  return op.emitOpError("expected in mode decode at most ") // C17
         << kMaxDecodeTokens << " tokens for each of " << sequences
         << " sequences, got " << tokens << " tokens";
}

LogicalResult AttentionOp::verify() {
  if (failed(verifyTensorsOrMemRefs(*this))) // C16
    return failure();
  if (!getCaptures().empty() && getScore().empty()) // C15
    return emitOpError("expected a score region beside ")
           << getCaptures().size() << " captures, got none";
  using Check = LogicalResult (*)(AttentionOp);
  for (Check check : {verifyRowShapes, verifyPools, verifyGroup, verifyHeadDims,
                      verifySamePages, verifySequences, verifyScoreOperands,
                      verifyNumbers, verifyScales, verifyMode})
    if (failed(check(*this)))
      return failure();
  return success();
}

LogicalResult AttentionOp::verifyRegions() {
  if (getScore().empty())
    return success();
  Block &block = getScore().front();
  SmallVector<Type> types{Float32Type::get(getContext())};
  types.append(4, IndexType::get(getContext()));
  llvm::append_range(types, getCaptures().getTypes());
  if (block.getNumArguments() != types.size()) // C14
    return emitOpError("expected a score region with ")
           << types.size() << " arguments, got " << block.getNumArguments();
  for (auto [i, expected, got] :
       llvm::enumerate(types, block.getArgumentTypes()))
    if (expected != got) // C14
      return emitOpError("expected argument #")
             << i << " of the score region to be " << expected << ", got "
             << got;
  if (!isa<YieldOp>(block.getTerminator())) // C14
    return emitOpError("expected the score region to end in paged_attn.yield, "
                       "got ")
           << block.getTerminator()->getName();
  return success();
}

//===----------------------------------------------------------------------===//
// append
//===----------------------------------------------------------------------===//

/// The new tokens that go into a pool: [T, Hkv, D].
static LogicalResult verifyNewTokens(AppendOp op, StringRef name, Value tokens,
                                     Pool pool) {
  PoolShape shape = pool.getShape();
  StringRef unit = "elements in the head dim";
  return success(
      succeeded(expectSame(op, sizeOf(name, "tokens", tokens, 0),
                           sizeOf("keys", "tokens", op.getKeys(), 0))) && // C1
      succeeded(expectSame(op, sizeOf(name, "KV heads", tokens, 1),       // C4
                           {pool.name, "KV heads", shape.numKVHeads})) &&
      succeeded(expectSame(op, sizeOf(name, unit, tokens, 2), // C4
                           {pool.name, unit, shape.headDim})));
}

static LogicalResult verifyAppendPools(AppendOp op) {
  Pool keys{"key pool", op.getKeyPool(), op.getKeyLayout()};
  Pool values = keys;
  if (op.getValuePool())
    values = {"value pool", op.getValuePool(), op.getValueLayoutOrDefault()};
  for (Pool pool : {keys, values}) {
    if (failed(verifyPool(op, pool)) ||    // C2, C3
        failed(verifyFloatPool(op, pool))) // C9
      return failure();
    if (op.getValuePool() && pool.layout.hasDim('c')) // C3
      return op.emitOpError("expected one pool for a layout with c, got ")
             << pool.layout << " beside a value pool";
  }
  if (!op.getValuePool() && op.getValueLayoutOrDefault() != keys.layout) // C2
    return op.emitOpError("expected without a value pool no value_layout, or ")
           << keys.layout << ", got " << op.getValueLayoutOrDefault();
  bool takesValues = op.getValuePool() || keys.layout.hasDim('c');
  if (takesValues != bool(op.getValues())) // C3
    return op.emitOpError(takesValues
                              ? "expected values for the pools, got none"
                              : "expected a pool for values, got none");
  if (failed(verifyLayer(op, op.getLayer(),
                         keys.layout.hasDim('l') ||
                             values.layout.hasDim('l')))) // C3
    return failure();
  if (failed(verifyNewTokens(op, "keys", op.getKeys(), keys)))
    return failure();
  return takesValues ? verifyNewTokens(op, "values", op.getValues(), values)
                     : success();
}

/// Where the tokens go: slots, or a table with lens.
static LogicalResult verifyPlaces(AppendOp op) {
  SmallVector<StringRef> given = givenTables(op);
  if (op.getSlots())
    given.insert(given.begin(), "slots");
  if (failed(expectOneOf(op, "slots, table and csr", given)) || // C5
      failed(verifyCsr(op)))                                    // C5
    return failure();
  if (bool(op.getSlots()) == bool(op.getKvLens())) // C5
    return op.emitOpError(op.getSlots() ? "expected no lens beside slots, got "
                                          "lens"
                                        : "expected lens beside a page table, "
                                          "got none");
  if (op.getQueryStarts() && !op.getKvLens()) // C5
    return op.emitOpError("expected lens beside starts, got none");
  return success();
}

LogicalResult AppendOp::verify() {
  if (failed(verifyTensorsOrMemRefs(*this)) || // C8
      failed(verifyAppendPools(*this)) || failed(verifyPlaces(*this)))
    return failure();
  Size tokens = sizeOf("keys", "tokens", getKeys(), 0);
  if (getSlots())
    return expectSame(*this, sizeOf("slots", "entries", getSlots(), 0), // C6
                      tokens);
  BatchOperand operands[] = {{"lens", "entries", getKvLens(), 0},
                             {"table", "rows", getPageTable(), 0},
                             {"indptr", "entries", getPageIndptr(), 1},
                             {"starts", "entries", getQueryStarts(), 1}};
  if (failed(verifyBatch(*this, operands))) // C6
    return failure();
  if (getQueryStarts())
    return success();
  return verifyEvenSplit(*this, tokens, // C7
                         sizeOf("lens", "entries", getKvLens(), 0));
}

//===----------------------------------------------------------------------===//
// gather, copy_pages, merge_states
//===----------------------------------------------------------------------===//

LogicalResult GatherOp::verify() {
  Pool pool{"pool", getPool(), getLayout()};
  if (failed(verifyTensorsOrMemRefs(*this)) ||                           // C5
      failed(verifyPool(*this, pool)) ||                                 // C1
      failed(verifyLayer(*this, getLayer(), pool.layout.hasDim('l'))) || // C1
      failed(expectOneOf(*this, "table and csr", givenTables(*this))) || // C2
      failed(verifyCsr(*this)) ||                                        // C2
      failed(verifyFloatPool(*this, pool)))                              // C6
    return failure();
  BatchOperand operands[] = {{"lens", "entries", getKvLens(), 0},
                             {"table", "rows", getPageTable(), 0},
                             {"indptr", "entries", getPageIndptr(), 1},
                             {"out", "sequences", getOut(), 0}};
  if (failed(verifyBatch(*this, operands))) // C3, C4
    return failure();
  PoolShape shape = pool.getShape();
  StringRef unit = "elements in the head dim";
  return success(
      succeeded(expectSame(*this, sizeOf("out", "KV heads", getOut(), 2),
                           {"pool", "KV heads", shape.numKVHeads})) && // C3
      succeeded(expectSame(*this, sizeOf("out", unit, getOut(), 3),
                           {"pool", unit, shape.headDim}))); // C3
}

LogicalResult CopyPagesOp::verify() {
  if (failed(verifyTensorsOrMemRefs(*this)) ||                     // C3
      failed(verifyPool(*this, {"pool", getPool(), getLayout()}))) // C1
    return failure();
  Size columns = sizeOf("pairs", "columns", getPairs(), 1);
  if (columns.value == 2)
    return success();
  InFlightDiagnostic error =
      emitOpError("expected pairs to have 2 columns, got "); // C2
  if (ShapedType::isDynamic(columns.value))
    return error << "?";
  return error << columns.value;
}

/// Dimensions [0, units) of `value` are like those of out.
static LogicalResult verifyLikeOut(MergeStatesOp op, StringRef name,
                                   Value value, ArrayRef<StringRef> units) {
  for (auto [dim, unit] : llvm::enumerate(units))
    if (failed(expectSame(op, sizeOf(name, unit, value, dim),
                          sizeOf("out", unit, op.getOut(), dim))))
      return failure();
  return success();
}

LogicalResult MergeStatesOp::verify() {
  if (failed(verifyTensorsOrMemRefs(*this))) // C4
    return failure();
  if (getParts().size() < 2) // C1
    return emitOpError("expected at least 2 parts, got ") << getParts().size();
  if (getParts().size() != getLses().size()) // C1
    return emitOpError("expected ")
           << getParts().size() << " lses like parts, got " << getLses().size();
  StringRef units[] = {"tokens", "query heads", "elements in the head dim"};
  for (auto [dim, unit] : llvm::enumerate(ArrayRef(units).drop_front()))
    if (failed(expectPositive(*this, sizeOf("out", unit, getOut(),
                                            dim + 1)))) // C2
      return failure();
  for (Value part : getParts())
    if (failed(verifyLikeOut(*this, "parts", part, units))) // C2
      return failure();
  for (Value lse : getLses())
    if (failed(verifyLikeOut(*this, "lses", lse,
                             ArrayRef(units).drop_back()))) // C3
      return failure();
  return getLse() ? verifyLikeOut(*this, "lse", getLse(),
                                  ArrayRef(units).drop_back()) // C3
                  : success();
}
