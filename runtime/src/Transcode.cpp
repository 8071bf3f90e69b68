//===- Transcode.cpp - Reading and writing page elements ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions between storage types (round to nearest, ties to even) and the
// places of elements in the three page layouts.
//
//===----------------------------------------------------------------------===//

#include "Transcode.h"

#include <algorithm>
#include <cmath>
#include <cstring>

using namespace paged_attn;

namespace {

float asFloat(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

uint32_t asBits(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return bits;
}

/// A binary float of few bits: IEEE 754 binary16, or OCP 8-bit E4M3 (which has
/// no infinity and one NaN).
struct SmallFloat {
  int exponentBits;
  int mantissaBits;
  int bias;
  bool hasInfinity;
};
constexpr SmallFloat kF16 = {5, 10, 15, true};
constexpr SmallFloat kF8E4M3 = {4, 3, 7, false};
/// Largest finite E4M3: 1.75 * 2^8.
constexpr float kMaxF8E4M3 = 448.0f;

float decodeSmall(const SmallFloat &f, uint32_t bits) {
  uint32_t mantissaMask = (1u << f.mantissaBits) - 1;
  uint32_t exponentMask = (1u << f.exponentBits) - 1;
  uint32_t mantissa = bits & mantissaMask;
  uint32_t exponent = bits >> f.mantissaBits & exponentMask;
  bool negative = bits >> (f.mantissaBits + f.exponentBits) & 1;
  float value;
  if (exponent == exponentMask && (f.hasInfinity || mantissa == mantissaMask))
    value = f.hasInfinity && mantissa == 0 ? INFINITY : NAN;
  else if (exponent == 0)
    value = std::ldexp(float(mantissa), 1 - f.bias - f.mantissaBits);
  else
    value = std::ldexp(float(mantissa | (mantissaMask + 1)),
                       int(exponent) - f.bias - f.mantissaBits);
  return negative ? -value : value;
}

uint32_t encodeSmall(const SmallFloat &f, float value) {
  uint32_t sign = (asBits(value) >> 31) << (f.mantissaBits + f.exponentBits);
  uint32_t exponentMask = (1u << f.exponentBits) - 1;
  uint32_t mantissaMask = (1u << f.mantissaBits) - 1;
  uint32_t notANumber = exponentMask << f.mantissaBits | mantissaMask;
  uint32_t overflow = f.hasInfinity ? exponentMask << f.mantissaBits
                                    : notANumber - 1; // Saturates.
  float magnitude = std::fabs(value);
  if (std::isnan(value))
    return sign | notANumber;
  if (std::isinf(value))
    return sign | overflow;
  if (magnitude == 0)
    return sign;
  int exponent;
  std::frexp(magnitude, &exponent);
  // Unit of the last place, not below that of the subnormals.
  int unit = std::max(exponent - 1, 1 - f.bias) - f.mantissaBits;
  auto steps = uint32_t(std::nearbyint(std::ldexp(magnitude, -unit)));
  // Carries of rounding run into the exponent by themselves.
  uint32_t biased = uint32_t(unit + f.mantissaBits + f.bias - 1);
  uint32_t bits = (biased << f.mantissaBits) + steps;
  return sign | std::min(bits, overflow);
}

uint32_t encodeBF16(float value) {
  uint32_t bits = asBits(value);
  if (std::isnan(value))
    return bits >> 16 | 0x40;
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

/// Largest magnitude that a type holds; 0 for types that need no scale.
float largest(ElementType type) {
  switch (type) {
  case ElementType::I8:
    return 127;
  case ElementType::I4:
    return 7;
  case ElementType::F8E4M3:
    return kMaxF8E4M3;
  default:
    return 0;
  }
}

int64_t elementIndex(const PageSide &page, int32_t slot, int32_t head,
                     int32_t dim) {
  int64_t slots = page.pageSize, heads = page.numHeads, dims = page.side.dim;
  switch (page.side.layout) {
  case PageLayout::SHD:
    return (slot * heads + head) * dims + dim;
  case PageLayout::HSD:
    return (head * slots + slot) * dims + dim;
  case PageLayout::HDS:
    return (head * dims + dim) * slots + slot;
  }
  return 0;
}

float *scaleOf(const PageSide &page, int32_t slot, int32_t head) {
  if (!page.scales)
    return nullptr;
  switch (page.side.scales) {
  case ScaleKind::None:
    return nullptr;
  case ScaleKind::PerTensor:
    return page.scales;
  case ScaleKind::PerHead:
    return page.scales + head;
  case ScaleKind::PerTokenHead:
    return page.scales + int64_t(slot) * page.numHeads + head;
  }
  return nullptr;
}

int64_t bytesOf(ElementType type) {
  switch (type) {
  case ElementType::F32:
    return 4;
  case ElementType::F16:
  case ElementType::BF16:
    return 2;
  case ElementType::F8E4M3:
  case ElementType::I8:
    return 1;
  case ElementType::I4:
    return 0;
  }
  return 0;
}

/// Moves one stored element without converting it.
void copyRaw(ElementType type, const uint8_t *from, int64_t fromIndex,
             uint8_t *to, int64_t toIndex) {
  if (int64_t bytes = bytesOf(type)) {
    std::memcpy(to + toIndex * bytes, from + fromIndex * bytes, size_t(bytes));
    return;
  }
  int nibble = from[fromIndex / 2] >> (fromIndex % 2 * 4) & 15;
  int shift = int(toIndex % 2) * 4;
  to[toIndex / 2] =
      uint8_t((to[toIndex / 2] & ~(15 << shift)) | nibble << shift);
}

} // namespace

float paged_attn::loadElement(ElementType type, const uint8_t *data,
                              int64_t index) {
  uint16_t half;
  uint32_t word;
  switch (type) {
  case ElementType::F32:
    std::memcpy(&word, data + index * 4, 4);
    return asFloat(word);
  case ElementType::F16:
    std::memcpy(&half, data + index * 2, 2);
    return decodeSmall(kF16, half);
  case ElementType::BF16:
    std::memcpy(&half, data + index * 2, 2);
    return asFloat(uint32_t(half) << 16);
  case ElementType::F8E4M3:
    return decodeSmall(kF8E4M3, data[index]);
  case ElementType::I8:
    return float(int8_t(data[index]));
  case ElementType::I4: {
    int nibble = data[index / 2] >> (index % 2 * 4) & 15;
    return float(nibble < 8 ? nibble : nibble - 16);
  }
  }
  return 0;
}

void paged_attn::storeElement(ElementType type, uint8_t *data, int64_t index,
                              float value) {
  uint32_t word = asBits(value);
  uint16_t half;
  switch (type) {
  case ElementType::F32:
    std::memcpy(data + index * 4, &word, 4);
    return;
  case ElementType::F16:
    half = uint16_t(encodeSmall(kF16, value));
    std::memcpy(data + index * 2, &half, 2);
    return;
  case ElementType::BF16:
    half = uint16_t(encodeBF16(value));
    std::memcpy(data + index * 2, &half, 2);
    return;
  case ElementType::F8E4M3:
    data[index] = uint8_t(encodeSmall(kF8E4M3, value));
    return;
  case ElementType::I8:
  case ElementType::I4: {
    float limit = largest(type);
    float clamped = std::isnan(value) ? 0 : std::clamp(value, -limit, limit);
    auto whole = uint8_t(int8_t(std::nearbyint(clamped)));
    uint8_t nibble = whole & 15;
    if (type == ElementType::I8)
      data[index] = whole;
    else
      copyRaw(type, &nibble, 0, data, index);
    return;
  }
  }
}

void paged_attn::readRow(const PageSide &page, int32_t slot, int32_t head,
                         float *row) {
  float *scale = scaleOf(page, slot, head);
  for (int32_t d = 0; d < page.side.dim; ++d)
    row[d] = loadElement(page.side.type, page.data,
                         elementIndex(page, slot, head, d)) *
             (scale ? *scale : 1.0f);
}

void paged_attn::writeRow(const PageSide &page, int32_t slot, int32_t head,
                          const float *row) {
  float *scale = scaleOf(page, slot, head);
  float limit = largest(page.side.type);
  if (scale && page.side.scales == ScaleKind::PerTokenHead) {
    float top = 0;
    for (int32_t d = 0; d < page.side.dim; ++d)
      top = std::max(top, std::fabs(row[d]));
    *scale = limit > 0 && top > 0 ? top / limit : 1.0f;
  }
  float inverse = scale && *scale != 0 ? 1.0f / *scale : 1.0f;
  for (int32_t d = 0; d < page.side.dim; ++d)
    storeElement(page.side.type, page.data, elementIndex(page, slot, head, d),
                 row[d] * inverse);
}

bool paged_attn::sameEncoding(const PageSide &from, const PageSide &to) {
  if (from.side.type != to.side.type || from.side.scales != to.side.scales)
    return false;
  int64_t scales = from.side.scales == ScaleKind::PerHead     ? from.numHeads
                   : from.side.scales == ScaleKind::PerTensor ? 1
                                                              : 0;
  return std::equal(from.scales, from.scales + scales, to.scales);
}

void paged_attn::copySlotRaw(const PageSide &from, int32_t fromSlot,
                             const PageSide &to, int32_t toSlot) {
  for (int32_t h = 0; h < from.numHeads; ++h) {
    for (int32_t d = 0; d < from.side.dim; ++d)
      copyRaw(from.side.type, from.data, elementIndex(from, fromSlot, h, d),
              to.data, elementIndex(to, toSlot, h, d));
    if (from.side.scales == ScaleKind::PerTokenHead)
      *scaleOf(to, toSlot, h) = *scaleOf(from, fromSlot, h);
  }
}

void paged_attn::convertSlot(const PageSide &from, int32_t fromSlot,
                             const PageSide &to, int32_t toSlot, float *row) {
  for (int32_t h = 0; h < from.numHeads; ++h) {
    readRow(from, fromSlot, h, row);
    writeRow(to, toSlot, h, row);
  }
}
