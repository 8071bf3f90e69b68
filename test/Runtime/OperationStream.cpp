//===- OperationStream.cpp - Random operations against a model ------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The operations. Each does to the model what the documentation says the
// manager does; a refused call must have changed nothing.
//
//===----------------------------------------------------------------------===//

#include "OperationStream.h"

#include <algorithm>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

constexpr int32_t kVocabulary = 3; // Few tokens, so that prefixes meet.
constexpr size_t kMaxOldPrompts = 24;

std::string failure(const char *what, int64_t got, int64_t expected) {
  return std::string(what) + ": got " + std::to_string(got) + ", expected " +
         std::to_string(expected);
}

} // namespace

ManagerOptions paged_attn::test::streamOptions(EvictionPolicy policy,
                                               int32_t numGroups) {
  ManagerOptions options = tinyOptions();
  options.numGroups = numGroups;
  options.groups[0] = tinyGroup(4);
  options.groups[1] = tinyWindow(3, WindowKind::Sliding, 10);
  options.groups[2] = tinyWindow(2, WindowKind::SinkWindow, 7, 3);
  options.groups[3] = tinyWindow(4, WindowKind::Chunked, 12);
  for (int32_t g = 0; g < options.numGroups; ++g) {
    options.numPages[g] = 90;
    options.maxPages[g] = 120;
  }
  options.maxSequences = 12;
  options.maxTokens = 96;
  options.guardPage = true;
  options.fill = FillMode::NaN;
  options.policy = policy;
  options.score = [](void *, const IdlePage &page) {
    return uint64_t(page.page) * 7919 % 64;
  };
  return options;
}

OperationStream::OperationStream(const ManagerOptions &options,
                                 Choices &choices)
    : options(options), choices(choices) {
  Status status = KVCacheManager::create(options, manager);
  if (!status.isOk())
    std::abort();
}

//===----------------------------------------------------------------------===//
// Helpers
//===----------------------------------------------------------------------===//

/// Empty when the status is fine or of a kind that the state may cause.
std::string OperationStream::accept(const Status &status, const char *what,
                                    std::initializer_list<StatusCode> allowed) {
  numSucceeded += status.isOk();
  if (status.isOk() ||
      std::count(allowed.begin(), allowed.end(), status.code()))
    return "";
  return std::string(what) + ": " + status.message();
}

OperationStream::Sequence *OperationStream::pick(bool allowSwapped) {
  if (sequences.empty())
    return nullptr;
  Sequence &sequence = sequences[choices.below(uint32_t(sequences.size()))];
  return sequence.swapped && !allowSwapped ? nullptr : &sequence;
}

/// Part of an earlier prompt, and something new.
std::vector<TokenId> OperationStream::prompt() {
  std::vector<TokenId> tokens;
  if (!oldPrompts.empty() && choices.below(4) != 0) {
    tokens = oldPrompts[choices.below(uint32_t(oldPrompts.size()))];
    tokens.resize(choices.below(uint32_t(tokens.size() + 1)));
  }
  for (uint32_t n = 1 + choices.below(12); n > 0; --n)
    tokens.push_back(TokenId(choices.below(kVocabulary)));
  if (tokens.size() > size_t(options.maxTokens))
    tokens.resize(size_t(options.maxTokens));
  return tokens;
}

std::vector<uint32_t>
OperationStream::valuesOf(const Sequence &sequence) const {
  std::vector<uint32_t> values;
  uint32_t chain = uint32_t(sequence.domain) + 1;
  for (TokenId token : sequence.tokens)
    values.push_back(chain = chainValue(chain, token));
  return values;
}

/// Runs pending work, then writes the KV of tokens from `from` on.
std::string OperationStream::writeNew(const Sequence &sequence, int32_t from,
                                      const std::vector<uint32_t> &values) {
  std::string text = drain();
  for (int32_t g = 0; text.empty() && g < options.numGroups; ++g) {
    PoolMemory memory;
    (void)manager->poolMemory(g, memory);
    std::vector<int32_t> table(size_t(options.maxTokens) + 1);
    BatchViews views;
    views.pageTable = table.data();
    views.tableStride = int64_t(table.size());
    text = accept(manager->fillViews(g, &sequence.id, 1, views), "views", {});
    int32_t pageSize = options.groups[g].pageSize;
    for (size_t i = 0; text.empty() && i < values.size(); ++i) {
      int32_t at = from + int32_t(i);
      if (table[size_t(at / pageSize)] == kNoPage)
        return failure("a new token has no page", at, g);
      writeSlot(memory, options.groups[g],
                int64_t(table[size_t(at / pageSize)]) * pageSize +
                    at % pageSize,
                values[i]);
    }
  }
  return text;
}

std::string OperationStream::drain() {
  return accept(manager->runPendingWork(), "pending work", {});
}

//===----------------------------------------------------------------------===//
// Operations
//===----------------------------------------------------------------------===//

std::string OperationStream::add() {
  Sequence sequence{0, int32_t(choices.below(3)), 0, false, {}};
  Status status =
      manager->addSequence(domains[sequence.domain].domain, sequence.id);
  if (status.isOk())
    sequences.push_back(sequence);
  return accept(status, "add", {StatusCode::ResourceExhausted});
}

std::string OperationStream::addMatched() {
  Sequence sequence{0, int32_t(choices.below(3)), 0, false, prompt()};
  const PrefixDomain &domain = domains[sequence.domain].domain;
  auto wanted = int32_t(sequence.tokens.size()) - 1;
  int32_t peeked = 0;
  PrefixMatch match;
  std::string text = accept(
      manager->peekPrefix(sequence.tokens.data(), wanted, domain, peeked),
      "peek", {});
  Status status =
      manager->matchPrefix(sequence.tokens.data(), wanted, domain, match);
  if (!status.isOk() || !text.empty())
    return text + accept(status, "match", {StatusCode::ResourceExhausted});
  if (match.numTokens > peeked)
    return failure("match longer than peek", match.numTokens, peeked);
  text = accept(manager->addMatchedSequence(match.handle, sequence.id),
                "add matched", {});
  if (oldPrompts.size() == kMaxOldPrompts)
    oldPrompts.erase(oldPrompts.begin() + choices.below(kMaxOldPrompts));
  oldPrompts.push_back(sequence.tokens);
  sequence.tokens.resize(size_t(match.numTokens));
  sequence.committed = match.numTokens;
  sequences.push_back(sequence);
  return text.empty() ? drain() : text;
}

std::string OperationStream::matchAndRelease() {
  std::vector<TokenId> tokens = prompt();
  PrefixMatch match;
  Status status = manager->matchPrefix(tokens.data(), int32_t(tokens.size()),
                                       domains[choices.below(3)].domain, match);
  std::string text = accept(status, "match", {StatusCode::ResourceExhausted});
  if (status.isOk() && choices.below(2))
    text += drain();
  if (status.isOk())
    text += accept(manager->releaseMatch(match.handle), "release match", {});
  return text + drain();
}

std::string OperationStream::allocate() {
  std::vector<SlotRequest> requests;
  std::vector<size_t> which;
  std::vector<std::vector<TokenId>> tokens(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (sequences[i].swapped || choices.below(2))
      continue;
    for (uint32_t n = choices.below(9); n > 0; --n)
      tokens[i].push_back(TokenId(choices.below(kVocabulary)));
    requests.push_back(SlotRequest{sequences[i].id, tokens[i].data(),
                                   int32_t(tokens[i].size()),
                                   int32_t(choices.below(3)), nullptr});
    which.push_back(i);
  }
  Status status = manager->allocateSlots(
      requests.data(), int32_t(requests.size()), choices.below(3));
  if (!status.isOk())
    return accept(status, "allocate",
                  {StatusCode::ResourceExhausted, StatusCode::OutOfRange});
  ++numSucceeded;
  for (size_t i : which) {
    Sequence &sequence = sequences[i];
    auto from = int32_t(sequence.tokens.size());
    sequence.tokens.insert(sequence.tokens.end(), tokens[i].begin(),
                           tokens[i].end());
    std::vector<uint32_t> values = valuesOf(sequence);
    values.erase(values.begin(), values.begin() + from);
    std::string text = writeNew(sequence, from, values);
    if (!text.empty())
      return text;
  }
  return choices.below(4) ? commit() : "";
}

std::string OperationStream::commit() {
  std::vector<SeqId> ids;
  for (Sequence &sequence : sequences) {
    if (sequence.swapped || choices.below(3) == 0)
      continue;
    if (choices.below(4) == 0) {
      auto fresh =
          uint32_t(sequence.tokens.size()) - uint32_t(sequence.committed);
      auto count = int32_t(choices.below(fresh + 1));
      std::string text =
          accept(manager->commitTokens(sequence.id, count), "commit", {});
      if (!text.empty())
        return text;
      sequence.committed += count;
      continue;
    }
    ids.push_back(sequence.id);
    sequence.committed = int32_t(sequence.tokens.size());
  }
  return accept(manager->commit(ids.data(), int32_t(ids.size())), "commit", {});
}

std::string OperationStream::fork() {
  Sequence *parent = pick();
  if (!parent)
    return "";
  Sequence child = *parent;
  auto position = int32_t(choices.below(uint32_t(child.tokens.size()) + 1));
  Status status = manager->fork(parent->id, position, child.id);
  if (!status.isOk())
    return accept(
        status, "fork",
        {StatusCode::ResourceExhausted, StatusCode::FailedPrecondition});
  ++numSucceeded;
  child.tokens.resize(size_t(position));
  child.committed = std::min(child.committed, position);
  sequences.push_back(child);
  return "";
}

std::string OperationStream::truncate() {
  Sequence *sequence = pick();
  if (!sequence)
    return "";
  auto length = int32_t(choices.below(uint32_t(sequence->tokens.size()) + 1));
  Status status = manager->truncate(sequence->id, length);
  if (!status.isOk())
    return accept(status, "truncate", {StatusCode::FailedPrecondition});
  ++numSucceeded;
  sequence->tokens.resize(size_t(length));
  sequence->committed = std::min(sequence->committed, length);
  return "";
}

std::string OperationStream::release() {
  Sequence *sequence = pick(/*allowSwapped=*/true);
  if (!sequence)
    return "";
  Status status = manager->freeSequence(
      sequence->id, choices.below(3) ? KeepCache::Keep : KeepCache::Drop);
  SequenceInfo info;
  bool gone =
      manager->sequenceInfo(sequence->id, info).code() == StatusCode::NotFound;
  sequences.erase(sequences.begin() + (sequence - sequences.data()));
  return gone ? accept(status, "free", {}) : "a freed handle is still known";
}

/// Drafts a tree, of which only the accepted path has KV values that fit.
std::string OperationStream::tree() {
  Sequence *sequence = pick();
  if (!sequence || sequence->committed != int32_t(sequence->tokens.size()))
    return "";
  std::vector<TokenId> drafts;
  std::vector<int32_t> path;
  std::vector<uint32_t> values;
  std::vector<uint32_t> before = valuesOf(*sequence);
  uint32_t chain =
      before.empty() ? uint32_t(sequence->domain) + 1 : before.back();
  Sequence grown = *sequence;
  for (uint32_t n = 1 + choices.below(8); n > 0; --n) {
    drafts.push_back(TokenId(choices.below(kVocabulary)));
    if (choices.below(2)) {
      path.push_back(int32_t(drafts.size()) - 1);
      grown.tokens.push_back(drafts.back());
      values.push_back(chain = chainValue(chain, drafts.back()));
    } else {
      values.push_back(12345); // Rejected.
    }
  }
  SlotRequest request{sequence->id, drafts.data(), int32_t(drafts.size()), 0,
                      nullptr};
  Status status = manager->allocateSlots(&request, 1);
  if (!status.isOk())
    return accept(status, "draft",
                  {StatusCode::ResourceExhausted, StatusCode::OutOfRange});
  std::string text =
      writeNew(*sequence, int32_t(sequence->tokens.size()), values);
  if (!text.empty())
    return text;
  text = accept(
      manager->commitTree(sequence->id, path.data(), int32_t(path.size())),
      "commit tree", {});
  *sequence = grown;
  return text + drain();
}

std::string OperationStream::swap() {
  Sequence *sequence = pick(/*allowSwapped=*/true);
  if (!sequence)
    return "";
  Status status = sequence->swapped
                      ? manager->swapIn(sequence->id)
                      : manager->swapOut(sequence->id, SwapTarget::Host);
  if (status.isOk())
    sequence->swapped = !sequence->swapped;
  return accept(status, "swap", {StatusCode::ResourceExhausted});
}

std::string OperationStream::window() {
  Sequence *sequence = pick();
  int64_t released = 0;
  return sequence ? accept(manager->releaseWindow(sequence->id, released),
                           "release window", {})
                  : "";
}

std::string OperationStream::pin() {
  if (!pins.empty() && choices.below(2)) {
    Pin pin = pins.back();
    pins.pop_back();
    return accept(manager->unpinPage(pin.group, pin.page), "unpin", {});
  }
  Pin pin{int32_t(choices.below(uint32_t(options.numGroups))),
          PageId(choices.below(100))};
  Status status = manager->pinPage(pin.group, pin.page);
  if (status.isOk() && pins.size() < 3)
    pins.push_back(pin);
  else if (status.isOk())
    return accept(manager->unpinPage(pin.group, pin.page), "unpin", {});
  return accept(status, "pin", {StatusCode::NotFound});
}

std::string OperationStream::priority() {
  Sequence *sequence = pick();
  if (!sequence)
    return "";
  auto end = int32_t(choices.below(uint32_t(sequence->tokens.size()) + 1));
  auto begin = int32_t(choices.below(uint32_t(end) + 1));
  return accept(manager->setPriority(sequence->id, begin, end,
                                     int(choices.below(101)), choices.below(3)),
                "priority", {});
}

std::string OperationStream::compact() {
  auto group = int32_t(choices.below(uint32_t(options.numGroups)));
  PageMove moves[128];
  CompactionReport report;
  std::string text = accept(
      manager->compact(group, moves, int64_t(choices.below(128)), report),
      "compact", {});
  if (report.runsAfter > report.runsBefore)
    return failure("compaction made runs", report.runsAfter, report.runsBefore);
  return text + accept(manager->runMoves(moves, report.moves), "moves", {});
}

std::string OperationStream::resize() {
  auto group = int32_t(choices.below(uint32_t(options.numGroups)));
  auto pages = int64_t(60 + choices.below(61));
  PageMove moves[128];
  CompactionReport report;
  Status status = manager->compactBelow(group, pages, moves, 128, report);
  std::string text =
      accept(status, "compact below",
             {StatusCode::ResourceExhausted, StatusCode::FailedPrecondition});
  if (status.isOk())
    text += accept(manager->runMoves(moves, report.moves), "moves", {});
  return text + accept(manager->resizePool(group, pages), "resize",
                       {status.isOk() ? StatusCode::Ok
                                      : StatusCode::FailedPrecondition});
}

std::string OperationStream::exportImport() {
  Sequence *sequence = pick(/*allowSwapped=*/true);
  if (!sequence)
    return "";
  std::vector<uint8_t> bytes;
  std::string text =
      accept(manager->exportSequence(sequence->id, bytes), "export", {});
  Sequence copy = *sequence;
  copy.swapped = false;
  Status status = manager->importSequence(bytes.data(), bytes.size(), copy.id);
  if (status.isOk())
    sequences.push_back(copy);
  return text + accept(status, "import", {StatusCode::ResourceExhausted});
}

/// A second manager made of the first must hold the same.
std::string OperationStream::exportManager() {
  if (choices.below(8))
    return "";
  std::vector<uint8_t> bytes;
  std::string text = accept(manager->exportManager(bytes), "export all", {});
  ManagerOptions other = options;
  for (int32_t g = 0; g < other.numGroups; ++g) {
    other.groups[g].pageSize = 1 + int32_t(choices.below(5));
    other.numPages[g] = other.maxPages[g] = 2000;
  }
  std::unique_ptr<KVCacheManager> second;
  std::vector<SeqId> ids;
  text += accept(KVCacheManager::create(other, second), "create", {});
  text += accept(second->importManager(bytes.data(), bytes.size(), ids),
                 "import all", {});
  text += accept(second->checkInvariants(), "second manager", {});
  if (!text.empty() || ids.size() != sequences.size())
    return text + failure("imported sequences", int64_t(ids.size()),
                          int64_t(sequences.size()));
  // Handles come in the order of slots, which the low half of a handle tells.
  std::vector<Sequence> ordered = sequences;
  std::sort(ordered.begin(), ordered.end(),
            [](const Sequence &a, const Sequence &b) {
              return uint32_t(a.id) < uint32_t(b.id);
            });
  ManagerOptions own = options;
  options = other;
  for (size_t i = 0; text.empty() && i < ids.size(); ++i) {
    ordered[i].id = ids[i];
    text = compareSequence(*second, ordered[i]);
  }
  options = own;
  return text;
}

std::string OperationStream::reset() {
  return choices.below(4) ? ""
                          : accept(manager->resetPrefixCache(), "reset", {});
}

//===----------------------------------------------------------------------===//
// Comparing
//===----------------------------------------------------------------------===//

std::string
OperationStream::compareGroup(const KVCacheManager &m, const Sequence &sequence,
                              int32_t group,
                              const std::vector<uint32_t> &values) const {
  const GroupSpec &spec = options.groups[group];
  PoolMemory memory;
  (void)m.poolMemory(group, memory);
  std::vector<int32_t> table(size_t(options.maxTokens) + 1);
  int32_t kvLen = -1;
  BatchViews views;
  views.pageTable = table.data();
  views.tableStride = int64_t(table.size());
  views.kvLens = &kvLen;
  Status status = m.fillViews(group, &sequence.id, 1, views);
  if (!status.isOk() || kvLen != int32_t(sequence.tokens.size()))
    return failure("kv_len", kvLen, int64_t(sequence.tokens.size()));
  int64_t window = windowStart(spec, sequence.committed);
  int64_t sinks =
      spec.windowKind == WindowKind::SinkWindow ? spec.sinkTokens : 0;
  for (int64_t at = 0; at < int64_t(values.size()); ++at) {
    if (at < window && at >= sinks)
      continue;
    PageId page = table[size_t(at / spec.pageSize)];
    if (page <= kNullPage)
      return failure("a visible token is unmapped", at, group);
    if (!slotHolds(memory, spec,
                   int64_t(page) * spec.pageSize + at % spec.pageSize,
                   values[size_t(at)]))
      return failure("wrong KV of a token", at, group);
  }
  return "";
}

std::string OperationStream::compareSequence(const KVCacheManager &m,
                                             const Sequence &sequence) const {
  SequenceInfo info;
  Status status = m.sequenceInfo(sequence.id, info);
  if (!status.isOk())
    return status.message();
  if (info.numTokens != int32_t(sequence.tokens.size()) ||
      info.numCommitted != sequence.committed ||
      info.isSwapped != sequence.swapped)
    return failure("lengths", info.numTokens, int64_t(sequence.tokens.size()));
  std::vector<TokenId> tokens(sequence.tokens.size());
  (void)m.sequenceTokens(sequence.id, 0, info.numTokens, tokens.data());
  if (tokens != sequence.tokens)
    return failure("tokens of sequence", sequence.id, 0);
  if (sequence.swapped)
    return "";
  std::vector<uint32_t> values = valuesOf(sequence);
  for (int32_t g = 0; g < options.numGroups; ++g)
    if (std::string text = compareGroup(m, sequence, g, values); !text.empty())
      return text;
  return "";
}

std::string OperationStream::check() {
  std::string text = accept(manager->checkInvariants(), "invariants", {});
  for (size_t i = 0; text.empty() && i < sequences.size(); ++i)
    text = compareSequence(*manager, sequences[i]);
  return text;
}

std::string OperationStream::step() {
  static constexpr Operation kOperations[] = {
      &OperationStream::add,
      &OperationStream::addMatched,
      &OperationStream::addMatched,
      &OperationStream::addMatched,
      &OperationStream::matchAndRelease,
      &OperationStream::allocate,
      &OperationStream::allocate,
      &OperationStream::allocate,
      &OperationStream::allocate,
      &OperationStream::commit,
      &OperationStream::fork,
      &OperationStream::fork,
      &OperationStream::truncate,
      &OperationStream::release,
      &OperationStream::release,
      &OperationStream::release,
      &OperationStream::tree,
      &OperationStream::tree,
      &OperationStream::swap,
      &OperationStream::swap,
      &OperationStream::window,
      &OperationStream::window,
      &OperationStream::pin,
      &OperationStream::priority,
      &OperationStream::compact,
      &OperationStream::resize,
      &OperationStream::exportImport,
      &OperationStream::exportManager,
      &OperationStream::reset,
  };
  auto which = choices.below(uint32_t(std::size(kOperations)));
  return (this->*kOperations[which])();
}
