//===- ElementType.cpp - Storage types and exact conversions --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions in integer arithmetic on the bits of the formats, so that they
// do not depend on the compiler or on what the machine can convert itself.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/ElementType.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace paged_attn::oracle {

namespace {

template <typename To, typename From>
To bitCast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

/// A format of at most 16 bits: 1 sign bit, exponent bits, mantissa bits (all
/// stored).
template <int ExponentBits, int MantissaBits>
struct Format {
  static constexpr int kMinExponent = 2 - (1 << (ExponentBits - 1));
  static constexpr uint64_t kInfinity = ((uint64_t{1} << ExponentBits) - 1)
                                        << MantissaBits;
  static constexpr uint64_t kQuietBit = uint64_t{1} << (MantissaBits - 1);
};
using F16 = Format<5, 10>;
using BF16 = Format<8, 7>;
/// f8E4M3FN has no infinity: all bits but the sign say NaN.
using E4M3 = Format<4, 3>;
constexpr uint64_t kE4M3NaN = 0x7f;
constexpr uint64_t kE4M3Largest = 0x7e;

constexpr int kDoubleMantissa = 52;
constexpr uint64_t kDoubleInfinity = uint64_t{0x7ff} << kDoubleMantissa;
constexpr uint64_t kDoubleSign = uint64_t{1} << 63;

/// significand / 2^shift, rounded to nearest even; 0 <= shift <= 53.
uint64_t shiftRightEven(uint64_t significand, int shift) {
  uint64_t odd = (significand >> shift) & 1;
  return (significand + (uint64_t{1} << (shift - 1)) - 1 + odd) >> shift;
}

/// Magnitude bits for the finite, non-zero double magnitude `bits`, which run
/// on above the format's largest number.
template <int ExponentBits, int MantissaBits>
uint64_t encodeFinite(uint64_t bits) {
  using Target = Format<ExponentBits, MantissaBits>;
  int exponent = static_cast<int>(bits >> kDoubleMantissa) - 1023;
  uint64_t hidden = uint64_t{1} << kDoubleMantissa;
  uint64_t significand = (bits & (hidden - 1)) | hidden;
  int below = std::max(0, Target::kMinExponent - exponent);
  int shift = kDoubleMantissa - MantissaBits + below;
  if (shift > kDoubleMantissa + 1) // less than half of the smallest number
    return 0;
  // The hidden bit of a normal result adds the missing 1 to the exponent
  // field, and so does a carry out of the mantissa.
  uint64_t biased = below ? 0 : exponent - Target::kMinExponent;
  return (biased << MantissaBits) + shiftRightEven(significand, shift);
}

template <int ExponentBits, int MantissaBits>
uint16_t encode(double value) {
  using Target = Format<ExponentBits, MantissaBits>;
  uint64_t bits = bitCast<uint64_t>(value);
  uint64_t magnitude = bits & ~kDoubleSign;
  uint64_t result;
  if (magnitude > kDoubleInfinity)
    result = Target::kInfinity | Target::kQuietBit |
             ((magnitude >> (kDoubleMantissa - MantissaBits)) &
              (Target::kQuietBit - 1));
  else if (magnitude == kDoubleInfinity)
    result = Target::kInfinity;
  else
    result = std::min(encodeFinite<ExponentBits, MantissaBits>(magnitude),
                      Target::kInfinity);
  return static_cast<uint16_t>(result | (bits >> 63 << 15));
}

} // namespace

int64_t byteWidth(ElementType type) {
  switch (type) {
  case ElementType::F32:
    return 4;
  case ElementType::F16:
  case ElementType::BF16:
    return 2;
  case ElementType::I8:
  case ElementType::E4M3:
    return 1;
  }
  return 0;
}
int64_t byteWidth(IndexType type) { return type == IndexType::I32 ? 4 : 8; }

const char *toString(ElementType type) {
  switch (type) {
  case ElementType::F32:
    return "f32";
  case ElementType::F16:
    return "f16";
  case ElementType::BF16:
    return "bf16";
  case ElementType::I8:
    return "i8";
  case ElementType::E4M3:
    return "f8E4M3FN";
  }
  return "invalid";
}

const char *toString(IndexType type) {
  return type == IndexType::I32 ? "i32" : "i64";
}

std::optional<ElementType> parseElementType(std::string_view name) {
  for (ElementType type :
       {ElementType::F32, ElementType::F16, ElementType::BF16, ElementType::I8,
        ElementType::E4M3})
    if (name == toString(type))
      return type;
  return std::nullopt;
}

std::optional<IndexType> parseIndexType(std::string_view name) {
  for (IndexType type : {IndexType::I32, IndexType::I64})
    if (name == toString(type))
      return type;
  return std::nullopt;
}

uint16_t toF16Bits(double value) { return encode<5, 10>(value); }
uint16_t toBF16Bits(double value) { return encode<8, 7>(value); }

float fromBF16Bits(uint16_t bits) {
  return bitCast<float>(static_cast<uint32_t>(bits) << 16);
}

float fromF16Bits(uint16_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  uint32_t magnitude = bits & 0x7fff;
  if (magnitude >= F16::kInfinity) // infinity and NaN: widen the exponent
    return bitCast<float>(sign | 0x7f800000u | (magnitude & 0x3ff) << 13);
  // Below the smallest normal number the value is mantissa * 2^-24.
  if (magnitude < 0x400)
    return bitCast<float>(
        sign | bitCast<uint32_t>(static_cast<float>(magnitude) * 0x1p-24f));
  constexpr uint32_t kRebias = (127 - 15) << 10;
  return bitCast<float>(sign | (magnitude + kRebias) << 13);
}

uint8_t toE4M3Bits(double value) {
  uint64_t bits = bitCast<uint64_t>(value);
  uint64_t magnitude = bits & ~kDoubleSign;
  uint64_t result = kE4M3Largest;
  if (magnitude > kDoubleInfinity)
    result = kE4M3NaN;
  else if (magnitude < kDoubleInfinity)
    result = std::min(encodeFinite<4, 3>(magnitude), kE4M3Largest);
  return static_cast<uint8_t>(result | (bits >> 63 << 7));
}

float fromE4M3Bits(uint8_t bits) {
  uint32_t sign = static_cast<uint32_t>(bits & 0x80) << 24;
  uint32_t magnitude = bits & 0x7f;
  if (magnitude == kE4M3NaN)
    return bitCast<float>(sign | 0x7fc00000u);
  // Below the smallest normal number the value is mantissa * 2^-9.
  if (magnitude < 8)
    return bitCast<float>(
        sign | bitCast<uint32_t>(static_cast<float>(magnitude) * 0x1p-9f));
  constexpr uint32_t kRebias = (127 - 7) << 3;
  return bitCast<float>(sign | (magnitude + kRebias) << 20);
}

double roundTo(ElementType type, double value) {
  char bytes[sizeof(float)];
  storeElement(type, bytes, 0, value);
  return loadElement(type, bytes, 0);
}

double ulp(ElementType type, double value) {
  int mantissa = 7, minExponent = BF16::kMinExponent;
  if (type == ElementType::I8)
    return 1;
  if (type == ElementType::F32)
    mantissa = 23;
  else if (type == ElementType::F16)
    mantissa = 10, minExponent = F16::kMinExponent;
  else if (type == ElementType::E4M3)
    mantissa = 3, minExponent = E4M3::kMinExponent;
  int exponent = value == 0 ? minExponent : std::ilogb(value);
  return std::ldexp(1.0, std::max(exponent, minExponent) - mantissa);
}

float loadElement(ElementType type, const void *base, int64_t index) {
  float result;
  loadElements(type, base, index, 1, &result);
  return result;
}

/// Writes the bytes of `value`.
template <typename T>
static void storeBytes(void *base, int64_t index, T value) {
  std::memcpy(static_cast<char *>(base) + index * int64_t(sizeof(T)), &value,
              sizeof(T));
}

/// `value` rounded to the nearest even integer of 8 bits.
static int8_t toI8(double value) {
  if (std::isnan(value))
    return INT8_MAX;
  return static_cast<int8_t>(
      std::nearbyint(std::min(std::max(value, -128.0), 127.0)));
}

void storeElement(ElementType type, void *base, int64_t index, double value) {
  switch (type) {
  case ElementType::F32:
    return storeBytes(base, index, static_cast<float>(value));
  case ElementType::F16:
    return storeBytes(base, index, toF16Bits(value));
  case ElementType::BF16:
    return storeBytes(base, index, toBF16Bits(value));
  case ElementType::I8:
    return storeBytes(base, index, toI8(value));
  case ElementType::E4M3:
    return storeBytes(base, index, toE4M3Bits(value));
  }
}

/// Widens `count` elements, whose bits are of type `Bits`, by `widen`.
template <typename Bits, typename Widen>
static void loadEach(const char *begin, int64_t count, float *result,
                     Widen widen) {
  for (int64_t i = 0; i < count; ++i) {
    Bits bits;
    std::memcpy(&bits, begin + i * int64_t(sizeof(bits)), sizeof(bits));
    result[i] = widen(bits);
  }
}

void loadElements(ElementType type, const void *base, int64_t first,
                  int64_t count, float *result) {
  const char *begin = static_cast<const char *>(base) + first * byteWidth(type);
  switch (type) {
  case ElementType::F32:
    std::memcpy(result, begin, count * sizeof(float));
    return;
  case ElementType::F16:
    return loadEach<uint16_t>(begin, count, result, fromF16Bits);
  case ElementType::BF16:
    return loadEach<uint16_t>(begin, count, result, fromBF16Bits);
  case ElementType::I8:
    return loadEach<int8_t>(begin, count, result,
                            [](int8_t bits) { return float(bits); });
  case ElementType::E4M3:
    return loadEach<uint8_t>(begin, count, result, fromE4M3Bits);
  }
}

int64_t loadIndex(IndexType type, const void *base, int64_t index) {
  if (type == IndexType::I64)
    return static_cast<const int64_t *>(base)[index];
  return static_cast<const int32_t *>(base)[index];
}

void storeIndex(IndexType type, void *base, int64_t index, int64_t value) {
  if (type == IndexType::I64)
    static_cast<int64_t *>(base)[index] = value;
  else
    static_cast<int32_t *>(base)[index] = static_cast<int32_t>(value);
}

} // namespace paged_attn::oracle
