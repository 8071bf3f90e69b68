//===- EmitDevice.cpp - LLVM module to code of a GPU ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// O3, then LLVM's back end; HSACO by lld.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Target/EmitDevice.h"

#include "OptimizeAndWrite.h"

#include "llvm/IR/Module.h"
#include "llvm/MC/MCSubtargetInfo.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Target/TargetMachine.h"
#include "llvm/Target/TargetOptions.h"

using namespace mlir::paged_attn;

/// Version of PTX: the first that knows what kernels for sm_80 use. Later
/// chips need later ones.
static std::string ptxFeature(llvm::StringRef chip) {
  unsigned number = 0;
  chip.drop_front(3).rtrim("af").getAsInteger(10, number);
  if (number >= 100)
    return "+ptx87";
  return number >= 89 ? "+ptx78" : "+ptx70";
}

static std::unique_ptr<llvm::TargetMachine> createMachine(llvm::StringRef chip,
                                                          std::string &error) {
  bool isNvidia = chip.starts_with("sm_");
  if (isNvidia) {
    LLVMInitializeNVPTXTargetInfo();
    LLVMInitializeNVPTXTarget();
    LLVMInitializeNVPTXTargetMC();
    LLVMInitializeNVPTXAsmPrinter();
  } else {
    LLVMInitializeAMDGPUTargetInfo();
    LLVMInitializeAMDGPUTarget();
    LLVMInitializeAMDGPUTargetMC();
    LLVMInitializeAMDGPUAsmPrinter();
  }
  llvm::Triple triple(isNvidia ? "nvptx64-nvidia-cuda" : "amdgcn-amd-amdhsa");
  const llvm::Target *target =
      llvm::TargetRegistry::lookupTarget(triple, error);
  if (!target)
    return nullptr;
  std::unique_ptr<llvm::MCSubtargetInfo> known(
      target->createMCSubtargetInfo(triple, "", ""));
  if (known && !known->isCPUStringValid(chip)) {
    error = "expected a chip of " + triple.str() + ", got '" + chip.str() + "'";
    return nullptr;
  }
  return std::unique_ptr<llvm::TargetMachine>(target->createTargetMachine(
      triple, chip, isNvidia ? ptxFeature(chip) : "", llvm::TargetOptions(),
      llvm::Reloc::PIC_, std::nullopt, llvm::CodeGenOptLevel::Aggressive));
}

/// Code object version 5: the last that ROCm 5 reads too.
constexpr int kCodeObjectVersion = 500;

std::optional<std::string>
mlir::paged_attn::emitDeviceCode(llvm::Module &module, std::string_view chip,
                                 CodeKind kind, std::string &error) {
  std::unique_ptr<llvm::TargetMachine> machine = createMachine(chip, error);
  if (!machine) {
    if (error.empty())
      error = "cannot generate code for " + std::string(chip);
    return std::nullopt;
  }
  module.setTargetTriple(machine->getTargetTriple());
  module.setDataLayout(machine->createDataLayout());
  if (machine->getTargetTriple().isAMDGPU())
    module.setModuleFlag(llvm::Module::Error, "amdhsa_code_object_version",
                         kCodeObjectVersion);
  for (llvm::Function &function : module)
    if (!function.isDeclaration())
      function.addFnAttr("target-cpu", std::string(chip));
  return optimizeAndWrite(module, *machine, kind, error);
}

std::optional<std::string> mlir::paged_attn::linkHsaco(std::string_view object,
                                                       std::string &error) {
  llvm::ErrorOr<std::string> linker =
      llvm::sys::findProgramByName("ld.lld", {PAGED_ATTN_LLVM_TOOLS_DIR});
  if (!linker)
    linker = llvm::sys::findProgramByName("ld.lld");
  if (!linker) {
    error = "cannot link an HSACO: ld.lld is not in " PAGED_ATTN_LLVM_TOOLS_DIR
            " and not on the path";
    return std::nullopt;
  }
  llvm::SmallString<128> input, output;
  if (llvm::sys::fs::createTemporaryFile("kernel", "o", input) ||
      llvm::sys::fs::createTemporaryFile("kernel", "hsaco", output)) {
    error = "cannot link an HSACO: no temporary file";
    return std::nullopt;
  }
  llvm::FileRemover removeInput(input), removeOutput(output);
  std::error_code failure;
  {
    llvm::raw_fd_ostream os(input, failure);
    os << llvm::StringRef(object);
  }
  llvm::StringRef arguments[] = {*linker, "-shared", input, "-o", output};
  if (failure || llvm::sys::ExecuteAndWait(*linker, arguments, std::nullopt, {},
                                           0, 0, &error) != 0) {
    error = "cannot link an HSACO: " + *linker + " failed";
    return std::nullopt;
  }
  auto linked = llvm::MemoryBuffer::getFile(output, /*IsText=*/false);
  if (!linked) {
    error = "cannot link an HSACO: " + linked.getError().message();
    return std::nullopt;
  }
  return (*linked)->getBuffer().str();
}
