//===- Layout.h - Where an element stands in a pool -------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A second, independent reading of `#paged_attn.layout`: a string of dimension
// letters gives the shape of a pool and the 64-bit offset of every element.
// Part of the oracle: stands beside the ladder.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_ORACLE_LAYOUT_H
#define PAGED_ATTN_ORACLE_LAYOUT_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace paged_attn::oracle {

/// The order of a pool's dimensions, outermost first, one letter each:
/// p page, s slot, h KV head, d head dim (each exactly once), c key/value
/// pair, l layer (each at most once). The last letter is d or s. A pack factor
/// above 1 splits d: `phds` with pack 2 has the shape [P, Hkv, D/2, S, 2].
class PoolLayout {
public:
  /// [page, slot, head, depth], unpacked.
  PoolLayout() = default;

  /// Reads `pshd` or `phds, pack = 2`; the quotes and angle brackets of the
  /// attribute are allowed around and inside it. On failure returns nothing
  /// and sets `error` ("expected ..., got ...").
  static std::optional<PoolLayout> parse(std::string_view text,
                                         std::string &error);
  /// The same from `letters` alone and a pack factor.
  static std::optional<PoolLayout> parse(std::string_view letters, int64_t pack,
                                         std::string &error);

  /// Dimension letters, outermost first.
  const std::string &letters() const { return letters_; }
  /// Neighbouring entries of d kept in the innermost dimension; 1 = not split.
  int64_t pack() const { return pack_; }
  bool has(char letter) const {
    return letters_.find(letter) != std::string::npos;
  }
  /// One pool holds keys (c = 0) and values (c = 1).
  bool hasPair() const { return has('c'); }
  bool hasLayer() const { return has('l'); }
  /// Text that `parse` reads back: `pshd` or `phds, pack = 2`.
  std::string str() const;

private:
  std::string letters_ = "pshd";
  int64_t pack_ = 1;
};

/// Extents of a pool; c has always 2 entries.
struct PoolExtents {
  int64_t pages = 0; ///< P
  int64_t slots = 1; ///< S, tokens per page
  int64_t heads = 1; ///< Hkv
  int64_t depth = 1; ///< D, entries per head; a multiple of the pack factor
  int64_t layers = 1;
};

/// Which row of D entries: one token of one KV head.
struct RowIndex {
  int64_t page = 0; ///< physical page
  int64_t slot = 0;
  int64_t head = 0;  ///< KV head
  int64_t pair = 0;  ///< 0 key, 1 value; must be 0 in a layout without c
  int64_t layer = 0; ///< must be 0 in a layout without l
};

/// A layout with extents. All offsets and strides count elements, not bytes.
class PoolShape {
public:
  PoolShape() = default;

  /// Nothing and `error` when an extent is negative (pages) or not positive
  /// (the others), d is no multiple of the pack factor, layers is not 1
  /// without l, or the number of elements does not fit 63 bits.
  static std::optional<PoolShape> make(const PoolLayout &layout,
                                       const PoolExtents &extents,
                                       std::string &error);

  const PoolLayout &layout() const { return layout_; }
  const PoolExtents &extents() const { return extents_; }
  /// Extent of each dimension of the tensor, outermost first; the pack
  /// dimension is the last one where there is one.
  const std::vector<int64_t> &dims() const { return dims_; }
  /// Row-major strides of `dims`, in elements.
  const std::vector<int64_t> &strides() const { return strides_; }
  int64_t numElements() const { return numElements_; }
  /// Elements between neighbours along `letter`; for d, between neighbouring
  /// groups of `pack` entries. 0 when the layout lacks the letter.
  int64_t stride(char letter) const;

  /// Offset of the row's entry d = 0, in elements.
  int64_t rowOffset(const RowIndex &row) const;
  /// Elements from entry 0 of a row to entry `depth`.
  int64_t depthOffset(int64_t depth) const {
    return depth / layout_.pack() * depthStride_ + depth % layout_.pack();
  }
  /// Offset of one element of the pool.
  int64_t offset(const RowIndex &row, int64_t depth) const {
    return rowOffset(row) + depthOffset(depth);
  }
  /// Whether the D entries of a row are neighbours in memory.
  bool hasContiguousRows() const {
    return depthStride_ == layout_.pack() || extents_.depth == layout_.pack();
  }

private:
  PoolLayout layout_;
  PoolExtents extents_;
  std::vector<int64_t> dims_, strides_;
  int64_t numElements_ = 0;
  int64_t pageStride_ = 0, slotStride_ = 0, headStride_ = 0, depthStride_ = 1,
          pairStride_ = 0, layerStride_ = 0;
};

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_ORACLE_LAYOUT_H
