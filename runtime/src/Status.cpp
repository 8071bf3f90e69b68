//===- Status.cpp - Result of every fallible runtime call -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Formatting and copying of statuses, without allocation.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Status.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

using namespace paged_attn;

const char *paged_attn::statusCodeName(StatusCode code) {
  switch (code) {
  case StatusCode::Ok:
    return "ok";
  case StatusCode::InvalidArgument:
    return "invalid argument";
  case StatusCode::NotFound:
    return "not found";
  case StatusCode::ResourceExhausted:
    return "resource exhausted";
  case StatusCode::FailedPrecondition:
    return "failed precondition";
  case StatusCode::OutOfRange:
    return "out of range";
  case StatusCode::DataLoss:
    return "data loss";
  case StatusCode::IoError:
    return "i/o error";
  case StatusCode::Internal:
    return "internal error";
  }
  return "unknown status";
}

Status Status::error(StatusCode code, const char *format, ...) {
  Status status;
  status.code_ = code;
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(status.message_, kMessageBytes, format, arguments);
  va_end(arguments);
  return status;
}

Status &Status::operator=(const Status &other) {
  code_ = other.code_;
  // A fine status has no text, so the common copy is two stores.
  if (code_ == StatusCode::Ok)
    message_[0] = '\0';
  else if (this != &other)
    std::memcpy(message_, other.message_, kMessageBytes);
  return *this;
}
