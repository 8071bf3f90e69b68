//===- CpuPipeline.cpp - Level 0 to LLVM on the CPU -----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The stages of paged-attn-cpu, paged-attn-to-linalg and paged-attn-reference.
// One function per stage; each leaves a legal module.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Pipelines/Pipelines.h"

#include "paged_attn/Conversion/Passes.h"
#include "paged_attn/Transforms/Passes.h"

#include "mlir/Conversion/AffineToStandard/AffineToStandard.h"
#include "mlir/Conversion/ArithToLLVM/ArithToLLVM.h"
#include "mlir/Conversion/ControlFlowToLLVM/ControlFlowToLLVM.h"
#include "mlir/Conversion/FuncToLLVM/ConvertFuncToLLVMPass.h"
#include "mlir/Conversion/IndexToLLVM/IndexToLLVM.h"
#include "mlir/Conversion/MathToLLVM/MathToLLVM.h"
#include "mlir/Conversion/MathToLibm/MathToLibm.h"
#include "mlir/Conversion/MemRefToLLVM/MemRefToLLVM.h"
#include "mlir/Conversion/ReconcileUnrealizedCasts/ReconcileUnrealizedCasts.h"
#include "mlir/Conversion/SCFToControlFlow/SCFToControlFlow.h"
#include "mlir/Conversion/UBToLLVM/UBToLLVM.h"
#include "mlir/Conversion/VectorToLLVM/ConvertVectorToLLVMPass.h"
#include "mlir/Conversion/VectorToSCF/VectorToSCF.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SCF/Transforms/Passes.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Pass/PassRegistry.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace mlir::paged_attn;

std::optional<Via> paged_attn::parseVia(std::string_view name,
                                        std::string &error) {
  if (name == "vector")
    return Via::Vector;
  if (name == "linalg")
    return Via::Linalg;
  if (name == "reference")
    return Via::Reference;
  error = "expected via to be vector, linalg or reference, got '" +
          std::string(name) + "'";
  return std::nullopt;
}

namespace {

void addCleanup(OpPassManager &manager) {
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

/// Level 0 to 2.
void addTileStage(OpPassManager &manager, const CpuPipelineOptions &options) {
  manager.addPass(createSelectModePass());
  TilePassOptions tile;
  tile.queryTokens = options.tile.queryTokens;
  tile.kvTokens = options.tile.kvTokens;
  tile.splitTokens = options.tile.splitTokens;
  tile.cores = options.cores;
  tile.l1KiB = options.l1KiB;
  tile.l2KiB = options.l2KiB;
  manager.addPass(createTilePass(tile));
  addCleanup(manager);
}

/// Level 2 to 3a.
void addLinalgStage(OpPassManager &manager) {
  manager.addPass(createConvertPagedAttnToLinalgPass());
  addCleanup(manager);
}

/// Tensors become memrefs, in place.
void addBufferization(OpPassManager &manager) {
  bufferization::OneShotBufferizePassOptions options;
  options.bufferizeFunctionBoundaries = true;
  options.functionBoundaryTypeConversion =
      bufferization::LayoutMapOption::IdentityLayoutMap;
  manager.addPass(bufferization::createOneShotBufferizePass(options));
  addCleanup(manager);
  manager.addPass(createCanonicalizerPass()); // copies of a view to itself
}

/// Level 3a to native vectors in functions over work items.
void addVectorStage(OpPassManager &manager, const CpuPipelineOptions &options) {
  addBufferization(manager);
  manager.addPass(createOutlineWorkPass());
  PrefetchPagesPassOptions prefetch;
  prefetch.pagesAhead = options.tile.pagesAhead;
  manager.addPass(createPrefetchPagesPass(prefetch));
  VectorizePassOptions vectorize;
  vectorize.vectorBits = options.vectorBits;
  vectorize.registers = options.registers;
  manager.addPass(createVectorizePass(vectorize));
  manager.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  addCleanup(manager);
}

/// Level 2 to 3b: microkernels in functions over work items.
void addMicrokernelStage(OpPassManager &manager,
                         const CpuPipelineOptions &options) {
  ConvertPagedAttnToLinalgPassOptions auxiliary;
  auxiliary.tileOps = false;
  manager.addPass(createConvertPagedAttnToLinalgPass(auxiliary));
  addBufferization(manager);
  ConvertPagedAttnToVectorPassOptions microkernels;
  microkernels.vectorBits = options.vectorBits;
  microkernels.registers = options.registers;
  microkernels.int8Dot = options.int8Dot;
  manager.addPass(createConvertPagedAttnToVectorPass(microkernels));
  addCleanup(manager);
  manager.addPass(createOutlineWorkPass());
  VectorizePassOptions vectorize;
  vectorize.vectorBits = options.vectorBits;
  vectorize.registers = options.registers;
  manager.addPass(createVectorizePass(vectorize));
  manager.addNestedPass<func::FuncOp>(createConvertLinalgToLoopsPass());
  addCleanup(manager);
}

/// Level 0 to scalar loops.
void addReferenceStage(OpPassManager &manager) {
  addBufferization(manager);
  manager.addPass(createConvertPagedAttnToLoopsPass());
  manager.addPass(createOutlineWorkPass());
  addCleanup(manager);
}

/// The end of level 4, the same for every way: own math.
void addMathStage(OpPassManager &manager) {
  manager.addNestedPass<func::FuncOp>(createForallToForLoopPass());
  manager.addPass(createLowerMathPass());
  addCleanup(manager);
}

/// Structured control flow and views become branches and arithmetic.
void addFlattening(OpPassManager &manager) {
  manager.addNestedPass<func::FuncOp>(createConvertVectorToSCFPass(
      VectorTransferToSCFOptions().enableFullUnroll()));
  manager.addPass(memref::createExpandStridedMetadataPass());
  manager.addPass(createLowerAffinePass());
  manager.addPass(createSCFToControlFlowPass());
  addCleanup(manager);
}

/// Options of `paged-attn-cpu`.
struct CpuTextOptions : public PassPipelineOptions<CpuTextOptions> {
  Option<std::string> via{
      *this, "via", llvm::cl::desc("lowering: vector, linalg or reference"),
      llvm::cl::init("vector")};
  Option<int64_t> vectorBits{
      *this, "vector-bits",
      llvm::cl::desc("width of a native vector (bits, 128 to 512)"),
      llvm::cl::init(256)};
  Option<int64_t> registers{
      *this, "registers",
      llvm::cl::desc("vector registers of the target (16 or 32)"),
      llvm::cl::init(16)};
  Option<std::string> tile{
      *this, "tile",
      llvm::cl::desc("sizes as name=number, e.g. tile=kv-tokens=64"),
      llvm::cl::init("")};
  Option<bool> int8Dot{
      *this, "int8-dot",
      llvm::cl::desc("the target has dot products of bytes (x86 vpdpbusd)"),
      llvm::cl::init(false)};
  Option<bool> executor{
      *this, "executor",
      llvm::cl::desc("functions with work take an executor as last argument"),
      llvm::cl::init(true)};
};

/// Builds `paged-attn-cpu` from the text of its options.
LogicalResult
buildFromText(OpPassManager &manager, StringRef text,
              function_ref<LogicalResult(const Twine &)> errorHandler) {
  CpuTextOptions parsed;
  if (failed(parsed.parseFromString(text)))
    return failure();
  std::string error;
  std::optional<Via> via = parseVia(parsed.via.getValue(), error);
  if (!via)
    return errorHandler(error);
  std::optional<TileOptions> tile =
      TileOptions::parse(parsed.tile.getValue(), error);
  if (!tile)
    return errorHandler(error);
  CpuPipelineOptions options;
  options.via = *via;
  options.tile = *tile;
  options.vectorBits = parsed.vectorBits;
  options.registers = parsed.registers;
  options.executor = parsed.executor;
  options.int8Dot = parsed.int8Dot;
  buildCpuPipeline(manager, options, Stage::LLVM);
  return success();
}

} // namespace

void paged_attn::buildCpuPipeline(OpPassManager &manager,
                                  const CpuPipelineOptions &options,
                                  Stage stage) {
  // Level 3a is the same to look at whatever comes after.
  if (options.via == Via::Vector && stage != Stage::Linalg) {
    addTileStage(manager, options);
    if (stage == Stage::Tiled)
      return;
    addMicrokernelStage(manager, options);
  } else if (options.via != Via::Reference) {
    addTileStage(manager, options);
    if (stage == Stage::Tiled)
      return;
    addLinalgStage(manager);
    if (stage == Stage::Linalg)
      return;
    addVectorStage(manager, options);
  } else {
    if (stage < Stage::Vector)
      return; // levels 2 and 3a do not exist on this way
    addReferenceStage(manager);
  }
  addMathStage(manager);
  if (stage == Stage::LLVM)
    buildLLVMPipeline(manager, options);
}

void paged_attn::buildLLVMPipeline(OpPassManager &manager,
                                   const CpuPipelineOptions &options) {
  addFlattening(manager);
  ConvertVectorToLLVMPassOptions vectors;
  vectors.vectorContractLowering = vector::VectorContractLowering::OuterProduct;
  manager.addPass(createConvertVectorToLLVMPass(vectors));
  manager.addPass(createConvertMathToLLVMPass());
  manager.addPass(createConvertMathToLibmPass());
  // bf16 is rounded by integer arithmetic: the same bits on every machine, and
  // no call into a run-time library that may lack it.
  arith::ArithExpandOpsPassOptions expand;
  expand.includeBf16 = true;
  manager.addPass(arith::createArithExpandOpsPass(expand));
  manager.addPass(createFinalizeMemRefToLLVMConversionPass());
  manager.addPass(createConvertFuncToLLVMPass());
  manager.addPass(createConvertControlFlowToLLVMPass());
  manager.addPass(createArithToLLVMConversionPass());
  manager.addPass(createConvertIndexToLLVMPass());
  manager.addPass(createUBToLLVMConversionPass());
  manager.addPass(createReconcileUnrealizedCastsPass());
  if (options.executor)
    manager.addPass(createDispatchWorkPass());
  addCleanup(manager);
}

void paged_attn::registerPipelines() {
  registerPassPipeline(
      "paged-attn-cpu", "level 0 to LLVM on the CPU", buildFromText,
      [](function_ref<void(const detail::PassOptions &)> handler) {
        handler(CpuTextOptions());
      });
  PassPipelineRegistration<>(
      "paged-attn-to-linalg", "level 0 to linalg on static tiles (3a)",
      [](OpPassManager &manager) {
        buildCpuPipeline(manager, CpuPipelineOptions(), Stage::Linalg);
      });
  PassPipelineRegistration<>("paged-attn-reference",
                             "level 0 to LLVM by way of scalar loops",
                             [](OpPassManager &manager) {
                               CpuPipelineOptions options;
                               options.via = Via::Reference;
                               buildCpuPipeline(manager, options, Stage::LLVM);
                             });
}
