//===- FailingNew.h - operator new that fails when told to ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Linking FailingNew.cpp replaces operator new and delete of the program.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TEST_RUNTIME_FAILINGNEW_H
#define PAGED_ATTN_TEST_RUNTIME_FAILINGNEW_H

#include <cstdint>

namespace paged_attn::test {

/// Lets the allocation after the next `count` ones of this thread fail, once.
void failNewAfter(int64_t count);
/// Ends that; whether an allocation failed.
bool stopFailingNew();

} // namespace paged_attn::test

#endif // PAGED_ATTN_TEST_RUNTIME_FAILINGNEW_H
