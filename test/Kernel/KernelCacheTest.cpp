//===- KernelCacheTest.cpp - Compiled kernels on disk ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is kept comes back; damaged, cut, foreign and old files do not; the
// size limit holds; processes do not meet.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/KernelCache.h"
#include "paged_attn/Kernel/AtomicFile.h"
#include "paged_attn/Kernel/CompiledKernel.h"
#include "paged_attn/Kernel/KernelSpec.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sys/wait.h>
#include <unistd.h>

using namespace mlir::paged_attn;
namespace fs = std::filesystem;

namespace {

/// Sets a variable for the life of this object.
class ScopedVariable {
public:
  ScopedVariable(const char *name, const std::string &value) : name(name) {
    if (const char *old = std::getenv(name))
      before = old;
    ::setenv(name, value.c_str(), /*overwrite=*/1);
  }
  ~ScopedVariable() {
    if (before)
      ::setenv(name, before->c_str(), /*overwrite=*/1);
    else
      ::unsetenv(name);
  }

private:
  const char *name;
  std::optional<std::string> before;
};

CompiledObject makeKernel(char fill, size_t bytes = 100) {
  FunctionInfo function;
  function.name = "attention";
  function.arguments = {
      {ArgumentInfo::Kind::Buffer, "query", "f32", {kDynamicSize, 4, 64}},
      {ArgumentInfo::Kind::Integer, "layer", "index", {}}};
  function.takesExecutor = true;
  return {std::string(bytes, fill), {function}};
}

class KernelCacheTest : public testing::Test {
protected:
  KernelCacheTest() {
    directory = testing::TempDir() + "paged_attn_cache_" +
                std::to_string(::getpid()) + "_" +
                testing::UnitTest::GetInstance()->current_test_info()->name();
    fs::remove_all(directory);
  }
  ~KernelCacheTest() override { fs::remove_all(directory); }

  /// Moves the last use of a kernel into the past.
  void age(const KernelCache &cache, const std::string &key, int minutes) {
    fs::last_write_time(cache.getPath(key), fs::file_time_type::clock::now() -
                                                std::chrono::minutes(minutes));
  }
  std::string readBytes(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void writeBytes(const std::string &path, const std::string &bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
  }

  std::string directory;
};

constexpr const char *kKey = "0123456789abcdef0123456789abcdef";

TEST_F(KernelCacheTest, GivesBackWhatWasKept) {
  KernelCache cache(directory);
  EXPECT_FALSE(cache.load(kKey));
  cache.store(kKey, makeKernel('\n')); // line ends in the object are bytes
  std::optional<CompiledObject> kernel = cache.load(kKey);
  ASSERT_TRUE(kernel);
  EXPECT_EQ(kernel->object, makeKernel('\n').object);
  ASSERT_EQ(kernel->functions.size(), 1u);
  const FunctionInfo &function = kernel->functions[0];
  EXPECT_EQ(function.name, "attention");
  EXPECT_TRUE(function.takesExecutor);
  EXPECT_EQ(function.numResults, 0);
  ASSERT_EQ(function.arguments.size(), 2u);
  EXPECT_EQ(function.arguments[0].sizes,
            (std::vector<int64_t>{kDynamicSize, 4, 64}));
  EXPECT_EQ(function.arguments[1].kind, ArgumentInfo::Kind::Integer);
  EXPECT_EQ(fs::status(directory).permissions(), fs::perms::owner_all);
}

TEST_F(KernelCacheTest, DoesNotReadDamagedFiles) {
  KernelCache cache(directory);
  cache.store(kKey, makeKernel('x'));
  std::string path = cache.getPath(kKey), bytes = readBytes(path);
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] ^= 4;
    writeBytes(path, damaged);
    ASSERT_FALSE(cache.load(kKey)) << "byte " << i;
  }
  for (size_t length = 0; length < bytes.size(); ++length) {
    writeBytes(path, bytes.substr(0, length));
    ASSERT_FALSE(cache.load(kKey)) << length << " bytes";
  }
  writeBytes(path, bytes + "x");
  EXPECT_FALSE(cache.load(kKey));
  cache.store(kKey, makeKernel('y'));
  EXPECT_EQ(cache.load(kKey)->object[0], 'y');
}

TEST_F(KernelCacheTest, DoesNotReadFilesOfAnotherKernelOrFormat) {
  KernelCache cache(directory);
  cache.store(kKey, makeKernel('x'));
  std::string other = "ffffffffffffffffffffffffffffffff";
  fs::copy_file(cache.getPath(kKey), cache.getPath(other));
  EXPECT_FALSE(cache.load(other));
  std::string bytes = readBytes(cache.getPath(kKey));
  ASSERT_EQ(bytes.substr(0, 20), "paged_attn kernel 1 ");
  bytes[18] = '0';
  writeBytes(cache.getPath(kKey), bytes);
  EXPECT_FALSE(cache.load(kKey));
  fs::remove(cache.getPath(kKey));
  fs::create_directory(cache.getPath(kKey));
  EXPECT_FALSE(cache.load(kKey));
}

TEST_F(KernelCacheTest, RemovesWhatWasUsedLongestAgo) {
  CompiledObject kernel = makeKernel('x', 1000);
  KernelCache unlimited(directory);
  std::string keys[4];
  for (int i = 0; i < 4; ++i) {
    keys[i] = std::string(32, static_cast<char>('a' + i));
    if (i == 3)
      break;
    unlimited.store(keys[i], kernel);
    age(unlimited, keys[i], 10 - i);
  }
  EXPECT_TRUE(unlimited.load(keys[0])); // now the last one used
  int64_t size =
      static_cast<int64_t>(fs::file_size(unlimited.getPath(keys[0])));
  KernelCache limited(directory, 3 * size);
  limited.store(keys[3], kernel);
  EXPECT_TRUE(limited.load(keys[0]));
  EXPECT_FALSE(limited.load(keys[1]));
  EXPECT_TRUE(limited.load(keys[2]));
  EXPECT_TRUE(limited.load(keys[3]));
  KernelCache(directory, 0).store(keys[1], kernel);
  for (const std::string &key : keys)
    EXPECT_FALSE(limited.load(key));
}

TEST_F(KernelCacheTest, LeavesForeignFilesAloneAndClearsOldLeftovers) {
  fs::create_directories(directory);
  KernelCache cache(directory, 0);
  std::string leftover = cache.getPath(kKey) + ".tmp-1-0";
  std::string young = cache.getPath(kKey) + ".tmp-1-1";
  std::string foreign = directory + "/tune.json";
  for (const std::string &path : {leftover, young, foreign})
    writeBytes(path, "x");
  fs::last_write_time(leftover,
                      fs::file_time_type::clock::now() - std::chrono::hours(2));
  cache.store(kKey, makeKernel('x'));
  EXPECT_FALSE(fs::exists(leftover));
  EXPECT_TRUE(fs::exists(young));
  EXPECT_TRUE(fs::exists(foreign));
}

TEST_F(KernelCacheTest, KeysDependOnAllThatShowsInCode) {
  CompileOptions options;
  std::string error;
  options.target = *TargetInfo::get("x86-64-v3", error);
  std::string key = KernelCache::makeKey("module {}", options);
  EXPECT_EQ(key.size(), 32u);
  EXPECT_EQ(key, KernelCache::makeKey("module {}", options));
  EXPECT_NE(key, KernelCache::makeKey("module { }", options));
  CompileOptions changed = options;
  changed.via = Via::Reference;
  EXPECT_NE(key, KernelCache::makeKey("module {}", changed));
  changed = options;
  changed.target = *TargetInfo::get("x86-64-v4", error);
  EXPECT_NE(key, KernelCache::makeKey("module {}", changed));
  changed = options;
  changed.target.features = "+avx512f";
  EXPECT_NE(key, KernelCache::makeKey("module {}", changed));
  changed = options;
  changed.target.l2Bytes *= 2;
  EXPECT_NE(key, KernelCache::makeKey("module {}", changed));
  changed = options;
  changed.target.cores = 7;
  EXPECT_NE(key, KernelCache::makeKey("module {}", changed));
  changed = options;
  changed.tile.kvTokens = 32;
  EXPECT_NE(key, KernelCache::makeKey("module {}", changed));
  EXPECT_EQ(getCompilerVersion().find("unknown"), std::string::npos);
}

TEST_F(KernelCacheTest, ProcessesDoNotMeet) {
  constexpr int kProcesses = 4, kRounds = 60;
  std::vector<pid_t> children;
  for (int p = 0; p < kProcesses; ++p) {
    pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      KernelCache cache(directory, 20000);
      bool isWhole = true;
      for (int i = 0; i < kRounds; ++i) {
        std::string key(32, static_cast<char>('a' + i % 5));
        cache.store(key, makeKernel(static_cast<char>('0' + p), 5000));
        if (std::optional<CompiledObject> kernel = cache.load(key))
          isWhole &= kernel->object ==
                     std::string(kernel->object.size(), kernel->object[0]);
      }
      ::_exit(isWhole ? 0 : 1);
    }
    children.push_back(child);
  }
  for (pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  for (const fs::directory_entry &entry : fs::directory_iterator(directory))
    EXPECT_EQ(entry.path().extension(), ".kernel");
}

TEST_F(KernelCacheTest, VariableNamesTheFolder) {
  {
    ScopedVariable off("PAGED_ATTN_CACHE_DIR", "off");
    EXPECT_FALSE(getCacheDirectory());
  }
  {
    ScopedVariable named("PAGED_ATTN_CACHE_DIR", "/x/y");
    EXPECT_EQ(getCacheDirectory(), "/x/y");
  }
  ScopedVariable none("PAGED_ATTN_CACHE_DIR", "");
  {
    ScopedVariable base("XDG_CACHE_HOME", "/base");
    EXPECT_EQ(getCacheDirectory(), "/base/paged_attn");
  }
  ScopedVariable noBase("XDG_CACHE_HOME", "");
  {
    ScopedVariable home("HOME", "/home/x");
    EXPECT_EQ(getCacheDirectory(), "/home/x/.cache/paged_attn");
  }
  ScopedVariable noHome("HOME", "");
  EXPECT_FALSE(getCacheDirectory());
  ScopedVariable bytes("PAGED_ATTN_CACHE_BYTES", "12345");
  EXPECT_EQ(KernelCache::getDefaultMaxBytes(), 12345);
  ScopedVariable wrong("PAGED_ATTN_CACHE_BYTES", "many");
  EXPECT_EQ(KernelCache::getDefaultMaxBytes(), int64_t(256) << 20);
}

/// A folder that cannot be made is no error: the kernel is compiled.
TEST_F(KernelCacheTest, CompiledKernelsComeFromTheCache) {
  KernelSpec spec;
  spec.mode = "decode";
  spec.keyDim = spec.valueDim = 8;
  CompileOptions options;
  std::string error;
  options.target = *TargetInfo::get("native", error);
  options.via = Via::Reference;
  auto compile = [&]() {
    return CompiledKernel::compile(buildModule(spec), "spec", options, error);
  };
  {
    ScopedVariable folder("PAGED_ATTN_CACHE_DIR", directory);
    EXPECT_FALSE(compile()->getReport().wasCached);
    std::unique_ptr<CompiledKernel> kernel = compile();
    EXPECT_TRUE(kernel->getReport().wasCached);
    EXPECT_GT(kernel->getReport().seconds, 0);
    EXPECT_EQ(kernel->getFunctions()[0].name, "attention");
    options.useCache = false;
    EXPECT_FALSE(compile()->getReport().wasCached);
    options.useCache = true;
  }
  ScopedVariable nowhere("PAGED_ATTN_CACHE_DIR", "/dev/null/cache");
  std::unique_ptr<CompiledKernel> kernel = compile();
  ASSERT_TRUE(kernel) << error;
  EXPECT_FALSE(kernel->getReport().wasCached);
}

} // namespace
