//===- ReadSpec.cpp - Level-0 module to spec ------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reads back, from a user's module, what a KernelSpec can say.
//
//===----------------------------------------------------------------------===//

#include "LoweredModule.h"

#include "paged_attn/IR/PagedAttn.h"
#include "paged_attn/Kernel/KernelSpec.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace mlir::paged_attn;

namespace {

std::string elementName(Value value) {
  std::string text;
  llvm::raw_string_ostream(text)
      << cast<ShapedType>(value.getType()).getElementType();
  return text;
}

int64_t sizeOf(Value value, unsigned dim) {
  int64_t size = cast<ShapedType>(value.getType()).getDimSize(dim);
  return ShapedType::isDynamic(size) ? kDynamicSize : size;
}

std::optional<int64_t> rankOf(Value scale) {
  if (!scale)
    return std::nullopt;
  return cast<ShapedType>(scale.getType()).getRank();
}

LayoutSpec readLayout(LayoutAttr layout) {
  return {layout.getDims().str(), layout.getPack()};
}

/// What keeps `op` from being a spec; empty when nothing does.
std::string findUnsupported(AttentionOp op) {
  if (!op.getScore().empty())
    return "a score region";
  if (op.getQueryOffsets())
    return "offsets";
  if (op.getBias())
    return "a bias";
  return "";
}

void readTypes(AttentionOp op, KernelSpec &spec) {
  spec.queryType = elementName(op.getQuery());
  spec.keyType = elementName(op.getKeys());
  spec.outType = elementName(op.getOut());
  spec.indexType = elementName(op.getKvLens());
  spec.keyLayout = readLayout(op.getKeyLayout());
  spec.keyScaleRank = rankOf(op.getKeyScale());
  spec.valueScaleRank = rankOf(op.getValueScale());
  spec.pools = op.getKeyLayout().hasDim('c') ? Pools::Pair : Pools::Latent;
  spec.valueType = spec.keyType;
  spec.valueLayout = spec.keyLayout;
  if (Value values = op.getValues()) {
    spec.pools = Pools::Separate;
    spec.valueType = elementName(values);
    if (auto layout = op.getValueLayoutAttr())
      spec.valueLayout = readLayout(layout);
  }
}

void readShapes(AttentionOp op, KernelSpec &spec) {
  PoolShape pool = PoolShape::get(cast<ShapedType>(op.getKeys().getType()),
                                  op.getKeyLayout());
  spec.pageSize = pool.pageSize;
  spec.numKVHeads = pool.numKVHeads;
  spec.numHeads = sizeOf(op.getQuery(), 1);
  spec.keyDim = sizeOf(op.getQuery(), 2);
  spec.valueDim = sizeOf(op.getOut(), 2);
  spec.numTokens = sizeOf(op.getQuery(), 0);
  spec.batch = sizeOf(op.getKvLens(), 0);
}

void readOptions(AttentionOp op, KernelSpec &spec) {
  spec.mode = stringifyMode(op.getMode()).str();
  spec.csr = static_cast<bool>(op.getPageIndices());
  spec.hasQueryStarts = static_cast<bool>(op.getQueryStarts());
  spec.hasAlibi = static_cast<bool>(op.getAlibiSlopes());
  spec.hasSinks = static_cast<bool>(op.getSinks());
  spec.wantsLse = static_cast<bool>(op.getLse());
  spec.causal = false;
  if (MaskAttr mask = op.getMaskAttr()) {
    spec.causal = mask.getCausal();
    spec.window = mask.getWindow();
    spec.sinkTokens = mask.getSinkTokens();
    spec.chunk = mask.getChunk();
  }
  if (FloatAttr scale = op.getScaleAttr())
    spec.scale = scale.getValue().convertToFloat();
  if (FloatAttr softcap = op.getSoftcapAttr())
    spec.softcap = softcap.getValue().convertToFloat();
}

KernelSpec makeSpec(func::FuncOp function, AttentionOp op) {
  KernelSpec spec;
  spec.name = function.getName().str();
  readTypes(op, spec);
  readShapes(op, spec);
  readOptions(op, spec);
  return spec;
}

} // namespace

std::vector<KernelSpec> paged_attn::readSpecs(std::string_view source,
                                              std::string_view sourceName,
                                              std::string &error) {
  LoweredModule module;
  if (!module.parse(source, sourceName, error))
    return {};
  std::vector<KernelSpec> specs;
  for (auto function : module.getModule().getOps<func::FuncOp>()) {
    SmallVector<AttentionOp> ops;
    function.walk([&](AttentionOp op) { ops.push_back(op); });
    if (!function.isPublic() || ops.empty())
      continue;
    std::string unsupported =
        ops.size() > 1 ? "a second one beside it" : findUnsupported(ops[0]);
    if (!unsupported.empty()) {
      error = "expected the attention op of '" + function.getName().str() +
              "' to be one that random problems can feed, got one with " +
              unsupported;
      return {};
    }
    specs.push_back(makeSpec(function, ops[0]));
  }
  if (specs.empty())
    error = "expected a public function with a paged_attn.attention op";
  return specs;
}
