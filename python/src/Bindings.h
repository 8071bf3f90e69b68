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

namespace paged_attn_python {

namespace nb = nanobind;

/// Throws paged_attn.CompileError.
[[noreturn]] void raiseCompileError(const std::string &message);

void bindErrors(nb::module_ &module);
void bindCalls(nb::module_ &module);
void bindXla(nb::module_ &module);

} // namespace paged_attn_python

#endif // PAGED_ATTN_PYTHON_BINDINGS_H
