//===- Shapes.cpp - What the arrays of a call must look like --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ranks, sizes, element types; pools through their layouts.
//
//===----------------------------------------------------------------------===//

#include "Shapes.h"

#include <algorithm>

using namespace mlir::paged_attn;

std::string mlir::paged_attn::printSizes(const std::vector<int64_t> &sizes) {
  std::string text = "[";
  for (size_t dim = 0; dim < sizes.size(); ++dim)
    text += (dim ? ", " : "") + std::to_string(sizes[dim]);
  return text + "]";
}

CallError mlir::paged_attn::checkType(const ArrayView &array,
                                      const std::string &name,
                                      std::initializer_list<const char *> types,
                                      const char *expected) {
  for (const char *type : types)
    if (array.type == type)
      return {};
  return {CallError::Kind::Type,
          "expected " + name + " to be of " + expected + ", got " + array.type};
}

CallError mlir::paged_attn::checkFloat(const ArrayView &array,
                                       const std::string &name) {
  return checkType(array, name, {"f32", "f16", "bf16"}, "f32, f16 or bf16");
}

CallError mlir::paged_attn::checkSizes(const ArrayView &array,
                                       const std::string &name,
                                       const char *shape,
                                       const std::vector<int64_t> &sizes) {
  bool fits = array.sizes.size() == sizes.size();
  for (size_t dim = 0; fits && dim < sizes.size(); ++dim)
    fits = sizes[dim] < 0 || sizes[dim] == array.sizes[dim];
  if (fits)
    return {};
  std::string expected = "[";
  for (size_t dim = 0; dim < sizes.size(); ++dim)
    expected +=
        (dim ? ", " : "") + (sizes[dim] < 0 ? "?" : std::to_string(sizes[dim]));
  return valueError("expected " + name + " to be " + shape + " = " + expected +
                    "], got " + printSizes(array.sizes));
}

//===----------------------------------------------------------------------===//
// Pools
//===----------------------------------------------------------------------===//

/// The letters that a layout needs, once each, and those that it may have.
static CallError checkLayout(const LayoutSpec &layout,
                             const std::string &name) {
  auto count = [&](char letter) {
    return std::count(layout.dims.begin(), layout.dims.end(), letter);
  };
  bool isLayout = count('p') == 1 && count('s') == 1 && count('h') == 1 &&
                  count('d') == 1 && count('c') <= 1 && count('l') <= 1 &&
                  layout.dims.size() == size_t(4 + count('c') + count('l')) &&
                  layout.pack >= 1;
  if (isLayout)
    return {};
  return valueError("expected the layout of " + name +
                    " to name p, s, h and d, and c or l if it has them, got '" +
                    layout.dims + "'");
}

CallError mlir::paged_attn::readPoolSizes(const ArrayView &pool,
                                          const LayoutSpec &layout,
                                          const std::string &name,
                                          PoolSizes &sizes) {
  PAGED_ATTN_CHECK(checkLayout(layout, name));
  size_t rank = layout.dims.size() + (layout.pack > 1 ? 1 : 0);
  if (pool.sizes.size() != rank)
    return valueError("expected " + name + " to have " + std::to_string(rank) +
                      " dimensions like its layout '" + layout.dims +
                      "', got " + printSizes(pool.sizes));
  for (size_t dim = 0; dim < layout.dims.size(); ++dim) {
    int64_t size = pool.sizes[dim];
    switch (layout.dims[dim]) {
    case 'p':
      sizes.pages = size;
      break;
    case 's':
      sizes.slots = size;
      break;
    case 'h':
      sizes.heads = size;
      break;
    case 'd':
      sizes.dim = size * layout.pack;
      break;
    case 'l':
      sizes.layers = size;
      break;
    case 'c':
      if (size != 2)
        return valueError("expected dimension " + std::to_string(dim) + " of " +
                          name + " to be 2 (c: keys and values), got " +
                          std::to_string(size));
    }
  }
  if (layout.pack > 1 && pool.sizes.back() != layout.pack)
    return valueError("expected the last dimension of " + name + " to be " +
                      std::to_string(layout.pack) + " like its pack, got " +
                      std::to_string(pool.sizes.back()));
  if (sizes.slots < 1 || sizes.heads < 1 || sizes.dim < 1)
    return valueError("expected " + name +
                      " to have slots, KV heads and a head dim, got " +
                      printSizes(pool.sizes));
  return {};
}

static CallError checkLayer(const CacheArrays &cache, int64_t layers,
                            bool hasLayers) {
  if (!hasLayers && !cache.layer)
    return {};
  if (!hasLayers)
    return valueError("expected no layer with a layout without l, got " +
                      std::to_string(*cache.layer));
  if (!cache.layer)
    return valueError("expected a layer with a layout that has l, got none");
  if (*cache.layer < 0 || *cache.layer >= layers)
    return valueError("expected layer to be from 0 to " +
                      std::to_string(layers - 1) + ", got " +
                      std::to_string(*cache.layer));
  return {};
}

CallError mlir::paged_attn::checkCache(const CacheArrays &cache,
                                       CheckedCache &checked) {
  auto has = [](const LayoutSpec &layout, char letter) {
    return layout.dims.find(letter) != std::string::npos;
  };
  PoolSizes &keys = checked.keys, &values = checked.values;
  PAGED_ATTN_CHECK(readPoolSizes(cache.keys, cache.keyLayout, "k_pages", keys));
  values = keys;
  bool isPair = has(cache.keyLayout, 'c');
  checked.kind = isPair ? Pools::Pair : Pools::Latent;
  if (cache.values) {
    if (isPair)
      return valueError("expected no v_pages with the layout '" +
                        cache.keyLayout.dims + "', whose c holds both");
    checked.kind = Pools::Separate;
    PAGED_ATTN_CHECK(
        readPoolSizes(*cache.values, cache.valueLayout, "v_pages", values));
    if (values.pages != keys.pages || values.slots != keys.slots ||
        values.heads != keys.heads)
      return valueError(
          "expected v_pages to have " + std::to_string(keys.pages) +
          " pages of " + std::to_string(keys.slots) + " slots and " +
          std::to_string(keys.heads) + " KV heads like k_pages, got " +
          printSizes(cache.values->sizes));
  }
  bool hasLayers = has(cache.keyLayout, 'l') ||
                   (cache.values && has(cache.valueLayout, 'l'));
  int64_t layers = std::max(keys.layers, values.layers);
  if (has(cache.keyLayout, 'l') && cache.values && has(cache.valueLayout, 'l'))
    layers = std::min(keys.layers, values.layers);
  return checkLayer(cache, layers, hasLayers);
}

CallError mlir::paged_attn::readValueDim(const CacheArrays &cache,
                                         int64_t &valueDim) {
  PoolSizes sizes;
  if (cache.values)
    PAGED_ATTN_CHECK(
        readPoolSizes(*cache.values, cache.valueLayout, "v_pages", sizes));
  else
    PAGED_ATTN_CHECK(
        readPoolSizes(cache.keys, cache.keyLayout, "k_pages", sizes));
  valueDim = sizes.dim;
  return {};
}

//===----------------------------------------------------------------------===//
// Types of a module
//===----------------------------------------------------------------------===//

std::string mlir::paged_attn::memrefType(const ArrayView &array,
                                         const std::vector<bool> &dynamic) {
  std::string text = "memref<";
  for (size_t dim = 0; dim < array.sizes.size(); ++dim)
    text += (dynamic[dim] ? "?" : std::to_string(array.sizes[dim])) + "x";
  return text + array.type + ">";
}

std::string mlir::paged_attn::poolType(const ArrayView &pool,
                                       const LayoutSpec &layout) {
  std::vector<bool> dynamic(pool.sizes.size(), false);
  for (size_t dim = 0; dim < layout.dims.size(); ++dim)
    dynamic[dim] = layout.dims[dim] == 'p' || layout.dims[dim] == 'l';
  return memrefType(pool, dynamic);
}

std::string mlir::paged_attn::layoutAttribute(const LayoutSpec &layout) {
  std::string pack =
      layout.pack > 1 ? ", pack = " + std::to_string(layout.pack) : "";
  return "#paged_attn.layout<\"" + layout.dims + "\"" + pack + ">";
}
