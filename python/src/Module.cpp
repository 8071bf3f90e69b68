//===- Module.cpp - paged_attn._core --------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The extension module and its exceptions.
//
//===----------------------------------------------------------------------===//

#include "Arrays.h"
#include "Bindings.h"

using namespace paged_attn_python;

/// The class paged_attn.CompileError; lives as long as the process.
static PyObject *compileError = nullptr;

void paged_attn_python::raiseCompileError(const std::string &message) {
  PyErr_SetString(compileError, message.c_str());
  throw nb::python_error();
}

void paged_attn_python::bindErrors(nb::module_ &module) {
  compileError = PyErr_NewExceptionWithDoc(
      "paged_attn.CompileError",
      "The compiler refuses a kernel; the text is its first diagnostic.",
      PyExc_RuntimeError, nullptr);
  module.attr("CompileError") = nb::handle(compileError);
}

NB_MODULE(_core, module) {
  bindErrors(module);
  bindArrays(module);
  bindCalls(module);
  bindXla(module);
}
