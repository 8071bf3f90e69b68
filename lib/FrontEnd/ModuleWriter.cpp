//===- ModuleWriter.cpp - Level-0 modules of one cache op -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lists of operands in the two forms that the ops print.
//
//===----------------------------------------------------------------------===//

#include "ModuleWriter.h"

using namespace mlir::paged_attn;

std::string ModuleWriter::list(const std::vector<ArrayView> &arrays,
                               const std::vector<std::string> &types) {
  std::string text;
  for (size_t i = 0; i < arrays.size(); ++i)
    text += (i ? ", " : "") + declare(types[i], toArgument(arrays[i])) + " : " +
            types[i];
  return text;
}

void ModuleWriter::variadicClause(const std::string &keyword,
                                  const std::vector<ArrayView> &arrays,
                                  const std::vector<std::string> &types) {
  std::string values, typeList;
  for (size_t i = 0; i < arrays.size(); ++i) {
    values += (i ? ", " : "") + declare(types[i], toArgument(arrays[i]));
    typeList += (i ? ", " : "") + types[i];
  }
  op += " " + keyword + "(" + values + " : " + typeList + ")";
}
