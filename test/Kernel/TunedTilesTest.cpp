//===- TunedTilesTest.cpp - Tile sizes by name and on disk ----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Text of tile options, files of found sizes, and compilations that take them.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Kernel/TunedTiles.h"
#include "paged_attn/Kernel/CompiledKernel.h"
#include "paged_attn/Kernel/KernelSpec.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <unistd.h>

using namespace mlir::paged_attn;
namespace fs = std::filesystem;

namespace {

TEST(TileOptions, ReadsWhatItPrints) {
  std::string error;
  std::optional<TileOptions> options =
      TileOptions::parse("kv-tokens=32,pages-ahead=0", error);
  ASSERT_TRUE(options) << error;
  EXPECT_EQ(options->kvTokens, 32);
  EXPECT_EQ(options->pagesAhead, 0);
  EXPECT_EQ(options->queryTokens, 0);
  EXPECT_EQ(TileOptions::parse(options->print(), error)->print(),
            options->print());
  EXPECT_EQ(TileOptions::parse("", error)->print(), TileOptions().print());
}

TEST(TileOptions, RefusesWhatDoesNotExist) {
  const std::pair<const char *, const char *> cases[] = {
      {"kv-tokens", "expected tile options as name=number, got 'kv-tokens'"},
      {"kv-tokens=1x",
       "expected tile options as name=number, got 'kv-tokens=1x'"},
      {"kv-tokens=1025", "expected kv-tokens from 0 to 1024, got 1025"},
      {"vector-bits=64",
       "expected vector-bits to be 0, 128, 256 or 512, got 64"}};
  for (auto [text, message] : cases) {
    std::string error;
    EXPECT_FALSE(TileOptions::parse(text, error));
    EXPECT_EQ(error, message);
  }
  std::string error;
  EXPECT_FALSE(TileOptions::parse("rows=1", error));
  EXPECT_NE(error.find("expected a tile option out of query-tokens"),
            std::string::npos);
}

class TunedTilesTest : public testing::Test {
protected:
  TunedTilesTest() {
    directory =
        testing::TempDir() + "paged_attn_tuned_" + std::to_string(::getpid());
    fs::remove_all(directory);
    path = directory + "/x.tuned.json";
    tuned.tile.kvTokens = 32;
    tuned.tile.pagesAhead = 1;
    tuned.problem = "decode \"x\"";
    tuned.gain = 1.25;
  }
  ~TunedTilesTest() override { fs::remove_all(directory); }

  std::string directory, path, error;
  TunedTiles tuned;
};

TEST_F(TunedTilesTest, GivesBackWhatWasKept) {
  EXPECT_FALSE(loadTunedTiles(path));
  ASSERT_TRUE(storeTunedTiles(path, tuned, error)) << error;
  std::optional<TunedTiles> loaded = loadTunedTiles(path);
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->tile.print(), tuned.tile.print());
  EXPECT_EQ(loaded->problem, tuned.problem);
  EXPECT_EQ(loaded->gain, tuned.gain);
}

TEST_F(TunedTilesTest, DoesNotReadWhatItDidNotWrite) {
  fs::create_directories(directory);
  for (const char *text :
       {"", "{", "[]", "{}", R"({"version":0,"tile":{"kv-tokens":32}})",
        R"({"version":1,"tile":{"kv-tokens":2000}})",
        R"({"version":1,"tile":{"rows":8}})",
        R"({"version":1,"tile":{"kv-tokens":"32"}})", R"({"version":1})"}) {
    std::ofstream(path) << text;
    EXPECT_FALSE(loadTunedTiles(path)) << text;
  }
  std::ofstream(path) << R"({"version":1,"tile":{"kv-tokens":16}})";
  EXPECT_EQ(loadTunedTiles(path)->tile.kvTokens, 16);
}

TEST_F(TunedTilesTest, FailsWhereItCannotWrite) {
  EXPECT_FALSE(storeTunedTiles("/dev/null/x.json", tuned, error));
  EXPECT_EQ(error, "cannot create /dev/null");
}

TEST_F(TunedTilesTest, CompilationsTakeThemUnlessTheyNameSizes) {
  const char *before = std::getenv("PAGED_ATTN_CACHE_DIR");
  std::string saved = before ? before : "";
  ::setenv("PAGED_ATTN_CACHE_DIR", directory.c_str(), /*overwrite=*/1);
  KernelSpec spec;
  spec.mode = "decode";
  spec.keyDim = spec.valueDim = 8;
  std::string source = buildModule(spec);
  CompileOptions options;
  options.target = *TargetInfo::get("native", error);
  auto compile = [&](const CompileOptions &options) {
    return CompiledKernel::compile(source, "spec", options, error)->getReport();
  };
  EXPECT_FALSE(compile(options).wasTuned);
  ASSERT_TRUE(
      storeTunedTiles(getTunedPath(directory, source, options), tuned, error));
  CompileReport report = compile(options);
  EXPECT_TRUE(report.wasTuned);
  EXPECT_FALSE(report.wasCached) << "other sizes are another kernel";
  EXPECT_EQ(report.tile.print(), tuned.tile.print());
  EXPECT_TRUE(compile(options).wasCached);

  CompileOptions named = options;
  named.tile.kvTokens = 16;
  EXPECT_FALSE(compile(named).wasTuned);
  named = options;
  named.useTuned = false;
  EXPECT_FALSE(compile(named).wasTuned);
  CompileOptions other = options;
  other.target =
      *TargetInfo::get(options.target.isX86() ? "x86-64" : "generic", error);
  EXPECT_FALSE(compile(other).wasTuned);
  ::setenv("PAGED_ATTN_CACHE_DIR", saved.c_str(), /*overwrite=*/1);
}

} // namespace
