//===- Domains.cpp - Salts and extra keys of prefixes ---------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Interning of prefix domains by value, so that pages of different tenants or
// adapters never meet. Every part is written with its tag and length.
//
//===----------------------------------------------------------------------===//

#include "ManagerImpl.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

using namespace paged_attn;

namespace {

void append(std::string &key, uint32_t tag, const void *data, size_t bytes) {
  uint64_t length = bytes;
  key.append(reinterpret_cast<const char *>(&tag), sizeof(tag));
  key.append(reinterpret_cast<const char *>(&length), sizeof(length));
  if (bytes)
    key.append(static_cast<const char *>(data), bytes);
}

} // namespace

std::string Domains::encode(const PrefixDomain &domain) {
  std::string key;
  append(key, UINT32_MAX, domain.salt, domain.saltBytes);
  for (int32_t i = 0; i < domain.numKeys; ++i)
    append(key, domain.keys[i].tag, domain.keys[i].data, domain.keys[i].bytes);
  return key;
}

int32_t Domains::find(const PrefixDomain &domain) const {
  auto found = byKey_.find(encode(domain));
  return found == byKey_.end() ? -1 : found->second;
}

int32_t Domains::acquire(const PrefixDomain &domain) {
  return acquireEncoded(encode(domain));
}

int32_t Domains::acquireEncoded(const std::string &key) {
  if (auto found = byKey_.find(key); found != byKey_.end()) {
    ++entries_[found->second].refs;
    return found->second;
  }
  if (unused_.empty()) {
    // `release` must not allocate, so its room grows with the entries.
    unused_.reserve(entries_.size() + 1);
    entries_.emplace_back();
    unused_.push_back(int32_t(entries_.size()) - 1);
  }
  int32_t index = unused_.back();
  Entry &entry = entries_[index];
  auto place = byKey_.emplace(key, index).first;
  unused_.pop_back();
  entry.key = &place->first;
  entry.hash = XXH3_64bits(key.data(), key.size());
  entry.generation = (entry.generation + 1) & 0x7fffffffu;
  entry.refs = 1;
  return index;
}

void Domains::release(int32_t index) {
  Entry &entry = entries_[index];
  if (--entry.refs > 0)
    return;
  byKey_.erase(byKey_.find(*entry.key));
  entry.key = nullptr;
  unused_.push_back(index);
}
