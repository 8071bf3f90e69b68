//===- SnapshotTest.cpp - Swapping, exporting, saving ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Round trips into equal and different managers, and files that are cut off,
// flipped or foreign: refused, with nothing changed.
//
//===----------------------------------------------------------------------===//

#include "SnapshotFormat.h"
#include "TestSupport.h"
#include "Transcode.h"

#include <cmath>
#include <gtest/gtest.h>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

/// A side's float at token `at` of a sequence, head `head`, dim `dim`.
float wanted(int32_t at, int32_t head, int32_t dim, bool isValue) {
  return std::sin(float(at * 13 + head * 5 + dim * 3 + (isValue ? 7 : 0)));
}

/// A manager of one group with several layers and heads.
struct Rig {
  explicit Rig(const GroupSpec &spec, int64_t pages = 64,
               FileSystem *files = nullptr) {
    options = tinyOptions(spec.pageSize, pages);
    options.groups[0] = spec;
    options.files = files;
    Status status = KVCacheManager::create(options, manager);
    EXPECT_TRUE(status.isOk()) << status.message();
  }
  SeqId add(const std::vector<TokenId> &tokens) {
    SeqId sequence = kNoSequence;
    EXPECT_OK(manager->addSequence(PrefixDomain(), sequence));
    SlotRequest request{sequence, tokens.data(), int32_t(tokens.size()), 0,
                        nullptr};
    EXPECT_OK(manager->allocateSlots(&request, 1));
    visit(sequence,
          [](const PageSide &side, int32_t slot, int32_t at, bool isValue) {
            std::vector<float> row(size_t(side.side.dim));
            for (int32_t h = 0; h < side.numHeads; ++h) {
              for (int32_t d = 0; d < side.side.dim; ++d)
                row[size_t(d)] = wanted(at, h, d, isValue);
              writeRow(side, slot, h, row.data());
            }
          });
    EXPECT_OK(manager->commit(&sequence, 1));
    return sequence;
  }
  /// Calls `body(side, slot, position, isValue)` for every token, layer, side.
  template <typename Body>
  void visit(SeqId sequence, Body &&body) {
    const GroupSpec &spec = options.groups[0];
    std::vector<int32_t> table(200);
    int32_t kvLen = 0;
    BatchViews views;
    views.pageTable = table.data();
    views.tableStride = 200;
    views.kvLens = &kvLen;
    EXPECT_OK(manager->fillViews(0, &sequence, 1, views));
    PoolMemory m;
    EXPECT_OK(manager->poolMemory(0, m));
    for (int32_t at = 0; at < kvLen; ++at)
      for (int32_t layer = 0; layer < spec.numLayers; ++layer)
        for (int32_t v = 0; v < (spec.isLatent() ? 1 : 2); ++v) {
          const SideSpec &side = v ? spec.values : spec.keys;
          PageId page = table[size_t(at / spec.pageSize)];
          ASSERT_GT(page, 0) << at;
          uint8_t *data =
              v ? m.values + layer * m.valueLayerStride +
                      page * m.valuePageStride
                : m.keys + layer * m.keyLayerStride + page * m.keyPageStride;
          float *scales = v ? m.valueScales : m.keyScales;
          if (scales && side.scales == ScaleKind::PerTensor)
            scales += layer;
          else if (scales && side.scales == ScaleKind::PerHead)
            scales += layer * spec.numKVHeads;
          else if (scales)
            scales += (layer * options.maxPages[0] + page) * spec.pageSize *
                      spec.numKVHeads;
          body(PageSide{spec.pageSize, spec.numKVHeads, side, data, scales},
               at % spec.pageSize, at, v == 1);
        }
  }
  /// Largest difference from what `add` wrote, over all of a sequence.
  float worst(SeqId sequence) {
    float result = 0;
    visit(sequence,
          [&](const PageSide &side, int32_t slot, int32_t at, bool isValue) {
            std::vector<float> row(size_t(side.side.dim));
            for (int32_t h = 0; h < side.numHeads; ++h) {
              readRow(side, slot, h, row.data());
              for (int32_t d = 0; d < side.side.dim; ++d)
                result = std::max(result, std::fabs(row[size_t(d)] -
                                                    wanted(at, h, d, isValue)));
            }
          });
    return result;
  }
  ManagerOptions options;
  std::unique_ptr<KVCacheManager> manager;
};

GroupSpec richGroup() {
  GroupSpec spec;
  spec.pageSize = 4;
  spec.numLayers = 2;
  spec.numKVHeads = 3;
  spec.keys.dim = 6;
  spec.values.dim = 5;
  return spec;
}

TEST(SnapshotTest, ExportAndImportKeepEveryBit) {
  Rig from(richGroup()), to(richGroup());
  SeqId a = from.add(iota(11)), b;
  std::vector<uint8_t> bytes;
  ASSERT_OK(from.manager->exportSequence(a, bytes));
  ASSERT_OK(to.manager->importSequence(bytes.data(), bytes.size(), b));
  EXPECT_EQ(to.worst(b), 0);
  std::vector<TokenId> tokens(11);
  ASSERT_OK(to.manager->sequenceTokens(b, 0, 11, tokens.data()));
  EXPECT_EQ(tokens, iota(11));
  EXPECT_OK(to.manager->checkInvariants());
}

/// Layout, page size and element type of the target, and the error it may
/// have: half a unit in the last place of values up to 1 (types with scales:
/// half a step of largest / 127, 7 or 448 * 2^-4).
struct Target {
  const char *name;
  int32_t pageSize;
  PageLayout keyLayout, valueLayout;
  ElementType type;
  ScaleKind scales;
  float tolerance;
};

class TranscodeTest : public testing::TestWithParam<Target> {};

TEST_P(TranscodeTest, ImportTranscodes) {
  const Target &target = GetParam();
  Rig from(richGroup());
  GroupSpec spec = richGroup();
  spec.pageSize = target.pageSize;
  spec.keys.layout = target.keyLayout;
  spec.values.layout = target.valueLayout;
  spec.keys.type = spec.values.type = target.type;
  spec.keys.scales = spec.values.scales = target.scales;
  Rig to(spec);
  SeqId a = from.add(iota(23)), b, c;
  std::vector<uint8_t> bytes;
  ASSERT_OK(from.manager->exportSequence(a, bytes));
  ASSERT_OK(to.manager->importSequence(bytes.data(), bytes.size(), b));
  EXPECT_LE(to.worst(b), target.tolerance);
  if (target.type == ElementType::F32)
    EXPECT_EQ(to.worst(b), 0);
  // And back into the first form.
  ASSERT_OK(to.manager->exportSequence(b, bytes));
  Rig back(richGroup());
  ASSERT_OK(back.manager->importSequence(bytes.data(), bytes.size(), c));
  EXPECT_LE(back.worst(c), target.tolerance);
  EXPECT_OK(to.manager->checkInvariants());
}

INSTANTIATE_TEST_SUITE_P(
    Targets, TranscodeTest,
    testing::Values(
        Target{"layouts", 4, PageLayout::HDS, PageLayout::HSD, ElementType::F32,
               ScaleKind::None, 0},
        Target{"smallPages", 3, PageLayout::SHD, PageLayout::SHD,
               ElementType::F32, ScaleKind::None, 0},
        Target{"largePages", 16, PageLayout::HDS, PageLayout::HDS,
               ElementType::F32, ScaleKind::None, 0},
        Target{"f16", 5, PageLayout::HSD, PageLayout::SHD, ElementType::F16,
               ScaleKind::None, 1.0f / 4096},
        Target{"bf16", 4, PageLayout::SHD, PageLayout::HDS, ElementType::BF16,
               ScaleKind::None, 1.0f / 512},
        Target{"f8", 4, PageLayout::SHD, PageLayout::SHD, ElementType::F8E4M3,
               ScaleKind::PerTokenHead, 1.0f / 28},
        Target{"i8", 2, PageLayout::HDS, PageLayout::SHD, ElementType::I8,
               ScaleKind::PerTokenHead, 0.51f / 127},
        Target{"i8tensor", 4, PageLayout::SHD, PageLayout::SHD, ElementType::I8,
               ScaleKind::PerTensor, 0.51f},
        Target{"i4", 4, PageLayout::HSD, PageLayout::HDS, ElementType::I4,
               ScaleKind::PerTokenHead, 0.51f / 7}),
    [](const auto &info) { return std::string(info.param.name); });

TEST(SnapshotTest, LatentGroupsHaveKeysOnly) {
  GroupSpec spec = richGroup();
  spec.values.dim = 0;
  Rig from(spec), to(spec);
  SeqId a = from.add(iota(9)), b;
  std::vector<uint8_t> bytes;
  ASSERT_OK(from.manager->exportSequence(a, bytes));
  ASSERT_OK(to.manager->importSequence(bytes.data(), bytes.size(), b));
  EXPECT_EQ(to.worst(b), 0);
}

TEST(SnapshotTest, BytesMayLieAnywhere) {
  GroupSpec spec = richGroup();
  spec.keys.type = ElementType::I8;
  spec.keys.scales = ScaleKind::PerTokenHead;
  Rig from(spec), to(spec);
  SeqId a = from.add(iota(9)), b;
  std::vector<uint8_t> bytes;
  ASSERT_OK(from.manager->exportSequence(a, bytes));
  bytes.insert(bytes.begin(), 0);
  ASSERT_OK(to.manager->importSequence(bytes.data() + 1, bytes.size() - 1, b));
  EXPECT_EQ(to.worst(b), from.worst(a));
}

TEST(SnapshotTest, ImportSharesWhatTheCacheHas) {
  Rig rig(richGroup());
  SeqId a = rig.add(iota(12)), b;
  std::vector<uint8_t> bytes;
  ASSERT_OK(rig.manager->exportSequence(a, bytes));
  ASSERT_OK(rig.manager->importSequence(bytes.data(), bytes.size(), b));
  ManagerStats stats;
  ASSERT_OK(rig.manager->stats(stats));
  EXPECT_EQ(stats.groups[0].livePages, 3);
}

TEST(SnapshotTest, ForksStayForks) {
  Rig from(richGroup()), to(richGroup());
  SeqId a = from.add(iota(14)), b;
  ASSERT_OK(from.manager->fork(a, 10, b));
  std::vector<uint8_t> bytes;
  std::vector<SeqId> ids;
  ASSERT_OK(from.manager->exportManager(bytes));
  ASSERT_OK(to.manager->importManager(bytes.data(), bytes.size(), ids));
  ASSERT_EQ(ids.size(), 2u);
  ManagerStats stats;
  ASSERT_OK(to.manager->stats(stats));
  EXPECT_EQ(stats.groups[0].livePages, 4);
  EXPECT_EQ(to.worst(ids[0]), 0);
  EXPECT_EQ(to.worst(ids[1]), 0);
}

TEST(SnapshotTest, AManagerComesBackWithItsCache) {
  MemoryFileSystem files;
  Rig from(richGroup(), 64, &files), to(richGroup(), 64, &files);
  SeqId live = from.add(iota(10)), gone = from.add(iota(12, 50));
  SeqId swapped = from.add(iota(7, 80));
  ASSERT_OK(from.manager->freeSequence(gone));
  ASSERT_OK(from.manager->swapOut(swapped, SwapTarget::Host));
  ASSERT_OK(from.manager->save("all"));
  EXPECT_EQ(files.files.size(), 1u); // No temporary file stays.
  std::vector<SeqId> ids;
  ASSERT_OK(to.manager->load("all", ids));
  ASSERT_EQ(ids.size(), 2u);
  EXPECT_EQ(to.worst(ids[0]), 0);
  SequenceInfo info;
  ASSERT_OK(to.manager->sequenceInfo(ids[1], info));
  EXPECT_TRUE(info.isSwapped);
  ASSERT_OK(to.manager->swapIn(ids[1]));
  EXPECT_EQ(to.worst(ids[1]), 0);
  std::vector<TokenId> prompt = iota(12, 50);
  PrefixMatch match;
  ASSERT_OK(to.manager->matchPrefix(prompt.data(), 12, PrefixDomain(), match));
  EXPECT_EQ(match.numTokens, 12);
  SeqId again;
  ASSERT_OK(to.manager->addMatchedSequence(match.handle, again));
  EXPECT_EQ(to.worst(again), 0);
  EXPECT_OK(to.manager->checkInvariants());
  EXPECT_CODE(to.manager->load("all", ids), StatusCode::FailedPrecondition);
  (void)live;
}

TEST(SnapshotTest, SwapOutGivesPagesAndSwapInBringsThemBack) {
  MemoryFileSystem files;
  for (SwapTarget target : {SwapTarget::Host, SwapTarget::File}) {
    Rig rig(richGroup(), 6, &files); // Five usable pages.
    SeqId a = rig.add(iota(18)), b;
    ASSERT_OK(rig.manager->swapOut(a, target, "swap"));
    EXPECT_EQ(files.files.count("swap"), target == SwapTarget::File ? 1u : 0u);
    b = rig.add(iota(16, 50)); // Takes what was cached.
    EXPECT_CODE(rig.manager->swapIn(a), StatusCode::ResourceExhausted);
    ASSERT_OK(rig.manager->freeSequence(b));
    ASSERT_OK(rig.manager->swapIn(a));
    EXPECT_EQ(files.files.size(), 0u);
    EXPECT_EQ(rig.worst(a), 0);
    EXPECT_CODE(rig.manager->swapIn(a), StatusCode::FailedPrecondition);
    EXPECT_OK(rig.manager->checkInvariants());
  }
}

TEST(SnapshotTest, SwapFilesGoWithTheirSequence) {
  MemoryFileSystem files;
  {
    Rig rig(richGroup(), 32, &files);
    SeqId a = rig.add(iota(5)), b = rig.add(iota(5, 50));
    ASSERT_OK(rig.manager->swapOut(a, SwapTarget::File, "a"));
    EXPECT_CODE(rig.manager->swapOut(b, SwapTarget::File, "a"),
                StatusCode::InvalidArgument);
    EXPECT_CODE(rig.manager->swapOut(b, SwapTarget::File, nullptr),
                StatusCode::InvalidArgument);
    ASSERT_OK(rig.manager->swapOut(b, SwapTarget::File, "b"));
    ASSERT_OK(rig.manager->freeSequence(a));
    EXPECT_EQ(files.files.size(), 1u);
  }
  EXPECT_EQ(files.files.size(), 0u);
}

TEST(SnapshotTest, OtherModelsAreRefused) {
  Rig from(richGroup());
  GroupSpec spec = richGroup();
  spec.numKVHeads = 4;
  Rig to(spec);
  SeqId a = from.add(iota(5)), b;
  std::vector<uint8_t> bytes;
  ASSERT_OK(from.manager->exportSequence(a, bytes));
  EXPECT_CODE(to.manager->importSequence(bytes.data(), bytes.size(), b),
              StatusCode::InvalidArgument);
}

//===----------------------------------------------------------------------===//
// Harmed bytes
//===----------------------------------------------------------------------===//

std::vector<uint8_t> smallSnapshot(Rig &rig) {
  SeqId a = rig.add(iota(6)), b;
  EXPECT_OK(rig.manager->fork(a, 5, b));
  SeqId c = rig.add(iota(3, 40));
  EXPECT_OK(rig.manager->swapOut(c, SwapTarget::Host));
  std::vector<uint8_t> bytes;
  EXPECT_OK(rig.manager->exportManager(bytes));
  return bytes;
}

GroupSpec smallSpec() { return tinyGroup(4); }

TEST(CorruptFileTest, EveryFlippedByteIsRefusedAndChangesNothing) {
  Rig from(smallSpec(), 16);
  std::vector<uint8_t> bytes = smallSnapshot(from);
  Rig to(smallSpec(), 16);
  std::string before = fingerprint(*to.manager);
  std::vector<SeqId> ids;
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] ^= uint8_t(1u << (i % 8));
    Status status = to.manager->importManager(bytes.data(), bytes.size(), ids);
    EXPECT_EQ(status.code(), StatusCode::DataLoss) << i;
    EXPECT_NE(*status.message(), '\0');
    bytes[i] ^= uint8_t(1u << (i % 8));
  }
  EXPECT_EQ(fingerprint(*to.manager), before);
  EXPECT_OK(to.manager->importManager(bytes.data(), bytes.size(), ids));
}

TEST(CorruptFileTest, EveryTruncationIsRefused) {
  Rig from(smallSpec(), 16);
  std::vector<uint8_t> bytes = smallSnapshot(from);
  Rig to(smallSpec(), 16);
  std::vector<SeqId> ids;
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A copy of exactly this size, so that sanitizers see any overrun.
    std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + ptrdiff_t(size));
    EXPECT_CODE(to.manager->importManager(cut.data(), cut.size(), ids),
                StatusCode::DataLoss);
  }
  bytes.push_back(0);
  EXPECT_CODE(to.manager->importManager(bytes.data(), bytes.size(), ids),
              StatusCode::DataLoss);
}

TEST(CorruptFileTest, ForeignFilesAreRefusedWithAReason) {
  MemoryFileSystem files;
  Rig rig(smallSpec(), 16, &files);
  std::vector<SeqId> ids;
  files.files["text"] = std::vector<uint8_t>(4096, 'x');
  Status status = rig.manager->load("text", ids);
  EXPECT_EQ(status.code(), StatusCode::DataLoss);
  EXPECT_STREQ(status.message(),
               "expected a snapshot of a page table, got another file");
  files.files["empty"] = {};
  EXPECT_CODE(rig.manager->load("empty", ids), StatusCode::DataLoss);
  EXPECT_CODE(rig.manager->load("none", ids), StatusCode::NotFound);
  EXPECT_EQ(files.mapped, 0);
}

/// What stands behind the checksums is checked, too.
TEST(CorruptFileTest, SealedNonsenseNeverBreaksAnInvariant) {
  Rig from(smallSpec(), 16);
  const std::vector<uint8_t> bytes = smallSnapshot(from);
  for (size_t i = kSnapshotHeaderBytes; i < kRegionAlignment; ++i)
    for (uint8_t value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
      std::vector<uint8_t> harmed = bytes;
      harmed[i] = value;
      if (harmed == bytes)
        continue;
      (void)sealSnapshot(harmed.data(), harmed.size());
      Rig to(smallSpec(), 16);
      std::vector<SeqId> ids;
      Status status =
          to.manager->importManager(harmed.data(), harmed.size(), ids);
      EXPECT_NE(status.code(), StatusCode::Internal) << i;
      ASSERT_OK(to.manager->checkInvariants());
    }
}

TEST(CorruptFileTest, ACorruptSwapFileLeavesTheSequenceSwapped) {
  MemoryFileSystem files;
  Rig rig(smallSpec(), 16, &files);
  SeqId a = rig.add(iota(6));
  ASSERT_OK(rig.manager->swapOut(a, SwapTarget::File, "swap"));
  files.files["swap"][200] ^= 1;
  EXPECT_CODE(rig.manager->swapIn(a), StatusCode::DataLoss);
  files.files["swap"][200] ^= 1;
  EXPECT_OK(rig.manager->swapIn(a));
  EXPECT_EQ(rig.worst(a), 0);
}

} // namespace
