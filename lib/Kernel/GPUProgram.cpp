//===- GPUProgram.cpp - Kernels of GPUs and their launches ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The ladder of a GPU, device code, and the functions of the host: their
// arithmetic on sizes is folded for the sizes of a call.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/GPUProgram.h"

#include "FirstError.h"
#include "LoweredModule.h"
#include "paged_attn/Target/EmitDevice.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Target/LLVMIR/Export.h"
#include "mlir/Target/SPIRV/Serialization.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"

using namespace mlir;
using namespace mlir::paged_attn;

std::optional<GPUTarget> paged_attn::parseGPUTarget(std::string_view name) {
  return llvm::StringSwitch<std::optional<GPUTarget>>(name)
      .Case("spirv", GPUTarget::Spirv)
      .Case("nvptx", GPUTarget::NVPTX)
      .Case("amdgpu", GPUTarget::AMDGPU)
      .Default(std::nullopt);
}

const char *paged_attn::getBinaryName(GPUTarget target) {
  switch (target) {
  case GPUTarget::Spirv:
    return "spv";
  case GPUTarget::NVPTX:
    return "ptx";
  case GPUTarget::AMDGPU:
    return "hsaco";
  }
  llvm_unreachable("a target of the enum");
}

std::optional<GPUEmit> paged_attn::parseGPUEmit(std::string_view name,
                                                GPUTarget target,
                                                std::string &error) {
  bool isSpirv = target == GPUTarget::Spirv;
  std::string binary = getBinaryName(target);
  if (name == binary)
    return GPUEmit::Binary;
  auto emit = llvm::StringSwitch<std::optional<GPUEmit>>(name)
                  .Case("tiled", GPUEmit::Tiled)
                  .Case("gpu", GPUEmit::GPU)
                  .Case("llvm", GPUEmit::LLVM)
                  .Case("llvmir", GPUEmit::LLVMIR)
                  .Case("asm", GPUEmit::Assembly)
                  .Default(std::nullopt);
  if (emit &&
      !(isSpirv && (*emit == GPUEmit::LLVMIR || *emit == GPUEmit::LLVM)))
    return emit;
  error = "expected emit to be tiled, gpu, " +
          std::string(isSpirv ? "asm or " : "llvm, llvmir, asm or ") + binary +
          " for this target, got '" + std::string(name) + "'";
  return std::nullopt;
}

//===----------------------------------------------------------------------===//
// Device code
//===----------------------------------------------------------------------===//

bool LoweredModule::lowerToGPU(const GPUPipelineOptions &options,
                               GPUStage stage, std::string &error) {
  PassManager manager(&context);
  buildGPUPipeline(manager, options, stage);
  if (!run(manager, error))
    return false;
  recordSignatures();
  return true;
}

std::optional<std::string> LoweredModule::emitSpirv(std::string &error) {
  auto modules = module->getOps<spirv::ModuleOp>();
  if (modules.empty()) {
    error = "expected a module with kernels, got none";
    return std::nullopt;
  }
  SmallVector<uint32_t, 0> words;
  FirstError first(context);
  if (failed(spirv::serialize(*modules.begin(), words))) {
    error = first.take("cannot write the SPIR-V module");
    return std::nullopt;
  }
  return std::string(reinterpret_cast<const char *>(words.data()),
                     words.size() * sizeof(uint32_t));
}

std::optional<std::string>
LoweredModule::emitLLVMDevice(const GPUPipelineOptions &options, GPUEmit emit,
                              std::string &error) {
  auto modules = module->getOps<gpu::GPUModuleOp>();
  if (modules.empty()) {
    error = "expected a module with kernels, got none";
    return std::nullopt;
  }
  llvm::LLVMContext llvmContext;
  FirstError first(context);
  std::unique_ptr<llvm::Module> code =
      translateModuleToLLVMIR(*modules.begin(), llvmContext, "paged_attn");
  if (!code) {
    error = first.take("cannot translate the kernels to LLVM IR");
    return std::nullopt;
  }
  bool wantsHsaco =
      emit == GPUEmit::Binary && options.target == GPUTarget::AMDGPU;
  CodeKind kind = emit == GPUEmit::LLVMIR ? CodeKind::LLVMIR
                  : wantsHsaco            ? CodeKind::Object
                                          : CodeKind::Assembly;
  std::optional<std::string> bytes =
      emitDeviceCode(*code, options.chip, kind, error);
  return bytes && wantsHsaco ? linkHsaco(*bytes, error) : bytes;
}

std::optional<std::string>
LoweredModule::emitGPU(const GPUPipelineOptions &options, GPUEmit emit,
                       std::string &error) {
  PassManager manager(&context);
  buildDevicePipeline(manager, options);
  if (!run(manager, error))
    return std::nullopt;
  bool isSpirv = options.target == GPUTarget::Spirv;
  if (emit == GPUEmit::LLVM || (isSpirv && emit == GPUEmit::Assembly))
    return print();
  return isSpirv ? emitSpirv(error) : emitLLVMDevice(options, emit, error);
}

std::optional<std::string>
paged_attn::compileForGPU(std::string_view source, std::string_view sourceName,
                          GPUEmit emit, const GPUPipelineOptions &options,
                          std::string &error) {
  LoweredModule module;
  GPUStage stage = emit == GPUEmit::Tiled ? GPUStage::Tiled : GPUStage::GPU;
  if (!module.parse(source, sourceName, error) ||
      !module.lowerToGPU(options, stage, error))
    return std::nullopt;
  if (emit == GPUEmit::Tiled || emit == GPUEmit::GPU)
    return module.print();
  return module.emitGPU(options, emit, error);
}

//===----------------------------------------------------------------------===//
// Launches
//===----------------------------------------------------------------------===//

namespace {

/// The integers of a function of the host for one call.
class HostValues {
public:
  HostValues(func::FuncOp function, const FunctionInfo &info,
             const Arguments &arguments)
      : function(function), info(info), arguments(arguments) {}

  /// Nothing when it is not arithmetic on sizes and scalars.
  std::optional<int64_t> evaluate(Value value);
  /// Adds what stands for `value` in a kernel: address and dynamic sizes, or
  /// one integer.
  bool addOperands(Value value, std::vector<GPUOperand> &operands);

private:
  const ArgumentInfo &argumentOf(Value value) {
    return info.arguments[cast<BlockArgument>(value).getArgNumber()];
  }
  const Argument &valueOf(Value value) {
    return arguments.find(argumentOf(value).name)->second;
  }

  func::FuncOp function;
  const FunctionInfo &info;
  const Arguments &arguments;
  DenseMap<Value, int64_t> known;
};

} // namespace

std::optional<int64_t> HostValues::evaluate(Value value) {
  auto found = known.find(value);
  if (found != known.end())
    return found->second;
  if (isa<BlockArgument>(value))
    return valueOf(value).integer;
  Operation *op = value.getDefiningOp();
  if (auto dim = dyn_cast<memref::DimOp>(op)) {
    std::optional<int64_t> index = dim.getConstantIndex();
    if (!index || !isa<BlockArgument>(dim.getSource()))
      return std::nullopt;
    return valueOf(dim.getSource()).sizes[*index];
  }
  SmallVector<Attribute> operands;
  for (Value operand : op->getOperands()) {
    std::optional<int64_t> number = evaluate(operand);
    if (!number)
      return std::nullopt;
    operands.push_back(IntegerAttr::get(operand.getType(), *number));
  }
  SmallVector<OpFoldResult> results;
  if (failed(op->fold(operands, results)) || results.size() != 1)
    return std::nullopt;
  std::optional<int64_t> number;
  if (auto attribute = dyn_cast<Attribute>(results[0])) {
    if (auto integer = dyn_cast<IntegerAttr>(attribute))
      number = integer.getValue().getSExtValue();
  } else {
    number = evaluate(cast<Value>(results[0]));
  }
  if (number)
    known[value] = *number;
  return number;
}

bool HostValues::addOperands(Value value, std::vector<GPUOperand> &operands) {
  auto type = dyn_cast<MemRefType>(value.getType());
  if (!type) {
    std::optional<int64_t> number = evaluate(value);
    operands.push_back({"", number.value_or(0)});
    return number.has_value();
  }
  if (!isa<BlockArgument>(value))
    return false;
  operands.push_back({argumentOf(value).name, 0});
  for (auto [dim, size] : llvm::enumerate(type.getShape()))
    if (ShapedType::isDynamic(size))
      operands.push_back({"", valueOf(value).sizes[dim]});
  return true;
}

struct GPUProgram::Impl {
  LoweredModule host; ///< level 3c
  std::string code;
};

GPUProgram::GPUProgram() : impl(std::make_unique<Impl>()) {}
GPUProgram::~GPUProgram() = default;

const std::string &GPUProgram::getCode() const { return impl->code; }

const std::vector<FunctionInfo> &GPUProgram::getFunctions() const {
  return impl->host.getFunctions();
}

std::unique_ptr<GPUProgram>
GPUProgram::compile(std::string_view source, std::string_view sourceName,
                    const GPUPipelineOptions &options, std::string &error) {
  std::unique_ptr<GPUProgram> program(new GPUProgram());
  LoweredModule &host = program->impl->host;
  if (!host.parse(source, sourceName, error) ||
      !host.lowerToGPU(options, GPUStage::GPU, error))
    return nullptr;
  // The device's half goes on from a copy; the host's stays at level 3c.
  LoweredModule device;
  if (!device.parse(host.print(), sourceName, error))
    return nullptr;
  std::optional<std::string> code =
      device.emitGPU(options, GPUEmit::Binary, error);
  if (!code)
    return nullptr;
  program->impl->code = std::move(*code);
  return program;
}

std::optional<std::vector<GPULaunch>>
GPUProgram::plan(const FunctionInfo &info, const Arguments &arguments,
                 std::string &error) const {
  for (const ArgumentInfo &argument : info.arguments)
    if (!checkArgument(info, argument, arguments, error))
      return std::nullopt;
  auto function = impl->host.getModule().lookupSymbol<func::FuncOp>(info.name);
  HostValues values(function, info, arguments);
  std::vector<GPULaunch> launches;
  bool isKnown = true;
  for (Operation &op : function.getBody().front().without_terminator()) {
    auto launch = dyn_cast<gpu::LaunchFuncOp>(op);
    if (!launch) {
      isKnown &= isPure(&op);
      continue;
    }
    GPULaunch result;
    result.kernel = launch.getKernelName().str();
    gpu::KernelDim3 grid = launch.getGridSizeOperandValues();
    gpu::KernelDim3 block = launch.getBlockSizeOperandValues();
    Value sizes[] = {grid.x, grid.y, grid.z, block.x};
    int64_t *targets[] = {&result.grid[0], &result.grid[1], &result.grid[2],
                          &result.block};
    for (auto [size, target] : llvm::zip_equal(sizes, targets)) {
      std::optional<int64_t> number = values.evaluate(size);
      isKnown &= number.has_value();
      *target = number.value_or(0);
    }
    for (Value operand : launch.getKernelOperands())
      isKnown &= values.addOperands(operand, result.operands);
    launches.push_back(std::move(result));
  }
  if (isKnown)
    return launches;
  error = "expected function '" + info.name +
          "' to do nothing but launch kernels, got other work";
  return std::nullopt;
}
