//===- Options.h - Keyword options of a call --------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Numbers, names and layouts from Python, with one-line errors.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_PYTHON_OPTIONS_H
#define PAGED_ATTN_PYTHON_OPTIONS_H

#include "paged_attn/FrontEnd/Calls.h"

#include <nanobind/nanobind.h>

#include <string>

namespace paged_attn_python {

namespace nb = nanobind;
namespace compiler = mlir::paged_attn;

/// What Python's operator.index accepts; TypeError names `name` otherwise.
int64_t toInteger(nb::handle value, const char *name);
/// What Python's float accepts; TypeError names `name` otherwise.
double toFloat(nb::handle value, const char *name);

/// `"pshd"`, `"phds, pack=2"` or a pair of such, keys and values.
void readLayouts(nb::handle layout, compiler::LayoutSpec &keys,
                 compiler::LayoutSpec &values);

/// The keywords of a call; what is absent or None has its default.
class Options {
public:
  explicit Options(const nb::kwargs &keywords) : keywords(keywords) {}

  /// None when absent.
  nb::handle get(const char *name) const;
  int64_t getInteger(const char *name, int64_t absent) const;
  std::optional<float> getFloat(const char *name) const;
  bool getBool(const char *name) const;
  std::string getText(const char *name) const;
  std::optional<compiler::Via> getVia() const;

private:
  const nb::kwargs &keywords;
};

} // namespace paged_attn_python

#endif // PAGED_ATTN_PYTHON_OPTIONS_H
