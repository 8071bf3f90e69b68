//===- ManagerData.cpp - Options and counters of the manager --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Dictionaries to options, counters and events to dictionaries.
//
//===----------------------------------------------------------------------===//

#include "ManagerData.h"

#include <nanobind/stl/string.h>

#include <string_view>

using namespace paged_attn;
using namespace paged_attn_python;

namespace {

//===----------------------------------------------------------------------===//
// Options
//===----------------------------------------------------------------------===//

template <typename T>
void read(const nb::dict &dict, const char *name, T &value) {
  if (dict.contains(name))
    value = nb::cast<T>(dict[name]);
}

/// The enumerator of a name among `names`, whose order is the enum's.
template <typename T>
void readEnum(const nb::dict &dict, const char *name,
              std::initializer_list<const char *> names, T &value) {
  if (!dict.contains(name))
    return;
  nb::object given = nb::borrow(dict[name]);
  if (std::string_view(name) == "dtype" && !nb::isinstance<nb::str>(given))
    given = nb::module_::import_("numpy").attr("dtype")(given).attr("name");
  if (!nb::isinstance<nb::str>(given))
    nb::raise_type_error(
        "expected %s to be a string, got %s", name,
        nb::cast<std::string>(nb::str(given.type().attr("__name__"))).c_str());
  std::string text = nb::cast<std::string>(given), all;
  int index = 0;
  for (const char *candidate : names) {
    if (text == candidate) {
      value = T(index);
      return;
    }
    all += (index++ ? ", " : "") + std::string(candidate);
  }
  throw nb::value_error(("expected " + std::string(name) + " to be one of " +
                         all + ", got '" + text + "'")
                            .c_str());
}

SideSpec readSide(const nb::dict &dict, const char *dim) {
  SideSpec side;
  read(dict, dim, side.dim);
  readEnum(dict, "dtype",
           {"float32", "float16", "bfloat16", "float8_e4m3fn", "int8"},
           side.type);
  readEnum(dict, "layout", {"pshd", "phsd", "phds"}, side.layout);
  readEnum(dict, "scales", {"none", "tensor", "head", "token"}, side.scales);
  return side;
}

GroupSpec readGroup(const nb::dict &dict) {
  GroupSpec group;
  read(dict, "page_size", group.pageSize);
  read(dict, "num_layers", group.numLayers);
  read(dict, "num_kv_heads", group.numKVHeads);
  group.keys = readSide(dict, "head_dim");
  group.values = readSide(dict, "value_dim");
  readEnum(dict, "window_kind", {"full", "sliding", "chunk", "sink"},
           group.windowKind);
  read(dict, "window", group.window);
  read(dict, "sink_tokens", group.sinkTokens);
  return group;
}

//===----------------------------------------------------------------------===//
// Stats
//===----------------------------------------------------------------------===//

nb::dict histogramToDict(const Histogram &histogram) {
  nb::dict dict;
  nb::list counts;
  for (uint64_t count : histogram.counts)
    counts.append(count);
  dict["counts"] = counts;
  dict["total"] = histogram.total;
  dict["sum"] = histogram.sum;
  return dict;
}

nb::dict groupToDict(const GroupStats &group) {
  nb::dict dict;
  dict["total_pages"] = group.totalPages;
  dict["usable_pages"] = group.usablePages;
  dict["live_pages"] = group.livePages;
  dict["cached_pages"] = group.cachedPages;
  dict["reclaimable_pages"] = group.reclaimablePages;
  dict["free_pages"] = group.freePages;
  dict["pinned_pages"] = group.pinnedPages;
  dict["runs"] = group.runs;
  dict["mapped_pages"] = group.mappedPages;
  dict["wasted_slots"] = group.wastedSlots;
  dict["fragmentation"] = group.fragmentation;
  dict["allocations"] = group.allocations;
  dict["releases"] = group.releases;
  dict["evictions"] = group.evictions;
  dict["lifetime_ms"] = histogramToDict(group.lifetimeMs);
  dict["idle_ms"] = histogramToDict(group.idleMs);
  dict["reuse_gap_ms"] = histogramToDict(group.reuseGapMs);
  return dict;
}

} // namespace

ManagerOptions paged_attn_python::readManagerOptions(const nb::dict &dict) {
  ManagerOptions options;
  nb::list groups = nb::cast<nb::list>(dict["groups"]);
  if (groups.size() < 1 || groups.size() > size_t(kMaxGroups))
    throw nb::value_error(("expected 1 to " + std::to_string(kMaxGroups) +
                           " groups, got " + std::to_string(groups.size()))
                              .c_str());
  options.numGroups = int32_t(groups.size());
  for (int32_t i = 0; i < options.numGroups; ++i) {
    nb::dict group = nb::cast<nb::dict>(groups[i]);
    options.groups[i] = readGroup(group);
    read(group, "num_pages", options.numPages[i]);
    read(group, "max_pages", options.maxPages[i]);
  }
  read(dict, "max_sequences", options.maxSequences);
  read(dict, "max_tokens", options.maxTokens);
  read(dict, "max_events", options.maxEvents);
  read(dict, "prefix_cache", options.prefixCache);
  read(dict, "own_memory", options.ownMemory);
  readEnum(dict, "fill", {"none", "zero", "nan"}, options.fill);
  readEnum(dict, "policy", {"lru", "lfu", "slru", "fifo", "priority"},
           options.policy);
  return options;
}

nb::dict paged_attn_python::toDict(const ManagerStats &stats) {
  nb::dict dict;
  nb::list groups;
  for (int32_t i = 0; i < stats.numGroups; ++i)
    groups.append(groupToDict(stats.groups[i]));
  dict["groups"] = groups;
  dict["sequences"] = stats.sequences;
  dict["swapped_sequences"] = stats.swappedSequences;
  dict["cached_tokens"] = stats.cachedTokens;
  dict["prefix_queries"] = stats.prefixQueries;
  dict["queried_tokens"] = stats.queriedTokens;
  dict["hit_tokens"] = stats.hitTokens;
  dict["partial_hits"] = stats.partialHits;
  dict["copies"] = stats.copies;
  dict["moves"] = stats.moves;
  dict["swap_outs"] = stats.swapOuts;
  dict["swap_ins"] = stats.swapIns;
  dict["hit_rate"] = stats.hitRate;
  return dict;
}

nb::dict paged_attn_python::toDict(const CacheEvent &event) {
  constexpr const char *kNames[] = {"stored", "removed", "cleared", "moved"};
  nb::dict dict;
  dict["number"] = event.sequence;
  dict["kind"] = kNames[int(event.kind)];
  dict["group"] = event.group;
  dict["page"] = event.page;
  dict["moved_to"] = event.movedTo;
  dict["hash"] = event.hash;
  dict["parent_hash"] = event.parentHash;
  return dict;
}
