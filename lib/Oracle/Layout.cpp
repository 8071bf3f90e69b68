//===- Layout.cpp - Where an element stands in a pool ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reads layout strings and turns them into dims, strides and offsets.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/Layout.h"

#include <algorithm>

namespace paged_attn::oracle {

namespace {

constexpr std::string_view kRequired = "pshd";
constexpr std::string_view kKnown = "pshdcl";

std::string quoted(std::string_view text) {
  return "'" + std::string(text) + "'";
}

/// Empty when `letters` is a legal order, else the complaint.
std::string checkLetters(std::string_view letters) {
  for (char letter : letters) {
    if (kKnown.find(letter) == std::string_view::npos)
      return "expected layout letters out of 'pshdcl', got " +
             quoted(std::string_view(&letter, 1)) + " in " + quoted(letters);
    if (std::count(letters.begin(), letters.end(), letter) > 1)
      return "expected each layout letter once, got " +
             quoted(std::string_view(&letter, 1)) + " twice in " +
             quoted(letters);
  }
  for (char letter : kRequired)
    if (letters.find(letter) == std::string_view::npos)
      return "expected a layout with the letters p, s, h and d, got " +
             quoted(letters);
  if (letters.back() != 'd' && letters.back() != 's')
    return "expected a layout that ends in d or s, got " + quoted(letters);
  return {};
}

/// `text` without blanks, quotes and angle brackets.
std::string withoutDecoration(std::string_view text) {
  std::string bare;
  for (char c : text)
    if (std::string_view(" \t\"<>").find(c) == std::string_view::npos)
      bare += c;
  return bare;
}

/// Value of the digits `text`, or -1 when it is no number below 2^31.
int64_t parseCount(std::string_view text) {
  constexpr size_t kMaxDigits = 9;
  if (text.empty() || text.size() > kMaxDigits)
    return -1;
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9')
      return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

} // namespace

std::optional<PoolLayout> PoolLayout::parse(std::string_view letters,
                                            int64_t pack, std::string &error) {
  std::string complaint = checkLetters(letters);
  if (complaint.empty() && pack < 1)
    complaint = "expected a layout pack factor of at least 1, got " +
                std::to_string(pack);
  if (!complaint.empty()) {
    error = complaint;
    return std::nullopt;
  }
  PoolLayout layout;
  layout.letters_ = letters;
  layout.pack_ = pack;
  return layout;
}

std::optional<PoolLayout> PoolLayout::parse(std::string_view text,
                                            std::string &error) {
  constexpr std::string_view kPackKey = "pack=";
  std::string bare = withoutDecoration(text);
  size_t comma = bare.find(',');
  std::string letters = bare.substr(0, comma);
  if (comma == std::string::npos)
    return parse(letters, 1, error);
  std::string option = bare.substr(comma + 1);
  int64_t pack = option.compare(0, kPackKey.size(), kPackKey) == 0
                     ? parseCount(option.substr(kPackKey.size()))
                     : -1;
  if (pack < 0) {
    error = "expected 'pack = <count>' after the layout letters, got " +
            quoted(option);
    return std::nullopt;
  }
  return parse(letters, pack, error);
}

std::string PoolLayout::str() const {
  return pack_ == 1 ? letters_ : letters_ + ", pack = " + std::to_string(pack_);
}

namespace {

int64_t extentOf(char letter, const PoolLayout &layout,
                 const PoolExtents &extents) {
  switch (letter) {
  case 'p':
    return extents.pages;
  case 's':
    return extents.slots;
  case 'h':
    return extents.heads;
  case 'd':
    return extents.depth / layout.pack();
  case 'c':
    return 2;
  default:
    return extents.layers;
  }
}

/// Empty when the extents suit the layout, else the complaint.
std::string checkExtents(const PoolLayout &layout, const PoolExtents &extents) {
  if (extents.pages < 0)
    return "expected at least 0 pages, got " + std::to_string(extents.pages);
  if (extents.slots < 1)
    return "expected a page size of at least 1 token, got " +
           std::to_string(extents.slots);
  if (extents.heads < 1)
    return "expected at least 1 KV head, got " + std::to_string(extents.heads);
  if (extents.depth < 1)
    return "expected a head dim of at least 1, got " +
           std::to_string(extents.depth);
  if (extents.depth % layout.pack() != 0)
    return "expected a head dim that is a multiple of the pack factor " +
           std::to_string(layout.pack()) + ", got " +
           std::to_string(extents.depth);
  if (extents.layers < 1)
    return "expected at least 1 layer, got " + std::to_string(extents.layers);
  if (extents.layers > 1 && !layout.hasLayer())
    return "expected 1 layer for a layout without l, got " +
           std::to_string(extents.layers);
  return {};
}

} // namespace

std::optional<PoolShape> PoolShape::make(const PoolLayout &layout,
                                         const PoolExtents &extents,
                                         std::string &error) {
  std::string complaint = checkExtents(layout, extents);
  if (!complaint.empty()) {
    error = complaint;
    return std::nullopt;
  }
  PoolShape shape;
  shape.layout_ = layout;
  shape.extents_ = extents;
  for (char letter : layout.letters())
    shape.dims_.push_back(extentOf(letter, layout, extents));
  if (layout.pack() > 1)
    shape.dims_.push_back(layout.pack());

  shape.strides_.resize(shape.dims_.size());
  int64_t stride = 1;
  for (size_t i = shape.dims_.size(); i-- > 0;) {
    shape.strides_[i] = stride;
    if (__builtin_mul_overflow(stride, shape.dims_[i], &stride)) {
      error = "expected a pool of fewer than 2^63 elements, got layout " +
              quoted(layout.str()) + " with " + std::to_string(extents.pages) +
              " pages";
      return std::nullopt;
    }
  }
  shape.numElements_ = stride;
  shape.pageStride_ = shape.stride('p');
  shape.slotStride_ = shape.stride('s');
  shape.headStride_ = shape.stride('h');
  shape.depthStride_ = shape.stride('d');
  shape.pairStride_ = shape.stride('c');
  shape.layerStride_ = shape.stride('l');
  return shape;
}

int64_t PoolShape::stride(char letter) const {
  size_t position = layout_.letters().find(letter);
  return position == std::string::npos || position >= strides_.size()
             ? 0
             : strides_[position];
}

int64_t PoolShape::rowOffset(const RowIndex &row) const {
  return row.page * pageStride_ + row.slot * slotStride_ +
         row.head * headStride_ + row.pair * pairStride_ +
         row.layer * layerStride_;
}

} // namespace paged_attn::oracle
