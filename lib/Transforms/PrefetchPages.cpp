//===- PrefetchPages.cpp - Level 4: the pages to come are prefetched ------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pages lie anywhere, so no hardware prefetcher follows them: while one is
// packed, the lines of a later one are requested through the page table.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Transforms/Passes.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace mlir::paged_attn {
#define GEN_PASS_DEF_PREFETCHPAGESPASS
#include "paged_attn/Transforms/Passes.h.inc"
} // namespace mlir::paged_attn

using namespace mlir;

/// Bytes of a cache line on the CPUs that are targets.
constexpr int64_t kLineBytes = 64;
/// Into the second-level cache: first-level prefetches were never faster, and
/// non-temporal ones halve the bandwidth (bench/ceilings of the paged read).
constexpr uint32_t kLocality = 2;

namespace {

/// A view of one page: its offset number `dim` is an entry of a page table.
struct PageView {
  memref::SubViewOp view;
  memref::LoadOp entry;
  Value page; ///< the entry as an index
};

} // namespace

/// Matches a view of slots [S, D] of a page found through a table.
static std::optional<PageView> matchPageView(memref::SubViewOp view) {
  if (view.getType().getRank() != 2 || !view.getType().hasStaticShape() ||
      !view.getType().getElementType().isFloat())
    return std::nullopt;
  for (Value offset : view.getOffsets()) {
    auto cast = offset.getDefiningOp<arith::IndexCastOp>();
    auto entry =
        cast ? cast.getIn().getDefiningOp<memref::LoadOp>() : memref::LoadOp();
    if (entry && entry.getMemRefType().getRank() == 1)
      return PageView{view, entry, offset};
  }
  return std::nullopt;
}

/// The id of the page `ahead` entries later. Entries past a sequence's pages
/// may hold anything: a negative one gives the current page.
static Value laterPage(ImplicitLocOpBuilder &b, PageView page, int64_t ahead) {
  Value table = page.entry.getMemRef();
  Value one = arith::ConstantIndexOp::create(b, 1);
  Value distance = arith::ConstantIndexOp::create(b, ahead);
  Value size = memref::DimOp::create(b, table, 0);
  Value last = arith::SubIOp::create(b, size, one);
  Value next = arith::AddIOp::create(b, page.entry.getIndices()[0], distance);
  Value index = arith::MinSIOp::create(b, next, last);
  Value entry = memref::LoadOp::create(b, table, index);
  Value id = arith::IndexCastOp::create(b, b.getIndexType(), entry);
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value isMapped =
      arith::CmpIOp::create(b, arith::CmpIPredicate::sge, id, zero);
  return arith::SelectOp::create(b, isMapped, id, page.page);
}

/// Requests every line of the rows of `view`.
static void prefetchRows(ImplicitLocOpBuilder &b, Value view) {
  auto type = cast<MemRefType>(view.getType());
  int64_t perLine =
      kLineBytes * 8 / type.getElementType().getIntOrFloatBitWidth();
  Value zero = arith::ConstantIndexOp::create(b, 0);
  Value one = arith::ConstantIndexOp::create(b, 1);
  Value line = arith::ConstantIndexOp::create(b, perLine);
  Value rows = arith::ConstantIndexOp::create(b, type.getDimSize(0));
  Value columns = arith::ConstantIndexOp::create(b, type.getDimSize(1));
  auto loop = scf::ForOp::create(b, zero, rows, one);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(loop.getBody());
  auto lines = scf::ForOp::create(b, zero, columns, line);
  b.setInsertionPointToStart(lines.getBody());
  memref::PrefetchOp::create(
      b, view, ValueRange{loop.getInductionVar(), lines.getInductionVar()},
      /*isWrite=*/false, kLocality, /*isDataCache=*/true);
}

static void prefetchBeside(PageView page, int64_t ahead) {
  ImplicitLocOpBuilder b(page.view.getLoc(), page.view->getNextNode());
  Value later = laterPage(b, page, ahead);
  IRMapping mapping;
  mapping.map(page.page, later);
  Operation *view = b.clone(*page.view.getOperation(), mapping);
  prefetchRows(b, view->getResult(0));
}

namespace {
struct PrefetchPagesPass
    : public paged_attn::impl::PrefetchPagesPassBase<PrefetchPagesPass> {
  using Base::Base;

  void runOnOperation() final {
    if (pagesAhead < 0 || pagesAhead > 64) {
      getOperation()->emitError("expected pages-ahead between 0 and 64, got ")
          << int64_t(pagesAhead);
      return signalPassFailure();
    }
    if (pagesAhead == 0)
      return;
    SmallVector<PageView> pages;
    getOperation()->walk([&](memref::SubViewOp view) {
      if (!view->getParentOfType<scf::ForOp>())
        return;
      if (std::optional<PageView> page = matchPageView(view))
        pages.push_back(*page);
    });
    for (PageView page : pages)
      prefetchBeside(page, pagesAhead);
  }
};
} // namespace
