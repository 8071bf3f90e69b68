//===- TestSupport.h - What the runtime's tests share -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Small managers, readable failures, an allocator and a file system that fail
// when told to, and the KV values that tests write and expect.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TEST_RUNTIME_TESTSUPPORT_H
#define PAGED_ATTN_TEST_RUNTIME_TESTSUPPORT_H

#include "paged_attn/KVCacheManager.h"

#include <cstdlib>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <unistd.h>
#include <vector>

namespace paged_attn::test {

/// A group of one layer, one head, two key elements and one value element.
inline GroupSpec tinyGroup(int32_t pageSize) {
  GroupSpec spec;
  spec.pageSize = pageSize;
  spec.numKVHeads = 1;
  spec.keys.dim = 2;
  spec.values.dim = 1;
  return spec;
}

inline GroupSpec tinyWindow(int32_t pageSize, WindowKind kind, int32_t window,
                            int32_t sinks = 0) {
  GroupSpec spec = tinyGroup(pageSize);
  spec.windowKind = kind;
  spec.window = window;
  spec.sinkTokens = sinks;
  return spec;
}

/// A manager of one full group in host memory.
inline ManagerOptions tinyOptions(int32_t pageSize = 4, int64_t pages = 64) {
  ManagerOptions options;
  options.numGroups = 1;
  options.groups[0] = tinyGroup(pageSize);
  options.numPages[0] = pages;
  options.maxSequences = 16;
  options.maxTokens = 128;
  options.ownMemory = true;
  options.secret = 42;
  return options;
}

/// Path of a file of this process, in the folder for temporary ones.
inline std::string testFile(const char *name) {
  const char *folder = std::getenv("TEST_TMPDIR");
  return std::string(folder ? folder : "/tmp") + "/paged-attn-" +
         std::to_string(::getpid()) + "-" + name;
}

/// Tokens first, first + 1, ...
inline std::vector<TokenId> iota(int32_t count, TokenId first = 0) {
  std::vector<TokenId> tokens(size_t(count), 0);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

/// A domain whose salt is one byte.
struct TestDomain {
  explicit TestDomain(uint8_t id) : id(id) {
    domain.salt = &this->id;
    domain.saltBytes = 1;
  }
  TestDomain(const TestDomain &) = delete;
  uint8_t id;
  PrefixDomain domain;
};

/// The KV value of the last token of a prefix: any change of an earlier token
/// changes it. Exact in float, so that comparisons are exact.
inline uint32_t chainValue(uint32_t before, TokenId token) {
  uint32_t x = before * 0x9e3779b1u ^ (uint32_t(token) + 0x7f4a7c15u);
  x ^= x >> 15;
  x *= 0x85ebca6bu;
  return (x ^ (x >> 13)) & 0xffffffu;
}

/// Writes `value` as keys and values of one slot (float pools, SHD).
inline void writeSlot(const PoolMemory &memory, const GroupSpec &spec,
                      int64_t slot, uint32_t value) {
  int64_t page = slot / spec.pageSize, at = slot % spec.pageSize;
  auto *keys =
      reinterpret_cast<float *>(memory.keys + page * memory.keyPageStride);
  auto *values =
      reinterpret_cast<float *>(memory.values + page * memory.valuePageStride);
  keys[at * 2] = float(value);
  keys[at * 2 + 1] = -float(value);
  values[at] = float(value) + 0.5f;
}

/// Whether a slot holds `value`.
inline bool slotHolds(const PoolMemory &memory, const GroupSpec &spec,
                      int64_t slot, uint32_t value) {
  int64_t page = slot / spec.pageSize, at = slot % spec.pageSize;
  const auto *keys = reinterpret_cast<const float *>(
      memory.keys + page * memory.keyPageStride);
  const auto *values = reinterpret_cast<const float *>(
      memory.values + page * memory.valuePageStride);
  return keys[at * 2] == float(value) && keys[at * 2 + 1] == -float(value) &&
         values[at] == float(value) + 0.5f;
}

/// An allocator that counts, and fails at one chosen call.
class FailingAllocator {
public:
  HostAllocator allocator() { return HostAllocator{allocate, release, this}; }
  int64_t calls = 0;
  int64_t failAt = -1; ///< number of the call that fails
  int64_t outstanding = 0;

private:
  static void *allocate(void *context, size_t bytes) {
    auto *self = static_cast<FailingAllocator *>(context);
    if (self->calls++ == self->failAt)
      return nullptr;
    void *memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
    std::memset(memory, 0, bytes);
    ++self->outstanding;
    return memory;
  }
  static void release(void *context, void *memory, size_t) {
    --static_cast<FailingAllocator *>(context)->outstanding;
    std::free(memory);
  }
};

/// Files in memory that count operations, and fail at one chosen one.
class MemoryFileSystem final : public FileSystem {
public:
  std::map<std::string, std::vector<uint8_t>> files;
  std::map<int, std::string> handles;
  int64_t operations = 0;
  int64_t failAt = -1;
  int64_t mapped = 0; ///< mappings that are open

  Status create(const char *path, int &file) override {
    PAGED_ATTN_RETURN_IF_ERROR(count("create"));
    files[path].clear();
    file = next_++;
    handles[file] = path;
    return Status::ok();
  }
  Status write(int file, const void *data, size_t bytes) override {
    std::vector<uint8_t> &out = files[handles.at(file)];
    const auto *from = static_cast<const uint8_t *>(data);
    Status status = count("write");
    if (!status.isOk())
      bytes /= 2; // A disk that gets full keeps what it had.
    out.insert(out.end(), from, from + bytes);
    return status;
  }
  Status sync(int) override { return count("sync"); }
  Status close(int file) override {
    handles.erase(file);
    return count("close");
  }
  Status rename(const char *from, const char *to) override {
    PAGED_ATTN_RETURN_IF_ERROR(count("rename"));
    files[to] = files.at(from);
    files.erase(from);
    return Status::ok();
  }
  Status syncFolder(const char *) override { return count("sync folder"); }
  Status remove(const char *path) override {
    files.erase(path);
    return Status::ok();
  }
  Status map(const char *path, const uint8_t *&data, size_t &bytes) override {
    PAGED_ATTN_RETURN_IF_ERROR(count("map"));
    auto found = files.find(path);
    if (found == files.end())
      return Status::error(StatusCode::NotFound, "no file '%s'", path);
    data = found->second.data();
    bytes = found->second.size();
    ++mapped;
    return Status::ok();
  }
  void unmap(const uint8_t *, size_t) override { --mapped; }

private:
  Status count(const char *what) {
    if (operations++ == failAt)
      return Status::error(StatusCode::IoError, "made to fail: %s", what);
    return Status::ok();
  }
  int next_ = 3;
};

/// Everything that a failed call must leave as it was.
inline std::string fingerprint(const KVCacheManager &manager) {
  ManagerStats stats;
  (void)manager.stats(stats);
  std::string all, text;
  for (int32_t g = 0; g < stats.numGroups; ++g) {
    (void)manager.dumpText(g, text);
    const GroupStats &s = stats.groups[g];
    all += text;
    for (int64_t value : {s.livePages, s.cachedPages, s.reclaimablePages,
                          s.freePages, s.pinnedPages})
      all += std::to_string(value) + " ";
  }
  all += std::to_string(stats.sequences) + " " +
         std::to_string(stats.swappedSequences);
  return all;
}

} // namespace paged_attn::test

/// gtest assertions on a Status, with its text.
#define ASSERT_OK(expression)                                                  \
  do {                                                                         \
    ::paged_attn::Status status_ = (expression);                               \
    ASSERT_TRUE(status_.isOk()) << status_.message();                          \
  } while (false)
#define EXPECT_OK(expression)                                                  \
  do {                                                                         \
    ::paged_attn::Status status_ = (expression);                               \
    EXPECT_TRUE(status_.isOk()) << status_.message();                          \
  } while (false)
#define EXPECT_CODE(expression, expected)                                      \
  do {                                                                         \
    ::paged_attn::Status status_ = (expression);                               \
    EXPECT_EQ(status_.code(), (expected)) << status_.message();                \
  } while (false)

#endif // PAGED_ATTN_TEST_RUNTIME_TESTSUPPORT_H
