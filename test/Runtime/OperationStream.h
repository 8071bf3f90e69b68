//===- OperationStream.h - Random operations against a model ----*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Drives a manager by a stream of choices (random numbers or fuzzer bytes) and
// keeps a model beside it: a plain vector of tokens per sequence. The KV value
// of a token is a function of all tokens before it, so that any page that was
// shared, copied, moved, evicted or restored wrongly shows when it is read.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TEST_RUNTIME_OPERATIONSTREAM_H
#define PAGED_ATTN_TEST_RUNTIME_OPERATIONSTREAM_H

#include "TestSupport.h"

#include <functional>

namespace paged_attn::test {

/// Where choices come from.
class Choices {
public:
  virtual ~Choices() = default;
  /// A number in [0, bound).
  virtual uint32_t below(uint32_t bound) = 0;
  virtual bool atEnd() const { return false; }
};

/// SplitMix64 (Steele, Lea and Flood 2014).
class RandomChoices final : public Choices {
public:
  explicit RandomChoices(uint64_t seed) : state(seed) {}
  uint32_t below(uint32_t bound) override {
    uint64_t z = (state += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return uint32_t((z ^ (z >> 31)) % bound);
  }

private:
  uint64_t state;
};

/// Bytes of a fuzzer, one per choice.
class ByteChoices final : public Choices {
public:
  ByteChoices(const uint8_t *data, size_t size) : data(data), left(size) {}
  uint32_t below(uint32_t bound) override {
    if (left == 0)
      return 0;
    --left;
    return *data++ % bound;
  }
  bool atEnd() const override { return left == 0; }

private:
  const uint8_t *data;
  size_t left;
};

class OperationStream {
public:
  OperationStream(const ManagerOptions &options, Choices &choices);
  /// One operation; a text when manager and model disagree, else empty.
  std::string step();
  /// Invariants, and every sequence against the model.
  std::string check();
  int64_t succeeded() const { return numSucceeded; }
  const KVCacheManager &target() const { return *manager; }

private:
  struct Sequence {
    SeqId id;
    int32_t domain;
    int32_t committed;
    bool swapped;
    std::vector<TokenId> tokens;
  };
  struct Pin {
    int32_t group;
    PageId page;
  };

  using Operation = std::string (OperationStream::*)();
  std::string add();
  std::string addMatched();
  std::string matchAndRelease();
  std::string allocate();
  std::string commit();
  std::string fork();
  std::string truncate();
  std::string release();
  std::string tree();
  std::string swap();
  std::string window();
  std::string pin();
  std::string priority();
  std::string compact();
  std::string resize();
  std::string exportImport();
  std::string exportManager();
  std::string reset();

  std::string accept(const Status &status, const char *what,
                     std::initializer_list<StatusCode> allowed);
  Sequence *pick(bool allowSwapped = false);
  std::vector<TokenId> prompt();
  std::string writeNew(const Sequence &sequence, int32_t from,
                       const std::vector<uint32_t> &values);
  std::vector<uint32_t> valuesOf(const Sequence &sequence) const;
  std::string compareSequence(const KVCacheManager &m,
                              const Sequence &sequence) const;
  std::string compareGroup(const KVCacheManager &m, const Sequence &sequence,
                           int32_t group,
                           const std::vector<uint32_t> &values) const;
  std::string drain();

  ManagerOptions options;
  Choices &choices;
  std::unique_ptr<KVCacheManager> manager;
  std::vector<Sequence> sequences;
  std::vector<std::vector<TokenId>> oldPrompts;
  std::vector<Pin> pins;
  TestDomain domains[3] = {TestDomain(1), TestDomain(2), TestDomain(3)};
  int64_t numSucceeded = 0;
};

/// The manager that random tests and the fuzzer drive: a full group and up to
/// three windowed ones, of different page sizes, with few pages.
ManagerOptions streamOptions(EvictionPolicy policy, int32_t numGroups);

} // namespace paged_attn::test

#endif // PAGED_ATTN_TEST_RUNTIME_OPERATIONSTREAM_H
