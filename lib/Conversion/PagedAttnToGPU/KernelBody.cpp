//===- KernelBody.cpp - A work item as the code of a subgroup -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3c: the walk over level 2; see the header.
//
//===----------------------------------------------------------------------===//

#include "KernelBody.h"

#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/TypeSwitch.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace mlir::paged_attn;

SmallVector<Value> View::at(Emitter &emitter, ValueRange indices) const {
  SmallVector<Value> result(offsets);
  for (auto [dim, index] : llvm::zip_equal(dims, indices))
    result[dim] = emitter.add(offsets[dim], index);
  return result;
}

KernelBody::KernelBody(gpu::GPUFuncOp kernel, const LaneOptions &options)
    : options(options),
      e(kernel.getLoc(), OpBuilder::atBlockEnd(&kernel.getBody().front())),
      kernel(kernel) {
  item = gpu::BlockIdOp::create(e, gpu::Dimension::x);
}

/// The largest number of rows of a tile in `forall`.
static int64_t mostRows(scf::ForallOp forall) {
  int64_t most = 1;
  forall.walk([&](LoadQueryOp op) {
    most =
        std::max(most, cast<ShapedType>(op.getOut().getType()).getDimSize(0));
  });
  return most;
}

int64_t KernelBody::countRowBlocks(scf::ForallOp forall) const {
  return llvm::divideCeil(mostRows(forall), options.rows);
}

LogicalResult KernelBody::emitForall(scf::ForallOp forall) {
  LoadTileOp key, value;
  forall.walk(
      [&](LoadTileOp op) { (op.getPart() == Part::Key ? key : value) = op; });
  if (!key || !value)
    return forall.emitError("expected work items of attention, got none");
  for (LoadTileOp load : {key, value}) {
    Type type = getElementTypeOrSelf(load.getPool());
    if (!type.isF32() && !isa<Float16Type, BFloat16Type>(type))
      return load.emitOpError(
                 "expected pools of f32, f16 or bf16 on GPUs, got ")
             << type;
  }
  options.rows = TileLayouts::fitRows(options, key, value, mostRows(forall));
  layouts = TileLayouts::choose(options, key, value, options.rows);
  lanes =
      std::make_unique<Lanes>(e, options.subgroupSize, layouts.key.lanesPerRow);
  firstRow = e.index(0);
  if (countRowBlocks(forall) > 1)
    firstRow = e.mul(gpu::BlockIdOp::create(e, gpu::Dimension::z),
                     e.index(options.rows));
  Value place[] = {item, gpu::BlockIdOp::create(e, gpu::Dimension::y)};
  for (auto [variable, block] :
       llvm::zip_first(forall.getInductionVars(), place))
    scalars[variable] = block;
  for (auto [arg, out] :
       llvm::zip_equal(forall.getRegionIterArgs(), forall.getOutputs()))
    views[arg] = view(out);
  for (Operation &op : forall.getBody()->without_terminator())
    if (failed(emit(&op)))
      return failure();
  gpu::ReturnOp::create(e);
  return success();
}

LogicalResult KernelBody::emitFill(linalg::FillOp fill) {
  View target = view(fill.getOutputs().front());
  lanes = std::make_unique<Lanes>(e, options.subgroupSize, 1);
  Value value = scalar(fill.getInputs().front());
  Value inRange =
      e.compare(arith::CmpIPredicate::slt, item, target.sizes.front());
  Value count = e.index(1);
  for (Value size : ArrayRef(target.sizes).drop_front())
    count = e.mul(count, size);
  e.when(inRange, [&] {
    auto loop = scf::ForOp::create(e, lanes->getLane(), count,
                                   e.index(options.subgroupSize));
    OpBuilder::InsertionGuard guard(e);
    e.setInsertionPointToStart(loop.getBody());
    // The place of the rest in the dimensions after the first.
    SmallVector<Value> indices(target.sizes.size());
    Value rest = loop.getInductionVar();
    for (size_t dim = indices.size() - 1; dim > 0; --dim) {
      indices[dim] = e.createOrFold<arith::RemUIOp>(rest, target.sizes[dim]);
      rest = e.createOrFold<arith::DivUIOp>(rest, target.sizes[dim]);
    }
    indices[0] = item;
    memref::StoreOp::create(e, value, target.buffer, target.at(e, indices));
  });
  gpu::ReturnOp::create(e);
  return success();
}

//===----------------------------------------------------------------------===//
// Values of the host function
//===----------------------------------------------------------------------===//

/// The kernel's argument for an argument of the host function.
Value KernelBody::argument(Value hostValue) {
  auto *known = llvm::find(operands, hostValue);
  unsigned index = known - operands.begin();
  if (known == operands.end()) {
    operands.push_back(hostValue);
    (void)kernel.insertArgument(index, hostValue.getType(), {},
                                kernel.getLoc());
  }
  return kernel.getArgument(index);
}

/// A scalar; what the host computes is computed again in the kernel.
Value KernelBody::scalar(Value value) {
  auto known = scalars.find(value);
  if (known != scalars.end())
    return known->second;
  if (isa<BlockArgument>(value)) {
    Value result = argument(value);
    scalars[value] = result;
    return result;
  }
  OpBuilder::InsertionGuard guard(e);
  // Before the first use of all: the entry block, where it dominates.
  Block &entry = kernel.getBody().front();
  if (e.getInsertionBlock() != &entry)
    e.setInsertionPoint(
        entry.findAncestorOpInBlock(*e.getInsertionBlock()->getParentOp()));
  LogicalResult emitted = emit(value.getDefiningOp());
  assert(succeeded(emitted) && "host scalars are plain arithmetic");
  (void)emitted;
  return scalars[value];
}

View KernelBody::view(Value value) {
  auto known = views.find(value);
  if (known != views.end())
    return known->second;
  if (Operation *producer = value.getDefiningOp()) {
    if (auto toTensor = dyn_cast<bufferization::ToTensorOp>(producer))
      return view(toTensor.getBuffer());
    if (auto slice = dyn_cast<tensor::ExtractSliceOp>(producer)) {
      emitSlice(slice);
      return views[value];
    }
    if (auto insert = dyn_cast<tensor::InsertSliceOp>(producer))
      return view(insert.getDest());
    if (auto forall = dyn_cast<scf::ForallOp>(producer))
      return view(forall.getOutputs()[cast<OpResult>(value).getResultNumber()]);
  }
  View whole;
  whole.buffer = argument(value);
  int64_t rank = cast<ShapedType>(value.getType()).getRank();
  for (int64_t dim = 0; dim < rank; ++dim) {
    whole.offsets.push_back(e.index(0));
    whole.sizes.push_back(e.dim(whole.buffer, dim));
    whole.dims.push_back(dim);
  }
  return whole;
}

//===----------------------------------------------------------------------===//
// The walk
//===----------------------------------------------------------------------===//

LogicalResult KernelBody::emit(Operation *op) {
  return TypeSwitch<Operation *, LogicalResult>(op)
      .Case([&](scf::ForOp op) { return emitFor(op); })
      .Case([&](scf::IfOp op) { return emitIf(op); })
      .Case([&](scf::WhileOp op) { return emitWhile(op); })
      .Case([&](tensor::ExtractOp op) {
        SmallVector<Value> indices;
        for (Value index : op.getIndices())
          indices.push_back(scalar(index));
        View source = view(op.getTensor());
        scalars[op.getResult()] = e.load(source.buffer, source.at(e, indices));
        return success();
      })
      .Case<tensor::DimOp, memref::DimOp>([&](auto op) {
        scalars[op.getResult()] =
            emitDim(op.getSource(), *op.getConstantIndex());
        return success();
      })
      .Case([&](tensor::ExtractSliceOp op) {
        emitSlice(op);
        return success();
      })
      .Case([&](tensor::InsertSliceOp op) {
        views[op.getResult()] = view(op.getDest());
        return success();
      })
      .Case<bufferization::AllocTensorOp, LoadTileOp>(
          [](auto) { return success(); }) // read where they are used
      .Case([&](linalg::FillOp op) {
        emitTileFill(op);
        return success();
      })
      .Case([&](linalg::GenericOp op) {
        emitRowValues(op);
        return success();
      })
      .Case([&](LoadQueryOp op) {
        emitLoadQuery(op);
        return success();
      })
      .Case([&](OnlineUpdateOp op) {
        emitOnlineUpdate(op);
        return success();
      })
      .Case([&](FinalizeOp op) {
        emitFinalize(op);
        return success();
      })
      .Default([&](Operation *op) { return emitScalar(op); });
}

LogicalResult KernelBody::emitScalar(Operation *op) {
  bool isPlain =
      op->getNumRegions() == 0 &&
      llvm::none_of(op->getOperandTypes(), llvm::IsaPred<ShapedType>);
  if (!isPlain)
    return op->emitError("expected an op of level 2, got '")
           << op->getName() << "' (not lowered to gpu)";
  IRMapping mapping;
  for (Value operand : op->getOperands())
    mapping.map(operand, scalar(operand));
  Operation *clone = e.clone(*op, mapping);
  for (auto [from, to] : llvm::zip_equal(op->getResults(), clone->getResults()))
    scalars[from] = to;
  return success();
}

LogicalResult KernelBody::emitBlock(Block &block) {
  for (Operation &op : block.without_terminator())
    if (failed(emit(&op)))
      return failure();
  return success();
}

SmallVector<Value> KernelBody::flatten(ValueRange carried) {
  SmallVector<Value> flat;
  for (Value value : carried) {
    if (tiles.contains(value))
      llvm::append_range(flat, parts(value));
    else if (!isa<ShapedType>(value.getType()))
      flat.push_back(scalar(value));
  }
  return flat;
}

void KernelBody::unflatten(ValueRange targets, ValueRange sources,
                           ValueRange flat) {
  for (auto [target, source] : llvm::zip_equal(targets, sources)) {
    if (tiles.contains(source)) {
      size_t size = parts(source).size();
      tiles[target] = llvm::to_vector(flat.take_front(size));
      flat = flat.drop_front(size);
    } else if (isa<ShapedType>(source.getType())) {
      views[target] = view(source);
    } else {
      scalars[target] = flat.front();
      flat = flat.drop_front();
    }
  }
}

LogicalResult KernelBody::emitFor(scf::ForOp op) {
  llvm::SaveAndRestore keepRows(hasRows); // the body may have tiles of its own
  Value begin = scalar(op.getLowerBound()), end = scalar(op.getUpperBound());
  bool carriesTiles = llvm::any_of(
      op.getInitArgs(), [&](Value value) { return tiles.contains(value); });
  if (carriesTiles && hasRows) // a block without rows visits no key
    end = e.select(hasRows, end, begin);
  SmallVector<Value> inits = flatten(op.getInitArgs());
  auto loop = scf::ForOp::create(e, begin, end, scalar(op.getStep()), inits);
  OpBuilder::InsertionGuard guard(e);
  e.setInsertionPointToStart(loop.getBody());
  scalars[op.getInductionVar()] = loop.getInductionVar();
  unflatten(op.getRegionIterArgs(), op.getInitArgs(), loop.getRegionIterArgs());
  if (failed(emitBlock(*op.getBody())))
    return failure();
  auto yield = cast<scf::YieldOp>(op.getBody()->getTerminator());
  if (!inits.empty()) // else the builder has made the terminator
    scf::YieldOp::create(e, flatten(yield.getOperands()));
  unflatten(op.getResults(), op.getInitArgs(), loop.getResults());
  return success();
}

LogicalResult KernelBody::emitIf(scf::IfOp op) {
  SmallVector<Type> types;
  for (Type type : op.getResultTypes())
    if (!isa<ShapedType>(type)) // the others are views
      types.push_back(type);
  auto branch = scf::IfOp::create(e, types, scalar(op.getCondition()),
                                  /*addThenBlock=*/true,
                                  /*addElseBlock=*/op.elseBlock() != nullptr);
  auto emitInto = [&](Block *from, Block *to) {
    OpBuilder::InsertionGuard guard(e);
    llvm::SaveAndRestore keepRows(hasRows);
    e.setInsertionPointToStart(to);
    if (failed(emitBlock(*from)))
      return failure();
    auto yield = cast<scf::YieldOp>(from->getTerminator());
    scf::YieldOp::create(e, flatten(yield.getOperands()));
    return success();
  };
  if (failed(emitInto(op.thenBlock(), branch.thenBlock())) ||
      (op.elseBlock() && failed(emitInto(op.elseBlock(), branch.elseBlock()))))
    return failure();
  unflatten(op.getResults(),
            op.getNumResults() ? op.thenYield().getOperands() : ValueRange(),
            branch.getResults());
  return success();
}

LogicalResult KernelBody::emitWhile(scf::WhileOp op) {
  SmallVector<Value> inits = flatten(op.getInits());
  auto loop = scf::WhileOp::create(e, op.getResultTypes(), inits);
  auto emitInto = [&](Block *from, Region &to) {
    SmallVector<Location> locations(from->getNumArguments(), op.getLoc());
    OpBuilder::InsertionGuard guard(e);
    Block *block = e.createBlock(&to, {}, from->getArgumentTypes(), locations);
    for (auto [old, value] :
         llvm::zip_equal(from->getArguments(), block->getArguments()))
      scalars[old] = value;
    return LogicalResult(emitBlock(*from));
  };
  if (failed(emitInto(op.getBeforeBody(), loop.getBefore())) ||
      failed(emitInto(op.getAfterBody(), loop.getAfter())))
    return failure();
  OpBuilder::InsertionGuard guard(e);
  e.setInsertionPointToEnd(&loop.getBefore().front());
  scf::ConditionOp condition = op.getConditionOp();
  scf::ConditionOp::create(e, scalar(condition.getCondition()),
                           flatten(condition.getArgs()));
  e.setInsertionPointToEnd(&loop.getAfter().front());
  scf::YieldOp::create(e, flatten(op.getYieldOp().getOperands()));
  for (auto [old, value] : llvm::zip_equal(op.getResults(), loop.getResults()))
    scalars[old] = value;
  return success();
}

//===----------------------------------------------------------------------===//
// Slices and tiles
//===----------------------------------------------------------------------===//

void KernelBody::emitSlice(tensor::ExtractSliceOp op) {
  View source = view(op.getSource());
  auto toValue = [&](OpFoldResult value) -> Value {
    if (auto constant = getConstantIntValue(value))
      return e.index(*constant);
    return scalar(cast<Value>(value));
  };
  View slice;
  slice.buffer = source.buffer;
  slice.offsets = source.offsets;
  slice.sizes = source.sizes;
  llvm::SmallBitVector dropped = op.getDroppedDims();
  for (auto [i, dim] : llvm::enumerate(source.dims)) {
    slice.offsets[dim] =
        e.add(source.offsets[dim], toValue(op.getMixedOffsets()[i]));
    slice.sizes[dim] = toValue(op.getMixedSizes()[i]);
    if (!dropped.test(i))
      slice.dims.push_back(dim);
  }
  views[op.getResult()] = slice;
}

Value KernelBody::emitDim(Value source, int64_t dim) {
  View slice = view(source);
  return slice.sizes[slice.dims[dim]];
}

/// The start of a softmax state: acc [R, Dv], or m or l [R].
void KernelBody::emitTileFill(linalg::FillOp op) {
  Value tile = op.getResult(0), value = scalar(op.getInputs().front());
  int64_t count = rowsOf(tile);
  if (cast<ShapedType>(tile.getType()).getRank() == 2) {
    count *= layouts.value.numChunks();
    value = lanes->splat(layouts.value, value);
  }
  tiles[tile] = SmallVector<Value>(count, value);
}

/// Values of each row, [R]: the body once per row of the block.
void KernelBody::emitRowValues(linalg::GenericOp op) {
  SmallVector<Value> rows;
  Block &body = op.getRegion().front();
  for (int64_t row = 0; row < rowsOf(op.getResult(0)); ++row) {
    for (Operation &inner : body.without_terminator()) {
      if (isa<linalg::IndexOp>(inner)) {
        scalars[inner.getResult(0)] = rowIndex(row);
        continue;
      }
      LogicalResult emitted = emit(&inner);
      assert(succeeded(emitted) && "row values are plain arithmetic");
      (void)emitted;
    }
    rows.push_back(scalar(body.getTerminator()->getOperand(0)));
  }
  tiles[op.getResult(0)] = std::move(rows);
}

/// Rows of `tile` that a block holds.
int64_t KernelBody::rowsOf(Value tile) {
  return std::min(options.rows, cast<ShapedType>(tile.getType()).getDimSize(0));
}

/// Row `row` of the block, counted in the tile.
Value KernelBody::rowIndex(int64_t row) {
  return e.add(firstRow, e.index(row));
}
