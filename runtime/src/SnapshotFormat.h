//===- SnapshotFormat.h - Bytes of a snapshot -------------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What a snapshot file says, as plain structs, and the calls that check and
// seal its bytes. All numbers are little-endian.
//
//   0            header, 128 bytes: magic, version, byte order, lengths and
//                the checksum of the metadata; its own checksum comes last
//   128          metadata: groups with the priorities of their pages, domains,
//                sequences; version 1 has no priorities and no cached pages
//   dataOffset   one region per group, then one of swapped sequences; each
//                begins on a 4096-byte boundary, so that a mapping of the file
//                can be read in place
//
// Checksums are XXH3 (64 bits). Every byte of the file is under one of them.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_SRC_SNAPSHOTFORMAT_H
#define PAGED_ATTN_SRC_SNAPSHOTFORMAT_H

#include "paged_attn/Types.h"

#include <string>
#include <vector>

namespace paged_attn {

inline constexpr char kSnapshotMagic[8] = {'P', 'G', 'A', 'T',
                                           'T', 'N', 'K', 'V'};
inline constexpr uint32_t kSnapshotVersion = 2;
/// The oldest version that is read.
inline constexpr uint32_t kOldestSnapshotVersion = 1;
inline constexpr uint32_t kByteOrderMark = 0x01020304;
inline constexpr uint64_t kSnapshotHeaderBytes = 128;
inline constexpr uint64_t kRegionAlignment = 4096;
/// Pages begin on cache lines.
inline constexpr uint64_t kPageAlignment = 64;

/// The first bytes of the file.
struct SnapshotHeader {
  char magic[8];
  uint32_t version;
  uint32_t byteOrder;
  uint64_t fileBytes;
  uint64_t metaBytes;
  uint64_t dataOffset;
  uint64_t metaChecksum; ///< of [kSnapshotHeaderBytes, dataOffset)
  uint8_t reserved[72];
  uint64_t headerChecksum; ///< of all bytes before it
};
static_assert(sizeof(SnapshotHeader) == kSnapshotHeaderBytes);

/// A checksummed range of the file.
struct SnapshotRegion {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint64_t checksum = 0;
};

/// A cached page of a manager of windowed groups only, whose earlier tokens
/// need not be in the cache any more.
struct SnapshotCached {
  uint32_t page = 0;           ///< index into the group's region
  int32_t domain = -1;         ///< first pages: whose; -1 for others
  uint64_t hash = 0;           ///< content hash, as in the index
  uint64_t parentKey = 0;      ///< others: digest under the snapshot's secret
  std::vector<TokenId> tokens; ///< [pageSize], fewer when partly filled
};

struct SnapshotGroup {
  GroupSpec spec;
  uint64_t numPages = 0;
  SnapshotRegion region;        ///< pages [numPages] of `blobPageBytes`
  std::vector<float> keyScales; ///< scales that are not stored with pages
  std::vector<float> valueScales;
  std::vector<uint8_t> priorities; ///< [numPages], or empty: all default
  std::vector<uint32_t> ttlMs;     ///< [numPages] what was left, 0: forever
  std::vector<SnapshotCached> cached;
};

enum class SnapshotKind : uint8_t { Live, Swapped, CacheOnly };

struct SnapshotSequence {
  SnapshotKind kind = SnapshotKind::Live;
  uint32_t domain = 0;
  int32_t numCommitted = 0;
  std::vector<TokenId> tokens;
  /// [numGroups] -> page indices into the group's region, -1 for none.
  std::vector<std::vector<int32_t>> tables;
  uint64_t nestedOffset = 0, nestedBytes = 0; ///< Swapped: a snapshot in the
                                              ///< last region
};

struct SnapshotContent {
  std::vector<SnapshotGroup> groups;
  std::vector<std::string> domains;
  std::vector<SnapshotSequence> sequences;
  SnapshotRegion nested;
  uint64_t secret = 0; ///< key of the digests of `SnapshotGroup::cached`
};

/// Bytes of one side of one layer of a page in a region, scales aside.
uint64_t blobSideBytes(const GroupSpec &spec, const SideSpec &side);
/// Bytes from one page of a region to the next.
uint64_t blobPageBytes(const GroupSpec &spec);

/// Reads and checks `bytes` [size]; DataLoss with a reason when they are not a
/// whole, unharmed snapshot. Throws bad_alloc.
Status parseSnapshot(const uint8_t *bytes, size_t size,
                     SnapshotContent &content);
/// Metadata as bytes; their number does not depend on regions.
void writeMetadata(const SnapshotContent &content, uint32_t version,
                   std::vector<uint8_t> &out);
/// Writes all checksums of a snapshot whose lengths are right. Also for fuzzing
/// what lies behind them.
Status sealSnapshot(uint8_t *bytes, size_t size);

} // namespace paged_attn

#endif // PAGED_ATTN_SRC_SNAPSHOTFORMAT_H
