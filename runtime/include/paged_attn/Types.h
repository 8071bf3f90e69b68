//===- Types.h - Pages, cache groups and memory reports ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The words of the runtime: ids, the description of a cache group (layers that
// share one page table), and the static packing of groups into a byte budget.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TYPES_H
#define PAGED_ATTN_TYPES_H

#include "paged_attn/Status.h"

#include <cstddef>
#include <cstdint>

namespace paged_attn {

/// Index of a physical page in its group's pool.
using PageId = int32_t;
/// Handle of a sequence: slot in the low, generation in the high 32 bits, so
/// that a handle kept after `freeSequence` is refused.
using SeqId = int64_t;
/// One token of a prompt or of generated text.
using TokenId = int32_t;

inline constexpr PageId kNoPage = -1;  ///< unmapped entry of a page table
inline constexpr PageId kNullPage = 0; ///< never handed out; safe to read
inline constexpr SeqId kNoSequence = -1;
inline constexpr int kMaxGroups = 16;

/// Storage type of keys or values.
enum class ElementType : uint8_t { F32, F16, BF16, F8E4M3, I8, I4 };

/// Order of slot (s), KV head (h) and head dim (d) inside one page.
enum class PageLayout : uint8_t { SHD, HSD, HDS };

/// Which earlier tokens a row still sees.
enum class WindowKind : uint8_t {
  Full,       ///< all of them
  Sliding,    ///< the last `window`, the row itself counted
  Chunked,    ///< those of its own chunk of `window` tokens
  SinkWindow, ///< the first `sinkTokens` and the last `window`
};

/// Granularity of the scales of a quantised pool.
enum class ScaleKind : uint8_t {
  None,         ///< scale 1
  PerTensor,    ///< one per layer, fixed
  PerHead,      ///< one per layer and KV head, fixed
  PerTokenHead, ///< one per slot and KV head, stored with the page
};

/// One side (keys or values) of a group's pages.
struct SideSpec {
  int32_t dim = 64;                    ///< head dim D, in elements
  ElementType type = ElementType::F32; ///< storage type
  PageLayout layout = PageLayout::SHD; ///< order inside a page
  ScaleKind scales = ScaleKind::None;  ///< granularity of the scales
};

/// Layers that share one page table: same page size, types and window.
struct GroupSpec {
  int32_t pageSize = 16;  ///< slots in a page, >= 1
  int32_t numLayers = 1;  ///< layers in the group, >= 1
  int32_t numKVHeads = 1; ///< KV heads, >= 1
  SideSpec keys;
  /// `values.dim` 0 means latent attention: there is no value pool, V is the
  /// first entries of the key row.
  SideSpec values;
  WindowKind windowKind = WindowKind::Full;
  int32_t window = 0;     ///< tokens; 0 for `Full`
  int32_t sinkTokens = 0; ///< tokens kept at the front; `SinkWindow` only

  bool isLatent() const { return values.dim == 0; }
};

/// Bytes of one page of one layer and side, without its scales.
PAGED_ATTN_EXPORT int64_t sidePageBytes(const GroupSpec &spec,
                                        const SideSpec &side);
/// Bytes of the scales stored with one page of one layer and side.
PAGED_ATTN_EXPORT int64_t sideScaleBytes(const GroupSpec &spec,
                                         const SideSpec &side);
/// Bytes of one page over both sides and all layers, scales included.
PAGED_ATTN_EXPORT int64_t pageBytes(const GroupSpec &spec);

/// Checks every field of `spec`; the text names the field and the value.
PAGED_ATTN_EXPORT Status validateGroup(const GroupSpec &spec);

/// First position at or past the sinks that the row at position `next` still
/// sees, from the mask's definition (docs/Semantics.md): sliding j > p - W,
/// chunked j / C == p / C.
PAGED_ATTN_EXPORT int64_t windowStart(const GroupSpec &spec, int64_t next);

/// Pages that a sequence of `numTokens` tokens keeps once the window passed.
PAGED_ATTN_EXPORT int64_t residentPages(const GroupSpec &spec,
                                        int64_t numTokens);

/// What one group takes of the byte budget.
struct GroupMemory {
  int64_t pages = 0;         ///< pages, null and guard page included
  int64_t pageBytes = 0;     ///< bytes of one page, all layers
  int64_t poolBytes = 0;     ///< pages * pageBytes
  int64_t tokens = 0;        ///< slots that sequences can use
  int64_t bytesPerToken = 0; ///< pool bytes of one slot (rounded up)
  int64_t offset = 0;        ///< byte offset in the budget
};

/// Static report: how `budgetBytes` is divided. Groups lie back to back, so
/// `unusedBytes` is under the smallest page.
struct MemoryReport {
  int32_t numGroups = 0;
  GroupMemory groups[kMaxGroups];
  int64_t budgetBytes = 0;
  int64_t usedBytes = 0;
  int64_t unusedBytes = 0;
};

/// Divides `budgetBytes` so that every group holds the same number of
/// sequences of `contextTokens` tokens, then fills the rest with single pages.
/// Fails with ResourceExhausted when a group cannot get `minPages` pages.
PAGED_ATTN_EXPORT Status planMemory(const GroupSpec *specs, int32_t numGroups,
                                    int64_t budgetBytes, int64_t contextTokens,
                                    MemoryReport &report);

} // namespace paged_attn

#endif // PAGED_ATTN_TYPES_H
