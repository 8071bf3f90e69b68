//===- ElementTypeTest.cpp - Conversions, every bit pattern ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The 16-bit types are checked exhaustively against the rule
// (-1)^sign * 2^(exponent - bias) * 1.mantissa, and rounding at every
// midpoint between neighbours and just beside it.
//
//===----------------------------------------------------------------------===//

#include "TestUtils.h"

namespace paged_attn::oracle {
namespace {

struct Format {
  const char *name;
  ElementType type;
  int mantissaBits;
  int bias;
  uint16_t (*encode)(double);
  float (*decode)(uint16_t);

  uint16_t infinity() const {
    return static_cast<uint16_t>(0x7fff >> mantissaBits << mantissaBits);
  }
  uint16_t quietBit() const {
    return static_cast<uint16_t>(1 << (mantissaBits - 1));
  }
};

/// Value of finite `bits` by the rule.
double byRule(const Format &format, uint16_t bits) {
  int mantissa = bits & ((1 << format.mantissaBits) - 1);
  int exponent = (bits & 0x7fff) >> format.mantissaBits;
  double magnitude =
      exponent == 0
          ? std::ldexp(mantissa, 1 - format.bias - format.mantissaBits)
          : std::ldexp(mantissa + (1 << format.mantissaBits),
                       exponent - format.bias - format.mantissaBits);
  return bits & 0x8000 ? -magnitude : magnitude;
}

class Conversion : public testing::TestWithParam<Format> {};

TEST_P(Conversion, everyFiniteNumberDecodesByTheRuleAndRoundTrips) {
  const Format &format = GetParam();
  for (int bits = 0; bits <= 0xffff; ++bits) {
    if ((bits & 0x7fff) >= format.infinity())
      continue;
    double expected = byRule(format, static_cast<uint16_t>(bits));
    double got = format.decode(static_cast<uint16_t>(bits));
    ASSERT_EQ(got, expected) << bits;
    ASSERT_EQ(std::signbit(got), bits >= 0x8000) << bits;
    ASSERT_EQ(format.encode(expected), bits);
  }
}

TEST_P(Conversion, infinitiesAndEveryNaN) {
  const Format &format = GetParam();
  for (int sign : {0, 0x8000}) {
    uint16_t infinity = static_cast<uint16_t>(format.infinity() | sign);
    EXPECT_EQ(format.decode(infinity), sign ? -kInfinity : kInfinity);
    EXPECT_EQ(format.encode(sign ? -kInfinity : kInfinity), infinity);
    for (int bits = infinity + 1; bits <= (0x7fff | sign); ++bits) {
      float value = format.decode(static_cast<uint16_t>(bits));
      ASSERT_TRUE(std::isnan(value)) << bits;
      // Sign and payload stay; signalling NaNs become quiet.
      ASSERT_EQ(format.encode(value), bits | format.quietBit()) << bits;
    }
  }
}

TEST_P(Conversion, midpointsGoToEvenAndTheirNeighboursToTheNearest) {
  const Format &format = GetParam();
  for (int bits = 0; bits < format.infinity(); ++bits) {
    // The upper neighbour of the largest number is where infinity would be.
    double low = byRule(format, static_cast<uint16_t>(bits));
    double high =
        bits + 1 < format.infinity()
            ? byRule(format, static_cast<uint16_t>(bits + 1))
            : 2 * low - byRule(format, static_cast<uint16_t>(bits - 1));
    double middle = (low + high) / 2; // exact in f64
    ASSERT_EQ(format.encode(middle), bits % 2 ? bits + 1 : bits) << bits;
    ASSERT_EQ(format.encode(std::nextafter(middle, 0)), bits) << bits;
    ASSERT_EQ(format.encode(std::nextafter(middle, kInfinity)), bits + 1)
        << bits;
    ASSERT_EQ(format.encode(-std::nextafter(middle, kInfinity)),
              (bits + 1) | 0x8000);
  }
}

TEST_P(Conversion, extremes) {
  const Format &format = GetParam();
  EXPECT_EQ(format.encode(1e300), format.infinity());
  EXPECT_EQ(format.encode(1e-300), 0);
  EXPECT_EQ(format.encode(-1e-300), 0x8000);
  EXPECT_EQ(format.encode(5e-324), 0);
  EXPECT_EQ(format.encode(-0.0), 0x8000);
}

TEST_P(Conversion, ulpIsTheDistanceToTheNextNumber) {
  const Format &format = GetParam();
  for (int bits = 0; bits + 1 < format.infinity(); ++bits)
    ASSERT_EQ(ulp(format.type, byRule(format, static_cast<uint16_t>(bits))),
              byRule(format, static_cast<uint16_t>(bits + 1)) -
                  byRule(format, static_cast<uint16_t>(bits)))
        << bits;
}

INSTANTIATE_TEST_SUITE_P(Types, Conversion,
                         testing::Values(Format{"f16", ElementType::F16, 10, 15,
                                                toF16Bits, fromF16Bits},
                                         Format{"bf16", ElementType::BF16, 7,
                                                127, toBF16Bits, fromBF16Bits}),
                         [](const auto &info) { return info.param.name; });

TEST(ElementType, namesRoundTrip) {
  for (ElementType type :
       {ElementType::F32, ElementType::F16, ElementType::BF16})
    EXPECT_EQ(parseElementType(toString(type)), type);
  for (IndexType type : {IndexType::I32, IndexType::I64})
    EXPECT_EQ(parseIndexType(toString(type)), type);
  EXPECT_EQ(parseElementType("f64"), std::nullopt);
  EXPECT_EQ(parseIndexType("index"), std::nullopt);
}

TEST(ElementType, loadsAndStoresAtUnalignedPlaces) {
  for (ElementType type :
       {ElementType::F32, ElementType::F16, ElementType::BF16, ElementType::I8,
        ElementType::E4M3}) {
    char bytes[64] = {};
    storeElement(type, bytes + 1, 3, -2);
    EXPECT_EQ(loadElement(type, bytes + 1, 3), -2.0f);
    EXPECT_EQ(loadElement(type, bytes + 1, 2), 0.0f);
    EXPECT_EQ(loadElement(type, bytes + 1, 4), 0.0f);
    float row[3];
    loadElements(type, bytes + 1, 2, 3, row);
    EXPECT_EQ(row[1], -2.0f);
  }
}

/// Sign, exponent of bias 7 and mantissa of f8E4M3FN, from the definition.
double e4m3ByRule(int bits) {
  int exponent = bits >> 3 & 15, mantissa = bits & 7;
  double magnitude = exponent ? std::ldexp(8 + mantissa, exponent - 10)
                              : std::ldexp(mantissa, -9);
  return bits & 0x80 ? -magnitude : magnitude;
}

TEST(ElementType, e4m3HoldsEveryPattern) {
  for (int bits = 0; bits < 256; ++bits) {
    float value = fromE4M3Bits(static_cast<uint8_t>(bits));
    if ((bits & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_EQ(toE4M3Bits(value), bits);
      continue;
    }
    ASSERT_EQ(value, e4m3ByRule(bits)) << bits;
    ASSERT_EQ(toE4M3Bits(value), bits);
    if ((bits & 0x7f) == 0x7e)
      continue;
    double next = e4m3ByRule(bits + 1), middle = (value + next) / 2;
    int even = bits % 2 ? bits + 1 : bits;
    ASSERT_EQ(toE4M3Bits(middle), even) << bits;
    ASSERT_EQ(ulp(ElementType::E4M3, value), std::abs(next - value)) << bits;
  }
}

TEST(ElementType, narrowTypesSaturate) {
  EXPECT_EQ(roundTo(ElementType::E4M3, 1e9), 448);
  EXPECT_EQ(roundTo(ElementType::E4M3, -464.5), -448);
  EXPECT_EQ(
      roundTo(ElementType::E4M3, -std::numeric_limits<double>::infinity()),
      -448);
  EXPECT_EQ(roundTo(ElementType::I8, 127.6), 127);
  EXPECT_EQ(roundTo(ElementType::I8, -1e9), -128);
  EXPECT_EQ(roundTo(ElementType::I8, 2.5), 2);
  EXPECT_EQ(roundTo(ElementType::I8, -3.5), -4);
}

TEST(ElementType, f32RoundsOnce) {
  EXPECT_EQ(roundTo(ElementType::F32, 1 + 0x1p-24), 1.0);
  EXPECT_EQ(roundTo(ElementType::F32, 1 + 0x1.8p-23), 1 + 0x1p-22);
  EXPECT_EQ(ulp(ElementType::F32, 1.5), 0x1p-23);
  EXPECT_EQ(ulp(ElementType::F32, 0), 0x1p-149);
  // Through f32 this would round to the midpoint and then to even, down.
  double justAboveMiddle = 1 + 0x1p-11 + 0x1p-40;
  EXPECT_EQ(roundTo(ElementType::F16, justAboveMiddle), 1 + 0x1p-10);
}

} // namespace
} // namespace paged_attn::oracle
