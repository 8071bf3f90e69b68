//===- SnapshotFormat.cpp - Bytes of a snapshot ---------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading and writing of headers and metadata. The reader trusts nothing: all
// lengths are compared with the bytes that are left before anything is made.
//
//===----------------------------------------------------------------------===//

#include "SnapshotFormat.h"

#include "ManagerImpl.h"

#include <algorithm>
#include <cstring>

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace paged_attn;

namespace {

uint64_t roundUp(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}

Status damaged(const char *what, uint64_t got) {
  return Status::error(StatusCode::DataLoss, "snapshot: %s, got %llu", what,
                       static_cast<unsigned long long>(got));
}

/// One order of fields for reading and writing: `visit(stream, x)`.
class Writer {
public:
  Writer(uint32_t version, std::vector<uint8_t> &out)
      : version(version), out(out) {}
  template <typename T>
  bool operator()(T &value) {
    const auto *from = reinterpret_cast<const uint8_t *>(&value);
    out.insert(out.end(), from, from + sizeof(T));
    return true;
  }
  template <typename T>
  bool array(std::vector<T> &values) {
    uint64_t count = values.size();
    (*this)(count);
    const auto *from = reinterpret_cast<const uint8_t *>(values.data());
    out.insert(out.end(), from, from + count * sizeof(T));
    return true;
  }
  template <typename T>
  bool resize(std::vector<T> &values) {
    uint64_t count = values.size();
    return (*this)(count);
  }
  const uint32_t version;

private:
  std::vector<uint8_t> &out;
};

class Reader {
public:
  Reader(uint32_t version, const uint8_t *at, size_t left)
      : version(version), at(at), left(left) {}
  template <typename T>
  bool operator()(T &value) {
    if (left < sizeof(T))
      return false;
    std::memcpy(&value, at, sizeof(T));
    at += sizeof(T);
    left -= sizeof(T);
    return true;
  }
  template <typename T>
  bool array(std::vector<T> &values) {
    uint64_t count;
    if (!(*this)(count) || count > left / sizeof(T))
      return false;
    values.resize(size_t(count));
    if (count > 0)
      std::memcpy(values.data(), at, size_t(count) * sizeof(T));
    at += count * sizeof(T);
    left -= size_t(count) * sizeof(T);
    return true;
  }
  /// Makes room for `count` parts, each of at least eight bytes.
  template <typename T>
  bool resize(std::vector<T> &values) {
    uint64_t count;
    if (!(*this)(count) || count > left / 8)
      return false;
    values.resize(size_t(count));
    return true;
  }
  bool atEnd() const { return left == 0; }
  const uint32_t version;

private:
  const uint8_t *at;
  size_t left;
};

template <typename Stream>
bool visitSide(Stream &stream, SideSpec &side) {
  return stream(side.dim) && stream(side.type) && stream(side.layout) &&
         stream(side.scales);
}

template <typename Stream>
bool visitRegion(Stream &stream, SnapshotRegion &region) {
  return stream(region.offset) && stream(region.bytes) &&
         stream(region.checksum);
}

template <typename Stream>
bool visitCached(Stream &stream, SnapshotGroup &group) {
  if (!stream.array(group.priorities) || !stream.array(group.ttlMs) ||
      !stream.resize(group.cached))
    return false;
  for (SnapshotCached &page : group.cached)
    if (!stream(page.page) || !stream(page.domain) || !stream(page.hash) ||
        !stream(page.parentKey) || !stream.array(page.tokens))
      return false;
  return true;
}

template <typename Stream>
bool visitGroup(Stream &stream, SnapshotGroup &group) {
  GroupSpec &spec = group.spec;
  return stream(spec.pageSize) && stream(spec.numLayers) &&
         stream(spec.numKVHeads) && visitSide(stream, spec.keys) &&
         visitSide(stream, spec.values) && stream(spec.windowKind) &&
         stream(spec.window) && stream(spec.sinkTokens) &&
         stream(group.numPages) && visitRegion(stream, group.region) &&
         stream.array(group.keyScales) && stream.array(group.valueScales) &&
         (stream.version < 2 || visitCached(stream, group));
}

template <typename Stream>
bool visitSequence(Stream &stream, SnapshotSequence &sequence) {
  if (!stream(sequence.kind) || !stream(sequence.domain) ||
      !stream(sequence.numCommitted) || !stream(sequence.nestedOffset) ||
      !stream(sequence.nestedBytes) || !stream.array(sequence.tokens) ||
      !stream.resize(sequence.tables))
    return false;
  for (std::vector<int32_t> &table : sequence.tables)
    if (!stream.array(table))
      return false;
  return true;
}

/// Domains are byte strings.
bool visitDomain(Writer &stream, std::string &domain) {
  std::vector<char> bytes(domain.begin(), domain.end());
  return stream.array(bytes);
}
bool visitDomain(Reader &stream, std::string &domain) {
  std::vector<char> bytes;
  if (!stream.array(bytes))
    return false;
  domain.assign(bytes.begin(), bytes.end());
  return true;
}

template <typename Stream>
bool visitContent(Stream &stream, SnapshotContent &content) {
  if (!stream.resize(content.groups))
    return false;
  for (SnapshotGroup &group : content.groups)
    if (!visitGroup(stream, group))
      return false;
  if (!stream.resize(content.domains))
    return false;
  for (std::string &domain : content.domains)
    if (!visitDomain(stream, domain))
      return false;
  if (!stream.resize(content.sequences))
    return false;
  for (SnapshotSequence &sequence : content.sequences)
    if (!visitSequence(stream, sequence))
      return false;
  return visitRegion(stream, content.nested) &&
         (stream.version < 2 || stream(content.secret));
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

Status checkHeader(const uint8_t *bytes, size_t size, SnapshotHeader &header) {
  if (size < sizeof(header))
    return damaged("expected at least 128 bytes", size);
  std::memcpy(&header, bytes, sizeof(header));
  if (std::memcmp(header.magic, kSnapshotMagic, sizeof(header.magic)) != 0)
    return Status::error(StatusCode::DataLoss,
                         "expected a snapshot of a page table, got another "
                         "file");
  if (header.byteOrder != kByteOrderMark)
    return damaged("expected little-endian bytes", header.byteOrder);
  if (header.version < kOldestSnapshotVersion ||
      header.version > kSnapshotVersion)
    return damaged("expected version 1 or 2", header.version);
  uint64_t checksum =
      XXH3_64bits(bytes, offsetof(SnapshotHeader, headerChecksum));
  if (checksum != header.headerChecksum)
    return damaged("the header is corrupt: wrong checksum", checksum);
  if (header.fileBytes != size)
    return Status::error(
        StatusCode::DataLoss, "snapshot: expected %llu bytes, got %zu",
        static_cast<unsigned long long>(header.fileBytes), size);
  if (header.dataOffset > size || header.dataOffset % kRegionAlignment != 0 ||
      header.dataOffset < kSnapshotHeaderBytes ||
      header.metaBytes > header.dataOffset - kSnapshotHeaderBytes)
    return damaged("metadata outside the file", header.metaBytes);
  return Status::ok();
}

Status checkRegion(const uint8_t *bytes, uint64_t size,
                   const SnapshotRegion &region, uint64_t &end) {
  if (region.offset != end || region.bytes % kRegionAlignment != 0 ||
      region.bytes > size - end)
    return damaged("a region lies outside the file", region.offset);
  end += region.bytes;
  if (XXH3_64bits(bytes + region.offset, size_t(region.bytes)) !=
      region.checksum)
    return damaged("a region is corrupt: wrong checksum", region.offset);
  return Status::ok();
}

uint64_t expectedScales(const GroupSpec &spec, const SideSpec &side) {
  if (side.dim == 0)
    return 0;
  if (side.scales == ScaleKind::PerTensor)
    return uint64_t(spec.numLayers);
  return side.scales == ScaleKind::PerHead
             ? uint64_t(spec.numLayers) * uint64_t(spec.numKVHeads)
             : 0;
}

Status checkGroup(const SnapshotGroup &group) {
  PAGED_ATTN_RETURN_IF_ERROR(validateGroup(group.spec));
  uint64_t page = blobPageBytes(group.spec);
  if (group.numPages > group.region.bytes / page ||
      roundUp(group.numPages * page, kRegionAlignment) != group.region.bytes ||
      group.numPages > uint64_t(INT32_MAX))
    return damaged("a wrong number of pages", group.numPages);
  if (group.keyScales.size() != expectedScales(group.spec, group.spec.keys) ||
      group.valueScales.size() != expectedScales(group.spec, group.spec.values))
    return damaged("a wrong number of scales", group.keyScales.size());
  return Status::ok();
}

Status checkCached(const SnapshotContent &content, const SnapshotGroup &group) {
  size_t priorities = group.priorities.size();
  if (priorities != group.ttlMs.size() ||
      (priorities != 0 && priorities != group.numPages))
    return damaged("a wrong number of priorities", priorities);
  for (uint8_t priority : group.priorities)
    if (priority > 100)
      return damaged("a priority above 100", priority);
  for (const SnapshotCached &page : group.cached) {
    if (page.page >= group.numPages)
      return damaged("a cached page outside its region", page.page);
    if (page.domain < -1 || page.domain >= int64_t(content.domains.size()))
      return damaged("an unknown domain", uint64_t(page.domain));
    if (page.tokens.empty() || page.tokens.size() > size_t(group.spec.pageSize))
      return damaged("a wrong number of tokens of a cached page",
                     page.tokens.size());
  }
  return Status::ok();
}

Status checkTables(const SnapshotContent &content,
                   const SnapshotSequence &sequence) {
  if (sequence.tables.size() != content.groups.size())
    return damaged("a wrong number of tables", sequence.tables.size());
  for (size_t g = 0; g < content.groups.size(); ++g) {
    const std::vector<int32_t> &table = sequence.tables[g];
    auto pageSize = uint64_t(content.groups[g].spec.pageSize);
    uint64_t pages = (sequence.tokens.size() + pageSize - 1) / pageSize;
    bool live = sequence.kind == SnapshotKind::Live;
    if (live ? table.size() != pages : table.size() > pages)
      return damaged("a wrong number of pages of a sequence", table.size());
    for (int32_t page : table)
      if (page < -1 || page >= int64_t(content.groups[g].numPages))
        return damaged("a page outside its region", uint64_t(page));
  }
  return Status::ok();
}

Status checkSequence(const SnapshotContent &content,
                     const SnapshotSequence &sequence) {
  if (sequence.kind > SnapshotKind::CacheOnly)
    return damaged("an unknown kind of sequence", uint64_t(sequence.kind));
  if (sequence.domain >= content.domains.size())
    return damaged("an unknown domain", sequence.domain);
  if (sequence.tokens.size() > size_t(INT32_MAX) || sequence.numCommitted < 0 ||
      size_t(sequence.numCommitted) > sequence.tokens.size())
    return damaged("lengths of a sequence out of order",
                   uint64_t(sequence.numCommitted));
  if (sequence.nestedOffset > content.nested.bytes ||
      sequence.nestedBytes > content.nested.bytes - sequence.nestedOffset)
    return damaged("a swapped sequence outside its region",
                   sequence.nestedOffset);
  return checkTables(content, sequence);
}

} // namespace

uint64_t paged_attn::blobSideBytes(const GroupSpec &spec,
                                   const SideSpec &side) {
  return roundUp(uint64_t(sidePageBytes(spec, side)), sizeof(float));
}

uint64_t paged_attn::blobPageBytes(const GroupSpec &spec) {
  uint64_t layer = 0;
  for (const SideSpec *side : {&spec.keys, &spec.values})
    layer += blobSideBytes(spec, *side) + uint64_t(sideScaleBytes(spec, *side));
  return roundUp(layer * uint64_t(spec.numLayers), kPageAlignment);
}

Status paged_attn::parseSnapshot(const uint8_t *bytes, size_t size,
                                 SnapshotContent &content) {
  SnapshotHeader header;
  PAGED_ATTN_RETURN_IF_ERROR(checkHeader(bytes, size, header));
  const uint8_t *meta = bytes + kSnapshotHeaderBytes;
  uint64_t checksum =
      XXH3_64bits(meta, size_t(header.dataOffset - kSnapshotHeaderBytes));
  if (checksum != header.metaChecksum)
    return damaged("the metadata is corrupt: wrong checksum", checksum);
  Reader reader(header.version, meta, size_t(header.metaBytes));
  if (!visitContent(reader, content) || !reader.atEnd())
    return damaged("the metadata does not end where it should",
                   header.metaBytes);
  if (content.groups.empty() || content.groups.size() > size_t(kMaxGroups))
    return damaged("expected 1 to 16 groups", content.groups.size());
  uint64_t end = header.dataOffset;
  for (const SnapshotGroup &group : content.groups) {
    PAGED_ATTN_RETURN_IF_ERROR(checkRegion(bytes, size, group.region, end));
    PAGED_ATTN_RETURN_IF_ERROR(checkGroup(group));
    PAGED_ATTN_RETURN_IF_ERROR(checkCached(content, group));
  }
  PAGED_ATTN_RETURN_IF_ERROR(checkRegion(bytes, size, content.nested, end));
  if (end != size)
    return damaged("bytes after the last region", size - end);
  for (const SnapshotSequence &sequence : content.sequences)
    PAGED_ATTN_RETURN_IF_ERROR(checkSequence(content, sequence));
  return Status::ok();
}

void paged_attn::writeMetadata(const SnapshotContent &content, uint32_t version,
                               std::vector<uint8_t> &out) {
  Writer writer(version, out);
  // The visitor is shared with the reader; the writer changes nothing.
  visitContent(writer, const_cast<SnapshotContent &>(content));
}

Status paged_attn::sealSnapshot(uint8_t *bytes, size_t size) {
  SnapshotHeader header;
  if (size < sizeof(header))
    return damaged("expected at least 128 bytes", size);
  std::memcpy(&header, bytes, sizeof(header));
  if (header.dataOffset > size || header.dataOffset < kSnapshotHeaderBytes ||
      header.metaBytes > header.dataOffset - kSnapshotHeaderBytes)
    return damaged("metadata outside the file", header.metaBytes);
  SnapshotContent content;
  uint8_t *meta = bytes + kSnapshotHeaderBytes;
  Reader reader(header.version, meta, size_t(header.metaBytes));
  if (visitContent(reader, content)) {
    auto seal = [&](SnapshotRegion &region) {
      if (region.offset <= size && region.bytes <= size - region.offset)
        region.checksum =
            XXH3_64bits(bytes + region.offset, size_t(region.bytes));
    };
    for (SnapshotGroup &group : content.groups)
      seal(group.region);
    seal(content.nested);
    std::vector<uint8_t> sealed;
    writeMetadata(content, header.version, sealed);
    std::memcpy(meta, sealed.data(),
                std::min(sealed.size(), size_t(header.metaBytes)));
  }
  header.metaChecksum =
      XXH3_64bits(meta, size_t(header.dataOffset - kSnapshotHeaderBytes));
  std::memcpy(bytes, &header, sizeof(header));
  header.headerChecksum =
      XXH3_64bits(bytes, offsetof(SnapshotHeader, headerChecksum));
  std::memcpy(bytes, &header, sizeof(header));
  return Status::ok();
}

Status paged_attn::countSequences(const uint8_t *bytes, size_t size,
                                  int32_t &count) {
  return guarded([&]() -> Status {
    SnapshotContent content;
    PAGED_ATTN_RETURN_IF_ERROR(parseSnapshot(bytes, size, content));
    count = int32_t(
        std::count_if(content.sequences.begin(), content.sequences.end(),
                      [](const SnapshotSequence &sequence) {
                        return sequence.kind != SnapshotKind::CacheOnly;
                      }));
    return Status::ok();
  });
}
