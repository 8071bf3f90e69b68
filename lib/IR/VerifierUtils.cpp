//===- VerifierUtils.cpp - Checks that several verifiers share ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Messages read "expected <operand> to have <n> <unit> ..., got <m>".
//
//===----------------------------------------------------------------------===//

#include "VerifierUtils.h"

using namespace mlir;
using namespace mlir::paged_attn;
using namespace mlir::paged_attn::verifier;

static bool isKnown(Size size) { return !ShapedType::isDynamic(size.value); }

Size verifier::sizeOf(StringRef operand, StringRef unit, Value value,
                      unsigned dim) {
  return {operand, unit, cast<ShapedType>(value.getType()).getDimSize(dim)};
}

LogicalResult verifier::expectSame(Operation *op, Size got, Size like) {
  if (!isKnown(got) || !isKnown(like) || got.value == like.value)
    return success();
  return op->emitOpError("expected ")
         << got.operand << " to have " << like.value << " " << got.unit
         << " like " << like.operand << ", got " << got.value;
}

LogicalResult verifier::expectPositive(Operation *op, Size got) {
  if (!isKnown(got) || got.value >= 1)
    return success();
  return op->emitOpError("expected ") << got.operand << " to have at least 1 "
                                      << got.unit << ", got " << got.value;
}

LogicalResult verifier::expectStatic(Operation *op, Size got) {
  if (isKnown(got))
    return success();
  return op->emitOpError("expected ")
         << got.operand << " to have a static number of " << got.unit
         << ", got ?";
}

LogicalResult verifier::verifyBatch(Operation *op,
                                    ArrayRef<BatchOperand> operands) {
  Size sequences{"", "", ShapedType::kDynamic};
  for (const BatchOperand &operand : operands) {
    if (!operand.value)
      continue;
    Size got = sizeOf(operand.operand, operand.unit, operand.value, 0);
    if (!isKnown(got))
      continue;
    if (got.value < operand.extra)
      return expectPositive(op, got);
    if (!isKnown(sequences)) {
      sequences = {operand.operand, "", got.value - operand.extra};
      continue;
    }
    int64_t expected = sequences.value + operand.extra;
    if (got.value != expected)
      return op->emitOpError("expected ")
             << got.operand << " to have " << expected << " " << got.unit
             << " for the " << sequences.value << " sequences of "
             << sequences.operand << ", got " << got.value;
  }
  return success();
}

LogicalResult verifier::verifyEvenSplit(Operation *op, Size tokens,
                                        Size sequences) {
  if (failed(expectPositive(op, sequences)))
    return failure();
  if (!isKnown(tokens) || !isKnown(sequences) ||
      tokens.value % sequences.value == 0)
    return success();
  return op->emitOpError("expected without starts ")
         << tokens.operand << " to have a multiple of " << sequences.value
         << " " << tokens.unit << ", got " << tokens.value;
}

LogicalResult verifier::expectOneOf(Operation *op, StringRef names,
                                    ArrayRef<StringRef> given) {
  if (given.size() == 1)
    return success();
  InFlightDiagnostic error = op->emitOpError("expected exactly one of ")
                             << names << ", got ";
  if (given.empty())
    return error << "none";
  llvm::interleave(given, error, " and ");
  return error;
}

/// Rank and pack.
static LogicalResult verifyPoolRank(Operation *op, Pool pool) {
  ShapedType type = pool.getType();
  int64_t rank = pool.layout.getRank(), pack = pool.layout.getPack();
  if (type.getRank() != rank)
    return op->emitOpError("expected ")
           << pool.name << " to have " << rank << " dimensions as "
           << pool.layout << " says, got " << type.getRank();
  int64_t last = type.getShape().back();
  if (pack > 1 && !ShapedType::isDynamic(last) && last != pack)
    return op->emitOpError("expected ") << pool.name << " to have " << pack
                                        << " elements in the last dimension as "
                                        << pool.layout << " says, got " << last;
  return success();
}

LogicalResult verifier::verifyPool(Operation *op, Pool pool) {
  if (failed(verifyPoolRank(op, pool)))
    return failure();
  PoolShape shape = pool.getShape();
  Size sizes[] = {{pool.name, "slots in a page", shape.pageSize},
                  {pool.name, "KV heads", shape.numKVHeads},
                  {pool.name, "elements in the head dim", shape.headDim}};
  for (Size size : sizes)
    if (failed(expectPositive(op, size)))
      return failure();
  if (!pool.layout.hasDim('c'))
    return success();
  int64_t pair = pool.getType().getDimSize(pool.layout.getDim('c'));
  if (!ShapedType::isDynamic(pair) && pair != 2)
    return op->emitOpError("expected ")
           << pool.name << " to have 2 entries in dimension c, got " << pair;
  return success();
}

LogicalResult verifier::verifyLayer(Operation *op, Value layer,
                                    bool layoutHasLayers) {
  if (bool(layer) == layoutHasLayers)
    return success();
  if (layer)
    return op->emitOpError(
        "expected a layout with l beside layer, got none with l");
  return op->emitOpError("expected layer beside a layout with l, got none");
}

LogicalResult verifier::verifyFloatPool(Operation *op, Pool pool) {
  Type type = pool.getType().getElementType();
  if (type.isF32() || type.isF16() || type.isBF16())
    return success();
  return op->emitOpError("expected ")
         << pool.name << " of f32, f16 or bf16, got " << type;
}

/// What `scale` must be for `pool`'s element type: there for integers, not
/// there for wide floats.
static LogicalResult verifyScaleIsThere(Operation *op, StringRef name,
                                        Value scale, Pool pool) {
  Type type = pool.getShape().elementType;
  if (!scale && type.isInteger())
    return op->emitOpError("expected ")
           << name << " for " << pool.name << " of " << type << ", got none";
  if (scale && type.isFloat() && type.getIntOrFloatBitWidth() >= 16)
    return op->emitOpError("expected no ")
           << name << " for " << pool.name << " of " << type << ", got one";
  return success();
}

LogicalResult verifier::verifyScale(Operation *op, StringRef name, Value scale,
                                    Pool pool) {
  if (failed(verifyScaleIsThere(op, name, scale, pool)))
    return failure();
  if (!scale)
    return success();
  PoolShape shape = pool.getShape();
  auto type = cast<ShapedType>(scale.getType());
  SmallVector<std::pair<StringRef, int64_t>> sizes;
  if (type.getRank() == 3)
    sizes = {{"pages", shape.numPages}, {"slots in a page", shape.pageSize}};
  if (type.getRank() > 0)
    sizes.push_back({"KV heads", shape.numKVHeads});
  for (auto [dim, size] : llvm::enumerate(sizes))
    if (failed(expectSame(op, {name, size.first, type.getDimSize(dim)},
                          {pool.name, size.first, size.second})))
      return failure();
  return success();
}

LogicalResult verifier::verifyTensorsOrMemRefs(Operation *op) {
  Type first;
  for (Type type : op->getOperandTypes()) {
    if (!isa<ShapedType>(type) || isa<VectorType>(type))
      continue;
    if (!first)
      first = type;
    if (isa<TensorType>(first) != isa<TensorType>(type))
      return op->emitOpError("expected all operands to be ")
             << (isa<TensorType>(first) ? "tensors" : "memrefs") << " like "
             << first << ", got " << type;
  }
  return success();
}
