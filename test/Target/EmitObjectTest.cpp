//===- EmitObjectTest.cpp -------------------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions of f16 on CPUs without the instruction, run and compared with
// APFloat: every f16, and f32 around every one of them.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Target/EmitObject.h"

#include "llvm/ADT/APFloat.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/ExecutionEngine/Orc/LLJIT.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/Module.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

using namespace mlir::paged_attn;

namespace {

constexpr const char *kConversions = R"(
define void @widen(ptr %from, ptr %to) {
  %h = load <4 x half>, ptr %from, align 2
  %f = fpext <4 x half> %h to <4 x float>
  store <4 x float> %f, ptr %to, align 4
  ret void
}
define void @narrow(ptr %from, ptr %to) {
  %f = load float, ptr %from, align 4
  %h = fptrunc float %f to half
  store half %h, ptr %to, align 2
  ret void
})";

using Conversion = void (*)(const void *, void *);

float decode(uint16_t bits) {
  llvm::APFloat value(llvm::APFloat::IEEEhalf(), llvm::APInt(16, bits));
  return value.convertToFloat();
}

uint16_t encode(float number) {
  llvm::APFloat value(number);
  bool losesInfo;
  value.convert(llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven,
                &losesInfo);
  return static_cast<uint16_t>(value.bitcastToAPInt().getZExtValue());
}

class HalfConversion : public testing::Test {
protected:
  void SetUp() override {
    std::string error;
    TargetInfo info = *TargetInfo::get("native", error);
    if (!info.isX86())
      GTEST_SKIP() << "AArch64 always has the instruction";
    info = *TargetInfo::get("x86-64", error);
    ASSERT_FALSE(info.hasHalfConversion);
    llvm::LLVMContext context;
    llvm::SMDiagnostic diagnostic;
    auto module = llvm::parseAssemblyString(kConversions, diagnostic, context);
    ASSERT_TRUE(module) << diagnostic.getMessage().str();
    auto object = optimizeAndEmit(*module, info, CodeKind::Object, error);
    ASSERT_TRUE(object) << error;
    EXPECT_EQ(object->find("__extendhfsf2"), std::string::npos);
    EXPECT_EQ(object->find("__truncsfhf2"), std::string::npos);
    jit = llvm::cantFail(llvm::orc::LLJITBuilder().create());
    llvm::cantFail(jit->addObjectFile(
        llvm::MemoryBuffer::getMemBufferCopy(*object, "conversions")));
    widen = llvm::cantFail(jit->lookup("widen")).toPtr<Conversion>();
    narrow = llvm::cantFail(jit->lookup("narrow")).toPtr<Conversion>();
  }

  std::unique_ptr<llvm::orc::LLJIT> jit;
  Conversion widen = nullptr, narrow = nullptr;
};

TEST_F(HalfConversion, WidensEveryF16) {
  for (uint32_t first = 0; first < 65536; first += 4) {
    uint16_t halves[4];
    float floats[4];
    for (uint32_t i = 0; i < 4; ++i)
      halves[i] = static_cast<uint16_t>(first + i);
    widen(halves, floats);
    for (int i = 0; i < 4; ++i) {
      float expected = decode(halves[i]);
      if (std::isnan(expected))
        ASSERT_TRUE(std::isnan(floats[i])) << halves[i];
      else
        ASSERT_EQ(std::memcmp(&floats[i], &expected, 4), 0) << halves[i];
    }
  }
}

TEST_F(HalfConversion, RoundsF32ToNearestEven) {
  auto check = [&](float value) {
    uint16_t got;
    narrow(&value, &got);
    if (std::isnan(value))
      ASSERT_TRUE(std::isnan(decode(got)));
    else
      ASSERT_EQ(got, encode(value)) << value;
  };
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    float value = decode(static_cast<uint16_t>(bits));
    float next = decode(static_cast<uint16_t>(bits + 1));
    float middle = value / 2 + next / 2;
    for (float f : {value, middle, std::nextafter(middle, value),
                    std::nextafter(middle, next)})
      ASSERT_NO_FATAL_FAILURE(check(f));
  }
  for (float f : {65519.0f, 65520.0f, 65535.9f, 65536.0f, 1e30f, -1e30f, 1e-30f,
                  0x1p-24f, 0x1p-25f, 0x1.1p-25f, -0x1p-26f, 0x1p-149f})
    check(f);
}

} // namespace
