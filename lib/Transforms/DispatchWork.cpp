//===- DispatchWork.cpp - Level 5 -----------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Calls of work functions go through an executor:
//   1. every function that (directly or by its callees) has such calls takes
//      the executor as last argument, C wrappers too;
//   2. a trampoline per work function loads the captures from a struct;
//   3. a call becomes: fill the struct, then run the trampoline over all items
//      in this thread or through the executor.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Transforms/Passes.h"

#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/IR/SymbolTable.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_DISPATCHWORKPASS
#include "paged_attn/Transforms/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;

namespace {

constexpr StringLiteral kWorkAttr = "paged_attn.work";

/// One run of the pass over a module.
class Dispatcher {
public:
  explicit Dispatcher(ModuleOp module)
      : module(module), symbols(module),
        pointer(LLVM::LLVMPointerType::get(module.getContext())),
        i64(IntegerType::get(module.getContext(), 64)) {}

  void run();

private:
  /// Fills `workCalls`, `workFunctions` and `users`.
  void collect();
  /// Adds the executor argument and passes it on in calls.
  void addExecutorArguments();
  /// The struct type that holds the captures of `work`.
  LLVM::LLVMStructType getCaptureType(LLVM::LLVMFuncOp work);
  /// `void(ptr data, i64 begin, i64 end)`, which calls `work`.
  LLVM::LLVMFuncOp getTrampoline(LLVM::LLVMFuncOp work);
  /// The struct of captures of `call`, filled, in the caller's frame.
  Value storeCaptures(OpBuilder &builder, LLVM::CallOp call);
  void dispatch(LLVM::CallOp call);
  LLVM::LLVMFuncOp getCallee(LLVM::CallOp call) {
    std::optional<StringRef> name = call.getCallee();
    return name ? symbols.lookup<LLVM::LLVMFuncOp>(*name) : nullptr;
  }

  ModuleOp module;
  SymbolTable symbols;
  LLVM::LLVMPointerType pointer;
  IntegerType i64;
  SmallVector<LLVM::CallOp> workCalls;
  llvm::SetVector<Operation *> workFunctions;
  llvm::SetVector<Operation *> users; ///< functions that take an executor
  llvm::DenseMap<Operation *, LLVM::LLVMFuncOp> trampolines;
};

void Dispatcher::collect() {
  llvm::DenseMap<Operation *, SmallVector<Operation *>> callers;
  module.walk([&](LLVM::CallOp call) {
    LLVM::LLVMFuncOp callee = getCallee(call);
    if (!callee)
      return;
    if (call->hasAttr(kWorkAttr)) {
      workCalls.push_back(call);
      workFunctions.insert(callee);
    } else {
      callers[callee].push_back(call->getParentOfType<LLVM::LLVMFuncOp>());
    }
  });
  for (LLVM::CallOp call : workCalls)
    users.insert(call->getParentOfType<LLVM::LLVMFuncOp>());
  for (unsigned i = 0; i < users.size(); ++i)
    for (Operation *caller : callers[users[i]])
      if (!workFunctions.contains(caller)) // its items run in one thread
        users.insert(caller);
}

void Dispatcher::addExecutorArguments() {
  for (Operation *op : users) {
    auto function = cast<LLVM::LLVMFuncOp>(op);
    LLVM::LLVMFunctionType type = function.getFunctionType();
    SmallVector<Type> inputs(type.getParams());
    inputs.push_back(pointer);
    function.setFunctionType(LLVM::LLVMFunctionType::get(
        type.getReturnType(), inputs, type.isVarArg()));
    if (!function.isExternal())
      function.getBody().front().addArgument(pointer, function.getLoc());
    if (ArrayAttr attrs = function.getArgAttrsAttr()) {
      SmallVector<Attribute> extended(attrs.getValue());
      extended.push_back(DictionaryAttr::get(op->getContext()));
      function.setArgAttrsAttr(ArrayAttr::get(op->getContext(), extended));
    }
  }
  module.walk([&](LLVM::CallOp call) {
    LLVM::LLVMFuncOp callee = getCallee(call);
    if (!callee || !users.contains(callee) || call->hasAttr(kWorkAttr))
      return;
    auto caller = call->getParentOfType<LLVM::LLVMFuncOp>();
    OpBuilder builder(call);
    Value executor =
        users.contains(caller)
            ? Value(caller.getArguments().back())
            : Value(LLVM::ZeroOp::create(builder, call.getLoc(), pointer));
    call.getCalleeOperandsMutable().append(executor);
  });
}

LLVM::LLVMStructType Dispatcher::getCaptureType(LLVM::LLVMFuncOp work) {
  return LLVM::LLVMStructType::getLiteral(
      module.getContext(),
      work.getFunctionType().getParams().drop_back(/*begin and end*/ 2));
}

LLVM::LLVMFuncOp Dispatcher::getTrampoline(LLVM::LLVMFuncOp work) {
  LLVM::LLVMFuncOp &trampoline = trampolines[work];
  if (trampoline)
    return trampoline;
  Location loc = work.getLoc();
  OpBuilder builder(work);
  builder.setInsertionPointAfter(work);
  auto voidType = LLVM::LLVMVoidType::get(module.getContext());
  trampoline = LLVM::LLVMFuncOp::create(
      builder, loc, (work.getName() + "_items").str(),
      LLVM::LLVMFunctionType::get(voidType, {pointer, i64, i64}),
      LLVM::Linkage::Internal);
  symbols.insert(trampoline, std::next(work->getIterator()));
  work.setLinkage(LLVM::Linkage::Internal);

  builder.setInsertionPointToStart(trampoline.addEntryBlock(builder));
  LLVM::LLVMStructType captures = getCaptureType(work);
  SmallVector<Value> operands;
  for (auto [index, type] : llvm::enumerate(captures.getBody())) {
    Value address = LLVM::GEPOp::create(
        builder, loc, pointer, captures, trampoline.getArgument(0),
        ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(index)});
    operands.push_back(LLVM::LoadOp::create(builder, loc, type, address));
  }
  operands.push_back(trampoline.getArgument(1));
  operands.push_back(trampoline.getArgument(2));
  LLVM::CallOp::create(builder, loc, work, operands);
  LLVM::ReturnOp::create(builder, loc, ValueRange());
  return trampoline;
}

Value Dispatcher::storeCaptures(OpBuilder &builder, LLVM::CallOp call) {
  Location loc = call.getLoc();
  LLVM::LLVMStructType captures = getCaptureType(getCallee(call));
  auto caller = call->getParentOfType<LLVM::LLVMFuncOp>();
  OpBuilder entry = OpBuilder::atBlockBegin(&caller.getBody().front());
  Value one =
      LLVM::ConstantOp::create(entry, loc, i64, entry.getI64IntegerAttr(1));
  Value data = LLVM::AllocaOp::create(entry, loc, pointer, captures, one);
  for (size_t index = 0; index < captures.getBody().size(); ++index) {
    Value address = LLVM::GEPOp::create(
        builder, loc, pointer, captures, data,
        ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(index)});
    LLVM::StoreOp::create(builder, loc, call.getArgOperands()[index], address);
  }
  return data;
}

void Dispatcher::dispatch(LLVM::CallOp call) {
  Location loc = call.getLoc();
  LLVM::LLVMFuncOp trampoline = getTrampoline(getCallee(call));
  OpBuilder builder(call);
  Value data = storeCaptures(builder, call);
  Value numItems = call.getArgOperands().back();
  Value executor =
      call->getParentOfType<LLVM::LLVMFuncOp>().getArguments().back();

  Block *before = call->getBlock();
  Block *after = before->splitBlock(call);
  Block *here = builder.createBlock(after);
  Block *there = builder.createBlock(after);
  builder.setInsertionPointToEnd(before);
  Value null = LLVM::ZeroOp::create(builder, loc, pointer);
  Value isNull = LLVM::ICmpOp::create(builder, loc, LLVM::ICmpPredicate::eq,
                                      executor, null);
  LLVM::CondBrOp::create(builder, loc, isNull, here, there);

  builder.setInsertionPointToEnd(here);
  Value zero =
      LLVM::ConstantOp::create(builder, loc, i64, builder.getI64IntegerAttr(0));
  LLVM::CallOp::create(builder, loc, trampoline,
                       ValueRange{data, zero, numItems});
  LLVM::BrOp::create(builder, loc, after);

  builder.setInsertionPointToEnd(there);
  auto executorType =
      LLVM::LLVMStructType::getLiteral(module.getContext(), {pointer, pointer});
  Value runAddress =
      LLVM::GEPOp::create(builder, loc, pointer, executorType, executor,
                          ArrayRef<LLVM::GEPArg>{0, 1});
  Value context = LLVM::LoadOp::create(builder, loc, pointer, executor);
  Value run = LLVM::LoadOp::create(builder, loc, pointer, runAddress);
  Value work = LLVM::AddressOfOp::create(builder, loc, trampoline);
  auto runType =
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(module.getContext()),
                                  {pointer, pointer, pointer, i64});
  LLVM::CallOp::create(builder, loc, runType,
                       ValueRange{run, context, work, data, numItems});
  LLVM::BrOp::create(builder, loc, after);
  call.erase();
}

void Dispatcher::run() {
  collect();
  addExecutorArguments();
  for (LLVM::CallOp call : workCalls)
    dispatch(call);
}

struct DispatchWorkPass
    : public paged_attn::impl::DispatchWorkPassBase<DispatchWorkPass> {
  using Base::Base;
  void runOnOperation() final { Dispatcher(getOperation()).run(); }
};

} // namespace
