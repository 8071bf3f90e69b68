//===- LayoutTest.cpp - Offsets against formulas written by hand ----------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Each layout has its index formula spelled out; all elements are compared.
//
//===----------------------------------------------------------------------===//

#include "TestUtils.h"

#include <functional>
#include <set>

namespace paged_attn::oracle {
namespace {

// Extents that cannot be confused with each other.
constexpr int64_t P = 5, S = 3, H = 2, D = 4, L = 7;

struct Place {
  int64_t p, s, h, d, c, l;
};

struct Case {
  const char *layout;
  std::vector<int64_t> dims;
  std::function<int64_t(const Place &)> offset;
};

std::vector<Case> cases() {
  auto at = [](auto formula) { return formula; };
  return {
      {"pshd", {P, S, H, D}, at([](const Place &x) {
         return ((x.p * S + x.s) * H + x.h) * D + x.d;
       })},
      {"phsd", {P, H, S, D}, at([](const Place &x) {
         return ((x.p * H + x.h) * S + x.s) * D + x.d;
       })},
      {"hpsd", {H, P, S, D}, at([](const Place &x) {
         return ((x.h * P + x.p) * S + x.s) * D + x.d;
       })},
      {"pcshd", {P, 2, S, H, D}, at([](const Place &x) {
         return (((x.p * 2 + x.c) * S + x.s) * H + x.h) * D + x.d;
       })},
      {"cpshd", {2, P, S, H, D}, at([](const Place &x) {
         return (((x.c * P + x.p) * S + x.s) * H + x.h) * D + x.d;
       })},
      {"pshcd", {P, S, H, 2, D}, at([](const Place &x) {
         return (((x.p * S + x.s) * H + x.h) * 2 + x.c) * D + x.d;
       })},
      {"phds", {P, H, D, S}, at([](const Place &x) {
         return ((x.p * H + x.h) * D + x.d) * S + x.s;
       })},
      {"phcsd", {P, H, 2, S, D}, at([](const Place &x) {
         return (((x.p * H + x.h) * 2 + x.c) * S + x.s) * D + x.d;
       })},
      {"phcds", {P, H, 2, D, S}, at([](const Place &x) {
         return (((x.p * H + x.h) * 2 + x.c) * D + x.d) * S + x.s;
       })},
      {"plshd", {P, L, S, H, D}, at([](const Place &x) {
         return (((x.p * L + x.l) * S + x.s) * H + x.h) * D + x.d;
       })},
      {"lpcshd", {L, P, 2, S, H, D}, at([](const Place &x) {
         return ((((x.l * P + x.p) * 2 + x.c) * S + x.s) * H + x.h) * D + x.d;
       })},
      {"<\"phds\", pack = 2>", {P, H, D / 2, S, 2}, at([](const Place &x) {
         return (((x.p * H + x.h) * (D / 2) + x.d / 2) * S + x.s) * 2 + x.d % 2;
       })},
      {"phds,pack=4", {P, H, 1, S, 4}, at([](const Place &x) {
         return ((x.p * H + x.h) * S + x.s) * 4 + x.d;
       })},
      {"dphs, pack = 2", {D / 2, P, H, S, 2}, at([](const Place &x) {
         return (((x.d / 2 * P + x.p) * H + x.h) * S + x.s) * 2 + x.d % 2;
       })},
      {"pshd, pack = 2", {P, S, H, D / 2, 2}, at([](const Place &x) {
         return ((x.p * S + x.s) * H + x.h) * D + x.d;
       })},
  };
}

PoolShape shapeOf(const std::string &text) {
  PoolLayout layout = layoutOf(text);
  std::string error;
  std::optional<PoolShape> shape =
      PoolShape::make(layout, {P, S, H, D, layout.hasLayer() ? L : 1}, error);
  EXPECT_TRUE(shape) << error;
  return *shape;
}

TEST(Layout, offsetsMatchTheFormulaOfEachLayout) {
  for (const Case &test : cases()) {
    SCOPED_TRACE(test.layout);
    PoolShape shape = shapeOf(test.layout);
    EXPECT_EQ(shape.dims(), test.dims);
    int64_t pairs = shape.layout().hasPair() ? 2 : 1;
    std::set<int64_t> seen;
    for (int64_t p = 0; p < P; ++p)
      for (int64_t s = 0; s < S; ++s)
        for (int64_t h = 0; h < H; ++h)
          for (int64_t d = 0; d < D; ++d)
            for (int64_t c = 0; c < pairs; ++c)
              for (int64_t l = 0; l < shape.extents().layers; ++l) {
                int64_t offset = shape.offset({p, s, h, c, l}, d);
                ASSERT_EQ(offset, test.offset({p, s, h, d, c, l}));
                seen.insert(offset);
              }
    // One to one, onto [0, numElements).
    EXPECT_EQ(int64_t(seen.size()), shape.numElements());
    EXPECT_EQ(*seen.rbegin(), shape.numElements() - 1);
  }
}

TEST(Layout, stridesAndContiguousRows) {
  PoolShape packed = shapeOf("phds, pack = 2");
  EXPECT_EQ(packed.strides(), (std::vector<int64_t>{24, 12, 6, 2, 1}));
  EXPECT_EQ(packed.stride('d'), 6);
  EXPECT_EQ(packed.stride('s'), 2);
  EXPECT_EQ(packed.stride('l'), 0);
  EXPECT_FALSE(packed.hasContiguousRows());
  EXPECT_TRUE(shapeOf("pshcd").hasContiguousRows());
  EXPECT_TRUE(shapeOf("pshd, pack = 2").hasContiguousRows());
  EXPECT_TRUE(shapeOf("phds, pack = 4").hasContiguousRows());
}

TEST(Layout, offsetsPast32Bits) {
  std::string error;
  auto shape =
      PoolShape::make(layoutOf("pshd"), {3000000, 16, 8, 128, 1}, error);
  ASSERT_TRUE(shape) << error;
  EXPECT_EQ(shape->offset({2999999, 15, 7}, 127), shape->numElements() - 1);
  EXPECT_EQ(shape->numElements(), 49152000000);
}

TEST(Layout, textRoundTrips) {
  for (const char *text : {"pshd", "lpcshd", "phds, pack = 2"})
    EXPECT_EQ(layoutOf(text).str(), text);
  EXPECT_EQ(layoutOf("<\"phds\", pack = 1>").str(), "phds");
}

std::string errorOf(const std::string &text) {
  std::string error;
  EXPECT_FALSE(PoolLayout::parse(text, error)) << text;
  return error;
}

TEST(Layout, badTextGivesOneLine) {
  EXPECT_EQ(errorOf("pshx"), "expected layout letters out of 'pshdcl', got 'x' "
                             "in 'pshx'");
  EXPECT_EQ(errorOf("psshd"),
            "expected each layout letter once, got 's' twice in 'psshd'");
  EXPECT_EQ(errorOf("pshc"),
            "expected a layout with the letters p, s, h and d, got 'pshc'");
  EXPECT_EQ(errorOf(""),
            "expected a layout with the letters p, s, h and d, got ''");
  EXPECT_EQ(errorOf("psdh"),
            "expected a layout that ends in d or s, got 'psdh'");
  EXPECT_EQ(errorOf("phds, pack = 0"),
            "expected a layout pack factor of at least 1, got 0");
  EXPECT_EQ(errorOf("phds, pack = -2"),
            "expected 'pack = <count>' after the layout letters, got "
            "'pack=-2'");
  EXPECT_EQ(errorOf("phds, pack = 99999999999999999999"),
            "expected 'pack = <count>' after the layout letters, got "
            "'pack=99999999999999999999'");
}

std::string shapeError(const std::string &text, const PoolExtents &extents) {
  std::string error;
  EXPECT_FALSE(PoolShape::make(layoutOf(text), extents, error));
  return error;
}

TEST(Layout, badExtentsGiveOneLine) {
  EXPECT_EQ(shapeError("phds, pack = 4", {1, 1, 1, 6, 1}),
            "expected a head dim that is a multiple of the pack factor 4, "
            "got 6");
  EXPECT_EQ(shapeError("pshd", {1, 0, 1, 6, 1}),
            "expected a page size of at least 1 token, got 0");
  EXPECT_EQ(shapeError("pshd", {1, 1, 1, 6, 2}),
            "expected 1 layer for a layout without l, got 2");
  int64_t big = int64_t{1} << 31;
  EXPECT_EQ(shapeError("pshd", {big, big, big, 6, 1}),
            "expected a pool of fewer than 2^63 elements, got layout 'pshd' "
            "with 2147483648 pages");
}

} // namespace
} // namespace paged_attn::oracle
