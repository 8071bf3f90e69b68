//===- RuntimeVerification.cpp - Checks of lengths and page ids -----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// External models of RuntimeVerifiableOpInterface for the ops of level 0 that
// read a page table: `-generate-runtime-verification` puts loops with
// assertions before them. Only entries that the op would use are checked.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/Extensions.h"
#include "paged_attn/IR/PagedAttn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/Matchers.h"
#include "mlir/Interfaces/RuntimeVerifiableOpInterface.h"

using namespace mlir;
using namespace mlir::paged_attn;

using Predicate = arith::CmpIPredicate;
using MessageFn = function_ref<std::string(Operation *, StringRef)>;

namespace {

/// What the ops have in common; values that an op lacks are null.
struct Call {
  Value lens, table, indices, indptr, starts, offsets, layer;
  Value tokens; ///< dimension 0 is T; null: no new tokens
  Value pool;
  LayoutAttr layout;
  MaskAttr mask;  ///< null: everything is visible
  bool onlyNew;   ///< only positions of new tokens are touched
  Value mostKeys; ///< dimension 1 bounds kv_len; null: no bound
};

/// The positions [begin, end) of a sequence that are touched, and [0, sinks).
struct Touched {
  Value begin, end, sinks;
};

/// Writes the checks of one op in front of it.
class Checks {
public:
  Checks(OpBuilder &builder, Location loc, Operation *op, MessageFn message)
      : builder(builder), loc(loc), op(op), message(message) {}

  /// Sizes, then lengths and page ids of each sequence.
  void verifyCall(const Call &call);
  /// Slots lie in [-1, P * S).
  void verifySlots(Value slots, Value pool, LayoutAttr layout);
  /// Sources lie below P, targets of rows that count in [0, P).
  void verifyPairs(Value pairs, Value pool, LayoutAttr layout);
  /// The layer lies in its dimension of the pool.
  void verifyLayer(Value layer, Value pool, LayoutAttr layout);

private:
  void verifySizes(const Call &call, Value numSequences);
  void verifySequence(const Call &call, Value sequence, Value numSequences);
  /// Returns q_len.
  Value verifyStarts(const Call &call, Value sequence, Value numSequences);
  /// Returns the entry of csr where the sequence begins, or null, and the
  /// number of its pages.
  std::pair<Value, Value> verifyPageCount(const Call &call, Value sequence);
  void verifyPages(const Call &call, Value sequence, Value first,
                   Touched touched);
  Touched getTouched(const Call &call, Value sequence, Value length,
                     Value queryLength);
  /// The first position that the first row can see.
  Value getFirstVisible(MaskAttr mask, Value position);

  void check(Value condition, StringRef text) {
    if (!matchPattern(condition, m_One()))
      cf::AssertOp::create(builder, loc, condition, message(op, text));
  }
  Value constant(int64_t value) {
    return arith::ConstantIndexOp::create(builder, loc, value);
  }
  template <typename OpTy>
  Value make(Value lhs, Value rhs) {
    return builder.createOrFold<OpTy>(loc, lhs, rhs);
  }
  Value add(Value lhs, Value rhs) { return make<arith::AddIOp>(lhs, rhs); }
  Value sub(Value lhs, Value rhs) { return make<arith::SubIOp>(lhs, rhs); }
  Value mul(Value lhs, Value rhs) { return make<arith::MulIOp>(lhs, rhs); }
  Value max(Value lhs, Value rhs) { return make<arith::MaxSIOp>(lhs, rhs); }
  Value min(Value lhs, Value rhs) { return make<arith::MinSIOp>(lhs, rhs); }
  Value both(Value lhs, Value rhs) { return make<arith::AndIOp>(lhs, rhs); }
  Value compare(Predicate predicate, Value lhs, Value rhs) {
    return builder.createOrFold<arith::CmpIOp>(loc, predicate, lhs, rhs);
  }
  /// low <= value < high
  Value inRange(Value low, Value value, Value high) {
    return both(compare(Predicate::sle, low, value),
                compare(Predicate::slt, value, high));
  }
  Value dim(Value value, int64_t dim) {
    if (isa<MemRefType>(value.getType()))
      return builder.createOrFold<memref::DimOp>(loc, value, dim);
    return builder.createOrFold<tensor::DimOp>(loc, value, dim);
  }
  /// An entry of a tensor or memref of integers as an index.
  Value load(Value buffer, ValueRange indices) {
    Value entry =
        isa<MemRefType>(buffer.getType())
            ? Value(memref::LoadOp::create(builder, loc, buffer, indices))
            : Value(tensor::ExtractOp::create(builder, loc, buffer, indices));
    return arith::IndexCastOp::create(builder, loc, builder.getIndexType(),
                                      entry);
  }
  /// for i in [begin, end) { body(i) }
  void loop(Value begin, Value end, function_ref<void(Value)> body) {
    auto loop = scf::ForOp::create(builder, loc, begin, end, constant(1));
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPointToStart(loop.getBody());
    body(loop.getInductionVar());
  }

  OpBuilder &builder;
  Location loc;
  Operation *op;
  MessageFn message;
};

} // namespace

void Checks::verifyLayer(Value layer, Value pool, LayoutAttr layout) {
  if (layer && layout.hasDim('l'))
    check(inRange(constant(0), layer, dim(pool, layout.getDim('l'))),
          "expected layer to lie in dimension l of the pool, got one outside");
}

void Checks::verifySlots(Value slots, Value pool, LayoutAttr layout) {
  Value numSlots =
      mul(dim(pool, layout.getDim('p')), dim(pool, layout.getDim('s')));
  loop(constant(0), dim(slots, 0), [&](Value token) {
    check(inRange(constant(-1), load(slots, token), numSlots),
          "expected slots between -1 and pages * slots in a page - 1, got one "
          "outside");
  });
}

void Checks::verifyPairs(Value pairs, Value pool, LayoutAttr layout) {
  Value numPages = dim(pool, layout.getDim('p'));
  Value zero = constant(0);
  loop(zero, dim(pairs, 0), [&](Value row) {
    Value source = load(pairs, {row, zero});
    Value target = load(pairs, {row, constant(1)});
    check(compare(Predicate::slt, source, numPages),
          "expected source pages of at most the pool's pages - 1, got a larger "
          "one");
    Value isSkipped = compare(Predicate::slt, source, zero);
    Value isInside = inRange(zero, target, numPages);
    check(make<arith::OrIOp>(isSkipped, isInside),
          "expected target pages between 0 and the pool's pages - 1, got one "
          "outside");
  });
}

void Checks::verifySizes(const Call &call, Value numSequences) {
  auto expectEntries = [&](Value operand, int64_t extra, StringRef text) {
    if (operand)
      check(compare(Predicate::eq, dim(operand, 0),
                    add(numSequences, constant(extra))),
            text);
  };
  expectEntries(call.table, 0,
                "expected table to have as many rows as lens has entries, got "
                "another number");
  expectEntries(call.indptr, 1,
                "expected indptr to have one entry more than lens, got another "
                "number");
  expectEntries(call.starts, 1,
                "expected starts to have one entry more than lens, got another "
                "number");
  expectEntries(call.offsets, 0,
                "expected offsets to have as many entries as lens, got another "
                "number");
  if (!call.tokens || call.starts)
    return;
  check(compare(Predicate::sgt, numSequences, constant(0)),
        "expected lens without starts to have at least 1 entry, got 0");
  check(compare(Predicate::eq,
                make<arith::RemSIOp>(dim(call.tokens, 0), numSequences),
                constant(0)),
        "expected without starts a multiple of the sequences as tokens, got a "
        "remainder");
}

Value Checks::verifyStarts(const Call &call, Value sequence,
                           Value numSequences) {
  if (!call.tokens)
    return {};
  Value numTokens = dim(call.tokens, 0);
  if (!call.starts)
    return make<arith::DivSIOp>(numTokens, numSequences);
  Value begin = load(call.starts, sequence);
  Value end = load(call.starts, add(sequence, constant(1)));
  check(compare(Predicate::sge, begin, constant(0)),
        "expected starts of at least 0, got a negative one");
  check(compare(Predicate::sle, begin, end),
        "expected starts to be monotone, got one below the one before");
  check(compare(Predicate::sle, end, numTokens),
        "expected starts of at most the number of tokens, got a larger one");
  return sub(end, begin);
}

std::pair<Value, Value> Checks::verifyPageCount(const Call &call,
                                                Value sequence) {
  if (call.table)
    return {Value(), dim(call.table, 1)};
  Value begin = load(call.indptr, sequence);
  Value end = load(call.indptr, add(sequence, constant(1)));
  check(both(compare(Predicate::sle, constant(0), begin),
             compare(Predicate::sle, begin, end)),
        "expected indptr to be monotone from 0 on, got one below the one "
        "before");
  check(compare(Predicate::sle, end, dim(call.indices, 0)),
        "expected indptr of at most the number of page indices, got a larger "
        "one");
  return {begin, sub(end, begin)};
}

Value Checks::getFirstVisible(MaskAttr mask, Value position) {
  Value first = constant(0);
  if (mask && mask.getWindow())
    first = max(first, sub(position, constant(mask.getWindow() - 1)));
  if (mask && mask.getChunk()) {
    Value size = constant(mask.getChunk());
    Value chunk = make<arith::DivSIOp>(max(position, constant(0)), size);
    first = max(first, mul(chunk, size));
  }
  return first;
}

Touched Checks::getTouched(const Call &call, Value sequence, Value length,
                           Value queryLength) {
  if (!queryLength)
    return {constant(0), length, constant(0)};
  Value position =
      call.offsets ? load(call.offsets, sequence) : sub(length, queryLength);
  if (call.onlyNew)
    return {position, length, constant(0)};
  // A sequence without new tokens reads nothing; the last row of a causal
  // one sees no key behind itself.
  Value end = length;
  if (call.mask && call.mask.getCausal())
    end = min(end, add(position, queryLength));
  Value last = sub(add(position, queryLength), constant(1));
  Value sinks = constant(call.mask ? call.mask.getSinkTokens() : 0);
  if (call.mask && call.mask.getChunk()) {
    // The last row's chunk ends the range; sinks lie in the first chunk.
    Value size = constant(call.mask.getChunk());
    Value next = add(make<arith::DivSIOp>(last, size), constant(1));
    end = max(min(end, mul(next, size)), constant(0));
    sinks = builder.createOrFold<arith::SelectOp>(
        loc, compare(Predicate::slt, position, size), sinks, constant(0));
  }
  Value isEmpty = compare(Predicate::eq, queryLength, constant(0));
  end = arith::SelectOp::create(builder, loc, isEmpty, constant(0), end);
  return {getFirstVisible(call.mask, position), end, sinks};
}

void Checks::verifyPages(const Call &call, Value sequence, Value first,
                         Touched touched) {
  Value pageSize = dim(call.pool, call.layout.getDim('s'));
  Value numPages = dim(call.pool, call.layout.getDim('p'));
  auto verifyRange = [&](Value begin, Value end) {
    Value beginPage = make<arith::DivSIOp>(begin, pageSize);
    Value endPage = make<arith::CeilDivSIOp>(end, pageSize);
    loop(beginPage, endPage, [&](Value page) {
      Value id = first ? load(call.indices, add(first, page))
                       : load(call.table, {sequence, page});
      check(inRange(constant(0), id, numPages),
            "expected page ids between 0 and the pool's pages - 1, got one "
            "outside");
    });
  };
  verifyRange(touched.begin, touched.end);
  if (!matchPattern(touched.sinks, m_Zero()))
    verifyRange(constant(0), min(touched.sinks, touched.end));
}

void Checks::verifySequence(const Call &call, Value sequence,
                            Value numSequences) {
  Value length = load(call.lens, sequence);
  Value queryLength = verifyStarts(call, sequence, numSequences);
  auto [first, pageCount] = verifyPageCount(call, sequence);
  check(compare(Predicate::sge, length, constant(0)),
        "expected lens of at least 0, got a negative one");
  if (queryLength && !call.offsets)
    check(compare(Predicate::sle, queryLength, length),
          "expected lens of at least the new tokens of the sequence, got a "
          "smaller one");
  Value capacity = mul(pageCount, dim(call.pool, call.layout.getDim('s')));
  check(compare(Predicate::sle, length, capacity),
        "expected lens of at most pages in the table * slots in a page, got a "
        "larger one");
  if (call.mostKeys)
    check(compare(Predicate::sle, length, dim(call.mostKeys, 1)),
          "expected lens of at most dimension 1 of out, got a larger one");
  verifyPages(call, sequence, first,
              getTouched(call, sequence, length, queryLength));
}

void Checks::verifyCall(const Call &call) {
  Value numSequences = dim(call.lens, 0);
  verifyLayer(call.layer, call.pool, call.layout);
  verifySizes(call, numSequences);
  loop(constant(0), numSequences,
       [&](Value sequence) { verifySequence(call, sequence, numSequences); });
}

namespace {

struct AttentionModel
    : public RuntimeVerifiableOpInterface::ExternalModel<AttentionModel,
                                                         AttentionOp> {
  void generateRuntimeVerification(Operation *op, OpBuilder &builder,
                                   Location loc, MessageFn message) const {
    auto attention = cast<AttentionOp>(op);
    Call call{attention.getKvLens(),
              attention.getPageTable(),
              attention.getPageIndices(),
              attention.getPageIndptr(),
              attention.getQueryStarts(),
              attention.getQueryOffsets(),
              attention.getLayer(),
              attention.getQuery(),
              attention.getKeys(),
              attention.getKeyLayout(),
              attention.getMaskOrDefault(),
              /*onlyNew=*/false,
              Value()};
    Checks checks(builder, loc, op, message);
    checks.verifyCall(call);
    if (attention.getValues())
      checks.verifyLayer(attention.getLayer(), attention.getValues(),
                         attention.getValueLayoutOrDefault());
  }
};

struct AppendModel
    : public RuntimeVerifiableOpInterface::ExternalModel<AppendModel,
                                                         AppendOp> {
  void generateRuntimeVerification(Operation *op, OpBuilder &builder,
                                   Location loc, MessageFn message) const {
    auto append = cast<AppendOp>(op);
    Checks checks(builder, loc, op, message);
    if (append.getValuePool())
      checks.verifyLayer(append.getLayer(), append.getValuePool(),
                         append.getValueLayoutOrDefault());
    if (append.getSlots()) {
      checks.verifyLayer(append.getLayer(), append.getKeyPool(),
                         append.getKeyLayout());
      checks.verifySlots(append.getSlots(), append.getKeyPool(),
                         append.getKeyLayout());
      return;
    }
    Call call{append.getKvLens(),
              append.getPageTable(),
              append.getPageIndices(),
              append.getPageIndptr(),
              append.getQueryStarts(),
              Value(),
              append.getLayer(),
              append.getKeys(),
              append.getKeyPool(),
              append.getKeyLayout(),
              MaskAttr(),
              /*onlyNew=*/true,
              Value()};
    checks.verifyCall(call);
  }
};

struct GatherModel
    : public RuntimeVerifiableOpInterface::ExternalModel<GatherModel,
                                                         GatherOp> {
  void generateRuntimeVerification(Operation *op, OpBuilder &builder,
                                   Location loc, MessageFn message) const {
    auto gather = cast<GatherOp>(op);
    Call call{gather.getKvLens(),
              gather.getPageTable(),
              gather.getPageIndices(),
              gather.getPageIndptr(),
              Value(),
              Value(),
              gather.getLayer(),
              Value(),
              gather.getPool(),
              gather.getLayout(),
              MaskAttr(),
              /*onlyNew=*/false,
              gather.getOut()};
    Checks(builder, loc, op, message).verifyCall(call);
  }
};

struct CopyPagesModel
    : public RuntimeVerifiableOpInterface::ExternalModel<CopyPagesModel,
                                                         CopyPagesOp> {
  void generateRuntimeVerification(Operation *op, OpBuilder &builder,
                                   Location loc, MessageFn message) const {
    auto copy = cast<CopyPagesOp>(op);
    Checks(builder, loc, op, message)
        .verifyPairs(copy.getPairs(), copy.getPool(), copy.getLayout());
  }
};

} // namespace

void paged_attn::registerRuntimeVerifiableOpInterfaceModels(
    DialectRegistry &registry) {
  registry.addExtension(+[](MLIRContext *context, PagedAttnDialect *) {
    AttentionOp::attachInterface<AttentionModel>(*context);
    AppendOp::attachInterface<AppendModel>(*context);
    GatherOp::attachInterface<GatherModel>(*context);
    CopyPagesOp::attachInterface<CopyPagesModel>(*context);
    context->loadDialect<arith::ArithDialect, cf::ControlFlowDialect,
                         memref::MemRefDialect, scf::SCFDialect,
                         tensor::TensorDialect>();
  });
}
