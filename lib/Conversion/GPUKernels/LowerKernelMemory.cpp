//===- LowerKernelMemory.cpp - Buffers of kernels as 64-bit addresses -----===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 3c to 4. A kernel's memref arguments become integers: the address of
// the first element, then each dynamic size. Loads and stores become those of
// the target: LLVM pointers into global memory, or SPIR-V physical storage
// buffers, where all integers of a call lie in one argument buffer.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Conversion/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/LLVMIR/ROCDLDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_LOWERKERNELMEMORYPASS
#include "paged_attn/Conversion/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;
using namespace mlir::paged_attn;

/// Buffers are aligned to this, and so is every vector load at most (bytes).
constexpr int64_t kBufferAlignment = 16;
/// LLVM's address space of global memory, the same for NVPTX and AMDGPU.
constexpr unsigned kGlobalMemory = 1;

namespace {

/// A buffer in the kernel: integers of type index, the address i64.
struct BufferArgument {
  Value address;
  SmallVector<Value> sizes; ///< of all dimensions
  bool isWritten = false;
};

/// One target's way to name an element.
class KernelMemory {
public:
  virtual ~KernelMemory() = default;
  /// Replaces the arguments of `kernel` by integers; returns for each old
  /// argument its values in order (address and sizes, or the scalar).
  virtual SmallVector<SmallVector<Value>> lowerArguments(gpu::GPUFuncOp kernel,
                                                         unsigned count) = 0;
  /// Loads `type` from element `index` (i64) of a buffer of `element`.
  virtual Value load(ImplicitLocOpBuilder &builder,
                     const BufferArgument &buffer, Type element, Value index,
                     Type type) = 0;
  virtual void store(ImplicitLocOpBuilder &builder,
                     const BufferArgument &buffer, Type element, Value index,
                     Value value) = 0;
};

/// Bytes of an element.
int64_t byteWidth(Type type) { return type.getIntOrFloatBitWidth() / 8; }

/// Alignment of a load of `type`.
int64_t alignmentOf(Type type) {
  int64_t bytes = byteWidth(getElementTypeOrSelf(type));
  if (auto vector = dyn_cast<VectorType>(type))
    bytes *= vector.getNumElements();
  return std::min(kBufferAlignment, int64_t(1) << llvm::countr_zero(
                                        static_cast<uint64_t>(bytes)));
}

/// New integer arguments in front of the old ones; `count` integers for each.
SmallVector<SmallVector<Value>> splitIntegers(gpu::GPUFuncOp kernel,
                                              ValueRange integers,
                                              ArrayRef<unsigned> counts) {
  (void)kernel;
  SmallVector<SmallVector<Value>> result;
  for (unsigned count : counts) {
    result.push_back(llvm::to_vector(integers.take_front(count)));
    integers = integers.drop_front(count);
  }
  return result;
}

/// Integers that stand for an argument of type `type`.
unsigned countIntegers(Type type) {
  auto buffer = dyn_cast<MemRefType>(type);
  return buffer ? 1 + buffer.getNumDynamicDims() : 1;
}

SmallVector<unsigned> countIntegers(gpu::GPUFuncOp kernel, unsigned count) {
  SmallVector<unsigned> counts;
  for (Type type : kernel.getArgumentTypes().take_back(count))
    counts.push_back(countIntegers(type));
  return counts;
}

/// NVPTX and AMDGPU: every integer is an argument; loads of buffers that the
/// kernel does not write are marked invariant.
class LLVMMemory final : public KernelMemory {
public:
  SmallVector<SmallVector<Value>> lowerArguments(gpu::GPUFuncOp kernel,
                                                 unsigned count) final {
    SmallVector<unsigned> counts = countIntegers(kernel, count);
    unsigned total = 0;
    for (unsigned n : counts)
      total += n;
    Type i64 = IntegerType::get(kernel.getContext(), 64);
    for (unsigned i = 0; i < total; ++i)
      (void)kernel.insertArgument(i, i64, {}, kernel.getLoc());
    return splitIntegers(
        kernel, ValueRange(kernel.getArguments()).take_front(total), counts);
  }

  Value load(ImplicitLocOpBuilder &builder, const BufferArgument &buffer,
             Type element, Value index, Type type) final {
    Value pointer = getPointer(builder, buffer, element, index);
    return LLVM::LoadOp::create(builder, type, pointer, alignmentOf(type),
                                /*isVolatile=*/false, /*isNonTemporal=*/false,
                                /*isInvariant=*/!buffer.isWritten);
  }
  void store(ImplicitLocOpBuilder &builder, const BufferArgument &buffer,
             Type element, Value index, Value value) final {
    LLVM::StoreOp::create(builder, value,
                          getPointer(builder, buffer, element, index),
                          alignmentOf(value.getType()));
  }

private:
  Value getPointer(ImplicitLocOpBuilder &builder, const BufferArgument &buffer,
                   Type element, Value index) {
    auto type = LLVM::LLVMPointerType::get(builder.getContext(), kGlobalMemory);
    Value base = LLVM::IntToPtrOp::create(builder, type, buffer.address);
    return LLVM::GEPOp::create(builder, type, element, base,
                               ArrayRef<LLVM::GEPArg>{index});
  }
};

/// Vulkan: one argument buffer of i64, and physical storage buffers. bf16 is
/// moved as i16.
class SpirvMemory final : public KernelMemory {
public:
  SmallVector<SmallVector<Value>> lowerArguments(gpu::GPUFuncOp kernel,
                                                 unsigned count) final {
    SmallVector<unsigned> counts = countIntegers(kernel, count);
    unsigned total = 0;
    for (unsigned n : counts)
      total += n;
    MLIRContext *context = kernel.getContext();
    auto storage = spirv::StorageClassAttr::get(
        context, spirv::StorageClass::StorageBuffer);
    auto type = MemRefType::get({total}, IntegerType::get(context, 64),
                                MemRefLayoutAttrInterface(), storage);
    (void)kernel.insertArgument(0, type, {}, kernel.getLoc());
    auto builder = ImplicitLocOpBuilder::atBlockBegin(
        kernel.getLoc(), &kernel.getBody().front());
    SmallVector<Value> integers;
    for (unsigned i = 0; i < total; ++i) {
      Value index = arith::ConstantIndexOp::create(builder, i);
      integers.push_back(
          memref::LoadOp::create(builder, kernel.getArgument(0), index));
    }
    return splitIntegers(kernel, integers, counts);
  }

  Value load(ImplicitLocOpBuilder &builder, const BufferArgument &buffer,
             Type element, Value index, Type type) final {
    Type moved = movedType(type);
    Value pointer = getPointer(builder, buffer, element, index, moved);
    Value value = spirv::LoadOp::create(
        builder, moved, pointer, access(builder), alignment(builder, moved));
    return moved == type ? value
                         : arith::BitcastOp::create(builder, type, value);
  }
  void store(ImplicitLocOpBuilder &builder, const BufferArgument &buffer,
             Type element, Value index, Value value) final {
    Type moved = movedType(value.getType());
    if (moved != value.getType())
      value = arith::BitcastOp::create(builder, moved, value);
    Value pointer = getPointer(builder, buffer, element, index, moved);
    spirv::StoreOp::create(builder, pointer, value, access(builder),
                           alignment(builder, moved));
  }

private:
  static Type movedType(Type type) {
    if (!getElementTypeOrSelf(type).isBF16())
      return type;
    Type i16 = IntegerType::get(type.getContext(), 16);
    if (auto vector = dyn_cast<VectorType>(type))
      return vector.clone(i16);
    return i16;
  }
  static spirv::MemoryAccessAttr access(OpBuilder &builder) {
    return spirv::MemoryAccessAttr::get(builder.getContext(),
                                        spirv::MemoryAccess::Aligned);
  }
  static IntegerAttr alignment(OpBuilder &builder, Type type) {
    return builder.getI32IntegerAttr(alignmentOf(type));
  }
  Value getPointer(ImplicitLocOpBuilder &builder, const BufferArgument &buffer,
                   Type element, Value index, Type moved) {
    Value width = arith::ConstantOp::create(
        builder, builder.getI64IntegerAttr(byteWidth(element)));
    Value offset = builder.createOrFold<arith::MulIOp>(index, width);
    Value address = builder.createOrFold<arith::AddIOp>(buffer.address, offset);
    auto type = spirv::PointerType::get(
        moved, spirv::StorageClass::PhysicalStorageBuffer);
    return spirv::ConvertUToPtrOp::create(builder, type, address);
  }
};

/// Lowers one kernel.
class KernelLowering {
public:
  KernelLowering(gpu::GPUFuncOp kernel, KernelMemory &memory)
      : kernel(kernel), memory(memory) {}

  LogicalResult run();

private:
  LogicalResult lowerUser(Operation *user, MemRefType type,
                          const BufferArgument &buffer);
  Value linearize(ImplicitLocOpBuilder &builder, const BufferArgument &buffer,
                  ValueRange indices);

  gpu::GPUFuncOp kernel;
  KernelMemory &memory;
};

} // namespace

/// The number of the element at `indices`, i64.
Value KernelLowering::linearize(ImplicitLocOpBuilder &builder,
                                const BufferArgument &buffer,
                                ValueRange indices) {
  Value linear;
  for (auto [size, index] : llvm::zip_equal(buffer.sizes, indices))
    linear = linear
                 ? builder.createOrFold<arith::AddIOp>(
                       builder.createOrFold<arith::MulIOp>(linear, size), index)
                 : index;
  if (!linear)
    linear = arith::ConstantIndexOp::create(builder, 0);
  return arith::IndexCastOp::create(builder, builder.getI64Type(), linear);
}

LogicalResult KernelLowering::lowerUser(Operation *user, MemRefType type,
                                        const BufferArgument &buffer) {
  ImplicitLocOpBuilder builder(user->getLoc(), user);
  Type element = type.getElementType();
  auto replaceLoad = [&](auto op) {
    Value index = linearize(builder, buffer, op.getIndices());
    op->replaceAllUsesWith(ValueRange{memory.load(
        builder, buffer, element, index, op->getResult(0).getType())});
    return success();
  };
  auto replaceStore = [&](auto op) {
    Value index = linearize(builder, buffer, op.getIndices());
    memory.store(builder, buffer, element, index, op.getValueToStore());
    return success();
  };
  LogicalResult result =
      TypeSwitch<Operation *, LogicalResult>(user)
          .Case<memref::LoadOp, vector::LoadOp>(replaceLoad)
          .Case<memref::StoreOp, vector::StoreOp>(replaceStore)
          .Case([&](memref::DimOp op) {
            op.replaceAllUsesWith(buffer.sizes[*op.getConstantIndex()]);
            return success();
          })
          .Default([](Operation *op) {
            return op->emitError("expected loads, stores and sizes of the "
                                 "buffers of a kernel, got '")
                   << op->getName() << "'";
          });
  if (succeeded(result))
    user->erase();
  return result;
}

LogicalResult KernelLowering::run() {
  unsigned count = kernel.getNumArguments();
  SmallVector<SmallVector<Value>> integers =
      memory.lowerArguments(kernel, count);
  unsigned added = kernel.getNumArguments() - count;
  auto builder = ImplicitLocOpBuilder::atBlockBegin(kernel.getLoc(),
                                                    &kernel.getBody().front());
  // After what lowerArguments has put there.
  for (ArrayRef<Value> values : integers)
    for (Value value : values)
      if (Operation *producer = value.getDefiningOp())
        builder.setInsertionPointAfter(producer);
  for (auto [i, values] : llvm::enumerate(integers)) {
    BlockArgument old = kernel.getArgument(added + i);
    auto toIndex = [&](Value value) -> Value {
      return arith::IndexCastOp::create(builder, builder.getIndexType(), value);
    };
    auto type = dyn_cast<MemRefType>(old.getType());
    if (!type) {
      old.replaceAllUsesWith(old.getType().isIndex() ? toIndex(values[0])
                                                     : values[0]);
      continue;
    }
    BufferArgument buffer;
    ArrayRef<Value> rest(values);
    buffer.address = rest.consume_front();
    for (int64_t size : type.getShape())
      buffer.sizes.push_back(
          ShapedType::isDynamic(size)
              ? toIndex(rest.consume_front())
              : arith::ConstantIndexOp::create(builder, size).getResult());
    buffer.isWritten = llvm::any_of(
        old.getUsers(), llvm::IsaPred<memref::StoreOp, vector::StoreOp>);
    SmallVector<Operation *> users(old.getUsers());
    for (Operation *user : users)
      if (failed(lowerUser(user, type, buffer)))
        return failure();
  }
  for (unsigned i = 0; i < count; ++i)
    (void)kernel.eraseArgument(added);
  return success();
}

/// What kernels may ask of a Vulkan 1.2 device, with its subgroup size.
static spirv::TargetEnvAttr makeTargetEnv(MLIRContext *context,
                                          int64_t subgroupSize) {
  using spirv::Capability, spirv::Extension;
  auto triple = spirv::VerCapExtAttr::get(
      spirv::Version::V_1_5,
      {Capability::Shader, Capability::Int64, Capability::Int16,
       Capability::Float16, Capability::PhysicalStorageBufferAddresses,
       Capability::StorageBuffer16BitAccess, Capability::GroupNonUniform,
       Capability::GroupNonUniformShuffle},
      {Extension::SPV_KHR_storage_buffer_storage_class,
       Extension::SPV_KHR_physical_storage_buffer,
       Extension::SPV_KHR_16bit_storage},
      context);
  auto limits = spirv::ResourceLimitsAttr::get(
      context, /*max_compute_shared_memory_size=*/16384,
      /*max_compute_workgroup_invocations=*/128,
      Builder(context).getI32ArrayAttr({128, 128, 64}), subgroupSize,
      /*min_subgroup_size=*/std::nullopt, /*max_subgroup_size=*/std::nullopt,
      ArrayAttr::get(context, {}), ArrayAttr::get(context, {}));
  return spirv::TargetEnvAttr::get(
      triple, limits, spirv::ClientAPI::Vulkan, spirv::Vendor::Unknown,
      spirv::DeviceType::Unknown, spirv::TargetEnvAttr::kUnknownDeviceID);
}

/// Marks a module and its kernels for the conversion to SPIR-V.
static void markForSpirv(gpu::GPUModuleOp module) {
  MLIRContext *context = module.getContext();
  for (auto kernel : module.getOps<gpu::GPUFuncOp>()) {
    ArrayRef<int32_t> size = *kernel.getKnownBlockSize();
    kernel->setAttr(spirv::getEntryPointABIAttrName(),
                    spirv::getEntryPointABIAttr(context, size));
    module->setAttr(spirv::getTargetEnvAttrName(),
                    makeTargetEnv(context, size[0]));
  }
}

namespace {
struct LowerKernelMemoryPass
    : public paged_attn::impl::LowerKernelMemoryPassBase<
          LowerKernelMemoryPass> {
  using Base::Base;

  void runOnOperation() final {
    bool isSpirv = abi == "spirv";
    if (!isSpirv && abi != "llvm") {
      getOperation().emitError("expected abi to be llvm or spirv, got '")
          << abi << "'";
      return signalPassFailure();
    }
    for (auto function :
         llvm::make_early_inc_range(getOperation().getOps<func::FuncOp>())) {
      auto launches = function.getBody().getOps<gpu::LaunchFuncOp>();
      if (!launches.empty())
        function.erase();
    }
    LLVMMemory llvmMemory;
    SpirvMemory spirvMemory;
    KernelMemory &memory = isSpirv ? static_cast<KernelMemory &>(spirvMemory)
                                   : static_cast<KernelMemory &>(llvmMemory);
    for (auto module : getOperation().getOps<gpu::GPUModuleOp>()) {
      for (auto kernel : module.getOps<gpu::GPUFuncOp>())
        if (failed(KernelLowering(kernel, memory).run()))
          return signalPassFailure();
      if (isSpirv)
        markForSpirv(module);
    }
  }
};
} // namespace
