//===- Bindings.h - Parts of the extension module ---------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each source binds its own part of paged_attn._core.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_PYTHON_BINDINGS_H
#define PAGED_ATTN_PYTHON_BINDINGS_H

#include <nanobind/nanobind.h>

#include <string>

namespace mlir::paged_attn {
struct KernelSpec;
} // namespace mlir::paged_attn

namespace paged_attn_python {

namespace nb = nanobind;

/// Throws paged_attn.CompileError.
[[noreturn]] void raiseCompileError(const std::string &message);

/// Throws paged_attn.CacheError (or its OutOfPages, or ValueError) for a status
/// of the runtime.
[[noreturn]] void raiseCacheError(int code, const char *codeName,
                                  const char *message);

/// A spec as the fields of paged_attn.KernelSpec.
nb::dict toDict(const mlir::paged_attn::KernelSpec &spec);

void bindErrors(nb::module_ &module);
void bindCalls(nb::module_ &module);
void bindKernel(nb::module_ &module);
void bindManager(nb::module_ &module);
void bindXla(nb::module_ &module);

} // namespace paged_attn_python

#endif // PAGED_ATTN_PYTHON_BINDINGS_H
