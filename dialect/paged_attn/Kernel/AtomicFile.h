//===- AtomicFile.h - Files that appear whole or not at all -----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A temporary file beside the target, synced, then renamed: readers in other
// processes see the old bytes or the new ones.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_KERNEL_ATOMICFILE_H
#define PAGED_ATTN_KERNEL_ATOMICFILE_H

#include <optional>
#include <string>
#include <string_view>

namespace mlir::paged_attn {

/// Writes `bytes` to `path`. False and a one-line `error` on failure; then
/// `path` is as it was.
bool writeFileAtomically(const std::string &path, std::string_view bytes,
                         std::string &error);

/// All bytes of a regular file that belongs to this user or to root; nothing
/// when it cannot be read.
std::optional<std::string> readOwnFile(const std::string &path);

/// Creates `path` and its parents, open to this user alone, where missing.
/// False when it does not exist afterwards.
bool createPrivateDirectory(const std::string &path);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_KERNEL_ATOMICFILE_H
