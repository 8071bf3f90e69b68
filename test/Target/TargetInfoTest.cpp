//===- TargetInfoTest.cpp -------------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What is known of CPUs by name, whatever machine the test runs on, and of
// the machine itself.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Target/TargetInfo.h"

#include <gtest/gtest.h>

#include <ostream>

using namespace mlir::paged_attn;

namespace {

/// What a name must give. Units: present ones in the order fp16, bf16, int8,
/// bf16 matrix, int8 matrix; capital letter where the unit pays off.
struct Expected {
  const char *cpu, *architecture, *family;
  int64_t vectorBits, registers, sveBits;
  bool hasFma, hasHalfConversion;
  const char *units;
  int64_t l2KiB;
};

std::ostream &operator<<(std::ostream &os, const Expected &expected) {
  return os << expected.cpu;
}

std::string unitLetters(const TargetInfo &info) {
  const std::pair<Unit, char> units[] = {{info.fp16Fma, 'h'},
                                         {info.bf16Dot, 'b'},
                                         {info.int8Dot, 'i'},
                                         {info.bf16Matrix, 'm'},
                                         {info.int8Matrix, 'n'}};
  std::string letters;
  for (auto [unit, letter] : units)
    if (unit.present)
      letters += unit.paysOff() ? static_cast<char>(toupper(letter)) : letter;
  return letters;
}

class NamedCpu : public testing::TestWithParam<Expected> {};

TEST_P(NamedCpu, IsReadFromTheTables) {
  const Expected &expected = GetParam();
  std::string error;
  std::optional<TargetInfo> info = TargetInfo::get(expected.cpu, error);
  ASSERT_TRUE(info) << error;
  EXPECT_EQ(info->triple.substr(0, info->triple.find('-')),
            expected.architecture);
  EXPECT_EQ(info->family, expected.family);
  EXPECT_EQ(info->vectorBits, expected.vectorBits);
  EXPECT_EQ(info->registers, expected.registers);
  EXPECT_EQ(info->sveBits, expected.sveBits);
  EXPECT_EQ(info->hasFma, expected.hasFma);
  EXPECT_EQ(info->hasHalfConversion, expected.hasHalfConversion);
  EXPECT_EQ(unitLetters(*info), expected.units);
  EXPECT_EQ(info->l2Bytes, expected.l2KiB * 1024);
  EXPECT_EQ(info->features, "") << "features of the machine leaked in";
  EXPECT_EQ(info->cores, 0);
}

const Expected kCpus[] = {
    {"x86-64", "x86_64", "other", 128, 16, 0, false, false, "", 512},
    {"x86-64-v2", "x86_64", "other", 128, 16, 0, false, false, "", 512},
    {"x86-64-v3", "x86_64", "haswell", 256, 16, 0, true, true, "", 256},
    {"x86-64-v4", "x86_64", "skylake-server", 512, 32, 0, true, true, "", 1024},
    {"sandybridge", "x86_64", "other", 256, 16, 0, false, false, "", 512},
    {"haswell", "x86_64", "haswell", 256, 16, 0, true, true, "", 256},
    {"skylake-avx512", "x86_64", "skylake-server", 512, 32, 0, true, true, "",
     1024},
    {"cascadelake", "x86_64", "skylake-server", 512, 32, 0, true, true, "I",
     1024},
    {"cooperlake", "x86_64", "skylake-server", 512, 32, 0, true, true, "bI",
     1024},
    {"icelake-server", "x86_64", "icelake", 512, 32, 0, true, true, "I", 512},
    {"alderlake", "x86_64", "alderlake", 256, 16, 0, true, true, "I", 1280},
    {"sapphirerapids", "x86_64", "sapphirerapids", 512, 32, 0, true, true,
     "HbIMN", 2048},
    {"znver3", "x86_64", "zen2", 256, 16, 0, true, true, "", 512},
    {"znver4", "x86_64", "zen4", 512, 32, 0, true, true, "bI", 1024},
    {"znver5", "x86_64", "zen5", 512, 32, 0, true, true, "BI", 1024},
    {"cortex-a72", "aarch64", "other", 128, 32, 0, true, true, "", 512},
    {"neoverse-n1", "aarch64", "neoverse-n1", 128, 32, 0, true, true, "HI",
     512},
    {"neoverse-n2", "aarch64", "neoverse-n2", 128, 32, 0, true, true, "HBIMN",
     512},
    {"neoverse-v1", "aarch64", "neoverse-v1", 256, 32, 256, true, true, "HBIMN",
     1024},
    {"neoverse-v2", "aarch64", "neoverse-v2", 128, 32, 0, true, true, "HBIMN",
     1024},
    {"a64fx", "aarch64", "a64fx", 512, 32, 512, true, true, "H", 8192},
};

INSTANTIATE_TEST_SUITE_P(TargetInfo, NamedCpu, testing::ValuesIn(kCpus),
                         [](const testing::TestParamInfo<Expected> &info) {
                           std::string name = info.param.cpu;
                           for (char &c : name)
                             if (!isalnum(static_cast<unsigned char>(c)))
                               c = '_';
                           return name;
                         });

TEST(TargetInfo, NativeIsThisMachine) {
  std::string error;
  std::optional<TargetInfo> info = TargetInfo::get("native", error);
  ASSERT_TRUE(info) << error;
  EXPECT_GE(info->cores, 1);
  EXPECT_GT(info->l1Bytes, 0);
  EXPECT_EQ(info->whyNotHere(), "");
  EXPECT_EQ(TargetInfo::get("", error)->print(), info->print());
}

TEST(TargetInfo, TripleDecidesWhatNamesMean) {
  std::string error;
  std::optional<TargetInfo> generic =
      TargetInfo::get("generic", error, "aarch64-linux-gnu");
  ASSERT_TRUE(generic) << error;
  EXPECT_TRUE(generic->isAArch64());
  EXPECT_FALSE(generic->isX86());
  EXPECT_EQ(generic->triple, "aarch64-unknown-linux-gnu");
  EXPECT_FALSE(TargetInfo::get("haswell", error, "aarch64-linux-gnu"));
  EXPECT_EQ(error,
            "expected cpu to be native or a CPU of aarch64, got 'haswell'");
}

TEST(TargetInfo, NamesThatNobodyKnowsAreErrors) {
  std::string error;
  EXPECT_FALSE(TargetInfo::get("abacus", error));
  EXPECT_EQ(error, "expected cpu to be native or a CPU of x86_64 or aarch64, "
                   "got 'abacus'");
  EXPECT_FALSE(TargetInfo::get("i686", error)) << "no 64-bit code";
  EXPECT_FALSE(TargetInfo::get("haswell", error, "riscv64-linux-gnu"));
  EXPECT_EQ(error, "expected triple to be one of x86_64 or aarch64, got "
                   "'riscv64-unknown-linux-gnu'");
}

TEST(TargetInfo, OtherMachinesCodeDoesNotRunHere) {
  std::string error;
  bool isX86 = TargetInfo::get("native", error)->isX86();
  std::optional<TargetInfo> foreign =
      TargetInfo::get(isX86 ? "neoverse-n1" : "haswell", error);
  ASSERT_TRUE(foreign) << error;
  EXPECT_NE(foreign->whyNotHere().find("expected a CPU of this machine's"),
            std::string::npos);
  std::optional<TargetInfo> baseline =
      TargetInfo::get(isX86 ? "x86-64" : "generic", error);
  EXPECT_EQ(baseline->whyNotHere(), "");
}

TEST(TargetInfo, PrintsWhatItKnows) {
  std::string error;
  std::string text = TargetInfo::get("sapphirerapids", error)->print();
  for (const char *line :
       {"cpu: sapphirerapids\n", "vector bits: 512\n", "vector registers: 32\n",
        "fp16 fma: 1.9 of f32 FMA, used\n",
        "bf16 dot: 0.5 of f32 FMA, not used\n",
        "bf16 matrix: 16 of f32 FMA, used\n", "l2: 2048 KiB\n",
        "cores: unknown\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << " in\n" << text;
  EXPECT_NE(TargetInfo::get("haswell", error)->print().find("fp16 fma: no\n"),
            std::string::npos);
}

} // namespace
