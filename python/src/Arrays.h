//===- Arrays.h - Python arrays without copies ------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// numpy, PyTorch and JAX arrays (and whatever speaks DLPack) as views of their
// memory, and results of the caller's kind of array.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_PYTHON_ARRAYS_H
#define PAGED_ATTN_PYTHON_ARRAYS_H

#include "paged_attn/FrontEnd/Calls.h"

#include <nanobind/nanobind.h>

#include <string>

namespace paged_attn_python {

namespace nb = nanobind;
namespace compiler = mlir::paged_attn;

/// The library that an array belongs to.
enum class Framework { Numpy, Torch, Jax, Other };

/// How an operand is used.
enum class Access {
  Read,
  Write,
  Index, ///< read, and small: strided arrays and lists are copied
};

/// A view and what keeps its memory alive.
struct ArrayOperand {
  compiler::ArrayView view;
  Framework framework = Framework::Other;
  nb::object owner;
};

/// The view of `array`. Throws TypeError or ValueError that names `name`.
ArrayOperand readArray(nb::handle array, const char *name, Access access);

/// A list or a number becomes an array of `dtype` ("float32"); arrays
/// are returned as they are.
nb::object asArray(nb::handle value, const char *dtype);

/// The same for integers, of i32 (slots: i64). Throws TypeError or ValueError
/// that names `name` for other numbers and for those out of range.
nb::object asIndices(nb::handle value, const char *name);

/// A new array in the framework of `like` (where that cannot be written by
/// others: JAX, see finishResult), of the numpy name `dtype` or, empty, of the
/// element type of `like`.
nb::object makeResult(const ArrayOperand &like,
                      const std::vector<int64_t> &sizes,
                      const std::string &dtype);
/// What the caller gets for an array of makeResult.
nb::object finishResult(Framework framework, nb::object result);

void bindArrays(nb::module_ &module);

} // namespace paged_attn_python

#endif // PAGED_ATTN_PYTHON_ARRAYS_H
