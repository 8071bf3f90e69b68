//===- Transcode.h - Reading and writing page elements ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tokens of a page as float rows, whatever its layout, type and scales.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_SRC_TRANSCODE_H
#define PAGED_ATTN_SRC_TRANSCODE_H

#include "paged_attn/Types.h"

namespace paged_attn {

/// One side of one layer of one page.
struct PageSide {
  int32_t pageSize;
  int32_t numHeads;
  SideSpec side;
  uint8_t *data; ///< sidePageBytes
  float *scales; ///< per token: [pageSize][numHeads]; per head: [numHeads];
                 ///< per tensor: [1]; null: 1
};

float loadElement(ElementType type, const uint8_t *data, int64_t index);
void storeElement(ElementType type, uint8_t *data, int64_t index, float value);

/// Reads head `head` of slot `slot` into `row` [dim], scales applied.
void readRow(const PageSide &page, int32_t slot, int32_t head, float *row);
/// Writes it; per-token scales are chosen from the row's largest magnitude.
void writeRow(const PageSide &page, int32_t slot, int32_t head,
              const float *row);
/// Whether stored bits mean the same in both: equal types and fixed scales.
bool sameEncoding(const PageSide &from, const PageSide &to);
/// Copies all heads of one slot bit by bit; needs `sameEncoding`. The layouts
/// may differ.
void copySlotRaw(const PageSide &from, int32_t fromSlot, const PageSide &to,
                 int32_t toSlot);
/// Copies all heads of one slot through floats; `row` [dim] is scratch.
void convertSlot(const PageSide &from, int32_t fromSlot, const PageSide &to,
                 int32_t toSlot, float *row);

} // namespace paged_attn

#endif // PAGED_ATTN_SRC_TRANSCODE_H
