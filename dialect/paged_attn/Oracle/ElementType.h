//===- ElementType.h - Storage types and exact conversions ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The element types that queries, pools and outputs are stored in, with
// conversions written from the definition of the formats. Part of the oracle:
// stands beside the ladder and shares no code with the compiler.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_ORACLE_ELEMENTTYPE_H
#define PAGED_ATTN_ORACLE_ELEMENTTYPE_H

#include <cstdint>
#include <optional>
#include <string_view>

namespace paged_attn::oracle {

/// Storage type of a tensor element; only pools hold I8 and E4M3.
enum class ElementType : uint8_t { F32, F16, BF16, I8, E4M3 };

/// Integer type of page tables, lengths and query starts.
enum class IndexType : uint8_t { I32, I64 };

/// Bytes of one element.
int64_t byteWidth(ElementType type);
int64_t byteWidth(IndexType type);

/// Name as MLIR spells it: "f32", "f16", "bf16", "i8", "f8E4M3FN", "i32",
/// "i64"; never null.
const char *toString(ElementType type);
const char *toString(IndexType type);

/// The type that `toString` gave, or nothing for any other text.
std::optional<ElementType> parseElementType(std::string_view name);
std::optional<IndexType> parseIndexType(std::string_view name);

/// Bits of the IEEE binary16 nearest to `value`, ties to even. Rounds once,
/// keeps subnormals, overflows to infinity from 65520 on; a NaN stays a quiet
/// NaN with its sign and upper payload bits.
uint16_t toF16Bits(double value);
/// The value of binary16 `bits`, exact.
float fromF16Bits(uint16_t bits);

/// Bits of the bfloat16 nearest to `value`; rules as for `toF16Bits`.
uint16_t toBF16Bits(double value);
/// The value of bfloat16 `bits`, exact.
float fromBF16Bits(uint16_t bits);

/// Bits of the f8E4M3FN nearest to `value`, ties to even; magnitudes above 448
/// become 448, a NaN stays one (0x7f with its sign).
uint8_t toE4M3Bits(double value);
/// The value of f8E4M3FN `bits`, exact.
float fromE4M3Bits(uint8_t bits);

/// `value` rounded to `type` and back.
double roundTo(ElementType type, double value);

/// Distance from |value| to the next larger number of `type` (one unit in the
/// last place); subnormal spacing near zero; 1 for I8. `value` must be finite.
double ulp(ElementType type, double value);

/// Element `index` of an array of `type` at `base` (need not be aligned).
float loadElement(ElementType type, const void *base, int64_t index);
/// Stores `value`, rounded to nearest even, as element `index`. I8 saturates;
/// a NaN becomes its largest number.
void storeElement(ElementType type, void *base, int64_t index, double value);

/// Widens `count` elements of `type`, starting with element `first` of
/// `base`, to f32 in `result [count]`.
void loadElements(ElementType type, const void *base, int64_t first,
                  int64_t count, float *result);

/// Index `index` of an array of `type` at `base`.
int64_t loadIndex(IndexType type, const void *base, int64_t index);
/// Stores `value`, which must fit `type`.
void storeIndex(IndexType type, void *base, int64_t index, int64_t value);

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_ORACLE_ELEMENTTYPE_H
