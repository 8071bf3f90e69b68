//===- PagedAttnToGPU.cpp - Level 2 to 3c ---------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The pass: in functions on buffers, every scf.forall over work items, every
// fill of padding rows, append and merge_states becomes a kernel in a
// gpu.module and a gpu.launch_func in its place.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Conversion/Passes.h"

#include "../../Transforms/ArgumentResults.h"
#include "CacheKernels.h"
#include "KernelBody.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/SymbolTable.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_CONVERTPAGEDATTNTOGPUPASS
#include "paged_attn/Conversion/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

namespace {

/// The kernels of one function and their launches.
class FunctionKernels {
public:
  FunctionKernels(func::FuncOp function, gpu::GPUModuleOp module,
                  SymbolTable &symbols, const LaneOptions &options)
      : function(function), module(module), symbols(symbols), options(options) {
  }

  LogicalResult convert();

private:
  LogicalResult convert(Operation *op);
  LogicalResult convertForall(scf::ForallOp op);
  LogicalResult convertFill(linalg::FillOp op);
  template <typename OpTy>
  LogicalResult convertCacheOp(OpTy op, Value rows, StringRef what,
                               void (*emit)(gpu::GPUFuncOp, OpTy,
                                            const LaneOptions &));
  gpu::GPUFuncOp createKernel(Location loc, StringRef what);
  void launch(Emitter &host, gpu::GPUFuncOp kernel, ArrayRef<Value> grid,
              ValueRange operands);
  void lowerSizes();
  void eraseTensors();

  func::FuncOp function;
  gpu::GPUModuleOp module;
  SymbolTable &symbols; ///< of `module`
  LaneOptions options;
};

} // namespace

gpu::GPUFuncOp FunctionKernels::createKernel(Location loc, StringRef what) {
  OpBuilder builder = OpBuilder::atBlockEnd(module.getBody());
  auto type = builder.getFunctionType({}, {});
  std::string name = (function.getName() + "_" + what).str();
  auto kernel = gpu::GPUFuncOp::create(builder, loc, name, type);
  kernel->setAttr(gpu::GPUDialect::getKernelFuncAttrName(),
                  builder.getUnitAttr());
  kernel.setKnownBlockSizeAttr(builder.getDenseI32ArrayAttr(
      {static_cast<int32_t>(options.subgroupSize), 1, 1}));
  symbols.insert(kernel);
  return kernel;
}

void FunctionKernels::launch(Emitter &host, gpu::GPUFuncOp kernel,
                             ArrayRef<Value> grid, ValueRange operands) {
  Value one = host.index(1);
  gpu::LaunchFuncOp::create(
      host, kernel, gpu::KernelDim3{grid[0], grid[1], grid[2]},
      gpu::KernelDim3{host.index(options.subgroupSize), one, one},
      /*dynamicSharedMemorySize=*/Value(), operands);
}

LogicalResult FunctionKernels::convertForall(scf::ForallOp op) {
  if (op.getRank() != 2)
    return op.emitError("expected work items of rank 2, got rank ")
           << op.getRank();
  gpu::GPUFuncOp kernel = createKernel(op.getLoc(), "attention");
  KernelBody body(kernel, options);
  if (failed(body.emitForall(op)))
    return failure();
  Emitter host(op.getLoc(), op);
  auto bounds = op.getMixedUpperBound();
  auto bound = [&](OpFoldResult value) -> Value {
    if (auto constant = getConstantIntValue(value))
      return host.index(*constant);
    return cast<Value>(value);
  };
  Value heads = op.getRank() == 2 ? bound(bounds[1]) : host.index(1);
  Value blocks = host.index(body.countRowBlocks(op));
  launch(host, kernel, {bound(bounds[0]), heads, blocks}, body.getOperands());
  return success();
}

LogicalResult FunctionKernels::convertFill(linalg::FillOp op) {
  gpu::GPUFuncOp kernel = createKernel(op.getLoc(), "pad");
  KernelBody body(kernel, options);
  if (failed(body.emitFill(op)))
    return failure();
  // The rows to pad are known on the device: one block per row of the buffer.
  Value buffer = op.getOutputs().front();
  while (Operation *producer = buffer.getDefiningOp())
    buffer = producer->getOperand(0);
  Emitter host(op.getLoc(), op);
  launch(host, kernel, {host.dim(buffer, 0), host.index(1), host.index(1)},
         body.getOperands());
  return success();
}

template <typename OpTy>
LogicalResult FunctionKernels::convertCacheOp(
    OpTy op, Value rows, StringRef what,
    void (*emit)(gpu::GPUFuncOp, OpTy, const LaneOptions &)) {
  if (op.hasPureTensors())
    return op.emitOpError("expected memrefs, got tensors; run "
                          "one-shot-bufferize first");
  gpu::GPUFuncOp kernel = createKernel(op.getLoc(), what);
  for (Value operand : op->getOperands())
    (void)kernel.insertArgument(kernel.getNumArguments(), operand.getType(), {},
                                op.getLoc());
  emit(kernel, op, options);
  Emitter host(op.getLoc(), op);
  launch(host, kernel, {host.dim(rows, 0), host.dim(rows, 1), host.index(1)},
         op->getOperands());
  op.erase();
  return success();
}

LogicalResult FunctionKernels::convert(Operation *op) {
  return TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](scf::ForallOp op) { return convertForall(op); })
      .Case([&](linalg::FillOp op) { return convertFill(op); })
      .Case([&](AppendOp op) {
        return convertCacheOp(op, op.getKeys(), "append", emitAppendKernel);
      })
      .Case([&](MergeStatesOp op) {
        return convertCacheOp(op, op.getOut(), "merge", emitMergeKernel);
      })
      .Case<AttentionOp, GatherOp, CopyPagesOp>([](auto op) {
        return op.emitOpError(
            "expected tile ops, append or merge_states, got an op that is not "
            "lowered to gpu (attention: run paged-attn-tile first)");
      })
      .Case<LoadQueryOp, LoadTileOp, OnlineUpdateOp, CombineOp, FinalizeOp>(
          [](auto op) {
            return op.emitOpError("expected tile ops inside scf.forall over "
                                  "work items, got one outside");
          })
      .Default([](Operation *) { return success(); });
}

/// Sizes of tensors that stand for buffers become sizes of the buffers.
void FunctionKernels::lowerSizes() {
  function.walk([](tensor::DimOp op) {
    auto toTensor = op.getSource().getDefiningOp<bufferization::ToTensorOp>();
    if (!toTensor)
      return;
    OpBuilder builder(op);
    Value size = memref::DimOp::create(builder, op.getLoc(),
                                       toTensor.getBuffer(), op.getIndex());
    op.replaceAllUsesWith(size);
    op.erase();
  });
}

/// What level 2 leaves on the host: the kernels work on the buffers.
void FunctionKernels::eraseTensors() {
  Block &body = function.getBody().front();
  for (Operation &op : llvm::make_early_inc_range(llvm::reverse(body))) {
    bool hasTensors =
        llvm::any_of(op.getOperandTypes(), llvm::IsaPred<TensorType>) ||
        llvm::any_of(op.getResultTypes(), llvm::IsaPred<TensorType>);
    if (hasTensors || isOpTriviallyDead(&op)) {
      op.erase();
    }
  }
}

LogicalResult FunctionKernels::convert() {
  lowerSizes();
  Block &body = function.getBody().front();
  for (Operation &op : llvm::make_early_inc_range(body))
    if (failed(convert(&op)))
      return failure();
  eraseTensors();
  return success();
}

/// True when `function` holds work of this dialect.
static bool hasWork(func::FuncOp function) {
  return function
      .walk([](Operation *op) {
        return isa<PagedAttnDialect>(op->getDialect()) ? WalkResult::interrupt()
                                                       : WalkResult::advance();
      })
      .wasInterrupted();
}

namespace {
struct ConvertPagedAttnToGPUPass
    : public paged_attn::impl::ConvertPagedAttnToGPUPassBase<
          ConvertPagedAttnToGPUPass> {
  using Base::Base;

  LogicalResult checkOptions() {
    if (!llvm::isPowerOf2_64(subgroupSize) || subgroupSize < 2 ||
        subgroupSize > 128)
      return getOperation().emitError("expected subgroup-size to be a power of "
                                      "two between 2 and 128, got ")
             << subgroupSize;
    if (!llvm::isPowerOf2_64(loadElements) || loadElements > 16)
      return getOperation().emitError("expected load-elements to be a power of "
                                      "two up to 16, got ")
             << loadElements;
    if (rows < 1 || rows > 64)
      return getOperation().emitError("expected rows between 1 and 64, got ")
             << rows;
    return success();
  }

  LogicalResult checkFunction(func::FuncOp function) {
    if (function.getNumResults() || !function.getBody().hasOneBlock() ||
        llvm::any_of(function.getArgumentTypes(), llvm::IsaPred<TensorType>))
      return function.emitError(
          "expected a function on buffers without results, got tensors or "
          "results of its own (run one-shot-bufferize first)");
    for (Type type : function.getArgumentTypes())
      if (auto buffer = dyn_cast<MemRefType>(type);
          buffer && !buffer.getLayout().isIdentity())
        return function.emitError("expected dense row-major buffers, got ")
               << buffer;
    return success();
  }

  void runOnOperation() final {
    ModuleOp root = getOperation();
    if (failed(checkOptions()))
      return signalPassFailure();
    SmallVector<func::FuncOp> functions;
    for (auto function : root.getOps<func::FuncOp>())
      if (!function.isExternal() && hasWork(function))
        functions.push_back(function);
    if (functions.empty())
      return;
    SymbolTable rootSymbols(root);
    OpBuilder builder = OpBuilder::atBlockEnd(root.getBody());
    auto module =
        gpu::GPUModuleOp::create(builder, root.getLoc(), "paged_attn_kernels");
    rootSymbols.insert(module);
    root->setAttr(gpu::GPUDialect::getContainerModuleAttrName(),
                  builder.getUnitAttr());
    SymbolTable symbols(module);
    LaneOptions options{subgroupSize, loadElements, rows};
    for (func::FuncOp function : functions) {
      dropArgumentResults(function, root);
      if (failed(checkFunction(function)) ||
          failed(FunctionKernels(function, module, symbols, options).convert()))
        return signalPassFailure();
    }
  }
};
} // namespace
