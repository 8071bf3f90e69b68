//===- Options.cpp - Keyword options of a call ----------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions that say which option was wrong.
//
//===----------------------------------------------------------------------===//

#include "Options.h"

#include <cstdlib>
#include <nanobind/stl/string.h>

using namespace paged_attn_python;
using compiler::LayoutSpec;

namespace {

[[noreturn]] void refuse(const char *name, const char *expected,
                         nb::handle got) {
  nb::raise_type_error("expected %s to be %s, got %s", name, expected,
                       nb::cast<std::string>(nb::repr(got)).c_str());
}

/// `pshd`, or `phds, pack=2` with any spaces.
LayoutSpec parseLayout(nb::handle value) {
  if (!nb::isinstance<nb::str>(value))
    refuse("layout", "a string like 'pshd' or a pair of them", value);
  std::string text = nb::cast<std::string>(value);
  LayoutSpec layout;
  size_t comma = text.find(',');
  layout.dims = text.substr(0, comma);
  if (comma == std::string::npos)
    return layout;
  std::string packing;
  for (char c : text.substr(comma + 1))
    if (c != ' ')
      packing += c;
  if (packing.rfind("pack=", 0) != 0)
    refuse("layout", "letters and at most ', pack=N'", value);
  char *end = nullptr;
  layout.pack = std::strtol(packing.c_str() + 5, &end, 10);
  if (*end != '\0' || layout.pack < 1)
    refuse("layout", "letters and at most ', pack=N'", value);
  return layout;
}

} // namespace

int64_t paged_attn_python::toInteger(nb::handle value, const char *name) {
  nb::object index = nb::steal(PyNumber_Index(value.ptr()));
  int64_t number = 0;
  if (index.is_valid())
    number = PyLong_AsLongLong(index.ptr());
  if (!PyErr_Occurred())
    return number;
  PyErr_Clear();
  refuse(name, "an integer", value);
}

double paged_attn_python::toFloat(nb::handle value, const char *name) {
  double number = PyFloat_AsDouble(value.ptr());
  if (!PyErr_Occurred())
    return number;
  PyErr_Clear();
  refuse(name, "a number", value);
}

void paged_attn_python::readLayouts(nb::handle layout, LayoutSpec &keys,
                                    LayoutSpec &values) {
  if (!nb::isinstance<nb::tuple>(layout)) {
    keys = values = parseLayout(layout);
    return;
  }
  nb::tuple pair = nb::borrow<nb::tuple>(layout);
  if (pair.size() != 2)
    refuse("layout", "a string like 'pshd' or a pair of them", layout);
  keys = parseLayout(pair[0]);
  values = parseLayout(pair[1]);
}

nb::handle Options::get(const char *name) const {
  PyObject *value = PyDict_GetItemString(keywords.ptr(), name);
  return value ? nb::handle(value) : nb::handle(Py_None);
}

int64_t Options::getInteger(const char *name, int64_t absent) const {
  nb::handle value = get(name);
  return value.is_none() ? absent : toInteger(value, name);
}

std::optional<float> Options::getFloat(const char *name) const {
  nb::handle value = get(name);
  if (value.is_none())
    return std::nullopt;
  return float(toFloat(value, name));
}

bool Options::getBool(const char *name) const {
  nb::handle value = get(name);
  int truth = PyObject_IsTrue(value.ptr());
  if (truth >= 0)
    return truth == 1;
  PyErr_Clear();
  refuse(name, "True or False", value);
}

std::string Options::getText(const char *name) const {
  nb::handle value = get(name);
  if (!nb::isinstance<nb::str>(value))
    refuse(name, "a string", value);
  return nb::cast<std::string>(value);
}

std::optional<compiler::Via> Options::getVia() const {
  if (get("via").is_none())
    return std::nullopt;
  std::string error;
  std::optional<compiler::Via> via = compiler::parseVia(getText("via"), error);
  if (!via)
    throw nb::value_error(error.c_str());
  return via;
}
