//===- OutlineWork.cpp - Level 4 ------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Work loops become functions over [begin, end):
//   1. drop results of a function that are its own arguments;
//   2. per `scf.forall`: build `<name>_work<k>`, which delinearises an item's
//      number and runs the loop body, and call it over all items;
//   3. put static scratch buffers of the body in the frame, free the others.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Transforms/Passes.h"

#include "ArgumentResults.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/IR/Matchers.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/LoopLikeInterface.h"
#include "mlir/Interfaces/ViewLikeInterface.h"
#include "mlir/Transforms/RegionUtils.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_OUTLINEWORKPASS
#include "paged_attn/Transforms/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;

namespace {

//===----------------------------------------------------------------------===//
// Scratch buffers
//===----------------------------------------------------------------------===//

/// How far a buffer travels from the block it is allocated in.
enum class Reach {
  Block,    ///< used in its block only
  Escaping, ///< yielded, returned or stored: may outlive its iteration
};

/// Follows `buffer` through views; `scf.if` results count as aliases.
Reach getReach(Value buffer) {
  SmallVector<Value> aliases{buffer};
  while (!aliases.empty()) {
    Value alias = aliases.pop_back_val();
    for (OpOperand &use : alias.getUses()) {
      Operation *user = use.getOwner();
      if (auto view = dyn_cast<ViewLikeOpInterface>(user))
        llvm::append_range(aliases, view->getResults());
      else if (auto cast = dyn_cast<memref::CastOp>(user))
        aliases.push_back(cast);
      else if (auto select = dyn_cast<arith::SelectOp>(user))
        aliases.push_back(select);
      else if (auto store = dyn_cast<memref::StoreOp>(user);
               store && store.getValueToStore() == alias)
        return Reach::Escaping;
      else if (user->hasTrait<OpTrait::IsTerminator>() ||
               isa<LoopLikeOpInterface>(user))
        return Reach::Escaping;
    }
  }
  return Reach::Block;
}

/// The bytes of a static memref of integers or floats, or nothing.
std::optional<int64_t> getStaticBytes(MemRefType type) {
  if (!type.hasStaticShape() || !type.getLayout().isIdentity() ||
      !type.getElementType().isIntOrIndexOrFloat())
    return std::nullopt;
  int64_t bits =
      type.getElementType().isIndex() ? 64 : type.getElementTypeBitWidth();
  return type.getNumElements() * llvm::divideCeil(bits, 8);
}

/// A buffer in the frame and the blocks whose scratch it is.
struct FrameBuffer {
  Value buffer;
  SmallVector<Block *> blocks;

  /// True when scratch of `block` can never be in use together with that of
  /// the blocks it serves already: none of them encloses another.
  bool canServe(Block *block, MemRefType type) const {
    return buffer.getType() == type && llvm::none_of(blocks, [&](Block *other) {
             return other->findAncestorOpInBlock(*block->getParentOp()) ||
                    block->findAncestorOpInBlock(*other->getParentOp()) ||
                    other == block;
           });
  }
};

/// Puts the scratch buffers of a work function in its frame. Its bodies run
/// one after the other and fill a buffer before they read it, so one buffer
/// serves all items, and loops that follow each other share theirs.
void hoistScratch(func::FuncOp function, int64_t maxStackBytes) {
  Block &entry = function.getBody().front();
  SmallVector<memref::AllocOp> scratch;
  function.walk([&](memref::AllocOp alloc) {
    std::optional<int64_t> bytes = getStaticBytes(alloc.getType());
    if (bytes && *bytes <= maxStackBytes && getReach(alloc) == Reach::Block)
      scratch.push_back(alloc);
  });
  OpBuilder builder = OpBuilder::atBlockBegin(&entry);
  SmallVector<FrameBuffer> frame;
  for (memref::AllocOp alloc : scratch) {
    Block *block = alloc->getBlock();
    auto *shared = llvm::find_if(frame, [&](const FrameBuffer &candidate) {
      return candidate.canServe(block, alloc.getType());
    });
    if (shared == frame.end()) {
      Value buffer =
          memref::AllocaOp::create(builder, alloc.getLoc(), alloc.getType(),
                                   ValueRange(), builder.getI64IntegerAttr(64));
      frame.push_back({buffer, {}});
      shared = std::prev(frame.end());
    }
    shared->blocks.push_back(block);
    for (Operation *user : llvm::make_early_inc_range(alloc->getUsers()))
      if (isa<memref::DeallocOp>(user))
        user->erase();
    alloc.replaceAllUsesWith(shared->buffer);
    alloc.erase();
  }
}

/// Frees, at the end of its block, every buffer that nobody frees and that
/// does not leave the block.
void freeRemaining(func::FuncOp function) {
  function.walk([](memref::AllocOp alloc) {
    bool isFreed = llvm::any_of(alloc->getUsers(), [](Operation *user) {
      return isa<memref::DeallocOp>(user);
    });
    if (isFreed || getReach(alloc) != Reach::Block)
      return;
    OpBuilder builder(alloc->getBlock()->getTerminator());
    memref::DeallocOp::create(builder, alloc.getLoc(), alloc);
  });
}

//===----------------------------------------------------------------------===//
// Outlining
//===----------------------------------------------------------------------===//

/// True for ops that are cheaper to repeat in the work function than to pass.
bool isClonedIn(Value value) {
  Operation *op = value.getDefiningOp();
  return op && (matchPattern(op, m_Constant()) || isa<memref::GetGlobalOp>(op));
}

/// One work loop and what its function is made of.
class WorkLoop {
public:
  explicit WorkLoop(scf::ForallOp forall)
      : forall(forall), loc(forall.getLoc()) {}

  /// Builds the work function `name`, replaces the loop by a call.
  func::FuncOp outline(func::FuncOp parent, StringRef name);

private:
  Value constant(OpBuilder &builder, int64_t value) {
    return arith::ConstantIndexOp::create(builder, loc, value);
  }
  /// Items of dimension `dim`: max(0, ceil((upper - lower) / step)).
  Value buildCount(OpBuilder &builder, unsigned dim);
  /// Values from above that the body uses, constants left out.
  void collectCaptures();
  /// Index values of item number `item`, row-major.
  SmallVector<Value> delinearize(OpBuilder &builder, Value item);
  void buildBody(func::FuncOp function);

  scf::ForallOp forall;
  Location loc;
  SmallVector<Value> counts;    ///< items per dimension, in the caller
  SmallVector<Value> captures;  ///< passed to the work function
  SmallVector<Value> constants; ///< cloned into the work function
  IRMapping mapping;            ///< caller -> work function
};

Value WorkLoop::buildCount(OpBuilder &builder, unsigned dim) {
  OpFoldResult lower = forall.getMixedLowerBound()[dim];
  OpFoldResult upper = forall.getMixedUpperBound()[dim];
  OpFoldResult step = forall.getMixedStep()[dim];
  Value end = getValueOrCreateConstantIndexOp(builder, loc, upper);
  if (isConstantIntValue(lower, 0) && isConstantIntValue(step, 1))
    return end;
  Value begin = getValueOrCreateConstantIndexOp(builder, loc, lower);
  Value size = arith::SubIOp::create(builder, loc, end, begin);
  Value count = arith::CeilDivSIOp::create(
      builder, loc, size, getValueOrCreateConstantIndexOp(builder, loc, step));
  return arith::MaxSIOp::create(builder, loc, count, constant(builder, 0));
}

void WorkLoop::collectCaptures() {
  SetVector<Value> used;
  getUsedValuesDefinedAbove(forall.getRegion(), used);
  used.insert_range(counts);
  for (auto bounds : {forall.getMixedLowerBound(), forall.getMixedStep()})
    for (OpFoldResult bound : bounds)
      if (auto value = dyn_cast<Value>(bound))
        used.insert(value);
  for (Value value : used)
    (isClonedIn(value) ? constants : captures).push_back(value);
}

SmallVector<Value> WorkLoop::delinearize(OpBuilder &builder, Value item) {
  SmallVector<Value> indices(counts.size());
  for (unsigned dim = counts.size(); dim-- > 0;) {
    Value index = item;
    if (dim > 0) {
      Value count = mapping.lookup(counts[dim]);
      index = arith::RemUIOp::create(builder, loc, item, count);
      item = arith::DivUIOp::create(builder, loc, item, count);
    }
    OpFoldResult lower = forall.getMixedLowerBound()[dim];
    OpFoldResult step = forall.getMixedStep()[dim];
    auto local = [&](OpFoldResult bound) -> Value {
      if (auto value = dyn_cast<Value>(bound))
        return mapping.lookup(value);
      return getValueOrCreateConstantIndexOp(builder, loc, bound);
    };
    if (!isConstantIntValue(step, 1))
      index = arith::MulIOp::create(builder, loc, index, local(step));
    if (!isConstantIntValue(lower, 0))
      index = arith::AddIOp::create(builder, loc, index, local(lower));
    indices[dim] = index;
  }
  return indices;
}

void WorkLoop::buildBody(func::FuncOp function) {
  Block *entry = function.addEntryBlock();
  OpBuilder builder = OpBuilder::atBlockBegin(entry);
  for (Value value : constants)
    mapping.map(value, builder.clone(*value.getDefiningOp())->getResult(0));
  for (auto [capture, argument] : llvm::zip(captures, entry->getArguments()))
    mapping.map(capture, argument);

  Value begin = entry->getArgument(captures.size());
  Value end = entry->getArgument(captures.size() + 1);
  auto loop =
      scf::ForOp::create(builder, loc, begin, end, constant(builder, 1));
  func::ReturnOp::create(builder, loc);
  builder.setInsertionPointToStart(loop.getBody());
  mapping.map(forall.getInductionVars(),
              delinearize(builder, loop.getInductionVar()));
  for (Operation &op : forall.getBody()->without_terminator())
    builder.clone(op, mapping);
}

func::FuncOp WorkLoop::outline(func::FuncOp parent, StringRef name) {
  OpBuilder builder(forall);
  for (unsigned dim = 0; dim < forall.getRank(); ++dim)
    counts.push_back(buildCount(builder, dim));
  Value total = counts.front();
  for (Value count : ArrayRef<Value>(counts).drop_front())
    total = arith::MulIOp::create(builder, loc, total, count);
  collectCaptures();

  SmallVector<Value> operands(captures);
  operands.push_back(constant(builder, 0));
  operands.push_back(total);
  OpBuilder moduleBuilder(parent);
  moduleBuilder.setInsertionPointAfter(parent);
  auto function =
      func::FuncOp::create(moduleBuilder, loc, name,
                           builder.getFunctionType(TypeRange(operands), {}));
  function.setPrivate();
  buildBody(function);

  auto call = func::CallOp::create(builder, loc, function, operands);
  call->setDiscardableAttr("paged_attn.work", builder.getUnitAttr());
  forall.erase();
  return function;
}

struct OutlineWorkPass
    : public paged_attn::impl::OutlineWorkPassBase<OutlineWorkPass> {
  using Base::Base;

  /// Outlines the outermost work loops of `function`.
  void outlineLoops(func::FuncOp function, SymbolTable &symbols) {
    SmallVector<scf::ForallOp> loops;
    function.walk<WalkOrder::PreOrder>([&](scf::ForallOp forall) {
      if (forall.getNumResults() == 0)
        loops.push_back(forall);
      return WalkResult::skip();
    });
    for (auto [index, forall] : llvm::enumerate(loops)) {
      std::string name = (function.getName() + "_work" + Twine(index)).str();
      while (symbols.lookup(name))
        name += "_";
      func::FuncOp work = WorkLoop(forall).outline(function, name);
      symbols.insert(work, std::next(function->getIterator()));
      hoistScratch(work, maxStackBytes);
      freeRemaining(work);
    }
  }

  void runOnOperation() final {
    if (maxStackBytes < 0 || maxStackBytes > (int64_t(1) << 30)) {
      getOperation().emitError("expected max-stack-bytes from 0 to 2^30, got ")
          << int64_t(maxStackBytes);
      return signalPassFailure();
    }
    SymbolTable symbols(getOperation());
    auto unit = UnitAttr::get(&getContext());
    for (func::FuncOp function :
         llvm::to_vector(getOperation().getOps<func::FuncOp>())) {
      if (function.isExternal())
        continue;
      paged_attn::dropArgumentResults(function, getOperation());
      outlineLoops(function, symbols);
      freeRemaining(function);
      if (function.isPublic())
        function->setAttr(LLVM::LLVMDialect::getEmitCWrapperAttrName(), unit);
    }
  }
};

} // namespace
