//===- TunedTiles.cpp - Tile sizes that a search found --------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The key leaves the compiler's version out: sizes outlive a rebuild.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/TunedTiles.h"

#include "KernelFile.h"
#include "paged_attn/Kernel/AtomicFile.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"

#include <filesystem>

using namespace mlir::paged_attn;

/// Changes with the meaning of the sizes: files of another one are not read.
constexpr int64_t kTunedVersion = 1;

std::string mlir::paged_attn::getTunedPath(const std::string &directory,
                                           std::string_view source,
                                           const CompileOptions &options) {
  std::string key =
      hashText("via " + std::to_string(static_cast<int>(options.via)) + "\n" +
               options.target.print() + "\n" + std::string(source));
  return directory + "/" + key + ".tuned.json";
}

std::optional<TunedTiles>
mlir::paged_attn::loadTunedTiles(const std::string &path) {
  std::optional<std::string> text = readOwnFile(path);
  if (!text)
    return std::nullopt;
  llvm::Expected<llvm::json::Value> parsed = llvm::json::parse(*text);
  if (!parsed) {
    llvm::consumeError(parsed.takeError());
    return std::nullopt;
  }
  const llvm::json::Object *object = parsed->getAsObject();
  const llvm::json::Object *tile = object ? object->getObject("tile") : nullptr;
  if (!tile || object->getInteger("version") != kTunedVersion)
    return std::nullopt;
  TunedTiles tuned;
  std::string error;
  for (const auto &[name, value] : *tile)
    if (!value.getAsInteger() ||
        !tuned.tile.set(llvm::StringRef(name), *value.getAsInteger(), error))
      return std::nullopt;
  tuned.problem = object->getString("problem").value_or("").str();
  tuned.gain = object->getNumber("gain").value_or(1);
  return tuned;
}

bool mlir::paged_attn::storeTunedTiles(const std::string &path,
                                       const TunedTiles &tuned,
                                       std::string &error) {
  llvm::json::Object tile;
  for (const TileOptions::Field &field : TileOptions::getFields())
    tile[field.name] = tuned.tile.*field.member;
  llvm::json::Object object{{"version", kTunedVersion},
                            {"tile", std::move(tile)},
                            {"problem", tuned.problem},
                            {"gain", tuned.gain}};
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (!createPrivateDirectory(folder)) {
    error = "cannot create " + folder;
    return false;
  }
  return writeFileAtomically(
      path,
      llvm::formatv("{0:2}\n", llvm::json::Value(std::move(object))).str(),
      error);
}
