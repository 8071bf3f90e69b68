//===- Dump.cpp - Page tables for people ----------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One line, or one row of boxes, per sequence. Pages that several sequences
// share and pages of the prefix cache are marked.
//
//===----------------------------------------------------------------------===//

#include "ManagerImpl.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>

using namespace paged_attn;

namespace {

using Lock = std::lock_guard<std::mutex>;

// Geometry of the drawing, in pixels.
constexpr int kBoxWidth = 44;
constexpr int kBoxHeight = 26;
constexpr int kGap = 4;
constexpr int kLabelWidth = 170;
constexpr int kHeaderHeight = 34;

void print(std::string &text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void print(std::string &text, const char *format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof(buffer), format, arguments);
  va_end(arguments);
  text += buffer;
}

const char *stateName(SequenceState state) {
  switch (state) {
  case SequenceState::Unused:
    return "unused";
  case SequenceState::Match:
    return "match";
  case SequenceState::Live:
    return "sequence";
  case SequenceState::Swapped:
    return "swapped";
  }
  return "unknown";
}

/// Pages as runs: `3..7 12* -`; `*` shared, `.` unmapped.
void printPages(const ManagerImpl &impl, int32_t slot, int32_t group,
                std::string &text) {
  const PageId *pages = impl.table(slot, group);
  const PagePool &pool = *impl.pools[group];
  int32_t count = impl.state(slot, group).numPages;
  for (int32_t i = 0; i < count;) {
    if (pages[i] == kNoPage) {
      text += " .";
      ++i;
      continue;
    }
    bool shared = pool.refs(pages[i]) > 1;
    int32_t end = i + 1;
    while (end < count && pages[end] == pages[end - 1] + 1 &&
           (pool.refs(pages[end]) > 1) == shared)
      ++end;
    if (end - i > 1)
      print(text, " %d..%d%s", pages[i], pages[end - 1], shared ? "*" : "");
    else
      print(text, " %d%s", pages[i], shared ? "*" : "");
    i = end;
  }
}

const char *colourOf(const PagePool &pool, PageId page) {
  if (page == kNoPage)
    return "#ffffff";
  if (pool.refs(page) > 1)
    return "#f4c38b"; // Shared.
  return pool.isCached(page) ? "#a9d3a1" : "#a8c8e8";
}

void drawRow(const ManagerImpl &impl, int32_t slot, int32_t group, int y,
             std::string &svg) {
  const Sequence &sequence = impl.sequences[slot];
  const PagePool &pool = *impl.pools[group];
  int32_t pageSize = impl.spec(group).pageSize;
  print(svg, "<text x=\"4\" y=\"%d\">%s %d: %d tokens</text>\n", y + 17,
        stateName(sequence.state), slot, sequence.numTokens);
  for (int32_t i = 0; i < impl.state(slot, group).numPages; ++i) {
    PageId page = impl.table(slot, group)[i];
    int x = kLabelWidth + i * (kBoxWidth + kGap);
    print(svg,
          "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\" "
          "stroke=\"#555\"%s/>\n",
          x, y, kBoxWidth, kBoxHeight, colourOf(pool, page),
          page == kNoPage ? " stroke-dasharray=\"3\"" : "");
    int64_t filled = std::min<int64_t>(
        pageSize,
        std::max<int64_t>(0, sequence.numTokens - int64_t(i) * pageSize));
    print(svg,
          "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"3\" fill=\"#333\"/>\n",
          x, y + kBoxHeight - 3, int(filled * kBoxWidth / pageSize));
    if (page != kNoPage)
      print(svg, "<text x=\"%d\" y=\"%d\">%d</text>\n", x + 4, y + 16, page);
  }
}

} // namespace

Status KVCacheManager::dumpText(int32_t group, std::string &text) const {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    const ManagerImpl &impl = *impl_;
    PAGED_ATTN_RETURN_IF_ERROR(impl.checkGroup(group));
    const PagePool &pool = *impl.pools[group];
    std::string out;
    print(out,
          "group %d: pages of %d slots, %lld usable, %lld free, %lld "
          "reclaimable (* shared, . unmapped)\n",
          group, impl.spec(group).pageSize,
          static_cast<long long>(pool.usable()),
          static_cast<long long>(pool.numFree()),
          static_cast<long long>(pool.numIdle()));
    for (int32_t slot = 0; slot < impl.options.maxSequences; ++slot) {
      const Sequence &sequence = impl.sequences[slot];
      if (sequence.state == SequenceState::Unused)
        continue;
      print(out, "%s %d: %d tokens, %d committed:", stateName(sequence.state),
            slot, sequence.numTokens, sequence.numCommitted);
      printPages(impl, slot, group, out);
      out += '\n';
    }
    text.swap(out);
    return Status::ok();
  });
}

Status KVCacheManager::dumpSvg(int32_t group, std::string &svg) const {
  return guarded([&]() -> Status {
    Lock lock(impl_->mutex);
    const ManagerImpl &impl = *impl_;
    PAGED_ATTN_RETURN_IF_ERROR(impl.checkGroup(group));
    int32_t widest = 0;
    int y = kHeaderHeight;
    std::string rows;
    for (int32_t slot = 0; slot < impl.options.maxSequences; ++slot) {
      if (impl.sequences[slot].state == SequenceState::Unused)
        continue;
      widest = std::max(widest, impl.state(slot, group).numPages);
      drawRow(impl, slot, group, y, rows);
      y += kBoxHeight + kGap;
    }
    std::string out;
    print(out,
          "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" "
          "height=\"%d\" font-family=\"monospace\" font-size=\"12\">\n"
          "<text x=\"4\" y=\"20\">group %d: blue = own page, green = cached, "
          "orange = shared, bar = filled slots</text>\n",
          std::max(620, kLabelWidth + widest * (kBoxWidth + kGap)), y + kGap,
          group);
    out += rows;
    out += "</svg>\n";
    svg.swap(out);
    return Status::ok();
  });
}
