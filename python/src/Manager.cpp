//===- Manager.cpp - KVCacheManager ---------------------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The page-table runtime over its C++ interface. The public class, with its
// documents, is python/paged_attn/_cache.py; what arrives here is checked by
// the runtime itself.
//
//===----------------------------------------------------------------------===//

#include "Bindings.h"
#include "ManagerData.h"

#include "paged_attn/KVCacheManager.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

using namespace paged_attn;
using namespace paged_attn_python;
using namespace nanobind::literals;

namespace {

PrefixDomain makeDomain(const nb::bytes &salt) {
  PrefixDomain domain;
  domain.salt = salt.data();
  domain.saltBytes = salt.size();
  return domain;
}

using Tokens =
    nb::ndarray<const TokenId, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Sequences = std::vector<SeqId>;

/// Throws what `status` says.
void check(const Status &status) {
  if (!status.isOk())
    raiseCacheError(int(status.code()), statusCodeName(status.code()),
                    status.message());
}

template <typename T>
nb::ndarray<nb::numpy, T> allocate(std::vector<size_t> sizes, T *&data) {
  size_t count = 1;
  for (size_t size : sizes)
    count *= size;
  data = new T[count + 1]();
  nb::capsule owner(
      data, [](void *memory) noexcept { delete[] static_cast<T *>(memory); });
  return nb::ndarray<nb::numpy, T>(data, sizes.size(), sizes.data(), owner);
}

//===----------------------------------------------------------------------===//
// Manager
//===----------------------------------------------------------------------===//

class Manager {
public:
  explicit Manager(const nb::dict &dict) : options(readManagerOptions(dict)) {
    check(KVCacheManager::create(options, manager));
  }

  nb::tuple matchPrefix(const Tokens &tokens, const nb::bytes &salt) {
    PrefixMatch match;
    check(manager->matchPrefix(tokens.data(), int32_t(tokens.size()),
                               makeDomain(salt), match));
    return nb::make_tuple(match.handle, match.numTokens, match.copiedTokens);
  }
  void releaseMatch(SeqId handle) { check(manager->releaseMatch(handle)); }
  int32_t peekPrefix(const Tokens &tokens, const nb::bytes &salt) {
    int32_t matched = 0;
    check(manager->peekPrefix(tokens.data(), int32_t(tokens.size()),
                              makeDomain(salt), matched));
    return matched;
  }
  SeqId addSequence(const nb::bytes &salt) {
    SeqId sequence = kNoSequence;
    check(manager->addSequence(makeDomain(salt), sequence));
    return sequence;
  }
  SeqId addMatchedSequence(SeqId match) {
    SeqId sequence = kNoSequence;
    check(manager->addMatchedSequence(match, sequence));
    return sequence;
  }
  SeqId fork(SeqId parent, int32_t position) {
    SeqId child = kNoSequence;
    check(manager->fork(parent, position, child));
    return child;
  }
  nb::object allocateSlots(const Sequences &sequences,
                           const std::vector<Tokens> &tokens,
                           const std::vector<int32_t> &lookahead,
                           int64_t reservePages);
  void commit(const Sequences &sequences) {
    check(manager->commit(sequences.data(), int32_t(sequences.size())));
  }
  void commitTokens(SeqId sequence, int32_t count) {
    check(manager->commitTokens(sequence, count));
  }
  void commitTree(SeqId sequence, const std::vector<int32_t> &path) {
    check(manager->commitTree(sequence, path.data(), int32_t(path.size())));
  }
  void truncate(SeqId sequence, int32_t count) {
    check(manager->truncate(sequence, count));
  }
  void freeSequence(SeqId sequence, bool keep) {
    check(manager->freeSequence(sequence,
                                keep ? KeepCache::Keep : KeepCache::Drop));
  }
  int64_t releaseWindow(SeqId sequence) {
    int64_t released = 0;
    check(manager->releaseWindow(sequence, released));
    return released;
  }
  nb::dict sequenceInfo(SeqId sequence);
  nb::object sequenceTokens(SeqId sequence);
  void setPriority(SeqId sequence, int32_t begin, int32_t end, int priority,
                   uint32_t ttlMs) {
    check(manager->setPriority(sequence, begin, end, priority, ttlMs));
  }
  nb::dict fillViews(const Sequences &sequences, int32_t group);
  int32_t numCommonPrefixPages(const Sequences &sequences, int32_t group) {
    int32_t pages = 0;
    check(manager->numCommonPrefixPages(group, sequences.data(),
                                        int32_t(sequences.size()), pages));
    return pages;
  }

  void runPendingWork() { check(manager->runPendingWork()); }
  nb::list takePageCopies();
  nb::list takePagesToZero();
  nb::list takeSlotCopies();
  nb::dict compact(int32_t group);

  void swapOut(SeqId sequence, const std::string &path) {
    bool toFile = !path.empty();
    check(manager->swapOut(sequence,
                           toFile ? SwapTarget::File : SwapTarget::Host,
                           toFile ? path.c_str() : nullptr));
  }
  void swapIn(SeqId sequence) { check(manager->swapIn(sequence)); }
  void save(const std::string &path) { check(manager->save(path.c_str())); }
  Sequences load(const std::string &path) {
    Sequences sequences;
    check(manager->load(path.c_str(), sequences));
    return sequences;
  }
  nb::bytes exportSequence(SeqId sequence) {
    std::vector<uint8_t> bytes;
    check(manager->exportSequence(sequence, bytes));
    return nb::bytes(bytes.data(), bytes.size());
  }
  SeqId importSequence(const nb::bytes &bytes) {
    SeqId sequence = kNoSequence;
    check(manager->importSequence(static_cast<const uint8_t *>(bytes.data()),
                                  bytes.size(), sequence));
    return sequence;
  }

  nb::dict stats() {
    ManagerStats stats;
    check(manager->stats(stats));
    return toDict(stats);
  }
  nb::tuple readEvents(uint64_t first);
  std::string prometheusText() {
    std::string text;
    check(manager->prometheusText(text));
    return text;
  }
  std::string dumpText(int32_t group) {
    std::string text;
    check(manager->dumpText(group, text));
    return text;
  }
  std::string dumpSvg(int32_t group) {
    std::string text;
    check(manager->dumpSvg(group, text));
    return text;
  }
  void checkInvariants() { check(manager->checkInvariants()); }
  void resetPrefixCache() { check(manager->resetPrefixCache()); }
  void pinPage(int32_t group, PageId page) {
    check(manager->pinPage(group, page));
  }
  void unpinPage(int32_t group, PageId page) {
    check(manager->unpinPage(group, page));
  }
  void resizePool(int32_t group, int64_t numPages) {
    check(manager->resizePool(group, numPages));
  }
  /// The pages of one layer and side as raw bytes [P, page bytes].
  static nb::object pool(nb::handle self, int32_t group, int32_t layer,
                         bool values);

private:
  const GroupSpec &spec(int32_t group) {
    if (group < 0 || group >= options.numGroups)
      throw nb::value_error(("expected group to be from 0 to " +
                             std::to_string(options.numGroups - 1) + ", got " +
                             std::to_string(group))
                                .c_str());
    return options.groups[group];
  }

  ManagerOptions options;
  std::unique_ptr<KVCacheManager> manager;
};

nb::object Manager::allocateSlots(const Sequences &sequences,
                                  const std::vector<Tokens> &tokens,
                                  const std::vector<int32_t> &lookahead,
                                  int64_t reservePages) {
  size_t total = 0, groups = size_t(options.numGroups);
  for (const Tokens &part : tokens)
    total += part.size();
  int64_t *data = nullptr;
  auto slots = allocate<int64_t>({groups, total}, data);
  std::vector<int64_t *> places(sequences.size() * groups);
  std::vector<SlotRequest> requests(sequences.size());
  size_t begin = 0;
  for (size_t i = 0; i < requests.size(); ++i) {
    for (size_t group = 0; group < groups; ++group)
      places[i * groups + group] = data + group * total + begin;
    requests[i] = {sequences[i], tokens[i].data(), int32_t(tokens[i].size()),
                   lookahead[i], &places[i * groups]};
    begin += tokens[i].size();
  }
  check(manager->allocateSlots(requests.data(), int32_t(requests.size()),
                               reservePages));
  return nb::cast(slots);
}

nb::dict Manager::sequenceInfo(SeqId sequence) {
  SequenceInfo info;
  check(manager->sequenceInfo(sequence, info));
  nb::dict dict;
  dict["num_tokens"] = info.numTokens;
  dict["num_committed"] = info.numCommitted;
  dict["is_swapped"] = info.isSwapped;
  nb::list pages;
  for (int32_t group = 0; group < options.numGroups; ++group)
    pages.append(info.numPages[group]);
  dict["num_pages"] = pages;
  return dict;
}

nb::object Manager::sequenceTokens(SeqId sequence) {
  SequenceInfo info;
  check(manager->sequenceInfo(sequence, info));
  TokenId *data = nullptr;
  auto tokens = allocate<TokenId>({size_t(info.numTokens)}, data);
  check(manager->sequenceTokens(sequence, 0, info.numTokens, data));
  return nb::cast(tokens);
}

nb::dict Manager::fillViews(const Sequences &sequences, int32_t group) {
  int64_t pageSize = spec(group).pageSize;
  int64_t mostPages = 0, numPages = 0, numNew = 0;
  for (SeqId sequence : sequences) {
    SequenceInfo info;
    check(manager->sequenceInfo(sequence, info));
    int64_t pages = (info.numTokens + pageSize - 1) / pageSize;
    mostPages = std::max(mostPages, pages);
    numPages += pages;
    numNew += info.numTokens - info.numCommitted;
  }
  size_t count = sequences.size();
  BatchViews views;
  auto table = allocate<int32_t>({count, size_t(mostPages)}, views.pageTable);
  auto indptr = allocate<int32_t>({count + 1}, views.pageIndptr);
  auto indices = allocate<int32_t>({size_t(numPages)}, views.pageIndices);
  auto lens = allocate<int32_t>({count}, views.kvLens);
  auto starts = allocate<int32_t>({count + 1}, views.queryStarts);
  auto slots = allocate<int64_t>({size_t(numNew)}, views.slotMapping);
  views.tableStride = mostPages;
  views.indicesCapacity = numPages;
  views.slotCapacity = numNew;
  check(manager->fillViews(group, sequences.data(), int32_t(count), views));
  nb::dict dict;
  dict["page_table"] = table;
  dict["page_indptr"] = indptr;
  dict["page_indices"] = indices;
  dict["kv_lens"] = lens;
  dict["query_starts"] = starts;
  dict["slots"] = slots;
  return dict;
}

/// Everything that `take` hands out, entry by entry.
template <typename Entry, typename Take, typename Convert>
nb::list takeAll(Take take, Convert convert) {
  constexpr int64_t kChunk = 256;
  nb::list list;
  std::vector<Entry> entries(kChunk);
  int64_t count = kChunk;
  while (count == kChunk) {
    check(take(entries.data(), kChunk, count));
    for (int64_t i = 0; i < count; ++i)
      list.append(convert(entries[size_t(i)]));
  }
  return list;
}

nb::list Manager::takePageCopies() {
  return takeAll<PageCopy>(
      [&](PageCopy *out, int64_t capacity, int64_t &count) {
        return manager->takePageCopies(out, capacity, count);
      },
      [](const PageCopy &copy) {
        return nb::make_tuple(copy.group, copy.source, copy.target,
                              copy.numTokens);
      });
}

nb::list Manager::takePagesToZero() {
  return takeAll<PageZero>(
      [&](PageZero *out, int64_t capacity, int64_t &count) {
        return manager->takePagesToZero(out, capacity, count);
      },
      [](const PageZero &zero) {
        return nb::make_tuple(zero.group, zero.page);
      });
}

nb::list Manager::takeSlotCopies() {
  return takeAll<SlotCopy>(
      [&](SlotCopy *out, int64_t capacity, int64_t &count) {
        return manager->takeSlotCopies(out, capacity, count);
      },
      [](const SlotCopy &copy) {
        return nb::make_tuple(copy.group, copy.source, copy.target);
      });
}

nb::dict Manager::compact(int32_t group) {
  spec(group);
  std::vector<PageMove> moves(size_t(options.numPages[group]));
  CompactionReport report;
  check(manager->compact(group, moves.data(), int64_t(moves.size()), report));
  check(manager->runMoves(moves.data(), report.moves));
  nb::dict dict;
  dict["moves"] = report.moves;
  dict["runs_before"] = report.runsBefore;
  dict["runs_after"] = report.runsAfter;
  dict["mapped_pages"] = report.mappedPages;
  return dict;
}

nb::tuple Manager::readEvents(uint64_t first) {
  constexpr int64_t kChunk = 1024;
  std::vector<CacheEvent> events(kChunk);
  nb::list list;
  int64_t count = kChunk;
  while (count == kChunk) {
    check(manager->readEvents(first, events.data(), kChunk, count, first));
    for (int64_t i = 0; i < count; ++i)
      list.append(toDict(events[size_t(i)]));
  }
  return nb::make_tuple(list, first);
}

nb::object Manager::pool(nb::handle self, int32_t group, int32_t layer,
                         bool values) {
  auto &manager = nb::cast<Manager &>(self);
  const GroupSpec &spec = manager.spec(group);
  if (layer < 0 || layer >= spec.numLayers)
    throw nb::value_error(("expected layer to be from 0 to " +
                           std::to_string(spec.numLayers - 1) + ", got " +
                           std::to_string(layer))
                              .c_str());
  PoolMemory memory;
  check(manager.manager->poolMemory(group, memory));
  uint8_t *data = values ? memory.values : memory.keys;
  if (!data)
    return nb::none();
  data += layer * (values ? memory.valueLayerStride : memory.keyLayerStride);
  size_t sizes[] = {
      size_t(manager.options.numPages[group]),
      size_t(sidePageBytes(spec, values ? spec.values : spec.keys))};
  int64_t strides[] = {values ? memory.valuePageStride : memory.keyPageStride,
                       1};
  return nb::cast(
      nb::ndarray<nb::numpy, uint8_t>(data, 2, sizes, self, strides));
}

} // namespace

void paged_attn_python::bindManager(nb::module_ &module) {
  using NoGil = nb::call_guard<nb::gil_scoped_release>;
  nb::class_<Manager>(module, "Manager")
      .def(nb::init<const nb::dict &>())
      .def("match_prefix", &Manager::matchPrefix)
      .def("release_match", &Manager::releaseMatch)
      .def("peek_prefix", &Manager::peekPrefix)
      .def("add_sequence", &Manager::addSequence)
      .def("add_matched_sequence", &Manager::addMatchedSequence)
      .def("fork", &Manager::fork)
      .def("allocate_slots", &Manager::allocateSlots)
      .def("commit", &Manager::commit)
      .def("commit_tokens", &Manager::commitTokens)
      .def("commit_tree", &Manager::commitTree)
      .def("truncate", &Manager::truncate)
      .def("free_sequence", &Manager::freeSequence)
      .def("release_window", &Manager::releaseWindow)
      .def("sequence_info", &Manager::sequenceInfo)
      .def("sequence_tokens", &Manager::sequenceTokens)
      .def("set_priority", &Manager::setPriority)
      .def("fill_views", &Manager::fillViews)
      .def("num_common_prefix_pages", &Manager::numCommonPrefixPages)
      .def("run_pending_work", &Manager::runPendingWork, NoGil())
      .def("take_page_copies", &Manager::takePageCopies)
      .def("take_pages_to_zero", &Manager::takePagesToZero)
      .def("take_slot_copies", &Manager::takeSlotCopies)
      .def("compact", &Manager::compact)
      .def("swap_out", &Manager::swapOut)
      .def("swap_in", &Manager::swapIn)
      .def("save", &Manager::save)
      .def("load", &Manager::load)
      .def("export_sequence", &Manager::exportSequence)
      .def("import_sequence", &Manager::importSequence)
      .def("stats", &Manager::stats)
      .def("read_events", &Manager::readEvents)
      .def("prometheus_text", &Manager::prometheusText)
      .def("dump_text", &Manager::dumpText)
      .def("dump_svg", &Manager::dumpSvg)
      .def("check_invariants", &Manager::checkInvariants)
      .def("reset_prefix_cache", &Manager::resetPrefixCache)
      .def("pin_page", &Manager::pinPage)
      .def("unpin_page", &Manager::unpinPage)
      .def("resize_pool", &Manager::resizePool)
      .def("pool",
           [](nb::object self, int32_t group, int32_t layer, bool values) {
             return Manager::pool(self, group, layer, values);
           });
}
