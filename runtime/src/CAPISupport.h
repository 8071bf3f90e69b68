//===- CAPISupport.h - Between the C and the C++ API ------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Statuses, structs that grow, and buffers, as the C API hands them over.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_SRC_CAPISUPPORT_H
#define PAGED_ATTN_SRC_CAPISUPPORT_H

#include "ManagerImpl.h"
#include "paged_attn/runtime.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

/// What a C handle points to.
struct PagedAttnManager {
  std::unique_ptr<paged_attn::KVCacheManager> manager;
  PagedAttnEvictionScore score = nullptr;
  void *scoreContext = nullptr;
};

namespace paged_attn {

inline PagedAttnStatus toC(const Status &status) {
  PagedAttnStatus result;
  result.code = int32_t(status.code());
  result.message[0] = '\0';
  if (!status.isOk()) {
    std::strncpy(result.message, status.message(), sizeof(result.message) - 1);
    result.message[sizeof(result.message) - 1] = '\0';
  }
  return result;
}

inline Status nullArgument(const char *name) {
  return Status::error(StatusCode::InvalidArgument, "expected %s, got null",
                       name);
}

/// Reads a struct of any version: what the caller does not know is zero, and
/// what we do not know must be zero.
template <typename T>
Status readStruct(const T *in, const char *name, T &out) {
  if (!in)
    return nullArgument(name);
  size_t size = in->structSize;
  if (size < sizeof(size_t))
    return Status::error(StatusCode::InvalidArgument,
                         "expected structSize of %s to be set, got %zu", name,
                         size);
  const auto *bytes = reinterpret_cast<const uint8_t *>(in);
  for (size_t i = sizeof(T); i < size; ++i)
    if (bytes[i] != 0)
      return Status::error(StatusCode::InvalidArgument,
                           "%s asks for what this version does not have "
                           "(struct of %zu bytes, known are %zu)",
                           name, size, sizeof(T));
  std::memset(&out, 0, sizeof(T));
  std::memcpy(&out, in, std::min(size, sizeof(T)));
  return Status::ok();
}

/// Checks an output struct before the call changes anything.
template <typename T>
Status checkOut(const T *out, const char *name) {
  if (!out)
    return nullArgument(name);
  if (out->structSize < sizeof(size_t))
    return Status::error(StatusCode::InvalidArgument,
                         "expected structSize of %s to be set, got %zu", name,
                         out->structSize);
  return Status::ok();
}

/// Writes what the caller's struct has room for.
template <typename T>
void writeStruct(T value, T *out) {
  value.structSize = out->structSize;
  std::memcpy(out, &value, std::min(out->structSize, sizeof(T)));
}

/// Bytes or text into a buffer of malloc.
Status toBuffer(const void *data, size_t size, PagedAttnBuffer *out);
Status toGroupSpec(const PagedAttnGroupSpec &in, GroupSpec &out);
PrefixDomain toDomain(const PagedAttnDomain *domain,
                      std::vector<ExtraKey> &keys);

/// Runs `body` on a manager that must not be null.
template <typename Body>
PagedAttnStatus onManager(const PagedAttnManager *manager, Body &&body) {
  if (!manager)
    return toC(nullArgument("a manager"));
  return toC(guarded([&]() -> Status { return body(*manager->manager); }));
}

} // namespace paged_attn

#endif // PAGED_ATTN_SRC_CAPISUPPORT_H
