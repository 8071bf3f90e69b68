//===- FirstError.h - The first diagnostic as one line ----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Diagnostics of MLIR become the one-line errors of the tools. Private to
// lib/Kernel.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_LIB_KERNEL_FIRSTERROR_H
#define PAGED_ATTN_LIB_KERNEL_FIRSTERROR_H

#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Diagnostics.h"
#include "mlir/IR/Location.h"
#include "llvm/Support/raw_ostream.h"

namespace mlir::paged_attn {

/// Keeps the first error that is reported while it lives, as one line.
class FirstError {
public:
  explicit FirstError(MLIRContext &context)
      : handler(&context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() == DiagnosticSeverity::Error &&
              text.empty())
            record(diagnostic);
        }) {}

  /// The error, or `otherwise` when none was reported.
  std::string take(StringRef otherwise) {
    return text.empty() ? otherwise.str() : text;
  }

private:
  void record(Diagnostic &diagnostic) {
    llvm::raw_string_ostream os(text);
    if (auto place = dyn_cast<FileLineColLoc>(diagnostic.getLocation()))
      os << place.getFilename().getValue() << ":" << place.getLine() << ":"
         << place.getColumn() << ": ";
    os << diagnostic;
    std::replace(text.begin(), text.end(), '\n', ' ');
  }

  std::string text;
  ScopedDiagnosticHandler handler;
};

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_LIB_KERNEL_FIRSTERROR_H
