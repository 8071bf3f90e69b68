//===- Shapes.h - What the arrays of a call must look like ------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Checks of ranks, sizes and element types. Private to lib/FrontEnd. Operands
// are called by their names in the Python package.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_FRONTEND_SHAPES_H
#define PAGED_ATTN_LIB_FRONTEND_SHAPES_H

#include "paged_attn/FrontEnd/Calls.h"
#include "paged_attn/Kernel/CompiledKernel.h"

#include <initializer_list>

namespace mlir::paged_attn {

/// Returns from the enclosing function when `expression` is an error.
#define PAGED_ATTN_CHECK(expression)                                           \
  do {                                                                         \
    if (::mlir::paged_attn::CallError failure = (expression); failure)         \
      return failure;                                                          \
  } while (false)

inline CallError valueError(std::string message) {
  return {CallError::Kind::Value, std::move(message)};
}

/// `[2, 3]`
std::string printSizes(const std::vector<int64_t> &sizes);

/// `array` is of one of `types`; `expected` says that to people.
CallError checkType(const ArrayView &array, const std::string &name,
                    std::initializer_list<const char *> types,
                    const char *expected);
/// `array` has the sizes `sizes`, of which -1 fits all; `shape` names them.
CallError checkSizes(const ArrayView &array, const std::string &name,
                     const char *shape, const std::vector<int64_t> &sizes);

/// The pools of a call, checked against each other.
struct CheckedCache {
  PoolSizes keys, values; ///< the same one where one pool holds both
  Pools kind = Pools::Separate;
};
CallError checkCache(const CacheArrays &cache, CheckedCache &checked);

/// The index operands of a call with one element type; what had another type
/// is converted into buffers of this object.
class IndexArrays {
public:
  /// Takes page table or CSR, lengths, starts and offsets (null: none).
  CallError read(const CacheArrays &cache, const OptionalArray *offsets);
  const std::string &getType() const { return type; }
  /// Adds the operands under their names in the op.
  void addTo(Arguments &arguments) const;
  /// q_len of every sequence for `numTokens` tokens: the largest and the
  /// smallest that is not 0. Only after checkCall.
  void getQueryLengths(int64_t numTokens, int64_t &most, int64_t &least) const;

private:
  CallError take(const OptionalArray &array, const char *name, size_t rank);
  struct Entry {
    const char *name;
    Argument argument;
    std::vector<char> converted;
  };
  const Entry *find(std::string_view name) const;
  std::string type;
  std::vector<Entry> entries;
};

/// `array` as an argument of a kernel.
inline Argument toArgument(const ArrayView &array) {
  return {array.data, array.sizes, 0};
}

/// memref<...> of `array` with the dimensions marked dynamic as '?'.
std::string memrefType(const ArrayView &array,
                       const std::vector<bool> &dynamic);
/// The same for a pool: pages and layers are dynamic.
std::string poolType(const ArrayView &pool, const LayoutSpec &layout);
/// `#paged_attn.layout<"pshd">`
std::string layoutAttribute(const LayoutSpec &layout);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_FRONTEND_SHAPES_H
