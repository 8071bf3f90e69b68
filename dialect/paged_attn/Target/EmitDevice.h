//===- EmitDevice.h - LLVM module to code of a GPU --------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// NVPTX and AMDGPU, by LLVM's own back ends: no vendor's toolkit is needed.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TARGET_EMITDEVICE_H
#define PAGED_ATTN_TARGET_EMITDEVICE_H

#include "paged_attn/Target/EmitObject.h"

namespace mlir::paged_attn {

/// Optimises `module` for a chip ("sm_80": PTX; "gfx942": AMD) and returns its
/// text or object; PTX has no objects. The module is changed. Nothing and a
/// one-line `error` on failure.
std::optional<std::string> emitDeviceCode(llvm::Module &module,
                                          std::string_view chip, CodeKind kind,
                                          std::string &error);

/// Links an AMD object to an HSACO with ld.lld, from LLVM's folder or the
/// path. Nothing and a one-line `error` on failure.
std::optional<std::string> linkHsaco(std::string_view object,
                                     std::string &error);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_TARGET_EMITDEVICE_H
