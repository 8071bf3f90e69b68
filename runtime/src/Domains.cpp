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

int32_t Domains::findEncoded(const std::string &key) const {
  for (size_t i = 0; i < entries_.size(); ++i)
    if (entries_[i].refs > 0 && entries_[i].key == key)
      return int32_t(i);
  return -1;
}

int32_t Domains::find(const PrefixDomain &domain) const {
  return findEncoded(encode(domain));
}

int32_t Domains::acquire(const PrefixDomain &domain) {
  return acquireEncoded(encode(domain));
}

int32_t Domains::acquireEncoded(const std::string &key) {
  int32_t index = findEncoded(key);
  if (index >= 0) {
    ++entries_[index].refs;
    return index;
  }
  std::string copy = key; // Allocates before anything changes.
  size_t place = 0;
  while (place < entries_.size() && entries_[place].refs > 0)
    ++place;
  if (place == entries_.size())
    entries_.emplace_back();
  Entry &entry = entries_[place];
  entry.key.swap(copy);
  entry.hash = XXH3_64bits(entry.key.data(), entry.key.size());
  entry.generation = (entry.generation + 1) & 0x7fffffffu;
  entry.refs = 1;
  return int32_t(place);
}

void Domains::release(int32_t index) { --entries_[index].refs; }
