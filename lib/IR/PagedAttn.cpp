//===- PagedAttn.cpp - Dialect, attributes and op queries -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Registration, attribute syntax and the queries that every level asks of an
// op. Verifiers stand in Verifiers.cpp, folds in Canonicalize.cpp, interfaces
// in Interfaces.cpp.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/IR/PagedAttn.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/DialectImplementation.h"
#include "llvm/ADT/TypeSwitch.h"

#include <cmath>

using namespace mlir;
using namespace mlir::paged_attn;

/// Region of an attention op: `score(%s, %seq, ...) { ... }` or nothing.
static ParseResult parseScoreRegion(OpAsmParser &parser, Region &region,
                                    TypeRange captureTypes) {
  if (failed(parser.parseOptionalKeyword("score")))
    return success();
  SmallVector<OpAsmParser::Argument> arguments;
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseArgumentList(arguments, OpAsmParser::Delimiter::Paren))
    return failure();
  SmallVector<Type> types{parser.getBuilder().getF32Type()};
  types.append(4, parser.getBuilder().getIndexType());
  llvm::append_range(types, captureTypes);
  if (arguments.size() != types.size())
    return parser.emitError(loc, "expected a score region with ")
           << types.size() << " arguments, got " << arguments.size();
  for (auto [argument, type] : llvm::zip_equal(arguments, types))
    argument.type = type;
  return parser.parseRegion(region, arguments);
}

static void printScoreRegion(OpAsmPrinter &printer, Operation *, Region &region,
                             TypeRange) {
  if (region.empty())
    return;
  printer << " score(";
  llvm::interleaveComma(region.getArguments(), printer,
                        [&](BlockArgument arg) { printer.printOperand(arg); });
  printer << ") ";
  printer.printRegion(region, /*printEntryBlockArgs=*/false);
}

#include "paged_attn/IR/PagedAttnDialect.cpp.inc"
#include "paged_attn/IR/PagedAttnEnums.cpp.inc"
#define GET_ATTRDEF_CLASSES
#include "paged_attn/IR/PagedAttnAttrs.cpp.inc"
#define GET_OP_CLASSES
#include "paged_attn/IR/PagedAttnOps.cpp.inc"

void PagedAttnDialect::initialize() {
  addAttributes<
#define GET_ATTRDEF_LIST
#include "paged_attn/IR/PagedAttnAttrs.cpp.inc"
      >();
  addOperations<
#define GET_OP_LIST
#include "paged_attn/IR/PagedAttnOps.cpp.inc"
      >();
}

//===----------------------------------------------------------------------===//
// Attributes
//===----------------------------------------------------------------------===//

LogicalResult LayoutAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                                 StringRef dims, int64_t pack) {
  for (auto [i, letter] : llvm::enumerate(dims)) {
    if (!StringRef("pshdcl").contains(letter)) // C1
      return emitError() << "expected a layout of the letters p, s, h, d, c "
                            "and l, got \""
                         << dims << "\"";
    if (dims.find(letter, i + 1) != StringRef::npos) // C1
      return emitError() << "expected each letter of a layout once, got \""
                         << dims << "\"";
  }
  for (char letter : StringRef("pshd"))
    if (!dims.contains(letter)) // C2
      return emitError() << "expected a layout with p, s, h and d, got \""
                         << dims << "\"";
  if (dims.back() != 'd' && dims.back() != 's') // C3
    return emitError() << "expected a layout that ends in d or s, got \""
                       << dims << "\"";
  if (pack < 1) // C4
    return emitError() << "expected a pack of at least 1, got " << pack;
  return success();
}

LogicalResult MaskAttr::verify(function_ref<InFlightDiagnostic()> emitError,
                               bool, int64_t window, int64_t sinkTokens,
                               int64_t chunk) {
  std::pair<StringRef, int64_t> sizes[] = {
      {"window", window}, {"sink_tokens", sinkTokens}, {"chunk", chunk}};
  for (auto [name, value] : sizes)
    if (value < 0) // C1
      return emitError() << "expected a " << name << " of at least 0, got "
                         << value;
  if (sinkTokens && !window) // C2
    return emitError() << "expected a window beside sink_tokens = "
                       << sinkTokens << ", got none";
  return success();
}

/// `<` (`causal` | `window` `=` int | ...) separated by commas `>`
Attribute MaskAttr::parse(AsmParser &parser, Type) {
  bool causal = false;
  int64_t window = 0, sinkTokens = 0, chunk = 0;
  llvm::SmallDenseSet<StringRef> seen;
  auto parseElement = [&]() -> ParseResult {
    SMLoc loc = parser.getCurrentLocation();
    StringRef name;
    if (parser.parseKeyword(&name))
      return failure();
    if (!seen.insert(name).second)
      return parser.emitError(loc,
                              "expected each property of a mask once, got ")
             << name << " again";
    if (name == "causal") {
      causal = true;
      return success();
    }
    int64_t *value = llvm::StringSwitch<int64_t *>(name)
                         .Case("window", &window)
                         .Case("sink_tokens", &sinkTokens)
                         .Case("chunk", &chunk)
                         .Default(nullptr);
    if (!value)
      return parser.emitError(
                 loc, "expected causal, window, sink_tokens or chunk, got ")
             << name;
    return failure(parser.parseEqual() || parser.parseInteger(*value));
  };
  SMLoc loc = parser.getCurrentLocation();
  if (parser.parseCommaSeparatedList(AsmParser::Delimiter::LessGreater,
                                     parseElement))
    return {};
  return parser.getChecked<MaskAttr>(loc, parser.getContext(), causal, window,
                                     sinkTokens, chunk);
}

void MaskAttr::print(AsmPrinter &printer) const {
  SmallVector<std::string> parts;
  if (getCausal())
    parts.push_back("causal");
  std::pair<StringRef, int64_t> sizes[] = {{"window", getWindow()},
                                           {"sink_tokens", getSinkTokens()},
                                           {"chunk", getChunk()}};
  for (auto [name, value] : sizes)
    if (value)
      parts.push_back((name + " = " + Twine(value)).str());
  printer << "<" << llvm::join(parts, ", ") << ">";
}

PoolShape PoolShape::get(ShapedType pool, LayoutAttr layout) {
  int64_t headDim = pool.getDimSize(layout.getDim('d'));
  if (!ShapedType::isDynamic(headDim))
    headDim *= layout.getPack();
  return {pool.getDimSize(layout.getDim('p')),
          pool.getDimSize(layout.getDim('s')),
          pool.getDimSize(layout.getDim('h')), headDim, pool.getElementType()};
}

//===----------------------------------------------------------------------===//
// Queries
//===----------------------------------------------------------------------===//

static int64_t dimSize(Value value, unsigned dim) {
  return cast<ShapedType>(value.getType()).getDimSize(dim);
}

LayoutAttr AttentionOp::getValueLayoutOrDefault() {
  return getValueLayout().value_or(getKeyLayout());
}

MaskAttr AttentionOp::getMaskOrDefault() {
  return getMask().value_or(MaskAttr::get(getContext(), /*causal=*/false,
                                          /*window=*/0, /*sinkTokens=*/0,
                                          /*chunk=*/0));
}

float AttentionOp::getScaleOrDefault() {
  if (std::optional<APFloat> scale = getScale())
    return scale->convertToFloat();
  return 1.0 / std::sqrt(double(getKeyDim()));
}

Value AttentionOp::getValuePool() {
  return getValues() ? getValues() : getKeys();
}

bool AttentionOp::isLatent() {
  return !getValues() && !getKeyLayout().hasDim('c');
}

int64_t AttentionOp::getNumSequences() { return dimSize(getKvLens(), 0); }
int64_t AttentionOp::getNumTokens() { return dimSize(getQuery(), 0); }
int64_t AttentionOp::getNumQueryHeads() { return dimSize(getQuery(), 1); }
int64_t AttentionOp::getKeyDim() { return dimSize(getQuery(), 2); }
int64_t AttentionOp::getValueDim() { return dimSize(getOut(), 2); }

int64_t AttentionOp::getNumKVHeads() {
  return PoolShape::get(cast<ShapedType>(getKeys().getType()), getKeyLayout())
      .numKVHeads;
}

int64_t AttentionOp::getPageSize() {
  return PoolShape::get(cast<ShapedType>(getKeys().getType()), getKeyLayout())
      .pageSize;
}

int64_t AttentionOp::getGroupSize() {
  int64_t queryHeads = getNumQueryHeads(), kvHeads = getNumKVHeads();
  if (ShapedType::isDynamic(queryHeads) || ShapedType::isDynamic(kvHeads))
    return ShapedType::kDynamic;
  return queryHeads / kvHeads;
}

LayoutAttr AppendOp::getValueLayoutOrDefault() {
  return getValueLayout().value_or(getKeyLayout());
}

Value AppendOp::getValueTarget() {
  return getValuePool() ? getValuePool() : getKeyPool();
}

//===----------------------------------------------------------------------===//
// Destination style
//===----------------------------------------------------------------------===//

/// The last `count` operands of `op`, its outs.
static MutableOperandRange lastOperands(Operation *op, unsigned count) {
  return MutableOperandRange(op, op->getNumOperands() - count, count);
}

MutableOperandRange AttentionOp::getDpsInitsMutable() {
  return lastOperands(*this, getLse() ? 2 : 1);
}
MutableOperandRange AppendOp::getDpsInitsMutable() {
  return lastOperands(*this, getValuePool() ? 2 : 1);
}
MutableOperandRange MergeStatesOp::getDpsInitsMutable() {
  return lastOperands(*this, getLse() ? 2 : 1);
}
MutableOperandRange OnlineUpdateOp::getDpsInitsMutable() {
  return lastOperands(*this, 3);
}
MutableOperandRange CombineOp::getDpsInitsMutable() {
  return lastOperands(*this, 3);
}
MutableOperandRange FinalizeOp::getDpsInitsMutable() {
  return lastOperands(*this, getLse() ? 2 : 1);
}
