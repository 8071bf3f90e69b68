//===- GPUPipeline.cpp - Level 0 to kernels of GPUs -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The stages of paged-attn-spirv, paged-attn-nvvm and paged-attn-rocdl: the
// same kernels down to level 3c, then the conversions of each target.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Pipelines/Pipelines.h"

#include "paged_attn/Conversion/Passes.h"
#include "paged_attn/Transforms/Passes.h"

#include "mlir/Conversion/GPUToNVVM/GPUToNVVMPass.h"
#include "mlir/Conversion/GPUToROCDL/GPUToROCDLPass.h"
#include "mlir/Conversion/GPUToSPIRV/GPUToSPIRVPass.h"
#include "mlir/Conversion/MathToSPIRV/MathToSPIRVPass.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/SCF/Transforms/Passes.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/SPIRV/Transforms/Passes.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::paged_attn;

/// New tokens and keys of a tile. Rows of a tile beyond those of a subgroup are
/// further blocks of the grid that end at once where there are no rows, so one
/// tile serves prefill and decode; 16 keys are one page of the usual size.
constexpr int64_t kQueryTokens = 8, kKeys = 16;

namespace {

void addCleanup(OpPassManager &manager) {
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

/// Level 0 to 2. Kernels work on buffers: tensors go first.
void addTileStage(OpPassManager &manager) {
  bufferization::OneShotBufferizePassOptions bufferize;
  bufferize.bufferizeFunctionBoundaries = true;
  bufferize.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::IdentityLayoutMap;
  manager.addPass(bufferization::createOneShotBufferizePass(bufferize));
  addCleanup(manager);
  SelectModePassOptions select;
  select.decodeTokens = kQueryTokens;
  manager.addPass(createSelectModePass(select));
  TilePassOptions tile;
  tile.queryTokens = kQueryTokens;
  tile.decodeTokens = kQueryTokens;
  tile.kvTokens = kKeys;
  manager.addPass(createTilePass(tile));
  // No canonicalization: it would inline work loops of one item.
  manager.addPass(createCSEPass());
}

/// Level 2 to 3c.
void addKernelStage(OpPassManager &manager, const GPUPipelineOptions &options) {
  ConvertPagedAttnToGPUPassOptions convert;
  convert.subgroupSize = options.subgroupSize;
  // SPIR-V for Vulkan has vectors of at most 4 elements.
  convert.loadElements = options.target == GPUTarget::Spirv ? 4 : 8;
  manager.addPass(createConvertPagedAttnToGPUPass(convert));
  addCleanup(manager);
}

/// exp2 is an instruction of every target; the rest is arithmetic.
void addMath(OpPassManager &manager, StringRef target) {
  LowerMathPassOptions math;
  math.keepExp2 = true;
  manager.addPass(createLowerMathPass(math));
  LowerKernelMathPassOptions instructions;
  instructions.target = target.str();
  manager.addNestedPass<gpu::GPUModuleOp>(
      createLowerKernelMathPass(instructions));
}

/// Level 3c to a SPIR-V module.
void addSpirvStage(OpPassManager &manager) {
  addMath(manager, "spirv");
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true; // bf16 is integers here
  manager.addNestedPass<gpu::GPUModuleOp>(
      arith::createArithExpandOpsPass(expand));
  LowerKernelMemoryPassOptions memory;
  memory.abi = "spirv";
  manager.addPass(createLowerKernelMemoryPass(memory));
  addCleanup(manager);
  // The conversion of scf.for leaves the results of a loop without iterations
  // undefined; that of scf.while does not.
  manager.addNestedPass<gpu::GPUModuleOp>(createForToWhileLoopPass());
  manager.addNestedPass<gpu::GPUModuleOp>(createConvertMathToSPIRVPass());
  std::unique_ptr<Pass> convert = createConvertGPUToSPIRVPass();
  LogicalResult parsed = convert->initializeOptions(
      "use-64bit-index=true", [](const Twine &) { return failure(); });
  assert(succeeded(parsed) && "an option of the pass");
  (void)parsed;
  manager.addPass(std::move(convert));
  OpPassManager &module = manager.nest<spirv::ModuleOp>();
  module.addPass(spirv::createSPIRVLowerABIAttributesPass());
  module.addPass(spirv::createSPIRVUpdateVCEPass());
  module.addPass(createFinishSpirvPass());
}

/// Level 3c to the LLVM dialect of NVPTX or AMDGPU.
void addLLVMStage(OpPassManager &manager, const GPUPipelineOptions &options) {
  bool isNvidia = options.target == GPUTarget::NVPTX;
  addMath(manager, isNvidia ? "nvptx" : "amdgpu");
  manager.addPass(createLowerKernelMemoryPass());
  addCleanup(manager);
  OpPassManager &kernels = manager.nest<gpu::GPUModuleOp>();
  kernels.addPass(createSCFToControlFlowPass());
  if (isNvidia) {
    kernels.addPass(createConvertGpuOpsToNVVMOps());
  } else {
    ConvertGpuOpsToROCDLOpsOptions convert;
    convert.chipset = options.chip;
    convert.runtime = gpu::amd::Runtime::HIP;
    kernels.addPass(createConvertGpuOpsToROCDLOps(convert));
  }
  kernels.addPass(createConvertVectorToLLVMPass());
  kernels.addPass(createReconcileUnrealizedCastsPass());
  addCleanup(manager);
}

/// Options of the pipelines.
struct GPUTextOptions : public PassPipelineOptions<GPUTextOptions> {
  Option<std::string> chip{*this, "chip",
                           llvm::cl::desc("sm_80, gfx942, ... (not SPIR-V)"),
                           llvm::cl::init("")};
  Option<int64_t> subgroupSize{
      *this, "subgroup-size",
      llvm::cl::desc("lanes of a subgroup (0: that of the chip)"),
      llvm::cl::init(0)};
};

void registerPipeline(StringRef name, StringRef summary, GPUTarget target) {
  registerPassPipeline(
      name, summary,
      [target](OpPassManager &manager, StringRef text,
               function_ref<LogicalResult(const Twine &)> errorHandler) {
        GPUTextOptions parsed;
        if (failed(parsed.parseFromString(text)))
          return failure();
        std::string error;
        std::optional<GPUPipelineOptions> options = GPUPipelineOptions::get(
            target, parsed.chip.getValue(), parsed.subgroupSize, error);
        if (!options)
          return errorHandler(error);
        buildGPUPipeline(manager, *options, GPUStage::Device);
        return success();
      },
      [](function_ref<void(const mlir::detail::PassOptions &)> handler) {
        handler(GPUTextOptions());
      });
}

} // namespace

std::optional<GPUPipelineOptions> GPUPipelineOptions::get(GPUTarget target,
                                                          std::string_view chip,
                                                          int64_t subgroupSize,
                                                          std::string &error) {
  GPUPipelineOptions options;
  options.target = target;
  StringRef name(chip);
  switch (target) {
  case GPUTarget::Spirv:
    if (!name.empty())
      error = "expected no chip for spirv, got '" + name.str() + "'";
    break;
  case GPUTarget::NVPTX: {
    options.chip = name.empty() ? "sm_80" : name.str();
    unsigned number = 0;
    StringRef digits = StringRef(options.chip).rtrim("af");
    if (!digits.consume_front("sm_") || digits.getAsInteger(10, number) ||
        number < 80)
      error = "expected chip to be sm_80 or newer, got '" + name.str() + "'";
    break;
  }
  case GPUTarget::AMDGPU:
    options.chip = name.empty() ? "gfx942" : name.str();
    if (!StringRef(options.chip).starts_with("gfx"))
      error = "expected chip to be gfx90a, gfx942, gfx1100, gfx1201 or the "
              "like, got '" +
              name.str() + "'";
    else if (StringRef(options.chip).starts_with("gfx9"))
      options.subgroupSize = 64; // CDNA; RDNA has 32
    break;
  }
  if (subgroupSize)
    options.subgroupSize = subgroupSize;
  bool isFixed = target != GPUTarget::Spirv;
  if (isFixed && subgroupSize && subgroupSize != 32 && subgroupSize != 64)
    error = "expected subgroup-size to be 32 or 64, got " +
            std::to_string(subgroupSize);
  if (!error.empty())
    return std::nullopt;
  return options;
}

void paged_attn::buildGPUPipeline(OpPassManager &manager,
                                  const GPUPipelineOptions &options,
                                  GPUStage stage) {
  addTileStage(manager);
  if (stage == GPUStage::Tiled)
    return;
  addKernelStage(manager, options);
  if (stage == GPUStage::Device)
    buildDevicePipeline(manager, options);
}

void paged_attn::buildDevicePipeline(OpPassManager &manager,
                                     const GPUPipelineOptions &options) {
  if (options.target == GPUTarget::Spirv)
    addSpirvStage(manager);
  else
    addLLVMStage(manager, options);
}

void paged_attn::registerGPUPipelines() {
  registerPipeline("paged-attn-spirv", "level 0 to SPIR-V for Vulkan 1.2",
                   GPUTarget::Spirv);
  registerPipeline("paged-attn-nvvm", "level 0 to LLVM for NVIDIA GPUs",
                   GPUTarget::NVPTX);
  registerPipeline("paged-attn-rocdl", "level 0 to LLVM for AMD GPUs",
                   GPUTarget::AMDGPU);
}
