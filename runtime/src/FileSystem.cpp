//===- FileSystem.cpp - What snapshots need of a file system --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// POSIX files, and the write-sync-rename sequence of atomic replacement.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/FileSystem.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <string>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace paged_attn;

FileSystem::~FileSystem() = default;

namespace {

Status failure(const char *what, const char *path) {
  int error = errno;
  return Status::error(
      error == ENOENT ? StatusCode::NotFound : StatusCode::IoError,
      "cannot %s '%.100s': %s", what, path, std::strerror(error));
}

class PosixFileSystem final : public FileSystem {
public:
  Status create(const char *path, int &file) override {
    file = ::open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
    return file < 0 ? failure("create", path) : Status::ok();
  }
  Status write(int file, const void *data, size_t bytes) override {
    const char *from = static_cast<const char *>(data);
    while (bytes > 0) {
      ssize_t written = ::write(file, from, bytes);
      if (written < 0 && errno == EINTR)
        continue;
      if (written <= 0)
        return failure("write to", "snapshot");
      from += written;
      bytes -= size_t(written);
    }
    return Status::ok();
  }
  Status sync(int file) override {
    return ::fsync(file) != 0 ? failure("sync", "snapshot") : Status::ok();
  }
  Status close(int file) override {
    return ::close(file) != 0 ? failure("close", "snapshot") : Status::ok();
  }
  Status rename(const char *from, const char *to) override {
    return ::rename(from, to) != 0 ? failure("rename", from) : Status::ok();
  }
  Status syncFolder(const char *path) override;
  Status remove(const char *path) override {
    return ::unlink(path) != 0 ? failure("remove", path) : Status::ok();
  }
  Status map(const char *path, const uint8_t *&data, size_t &bytes) override;
  void unmap(const uint8_t *data, size_t bytes) override {
    if (bytes)
      ::munmap(const_cast<uint8_t *>(data), bytes);
  }
};

Status PosixFileSystem::syncFolder(const char *path) {
  std::string folder(path);
  size_t slash = folder.find_last_of('/');
  folder = slash == std::string::npos ? "." : folder.substr(0, slash + 1);
  int file = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (file < 0)
    return failure("open folder", folder.c_str());
  int result = ::fsync(file);
  ::close(file);
  return result != 0 ? failure("sync folder", folder.c_str()) : Status::ok();
}

Status PosixFileSystem::map(const char *path, const uint8_t *&data,
                            size_t &bytes) {
  int file = ::open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0)
    return failure("open", path);
  struct stat info;
  if (::fstat(file, &info) != 0) {
    Status status = failure("stat", path);
    ::close(file);
    return status;
  }
  data = nullptr;
  bytes = size_t(info.st_size);
  if (bytes) {
    void *memory = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, file, 0);
    if (memory == MAP_FAILED) {
      Status status = failure("map", path);
      ::close(file);
      return status;
    }
    data = static_cast<const uint8_t *>(memory);
  }
  ::close(file);
  return Status::ok();
}

Status writeAndClose(FileSystem &files, const char *path, const void *data,
                     size_t bytes) {
  int file = -1;
  PAGED_ATTN_RETURN_IF_ERROR(files.create(path, file));
  Status status = files.write(file, data, bytes);
  if (status.isOk())
    status = files.sync(file);
  Status closed = files.close(file);
  return status.isOk() ? closed : status;
}

} // namespace

FileSystem &paged_attn::posixFileSystem() {
  static PosixFileSystem files; // Stateless.
  return files;
}

Status paged_attn::writeFileAtomically(FileSystem &files, const char *path,
                                       const void *data, size_t bytes) {
  std::string temporary = std::string(path) + ".tmp";
  Status status = writeAndClose(files, temporary.c_str(), data, bytes);
  if (status.isOk())
    status = files.rename(temporary.c_str(), path);
  if (!status.isOk()) {
    (void)files.remove(temporary.c_str());
    return status;
  }
  return files.syncFolder(path);
}
