//===- FuzzSnapshot.cpp - Fuzzing of the snapshot format ------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Imports bytes as they are and with their checksums made right, so that what
// lies behind them is reached. Whatever comes, invariants hold and a refused
// import changes nothing.
//
//===----------------------------------------------------------------------===//

#include "SnapshotFormat.h"
#include "TestSupport.h"

#include <cstdio>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

void require(bool holds, const char *what) {
  if (holds)
    return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

void importInto(const uint8_t *data, size_t size, WindowKind window) {
  std::unique_ptr<KVCacheManager> manager;
  ManagerOptions options = tinyOptions(4, 16);
  if (window != WindowKind::Full)
    options.groups[0] = tinyWindow(4, window, 5);
  options.fill = FillMode::NaN;
  options.policy = EvictionPolicy::Priority;
  options.secret = 0;
  require(KVCacheManager::create(options, manager).isOk(), "create");
  std::string before = fingerprint(*manager);
  std::vector<SeqId> ids;
  Status status = manager->importManager(data, size, ids);
  require(status.isOk() || fingerprint(*manager) == before,
          "a refused import changed something");
  Status invariants = manager->checkInvariants();
  require(invariants.isOk(), invariants.message());
  for (SeqId id : ids) {
    SequenceInfo info;
    require(manager->sequenceInfo(id, info).isOk(), "unknown handle");
    if (info.isSwapped)
      (void)manager->swapIn(id);
    require(manager->freeSequence(id).isOk(), "free");
  }
  invariants = manager->checkInvariants();
  require(invariants.isOk(), invariants.message());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  for (WindowKind window : {WindowKind::Full, WindowKind::Sliding})
    importInto(data, size, window);
  std::vector<uint8_t> sealed(data, data + size);
  if (size >= kSnapshotHeaderBytes) {
    SnapshotHeader header;
    std::memcpy(&header, data, sizeof(header));
    std::memcpy(header.magic, kSnapshotMagic, sizeof(header.magic));
    if (header.version != kOldestSnapshotVersion)
      header.version = kSnapshotVersion;
    header.byteOrder = kByteOrderMark;
    header.fileBytes = size;
    std::memcpy(sealed.data(), &header, sizeof(header));
    (void)sealSnapshot(sealed.data(), sealed.size());
    for (WindowKind window : {WindowKind::Full, WindowKind::Sliding})
      importInto(sealed.data(), sealed.size(), window);
  }
  return 0;
}
