//===- Expand.cpp - Operations that a CPU lacks ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Before the optimiser runs, so that the pieces are vectorised with the rest.
//
//===----------------------------------------------------------------------===//

#include "Expand.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/Module.h"

using namespace mlir::paged_attn;

namespace {

/// a * b + c, rounded twice.
llvm::Value *expandFma(llvm::IRBuilder<> &builder, llvm::CallBase &call) {
  llvm::Value *product =
      builder.CreateFMul(call.getArgOperand(0), call.getArgOperand(1));
  return builder.CreateFAdd(product, call.getArgOperand(2));
}

/// i32, or a vector of it with as many elements as `like`.
llvm::Type *wordsLike(llvm::Type *like) {
  return like->getWithNewType(llvm::Type::getInt32Ty(like->getContext()));
}

/// f16 to f32: shift the fraction into place, rebias by a product with 2^112
/// (which also normalises), and give Inf and NaN their exponent.
llvm::Value *expandFromHalf(llvm::IRBuilder<> &builder, llvm::Value *half,
                            llvm::Type *type) {
  llvm::Type *words = wordsLike(type);
  auto constant = [&](uint32_t value) {
    return llvm::ConstantInt::get(words, value);
  };
  llvm::Type *shorts = half->getType()->getWithNewType(builder.getInt16Ty());
  llvm::Value *bits =
      builder.CreateZExt(builder.CreateBitCast(half, shorts), words);
  llvm::Value *magnitude = builder.CreateAnd(bits, constant(0x7fff));
  llvm::Value *sign = builder.CreateShl(
      builder.CreateAnd(bits, constant(0x8000)), constant(16));
  llvm::Value *shifted = builder.CreateShl(magnitude, constant(13));
  llvm::Value *scaled =
      builder.CreateFMul(builder.CreateBitCast(shifted, type),
                         llvm::ConstantFP::get(type, 0x1p112));
  llvm::Value *isSpecial = builder.CreateICmpUGE(magnitude, constant(0x7c00));
  llvm::Value *result = builder.CreateSelect(
      isSpecial, builder.CreateOr(shifted, constant(0x7f800000)),
      builder.CreateBitCast(scaled, words));
  return builder.CreateBitCast(builder.CreateOr(result, sign), type);
}

/// f32 to f16, to nearest even. Normal results: round the fraction by an
/// addition below its last bit. Small ones: the sum with 0.5 has the last bit
/// of a subnormal f16 (2^-24) as its own.
llvm::Value *expandToHalf(llvm::IRBuilder<> &builder, llvm::Value *value,
                          llvm::Type *type) {
  llvm::Type *words = wordsLike(type);
  auto constant = [&](uint32_t value) {
    return llvm::ConstantInt::get(words, value);
  };
  llvm::Value *bits = builder.CreateBitCast(value, words);
  llvm::Value *magnitude = builder.CreateAnd(bits, constant(0x7fffffff));
  llvm::Value *last = builder.CreateAnd(
      builder.CreateLShr(magnitude, constant(13)), constant(1));
  llvm::Value *rounded = builder.CreateAdd(
      builder.CreateAdd(magnitude, constant(0xfff - (112u << 23))), last);
  llvm::Value *normal = builder.CreateLShr(rounded, constant(13));
  llvm::Value *sum =
      builder.CreateFAdd(builder.CreateBitCast(magnitude, value->getType()),
                         llvm::ConstantFP::get(value->getType(), 0.5));
  llvm::Value *small = builder.CreateSub(builder.CreateBitCast(sum, words),
                                         constant(0x3f000000));
  auto below = [&](uint32_t limit) {
    return builder.CreateICmpULT(magnitude, constant(limit));
  };
  llvm::Value *special = builder.CreateSelect(
      below(0x7f800001), constant(0x7c00), constant(0x7e00));
  llvm::Value *finite = builder.CreateSelect(below(0x38800000), small, normal);
  llvm::Value *result =
      builder.CreateSelect(below(0x47800000), finite, special);
  llvm::Value *sign = builder.CreateAnd(builder.CreateLShr(bits, constant(16)),
                                        constant(0x8000));
  llvm::Type *shorts = type->getWithNewType(builder.getInt16Ty());
  return builder.CreateBitCast(
      builder.CreateTrunc(builder.CreateOr(result, sign), shorts), type);
}

/// What takes the place of `instruction`, null when it may stay.
llvm::Value *expand(llvm::Instruction &instruction, const TargetInfo &info) {
  llvm::IRBuilder<> builder(&instruction);
  llvm::Type *type = instruction.getType();
  if (auto *call = llvm::dyn_cast<llvm::IntrinsicInst>(&instruction))
    return !info.hasFma && call->getIntrinsicID() == llvm::Intrinsic::fma
               ? expandFma(builder, *call)
               : nullptr;
  if (info.hasHalfConversion || !llvm::isa<llvm::CastInst>(instruction))
    return nullptr;
  llvm::Value *operand = instruction.getOperand(0);
  bool fromHalf = operand->getType()->getScalarType()->isHalfTy();
  bool toHalf = type->getScalarType()->isHalfTy();
  if (llvm::isa<llvm::FPExtInst>(instruction) && fromHalf &&
      type->getScalarType()->isFloatTy())
    return expandFromHalf(builder, operand, type);
  if (llvm::isa<llvm::FPTruncInst>(instruction) && toHalf &&
      operand->getType()->getScalarType()->isFloatTy())
    return expandToHalf(builder, operand, type);
  return nullptr;
}

} // namespace

void mlir::paged_attn::expandMissing(llvm::Module &module,
                                     const TargetInfo &info) {
  if (info.hasFma && info.hasHalfConversion)
    return;
  llvm::SmallVector<llvm::Instruction *> instructions;
  for (llvm::Function &function : module)
    for (llvm::Instruction &instruction : llvm::instructions(function))
      instructions.push_back(&instruction);
  for (llvm::Instruction *instruction : instructions)
    if (llvm::Value *value = expand(*instruction, info)) {
      instruction->replaceAllUsesWith(value);
      instruction->eraseFromParent();
    }
}
