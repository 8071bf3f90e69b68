//===- LoweredModule.cpp - A module on its way down -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Parsing, the stages of the ladder, translation to LLVM IR.
//
//===----------------------------------------------------------------------===//

#include "LoweredModule.h"

#include "FirstError.h"

#include "paged_attn/IR/PagedAttn.h"
#include "paged_attn/Register.h"

#include "mlir/Dialect/Bufferization/IR/Bufferization.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Interfaces/CastInterfaces.h"
#include "mlir/Parser/Parser.h"
#include "mlir/Target/LLVMIR/Dialect/Builtin/BuiltinToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/GPU/GPUToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/LLVMIR/LLVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/NVVM/NVVMToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Dialect/ROCDL/ROCDLToLLVMIRTranslation.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Module.h"

using namespace mlir;
using namespace mlir::paged_attn;

namespace {

constexpr StringLiteral kWrapperPrefix = "_mlir_ciface_";

/// Calls `visit(operand, name)` for the operands of an attention op.
void forEachOperand(AttentionOp op,
                    function_ref<void(Value, StringRef)> visit) {
  static constexpr StringLiteral kNames[] = {
      "query",       "keys",    "values",       "page_table",    "page_indices",
      "page_indptr", "kv_lens", "query_starts", "query_offsets", "layer",
      "k_scale",     "v_scale", "alibi_slopes", "sinks",         "bias",
      "captures",    "out",     "lse"};
  for (auto [index, name] : llvm::enumerate(kNames)) {
    auto [start, size] = op.getODSOperandIndexAndLength(index);
    if (size == 1)
      visit(op->getOperand(start), name);
  }
}

/// The block argument behind casts and bufferization ops, or nothing.
BlockArgument getSourceArgument(Value value) {
  while (Operation *op = value.getDefiningOp()) {
    if (!isa<CastOpInterface, bufferization::ToTensorOp,
             bufferization::ToBufferOp>(op))
      return {};
    value = op->getOperand(0);
  }
  return cast<BlockArgument>(value);
}

ArgumentInfo describe(Type type) {
  ArgumentInfo info;
  Type element = type;
  if (auto buffer = dyn_cast<MemRefType>(type)) {
    element = buffer.getElementType();
    for (int64_t size : buffer.getShape())
      info.sizes.push_back(ShapedType::isDynamic(size) ? kDynamicSize : size);
  } else {
    info.kind = isa<FloatType>(type) ? ArgumentInfo::Kind::Float
                                     : ArgumentInfo::Kind::Integer;
  }
  llvm::raw_string_ostream(info.elementType) << element;
  return info;
}

/// Adds `void <name>_packed(void **arguments)`, which unpacks and calls
/// `wrapper`.
void addPackedEntry(llvm::Module &module, llvm::Function &wrapper,
                    StringRef name) {
  llvm::IRBuilder<> builder(module.getContext());
  auto *pointer = builder.getPtrTy();
  auto *entry = llvm::Function::Create(
      llvm::FunctionType::get(builder.getVoidTy(), {pointer}, false),
      llvm::Function::ExternalLinkage, getPackedName(name), module);
  builder.SetInsertPoint(
      llvm::BasicBlock::Create(module.getContext(), "entry", entry));
  SmallVector<llvm::Value *> operands;
  for (llvm::Argument &argument : wrapper.args()) {
    llvm::Value *slot = builder.CreateConstGEP1_64(pointer, entry->getArg(0),
                                                   argument.getArgNo());
    llvm::Value *operand = builder.CreateLoad(pointer, slot);
    if (!argument.getType()->isPointerTy())
      operand = builder.CreateLoad(argument.getType(), operand);
    operands.push_back(operand);
  }
  builder.CreateCall(&wrapper, operands);
  builder.CreateRetVoid();
}

} // namespace

std::string paged_attn::getPackedName(std::string_view function) {
  return std::string(function) + "_packed";
}

LoweredModule::LoweredModule() : context(MLIRContext::Threading::DISABLED) {
  DialectRegistry registry;
  paged_attn::registerAllDialects(registry);
  registerBuiltinDialectTranslation(registry);
  registerLLVMDialectTranslation(registry);
  registerGPUDialectTranslation(registry);
  registerNVVMDialectTranslation(registry);
  registerROCDLDialectTranslation(registry);
  context.appendDialectRegistry(registry);
}

bool LoweredModule::parse(std::string_view source, std::string_view sourceName,
                          std::string &error) {
  FirstError first(context);
  module =
      parseSourceString<ModuleOp>(source, ParserConfig(&context), sourceName);
  if (!module) {
    error = first.take("expected one module of MLIR");
    return false;
  }
  recordNames();
  return true;
}

void LoweredModule::recordNames() {
  for (auto function : module->getOps<func::FuncOp>()) {
    std::vector<std::string> &list = names[function.getName()];
    for (unsigned i = 0; i < function.getNumArguments(); ++i)
      list.push_back("arg" + std::to_string(i));
    function.walk([&](AttentionOp op) {
      forEachOperand(op, [&](Value operand, StringRef name) {
        BlockArgument argument = getSourceArgument(operand);
        if (argument &&
            argument.getOwner()->getParentOp() == function.getOperation())
          list[argument.getArgNumber()] = name;
      });
    });
    llvm::StringSet<> taken;
    for (auto [index, name] : llvm::enumerate(list))
      if (!taken.insert(name).second)
        name += "_" + std::to_string(index);
  }
}

void LoweredModule::recordSignatures() {
  for (auto function : module->getOps<func::FuncOp>()) {
    if (!function.isPublic() || function.isExternal())
      continue;
    FunctionInfo info;
    info.name = function.getName().str();
    info.numResults = function.getNumResults();
    const std::vector<std::string> &list = names[info.name];
    for (auto [index, type] : llvm::enumerate(function.getArgumentTypes())) {
      info.arguments.push_back(describe(type));
      if (index < list.size())
        info.arguments.back().name = list[index];
    }
    functions.push_back(std::move(info));
  }
}

void LoweredModule::recordExecutors() {
  for (FunctionInfo &info : functions) {
    auto wrapper = module->lookupSymbol<LLVM::LLVMFuncOp>(
        (kWrapperPrefix + info.name).str());
    info.takesExecutor = wrapper && info.numResults == 0 &&
                         wrapper.getNumArguments() == info.arguments.size() + 1;
  }
}

bool LoweredModule::run(PassManager &manager, std::string &error) {
  FirstError first(context);
  if (succeeded(manager.run(*module)))
    return true;
  error = first.take("cannot lower the module");
  return false;
}

bool LoweredModule::lower(const CompileOptions &options, Stage stage,
                          std::string &error) {
  CpuPipelineOptions pipeline;
  pipeline.via = options.via;
  pipeline.tile = options.tile;
  pipeline.vectorBits = options.tile.vectorBits ? options.tile.vectorBits
                                                : options.target.vectorBits;
  pipeline.registers = options.target.registers;
  pipeline.cores = options.target.cores;
  pipeline.int8Dot = options.target.isX86() && options.target.int8Dot.paysOff();
  pipeline.l1KiB = options.target.l1Bytes / 1024;
  pipeline.l2KiB = options.target.l2Bytes / 1024;
  PassManager toVector(&context);
  buildCpuPipeline(toVector, pipeline, std::min(stage, Stage::Vector));
  if (!run(toVector, error))
    return false;
  if (stage < Stage::Vector)
    return true;
  recordSignatures();
  if (stage == Stage::Vector)
    return true;
  PassManager toLLVM(&context);
  buildLLVMPipeline(toLLVM, pipeline);
  if (!run(toLLVM, error))
    return false;
  recordExecutors();
  return true;
}

std::unique_ptr<llvm::Module>
LoweredModule::translate(llvm::LLVMContext &llvmContext, std::string &error) {
  FirstError first(context);
  std::unique_ptr<llvm::Module> result =
      translateModuleToLLVMIR(*module, llvmContext, "paged_attn");
  if (!result) {
    error = first.take("cannot translate the module to LLVM IR");
    return nullptr;
  }
  for (const FunctionInfo &info : functions) {
    llvm::Function *wrapper =
        result->getFunction((kWrapperPrefix + info.name).str());
    if (!wrapper || info.numResults != 0)
      continue;
    std::string packed = getPackedName(info.name);
    if (result->getFunction(packed)) {
      error = "expected no function '" + packed + "' beside '" + info.name +
              "', got one: the name is that of its packed entry";
      return nullptr;
    }
    addPackedEntry(*result, *wrapper, info.name);
    // Callers use the wrapper or the packed entry; a plain name could be that
    // of a function of the C library.
    result->getFunction(info.name)->setLinkage(
        llvm::GlobalValue::InternalLinkage);
  }
  return result;
}

std::string LoweredModule::print() {
  std::string text;
  llvm::raw_string_ostream os(text);
  module->print(os);
  os << "\n";
  return text;
}
