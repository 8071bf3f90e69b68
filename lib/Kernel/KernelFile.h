//===- KernelFile.h - A compiled kernel as bytes ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The format of cached kernels. Private to lib/Kernel.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_KERNEL_KERNELFILE_H
#define PAGED_ATTN_LIB_KERNEL_KERNELFILE_H

#include "paged_attn/Kernel/Compile.h"

namespace mlir::paged_attn {

/// Changes with the format: files of another one are not read.
constexpr int64_t kKernelFileVersion = 1;

/// 32 hex digits (XXH3).
std::string hashText(std::string_view bytes);

/// The file of `kernel`:
///   line 1   "paged_attn kernel <version> <key> <hash of the rest>"
///   line 2   its functions as JSON
///   rest     the object
std::string encodeKernel(const std::string &key, const CompiledObject &kernel);

/// Reads what `encodeKernel` wrote for `key`; nothing for all other bytes.
std::optional<CompiledObject> decodeKernel(const std::string &key,
                                           std::string_view bytes);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_KERNEL_KERNELFILE_H
