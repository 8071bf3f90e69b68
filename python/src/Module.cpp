//===- Module.cpp - paged_attn._core --------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The extension module and its exceptions.
//
//===----------------------------------------------------------------------===//

#include "Arrays.h"
#include "Bindings.h"

#include "paged_attn/Status.h"

using namespace paged_attn_python;

/// The exceptions of the package; they live as long as the process.
static PyObject *compileError = nullptr;
static PyObject *cacheError = nullptr;
static PyObject *outOfPages = nullptr;

void paged_attn_python::raiseCompileError(const std::string &message) {
  PyErr_SetString(compileError, message.c_str());
  throw nb::python_error();
}

void paged_attn_python::raiseCacheError(int code, const char *codeName,
                                        const char *message) {
  using paged_attn::StatusCode;
  if (code == int(StatusCode::InvalidArgument) ||
      code == int(StatusCode::OutOfRange))
    throw nb::value_error(message);
  bool isExhausted = code == int(StatusCode::ResourceExhausted);
  nb::object error = nb::handle(isExhausted ? outOfPages : cacheError)(message);
  error.attr("code") = codeName;
  PyErr_SetObject(error.type().ptr(), error.ptr());
  throw nb::python_error();
}

/// Adds the exception paged_attn.`name` to `module`.
static PyObject *addError(nb::module_ &module, const char *name,
                          const char *document, PyObject *base) {
  std::string full = std::string("paged_attn.") + name;
  PyObject *error =
      PyErr_NewExceptionWithDoc(full.c_str(), document, base, nullptr);
  module.attr(name) = nb::handle(error);
  return error;
}

void paged_attn_python::bindErrors(nb::module_ &module) {
  compileError = addError(
      module, "CompileError",
      "The compiler refuses a kernel; the text is its first diagnostic.",
      PyExc_RuntimeError);
  cacheError = addError(module, "CacheError",
                        "The page-table runtime refuses a call, which changed "
                        "nothing. `code` says why: 'not found', 'resource "
                        "exhausted', 'failed precondition', 'data loss', 'io "
                        "error' or 'internal'.",
                        PyExc_RuntimeError);
  outOfPages = addError(module, "OutOfPages",
                        "There are not enough pages, sequences or memory; "
                        "nothing was changed.",
                        cacheError);
}

NB_MODULE(_core, module) {
  bindErrors(module);
  bindArrays(module);
  bindCalls(module);
  bindKernel(module);
  bindManager(module);
  bindXla(module);
}
