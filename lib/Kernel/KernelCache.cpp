//===- KernelCache.cpp - Compiled kernels on disk -------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The time of a file's last change is the time of its last use: loading
// touches it, eviction goes by it.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/KernelCache.h"

#include "KernelFile.h"
#include "paged_attn/Kernel/AtomicFile.h"

#include "llvm/ADT/StringRef.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/xxhash.h"

#include <algorithm>
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <link.h>
#include <sys/stat.h>

using namespace mlir::paged_attn;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kDefaultMaxBytes = int64_t(256) << 20;
constexpr const char *kExtension = ".kernel";
/// Temporary files that are older belong to a process that died.
constexpr auto kTemporaryLife = std::chrono::hours(1);

/// Size and time of the file that `symbol` was loaded from. The program itself
/// has no name in the list of images.
std::string describeImage(const void *symbol) {
  Dl_info info;
  link_map *image = nullptr;
  struct stat status;
  if (!dladdr1(symbol, &info, reinterpret_cast<void **>(&image),
               RTLD_DL_LINKMAP) ||
      ::stat(*image->l_name ? image->l_name : "/proc/self/exe", &status) != 0)
    return "unknown";
  return std::to_string(status.st_size) + ":" +
         std::to_string(status.st_mtim.tv_sec) + "." +
         std::to_string(status.st_mtim.tv_nsec);
}

std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

/// A cached kernel, or the leftover of a process that died writing one.
struct Entry {
  fs::path path;
  fs::file_time_type lastUse;
  int64_t bytes;
};

std::vector<Entry> listKernels(const std::string &directory) {
  std::vector<Entry> entries;
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code gone; // removed by another process meanwhile
    Entry entry{it->path(), it->last_write_time(gone),
                static_cast<int64_t>(it->file_size(gone))};
    if (gone)
      continue;
    std::string name = entry.path.filename().string();
    if (entry.path.extension() == kExtension)
      entries.push_back(std::move(entry));
    else if (name.find(std::string(kExtension) + ".tmp-") !=
                 std::string::npos &&
             entry.lastUse + kTemporaryLife < fs::file_time_type::clock::now())
      fs::remove(entry.path, gone);
  }
  return entries;
}

} // namespace

std::optional<std::string> mlir::paged_attn::getCacheDirectory() {
  std::string directory = environment("PAGED_ATTN_CACHE_DIR");
  if (directory == "off")
    return std::nullopt;
  if (!directory.empty())
    return directory;
  std::string base = environment("XDG_CACHE_HOME");
  if (base.empty() && !environment("HOME").empty())
    base = environment("HOME") + "/.cache";
  if (base.empty())
    return std::nullopt;
  return base + "/paged_attn";
}

std::string mlir::paged_attn::getCompilerVersion() {
  static const std::string version =
      "llvm " LLVM_VERSION_STRING ", " +
      describeImage(reinterpret_cast<const void *>(&getCompilerVersion)) +
      ", " +
      describeImage(reinterpret_cast<const void *>(
          static_cast<uint64_t (*)(llvm::ArrayRef<uint8_t>)>(
              &llvm::xxh3_64bits)));
  return version;
}

int64_t KernelCache::getDefaultMaxBytes() {
  int64_t bytes = kDefaultMaxBytes;
  llvm::StringRef(environment("PAGED_ATTN_CACHE_BYTES"))
      .getAsInteger(10, bytes);
  return std::max<int64_t>(0, bytes);
}

KernelCache::KernelCache(std::string directory, int64_t maxBytes)
    : directory(std::move(directory)), maxBytes(maxBytes) {}

std::string KernelCache::makeKey(std::string_view source,
                                 const CompileOptions &options) {
  return hashText("kernel file " + std::to_string(kKernelFileVersion) +
                  "\ncompiler " + getCompilerVersion() + "\nvia " +
                  std::to_string(static_cast<int>(options.via)) + "\n" +
                  options.tile.print() + "\n" + options.target.print() + "\n" +
                  std::string(source));
}

std::string KernelCache::getPath(const std::string &key) const {
  return directory + "/" + key + kExtension;
}

std::optional<CompiledObject> KernelCache::load(const std::string &key) const {
  std::string path = getPath(key);
  std::optional<std::string> bytes = readOwnFile(path);
  if (!bytes)
    return std::nullopt;
  std::optional<CompiledObject> kernel = decodeKernel(key, *bytes);
  std::error_code ignored;
  if (kernel)
    fs::last_write_time(path, fs::file_time_type::clock::now(), ignored);
  return kernel;
}

void KernelCache::store(const std::string &key,
                        const CompiledObject &kernel) const {
  std::string ignored;
  if (createPrivateDirectory(directory) &&
      writeFileAtomically(getPath(key), encodeKernel(key, kernel), ignored))
    evict();
}

void KernelCache::evict() const {
  std::vector<Entry> entries = listKernels(directory);
  std::sort(entries.begin(), entries.end(), [](const Entry &x, const Entry &y) {
    return x.lastUse > y.lastUse;
  });
  int64_t total = 0;
  std::error_code ignored;
  for (const Entry &entry : entries) {
    total += entry.bytes;
    if (total > maxBytes)
      fs::remove(entry.path, ignored);
  }
}
