//===- FinishSpirv.cpp - The header of a SPIR-V module --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 5. What the conversion to SPIR-V leaves open: physical addressing, and
// version 1.5, from which entry points list all their variables.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Conversion/Passes.h"

#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_FINISHSPIRVPASS
#include "paged_attn/Conversion/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;

namespace {
struct FinishSpirvPass
    : public paged_attn::impl::FinishSpirvPassBase<FinishSpirvPass> {
  void runOnOperation() final {
    spirv::ModuleOp module = getOperation();
    std::optional<spirv::VerCapExtAttr> triple = module.getVceTriple();
    if (!triple) {
      module.emitError("expected a module with a version, got none (run "
                       "spirv-update-vce first)");
      return signalPassFailure();
    }
    module.setVceTripleAttr(spirv::VerCapExtAttr::get(
        spirv::Version::V_1_5, llvm::to_vector(triple->getCapabilities()),
        llvm::to_vector(triple->getExtensions()), &getContext()));
    module.setAddressingModel(spirv::AddressingModel::PhysicalStorageBuffer64);
  }
};
} // namespace
