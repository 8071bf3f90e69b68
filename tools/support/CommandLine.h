//===- CommandLine.h - How the tools report bad input -----------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What paged-attn-compile and paged-attn-run share: exit codes, one-line
// errors, and the command line read by LLVM's parser.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TOOLS_SUPPORT_COMMANDLINE_H
#define PAGED_ATTN_TOOLS_SUPPORT_COMMANDLINE_H

#include "llvm/Support/CommandLine.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/raw_ostream.h"

namespace paged_attn_tools {

constexpr int kBadInput = 2; ///< exit code

/// Prints `<tool>: error: <message>` and returns `kBadInput`.
inline int fail(llvm::StringRef tool, const llvm::Twine &message) {
  llvm::errs() << tool << ": error: " << message << "\n";
  return kBadInput;
}

/// Reads the flags; only those of `category` are shown by --help. Returns 0,
/// or the exit code after one line that says what is wrong.
inline int parseFlags(int argc, char **argv, llvm::StringRef tool,
                      llvm::cl::OptionCategory &category,
                      llvm::StringRef overview) {
  llvm::cl::HideUnrelatedOptions(category);
  std::string error;
  llvm::raw_string_ostream flagErrors(error);
  if (llvm::cl::ParseCommandLineOptions(argc, argv, overview, &flagErrors))
    return 0;
  llvm::StringRef first = llvm::StringRef(error).split('\n').first;
  first.consume_front(llvm::sys::path::filename(argv[0]));
  return first.empty() ? kBadInput : fail(tool, first.ltrim(": "));
}

} // namespace paged_attn_tools

#endif // PAGED_ATTN_TOOLS_SUPPORT_COMMANDLINE_H
