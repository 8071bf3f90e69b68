//===- XlaAbi.h - The C interface of XLA custom calls -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The part of XLA's foreign function interface that a handler reads: binary
// layouts only, the same in interface versions 0.1 to 0.3. Declared here so
// that the package builds without JAX and one build serves every JAX;
// test_jax_abi.py holds it against the headers of the JAX that is installed.
// Structs start with their size in bytes and only ever grow at the end.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_PYTHON_XLAABI_H
#define PAGED_ATTN_PYTHON_XLAABI_H

#include <cstddef>
#include <cstdint>

namespace paged_attn_python::xla {

/// An entry of the list that extends a struct.
struct Extension {
  size_t structBytes;
  int32_t kind;
  Extension *next;
};
constexpr int32_t kMetadataExtension = 1;

struct Version {
  size_t structBytes;
  Extension *extensions;
  int32_t major, minor;
};

/// What a handler tells about itself when it is registered.
struct Metadata {
  size_t structBytes;
  Version version;
  uint32_t traits;
};
struct MetadataExtension {
  Extension base;
  Metadata *metadata;
};

struct Error; ///< XLA's
constexpr int32_t kInvalidArgument = 3;
constexpr int32_t kInternal = 13;

struct ErrorRequest {
  size_t structBytes;
  Extension *extensions;
  const char *message; ///< copied
  int32_t code;
};

/// The functions that XLA offers, up to the first.
struct Api {
  size_t structBytes;
  Extension *extensions;
  Version version; ///< of this XLA
  const void *internal;
  Error *(*createError)(ErrorRequest *request);
};

struct Buffer {
  size_t structBytes;
  Extension *extensions;
  int32_t elementType; ///< XLA's number of the type
  void *data;
  int64_t rank;
  int64_t *sizes; ///< [rank]
};

/// Operands, or results. Every entry is a Buffer.
struct Buffers {
  size_t structBytes;
  Extension *extensions;
  int64_t count;
  int32_t *kinds;
  Buffer **entries;
};

struct Text {
  const char *data; ///< not terminated
  size_t length;
};

struct Scalar {
  int32_t elementType;
  void *value;
};

constexpr int32_t kScalarAttribute = 3; ///< the value is a Scalar
constexpr int32_t kTextAttribute = 4;   ///< the value is a Text

struct Attributes {
  size_t structBytes;
  Extension *extensions;
  int64_t count;
  int32_t *kinds;
  Text **names;
  void **values;
};

constexpr int32_t kExecuteStage = 3;

/// One call of a handler.
struct Frame {
  size_t structBytes;
  Extension *extensions;
  const Api *api;
  void *context;
  int32_t stage;
  Buffers operands;
  Buffers results;
  Attributes attributes;
};

} // namespace paged_attn_python::xla

#endif // PAGED_ATTN_PYTHON_XLAABI_H
