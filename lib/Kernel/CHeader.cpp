//===- CHeader.cpp - The C side of a compiled object ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writes a header that plain C can include: one descriptor struct per rank,
// the executor, a prototype per function with a comment per argument.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/Compile.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/raw_ostream.h"

#include <set>

using namespace mlir::paged_attn;

namespace {

constexpr const char *kIntroduction =
    "/* Written by paged-attn-compile: the functions of one object.\n"
    " * Buffers are passed as pointers to descriptors; the executor is a\n"
    " * pointer that may be null (all work in the calling thread). */\n"
    "#include <stdint.h>\n\n"
    "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n";

constexpr const char *kExecutor =
    "#ifndef PAGED_ATTN_EXECUTOR\n#define PAGED_ATTN_EXECUTOR\n"
    "/* Runs work items. `run` must have run all of [0, num_items) when it\n"
    " * returns, in any order, in any pieces and on any threads. */\n"
    "typedef void (*PagedAttnWork)(void *data, int64_t begin, int64_t end);\n"
    "typedef struct PagedAttnExecutor {\n"
    "  void *context;\n"
    "  void (*run)(void *context, PagedAttnWork work, void *data,\n"
    "              int64_t num_items);\n"
    "} PagedAttnExecutor;\n#endif\n\n";

void printDescriptor(llvm::raw_ostream &os, size_t rank) {
  os << "#ifndef PAGED_ATTN_MEMREF" << rank << "\n#define PAGED_ATTN_MEMREF"
     << rank << "\n/* A buffer of rank " << rank
     << ":\n * element (i0, i1, ...) is aligned[offset + i0 * strides[0] + "
        "...].\n"
     << " * Offset, sizes and strides count elements; kernels take dense\n"
     << " * row-major buffers with offset 0. */\n"
     << "typedef struct PagedAttnMemRef" << rank << " {\n"
     << "  void *allocated; /* may equal aligned */\n  void *aligned;\n"
     << "  int64_t offset;\n";
  if (rank > 0)
    os << "  int64_t sizes[" << rank << "];\n  int64_t strides[" << rank
       << "];\n";
  os << "} PagedAttnMemRef" << rank << ";\n#endif\n\n";
}

/// C type of a scalar argument.
const char *getScalarType(llvm::StringRef type) {
  return llvm::StringSwitch<const char *>(type)
      .Cases({"index", "i64"}, "int64_t")
      .Case("i32", "int32_t")
      .Case("i16", "int16_t")
      .Case("i8", "int8_t")
      .Case("i1", "_Bool")
      .Case("f32", "float")
      .Case("f64", "double")
      .Default(nullptr);
}

std::string describeBuffer(const ArgumentInfo &argument) {
  std::string text = argument.elementType + " [";
  for (auto [index, size] : llvm::enumerate(argument.sizes)) {
    text += index ? ", " : "";
    text += size == kDynamicSize ? "?" : std::to_string(size);
  }
  return text + "]";
}

bool printPrototype(llvm::raw_ostream &os, const FunctionInfo &function,
                    std::string &error) {
  if (function.numResults != 0) {
    error = "expected function '" + function.name +
            "' to have no results but its own arguments, got " +
            std::to_string(function.numResults);
    return false;
  }
  std::vector<std::string> parameters;
  os << "/* " << function.name << ":\n";
  for (const ArgumentInfo &argument : function.arguments) {
    if (argument.kind == ArgumentInfo::Kind::Buffer) {
      os << " *   " << argument.name << ": " << describeBuffer(argument)
         << "\n";
      parameters.push_back("PagedAttnMemRef" +
                           std::to_string(argument.sizes.size()) + " *" +
                           argument.name);
      continue;
    }
    const char *type = getScalarType(argument.elementType);
    if (!type) {
      error = "expected argument '" + argument.name + "' of function '" +
              function.name + "' to have a C type, got " + argument.elementType;
      return false;
    }
    os << " *   " << argument.name << ": " << argument.elementType << "\n";
    parameters.push_back(std::string(type) + " " + argument.name);
  }
  if (function.takesExecutor) {
    os << " *   executor: null for the calling thread alone\n";
    parameters.push_back("const PagedAttnExecutor *executor");
  }
  os << " */\nvoid _mlir_ciface_" << function.name << "(\n    "
     << (parameters.empty() ? "void" : llvm::join(parameters, ",\n    "))
     << ");\n"
     << "/* The same with all arguments as one array: descriptors, pointers\n"
     << " * to scalars, the executor. */\nvoid " << getPackedName(function.name)
     << "(void **arguments);\n\n";
  return true;
}

} // namespace

std::optional<std::string>
mlir::paged_attn::emitCHeader(const std::vector<FunctionInfo> &functions,
                              std::string &error) {
  std::string text;
  llvm::raw_string_ostream os(text);
  os << kIntroduction << kExecutor;
  std::set<size_t> ranks;
  for (const FunctionInfo &function : functions)
    for (const ArgumentInfo &argument : function.arguments)
      if (argument.kind == ArgumentInfo::Kind::Buffer)
        ranks.insert(argument.sizes.size());
  for (size_t rank : ranks)
    printDescriptor(os, rank);
  for (const FunctionInfo &function : functions)
    if (!printPrototype(os, function, error))
      return std::nullopt;
  os << "#ifdef __cplusplus\n}\n#endif\n";
  return text;
}
