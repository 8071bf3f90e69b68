//===- ModuleWriter.h - Level-0 modules of one cache op ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes `func.func @name(%a0: ..., ...) { op ... }` operand by operand, and
// keeps the arguments in the same order. Private to lib/FrontEnd.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_FRONTEND_MODULEWRITER_H
#define PAGED_ATTN_LIB_FRONTEND_MODULEWRITER_H

#include "Shapes.h"

namespace mlir::paged_attn {

class ModuleWriter {
public:
  explicit ModuleWriter(const std::string &op) : name(op), op(op) {}

  /// Declares an argument of `type` that takes `argument`; returns its name.
  std::string declare(const std::string &type, Argument argument) {
    std::string value = "%a" + std::to_string(arguments.size());
    parameters += (arguments.empty() ? "" : ", ") + value + ": " + type;
    arguments.push_back(std::move(argument));
    return value;
  }
  /// ` keyword(%a : type, ...)`
  void clause(const std::string &keyword, const std::vector<ArrayView> &arrays,
              const std::vector<std::string> &types) {
    op += " " + keyword + "(" + list(arrays, types) + ")";
  }
  /// ` keyword(%a, %b : type, type)`
  void variadicClause(const std::string &keyword,
                      const std::vector<ArrayView> &arrays,
                      const std::vector<std::string> &types);
  void add(const std::string &text) { op += text; }

  std::string getModule() const {
    return "func.func @" + name + "(" + parameters + ") {\n  paged_attn." + op +
           "\n  return\n}\n";
  }
  const std::vector<Argument> &getArguments() const { return arguments; }

private:
  std::string list(const std::vector<ArrayView> &arrays,
                   const std::vector<std::string> &types);
  std::string name, op, parameters;
  std::vector<Argument> arguments;
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_FRONTEND_MODULEWRITER_H
