//===- FailingNew.cpp - operator new that fails when told to --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// In a file of its own, so that no allocation is inlined into it.
//
//===----------------------------------------------------------------------===//

#include "FailingNew.h"

#include <cstddef>
#include <cstdlib>
#include <new>

namespace {

thread_local int64_t allocationsLeft = -1; ///< negative: none fails
thread_local bool allocationFailed = false;

void *allocate(size_t bytes) {
  bool fails = allocationsLeft == 0;
  if (allocationsLeft >= 0)
    --allocationsLeft;
  allocationFailed |= fails;
  return fails ? nullptr : std::malloc(bytes ? bytes : 1);
}

} // namespace

void paged_attn::test::failNewAfter(int64_t count) {
  allocationFailed = false;
  allocationsLeft = count;
}

bool paged_attn::test::stopFailingNew() {
  allocationsLeft = -1;
  return allocationFailed;
}

void *operator new(size_t bytes) {
  void *memory = allocate(bytes);
  if (!memory)
    throw std::bad_alloc();
  return memory;
}
void *operator new(size_t bytes, const std::nothrow_t &) noexcept {
  return allocate(bytes);
}
void operator delete(void *memory) noexcept { std::free(memory); }
void operator delete(void *memory, size_t) noexcept { std::free(memory); }
