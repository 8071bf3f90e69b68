//===- FuzzOperations.cpp - Fuzzing of the operation stream ---------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The first byte chooses the eviction policy and the number of groups, the
// others the operations of OperationStream. Manager and model are compared at
// the end and in between.
//
//===----------------------------------------------------------------------===//

#include "OperationStream.h"

#include <cstdio>

using namespace paged_attn;
using namespace paged_attn::test;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  ByteChoices choices(data + 1, size - 1);
  OperationStream stream(
      streamOptions(EvictionPolicy(data[0] % 6), 4 - data[0] / 6 % 4), choices);
  std::string text;
  for (int operation = 0; text.empty() && !choices.atEnd(); ++operation) {
    text = stream.step();
    if (text.empty() && operation % 16 == 0)
      text = stream.check();
  }
  if (text.empty())
    text = stream.check();
  if (!text.empty()) {
    std::fprintf(stderr, "%s\n", text.c_str());
    std::abort();
  }
  return 0;
}
