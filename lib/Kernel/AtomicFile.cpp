//===- AtomicFile.cpp - Files that appear whole or not at all -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// POSIX calls only: LLVM's temporary files install signal handlers, which a
// library must not do to its host.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/AtomicFile.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/stat.h>
#include <unistd.h>

using namespace mlir::paged_attn;

namespace {

/// Closes its descriptor.
struct Descriptor {
  ~Descriptor() {
    if (value >= 0)
      ::close(value);
  }
  int value;
};

/// Unique in this process, and among processes by its id.
std::string temporaryName(const std::string &path) {
  static std::atomic<unsigned> counter{0};
  return path + ".tmp-" + std::to_string(::getpid()) + "-" +
         std::to_string(counter++);
}

bool writeAll(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t count = ::write(file, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0)
      return false;
    bytes.remove_prefix(static_cast<size_t>(count));
  }
  return true;
}

/// Mode of new files: what the umask leaves of rw-rw-rw-.
constexpr mode_t kFileMode = 0666;

bool writeSynced(const std::string &path, std::string_view bytes) {
  Descriptor file{
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kFileMode)};
  return file.value >= 0 && writeAll(file.value, bytes) &&
         ::fsync(file.value) == 0;
}

} // namespace

bool mlir::paged_attn::writeFileAtomically(const std::string &path,
                                           std::string_view bytes,
                                           std::string &error) {
  std::string temporary = temporaryName(path);
  if (writeSynced(temporary, bytes) &&
      ::rename(temporary.c_str(), path.c_str()) == 0)
    return true;
  error = "cannot write " + path + ": " + std::strerror(errno);
  ::unlink(temporary.c_str());
  return false;
}

std::optional<std::string>
mlir::paged_attn::readOwnFile(const std::string &path) {
  Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  struct stat status;
  if (file.value < 0 || ::fstat(file.value, &status) != 0 ||
      !S_ISREG(status.st_mode) ||
      (status.st_uid != ::geteuid() && status.st_uid != 0))
    return std::nullopt;
  std::string bytes(static_cast<size_t>(status.st_size), '\0');
  size_t read = 0;
  while (read < bytes.size()) {
    ssize_t count =
        ::read(file.value, bytes.data() + read, bytes.size() - read);
    if (count < 0 && errno == EINTR)
      continue;
    if (count <= 0)
      return std::nullopt;
    read += static_cast<size_t>(count);
  }
  return bytes;
}

bool mlir::paged_attn::createPrivateDirectory(const std::string &path) {
  std::error_code ignored;
  std::filesystem::path folder(path), parent = folder.parent_path();
  if (!parent.empty())
    std::filesystem::create_directories(parent, ignored);
  ::mkdir(path.c_str(), S_IRWXU);
  return std::filesystem::is_directory(folder, ignored);
}
