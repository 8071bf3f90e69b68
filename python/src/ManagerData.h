//===- ManagerData.h - Options and counters of the manager ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What goes between dictionaries of Python and structs of the runtime.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_PYTHON_MANAGERDATA_H
#define PAGED_ATTN_PYTHON_MANAGERDATA_H

#include "paged_attn/KVCacheManager.h"

#include <nanobind/nanobind.h>

namespace paged_attn_python {

namespace nb = nanobind;

/// Reads what KVCacheManager in python/paged_attn/_cache.py writes. Throws
/// ValueError that names the option.
paged_attn::ManagerOptions readManagerOptions(const nb::dict &dict);

nb::dict toDict(const paged_attn::ManagerStats &stats);
nb::dict toDict(const paged_attn::CacheEvent &event);

} // namespace paged_attn_python

#endif // PAGED_ATTN_PYTHON_MANAGERDATA_H
