//===- KernelFile.cpp - A compiled kernel as bytes ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A line with a hash over all that follows, the signatures, the object.
//
//===----------------------------------------------------------------------===//

#include "KernelFile.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"

using namespace mlir::paged_attn;

namespace mlir::paged_attn {

// Found by llvm/Support/JSON.h, which asks for exactly these names.
static llvm::json::Value toJSON(const ArgumentInfo &argument) {
  return llvm::json::Object{{"kind", static_cast<int64_t>(argument.kind)},
                            {"name", argument.name},
                            {"type", argument.elementType},
                            {"sizes", argument.sizes}};
}

static llvm::json::Value toJSON(const FunctionInfo &function) {
  return llvm::json::Object{{"name", function.name},
                            {"arguments", function.arguments},
                            {"results", function.numResults},
                            {"executor", function.takesExecutor}};
}

static bool fromJSON(const llvm::json::Value &value, ArgumentInfo &argument,
                     llvm::json::Path path) {
  llvm::json::ObjectMapper map(value, path);
  int64_t kind = 0;
  if (!map || !map.map("kind", kind) || !map.map("name", argument.name) ||
      !map.map("type", argument.elementType) ||
      !map.map("sizes", argument.sizes) || kind < 0 ||
      kind > static_cast<int64_t>(ArgumentInfo::Kind::Float))
    return false;
  argument.kind = static_cast<ArgumentInfo::Kind>(kind);
  return true;
}

static bool fromJSON(const llvm::json::Value &value, FunctionInfo &function,
                     llvm::json::Path path) {
  llvm::json::ObjectMapper map(value, path);
  return map && map.map("name", function.name) &&
         map.map("arguments", function.arguments) &&
         map.map("results", function.numResults) &&
         map.map("executor", function.takesExecutor);
}

} // namespace mlir::paged_attn

std::string mlir::paged_attn::hashText(std::string_view bytes) {
  llvm::XXH128_hash_t hash = llvm::xxh3_128bits(llvm::ArrayRef<uint8_t>(
      reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size()));
  return llvm::utohexstr(hash.high64, /*LowerCase=*/true, /*Width=*/16) +
         llvm::utohexstr(hash.low64, /*LowerCase=*/true, /*Width=*/16);
}

/// All but the end of line 1.
static std::string firstLine(const std::string &key) {
  return "paged_attn kernel " + std::to_string(kKernelFileVersion) + " " + key +
         " ";
}

std::string mlir::paged_attn::encodeKernel(const std::string &key,
                                           const CompiledObject &kernel) {
  std::string rest;
  llvm::raw_string_ostream os(rest);
  os << llvm::json::Value(kernel.functions) << "\n" << kernel.object;
  return firstLine(key) + hashText(rest) + "\n" + rest;
}

std::optional<CompiledObject>
mlir::paged_attn::decodeKernel(const std::string &key, std::string_view bytes) {
  llvm::StringRef text(bytes.data(), bytes.size());
  auto [line, rest] = text.split('\n');
  if (line != firstLine(key) + hashText(rest))
    return std::nullopt;
  auto [signatures, object] = rest.split('\n');
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(signatures);
  CompiledObject kernel;
  llvm::json::Path::Root root;
  if (!parsed) {
    llvm::consumeError(parsed.takeError());
    return std::nullopt;
  }
  if (!llvm::json::fromJSON(*parsed, kernel.functions, root))
    return std::nullopt;
  kernel.object = object.str();
  return kernel;
}
