//===- Status.h - Result of every fallible runtime call ---------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A status code and a text in a fixed buffer: making one never allocates and
// never throws, so that it can report an allocation that failed.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_STATUS_H
#define PAGED_ATTN_STATUS_H

#include <cstdint>

/// Marks what the shared library exports; everything else is hidden.
#define PAGED_ATTN_EXPORT [[gnu::visibility("default")]]

namespace paged_attn {

/// What went wrong. The values are those of the C API (`PagedAttnStatusCode`).
enum class StatusCode : int32_t {
  Ok = 0,
  InvalidArgument = 1,    ///< the caller's input is wrong
  NotFound = 2,           ///< no such sequence, page, group or file
  ResourceExhausted = 3,  ///< no pages, sequences, work-list room or memory
  FailedPrecondition = 4, ///< right call, wrong state
  OutOfRange = 5,         ///< a position past the end, or events already lost
  DataLoss = 6,           ///< truncated, corrupt or foreign bytes
  IoError = 7,            ///< the file system refused
  Internal = 8,           ///< an invariant of the runtime is broken
};

/// Name of a code, for messages and bindings; never null.
PAGED_ATTN_EXPORT const char *statusCodeName(StatusCode code);

/// Result of a fallible call. A failed call changed nothing.
class [[nodiscard]] PAGED_ATTN_EXPORT Status {
public:
  Status() { message_[0] = '\0'; }
  static Status ok() { return Status(); }
  /// Makes a failure with a printf-style text, cut to the buffer's length.
  static Status error(StatusCode code, const char *format, ...)
      __attribute__((format(printf, 2, 3)));

  bool isOk() const { return code_ == StatusCode::Ok; }
  StatusCode code() const { return code_; }
  /// Text of the failure, empty when fine; valid as long as this object.
  const char *message() const { return message_; }

  Status(const Status &other) { *this = other; }
  Status &operator=(const Status &other);

private:
  static constexpr int kMessageBytes = 180;
  StatusCode code_ = StatusCode::Ok;
  char message_[kMessageBytes];
};

} // namespace paged_attn

/// Returns from the enclosing function when `expression` is a failure.
#define PAGED_ATTN_RETURN_IF_ERROR(expression)                                 \
  do {                                                                         \
    if (::paged_attn::Status status_ = (expression); !status_.isOk())          \
      return status_;                                                          \
  } while (false)

#endif // PAGED_ATTN_STATUS_H
