//===- ProblemSpec.h - What one attention problem looks like ----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shapes, types, layouts, mask and options of one call of paged attention, and
// how its random data are to be made. Independent of the mode: decode, prefill
// and mixed differ in the lengths only. Part of the oracle.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_ORACLE_PROBLEMSPEC_H
#define PAGED_ATTN_ORACLE_PROBLEMSPEC_H

#include "paged_attn/Oracle/ElementType.h"
#include "paged_attn/Oracle/Layout.h"

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace paged_attn::oracle {

/// Which tensors hold keys and values.
enum class PoolKind : uint8_t {
  Separate, ///< a key pool and a value pool
  Pair,     ///< one pool whose layout has c: keys at c = 0, values at c = 1
  Latent,   ///< one key pool; the value is the first Dv entries of the key
};

/// What the factors of a quantised pool belong to.
enum class ScaleKind : uint8_t {
  None,
  Tensor, ///< one factor
  Head,   ///< [Hkv]
  Token,  ///< [P, S, Hkv]
};

/// How logical pages find physical pages.
enum class TableKind : uint8_t {
  Dense, ///< page_table [B, N]
  Csr,   ///< page_indices [nnz] and page_indptr [B + 1]
};

/// Which places hold `ProblemSpec::poisonValue` (and, in the table,
/// `ProblemSpec::unusedPage`); all other places hold random data.
enum class Poison : uint8_t {
  None,   ///< nowhere: such places are 0 (for benchmarks)
  Unread, ///< slots >= kv_len, unused pages, other layers, query padding
  Masked, ///< also every page that the mask hides from all rows of a sequence
};

/// Order of physical pages.
enum class PageOrder : uint8_t { Shuffled, Identity };

/// The structural mask (docs/Semantics.md). A key has to pass every part.
struct Mask {
  bool causal = true;     ///< j <= p
  int64_t window = 0;     ///< tokens; 0 = none: j > p - window ...
  int64_t sinkTokens = 0; ///< ... or j < sinkTokens; only with a window
  int64_t chunk = 0;      ///< tokens; 0 = none: j / chunk == p / chunk

  /// Whether the row at logical position `p` sees the key at position `j`,
  /// for 0 <= j < kv_len.
  bool visible(int64_t p, int64_t j) const;
};

/// One problem. B = qLens.size(), T = sum of qLens + paddingRows.
struct ProblemSpec {
  std::vector<int64_t> qLens;  ///< [B] new tokens of each sequence
  std::vector<int64_t> kvLens; ///< [B] tokens in the cache, new ones included
  int64_t paddingRows = 0;     ///< query rows past the last sequence

  int64_t numHeads = 1;   ///< Hq
  int64_t numKvHeads = 1; ///< Hkv, divides Hq
  int64_t keyDim = 64;    ///< Dk
  int64_t valueDim = 64;  ///< Dv

  int64_t pageSize = 16;  ///< S, tokens
  int64_t numPages = 0;   ///< P; 0 = as many as needed and `sparePages`
  int64_t sparePages = 3; ///< used when numPages is 0
  int64_t numColumns = 0; ///< N of a dense table; 0 = as many as needed
  int64_t numLayers = 1;  ///< of a layout with l
  int64_t layer = 0;      ///< the layer that is attended to

  ElementType queryType = ElementType::F32;
  ElementType keyType = ElementType::F32;
  ElementType valueType = ElementType::F32;
  ElementType outputType = ElementType::F32;
  ScaleKind keyScale = ScaleKind::None;   ///< of keys, also latent values
  ScaleKind valueScale = ScaleKind::None; ///< of values; not for Latent
  PoolKind poolKind = PoolKind::Separate;
  PoolLayout keyLayout;   ///< of the only pool when there is one
  PoolLayout valueLayout; ///< read for `PoolKind::Separate` only
  TableKind tableKind = TableKind::Dense;
  IndexType indexType = IndexType::I32; ///< of table, lengths and starts

  Mask mask;
  std::optional<float> scale; ///< absent = 1 / sqrt(Dk)
  float softcap = 0;          ///< 0 = none
  bool hasAlibi = false;      ///< alibi_slopes [Hq], f32
  bool hasSinks = false;      ///< sinks [Hq], f32
  bool wantsLse = true;       ///< lse [T, Hq], f32
  bool hasQueryStarts = true; ///< false: every q_len is T / B

  double sigma = 1;        ///< standard deviation of q, k, v
  double alibiSlope = 0.5; ///< largest slope
  PageOrder pageOrder = PageOrder::Shuffled;
  Poison poison = Poison::Unread;
  float poisonValue = std::numeric_limits<float>::quiet_NaN();
  int64_t unusedPage = -1; ///< table entries past ceil(kv_len / S)
  bool hugePages = false;  ///< ask for huge OS pages behind the pools

  int64_t batch() const { return static_cast<int64_t>(qLens.size()); }
  int64_t group() const { return numHeads / numKvHeads; } ///< G
  int64_t numTokens() const;                              ///< T
  int64_t pagesOf(int64_t sequence) const;                ///< ceil(kv_len / S)
  int64_t neededPages() const;                            ///< sum of `pagesOf`
  int64_t columns() const; ///< N, the default resolved
  int64_t pages() const;   ///< P, the default resolved
  /// Factor of q . k, the default resolved (rounded to f32 like the operand).
  double effectiveScale() const {
    return scale ? *scale : static_cast<float>(1 / std::sqrt(double(keyDim)));
  }

  /// Empty when the problem can be built, else one line: operand, expected,
  /// got. Checked by `makeProblem`.
  std::string validate() const;
  /// Bytes of all buffers of the problem, saturating at INT64_MAX. The spec
  /// must be valid up to its memory.
  int64_t totalBytes() const;
};

} // namespace paged_attn::oracle

#endif // PAGED_ATTN_ORACLE_PROBLEMSPEC_H
