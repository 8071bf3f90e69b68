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

/// A 16-bit format: 1 sign bit, exponent bits, mantissa bits (all stored).
template <int ExponentBits, int MantissaBits>
struct Format {
  static constexpr int kMinExponent = 2 - (1 << (ExponentBits - 1));
  static constexpr uint64_t kInfinity = ((uint64_t{1} << ExponentBits) - 1)
                                        << MantissaBits;
  static constexpr uint64_t kQuietBit = uint64_t{1} << (MantissaBits - 1);
};
using F16 = Format<5, 10>;
using BF16 = Format<8, 7>;

constexpr int kDoubleMantissa = 52;
constexpr uint64_t kDoubleInfinity = uint64_t{0x7ff} << kDoubleMantissa;
constexpr uint64_t kDoubleSign = uint64_t{1} << 63;

/// significand / 2^shift, rounded to nearest even; 0 <= shift <= 53.
uint64_t shiftRightEven(uint64_t significand, int shift) {
  uint64_t odd = (significand >> shift) & 1;
  return (significand + (uint64_t{1} << (shift - 1)) - 1 + odd) >> shift;
}

/// Magnitude bits for the finite, non-zero double magnitude `bits`.
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
  uint64_t result =
      (biased << MantissaBits) + shiftRightEven(significand, shift);
  return std::min(result, Target::kInfinity);
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
    result = encodeFinite<ExponentBits, MantissaBits>(magnitude);
  return static_cast<uint16_t>(result | (bits >> 63 << 15));
}

} // namespace

int64_t byteWidth(ElementType type) { return type == ElementType::F32 ? 4 : 2; }
int64_t byteWidth(IndexType type) { return type == IndexType::I32 ? 4 : 8; }

const char *toString(ElementType type) {
  switch (type) {
  case ElementType::F32:
    return "f32";
  case ElementType::F16:
    return "f16";
  case ElementType::BF16:
    return "bf16";
  }
  return "invalid";
}

const char *toString(IndexType type) {
  return type == IndexType::I32 ? "i32" : "i64";
}

std::optional<ElementType> parseElementType(std::string_view name) {
  for (ElementType type :
       {ElementType::F32, ElementType::F16, ElementType::BF16})
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

double roundTo(ElementType type, double value) {
  switch (type) {
  case ElementType::F32:
    return static_cast<float>(value);
  case ElementType::F16:
    return fromF16Bits(toF16Bits(value));
  case ElementType::BF16:
    return fromBF16Bits(toBF16Bits(value));
  }
  return value;
}

double ulp(ElementType type, double value) {
  bool half = type == ElementType::F16;
  int mantissa = type == ElementType::F32 ? 23 : half ? 10 : 7;
  int minExponent = half ? F16::kMinExponent : BF16::kMinExponent;
  int exponent = value == 0 ? minExponent : std::ilogb(value);
  return std::ldexp(1.0, std::max(exponent, minExponent) - mantissa);
}

float loadElement(ElementType type, const void *base, int64_t index) {
  float result;
  loadElements(type, base, index, 1, &result);
  return result;
}

void storeElement(ElementType type, void *base, int64_t index, double value) {
  char *address = static_cast<char *>(base) + index * byteWidth(type);
  if (type == ElementType::F32) {
    float narrow = static_cast<float>(value);
    std::memcpy(address, &narrow, sizeof(narrow));
    return;
  }
  uint16_t bits =
      type == ElementType::F16 ? toF16Bits(value) : toBF16Bits(value);
  std::memcpy(address, &bits, sizeof(bits));
}

void loadElements(ElementType type, const void *base, int64_t first,
                  int64_t count, float *result) {
  const char *begin = static_cast<const char *>(base) + first * byteWidth(type);
  if (type == ElementType::F32) {
    std::memcpy(result, begin, count * sizeof(float));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, begin + i * sizeof(bits), sizeof(bits));
    result[i] =
        type == ElementType::F16 ? fromF16Bits(bits) : fromBF16Bits(bits);
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
