//===- FileSystem.h - What snapshots need of a file system ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A small interface, so that every step of writing a snapshot can be made to
// fail in tests, and an engine can put snapshots where it likes.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_FILESYSTEM_H
#define PAGED_ATTN_FILESYSTEM_H

#include "paged_attn/Status.h"

#include <cstddef>
#include <cstdint>

namespace paged_attn {

/// Primitive file operations. Implementations must be callable from any
/// thread. Paths are UTF-8 and end in a zero.
class PAGED_ATTN_EXPORT FileSystem {
public:
  virtual ~FileSystem();
  /// Creates or empties a file for writing; `file` is its handle.
  virtual Status create(const char *path, int &file) = 0;
  virtual Status write(int file, const void *data, size_t bytes) = 0;
  /// Flushes a file to the device.
  virtual Status sync(int file) = 0;
  virtual Status close(int file) = 0;
  virtual Status rename(const char *from, const char *to) = 0;
  /// Flushes the folder that holds `path`, so that a rename lasts.
  virtual Status syncFolder(const char *path) = 0;
  virtual Status remove(const char *path) = 0;
  /// Maps a whole file for reading.
  virtual Status map(const char *path, const uint8_t *&data, size_t &bytes) = 0;
  virtual void unmap(const uint8_t *data, size_t bytes) = 0;
};

/// The POSIX implementation; lives as long as the process, has no state.
PAGED_ATTN_EXPORT FileSystem &posixFileSystem();

/// Writes `bytes` to `path + ".tmp"`, syncs, renames over `path` and syncs the
/// folder. On failure the temporary file is removed and `path` is as it was,
/// or, when only the folder could not be synced, holds all of the new bytes.
PAGED_ATTN_EXPORT Status writeFileAtomically(FileSystem &files,
                                             const char *path, const void *data,
                                             size_t bytes);

} // namespace paged_attn

#endif // PAGED_ATTN_FILESYSTEM_H
