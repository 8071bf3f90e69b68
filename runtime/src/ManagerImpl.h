//===- ManagerImpl.h - State of a KVCacheManager ----------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The private state of the manager and the steps that its public calls share.
// Nothing here locks: public methods take the mutex once.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_SRC_MANAGERIMPL_H
#define PAGED_ATTN_SRC_MANAGERIMPL_H

#include "Transcode.h"
#include "paged_attn/KVCacheManager.h"

#include <mutex>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

namespace paged_attn {

/// Domains by value: equal salt and keys give the same index while any page
/// or sequence uses them.
class Domains {
public:
  /// Finds or adds a domain with one reference. Throws bad_alloc.
  int32_t acquire(const PrefixDomain &domain);
  int32_t find(const PrefixDomain &domain) const;
  void ref(int32_t index) { ++entries_[index].refs; }
  void release(int32_t index);
  /// Parent key of the first page of a sequence.
  uint64_t rootKey(int32_t index) const {
    return uint64_t(1) << 63 | uint64_t(entries_[index].generation) << 32 |
           uint32_t(index);
  }
  uint64_t contentHash(int32_t index) const { return entries_[index].hash; }
  /// The domain as bytes, and back.
  const std::string &encoded(int32_t index) const {
    return *entries_[index].key;
  }
  int32_t acquireEncoded(const std::string &key);
  static std::string encode(const PrefixDomain &domain);
  size_t size() const { return entries_.size(); }
  uint32_t refs(int32_t index) const { return entries_[index].refs; }
  int32_t indexOfRootKey(uint64_t key) const { return int32_t(uint32_t(key)); }

private:
  struct Entry {
    const std::string *key = nullptr; ///< owned by `byKey_`
    uint64_t hash = 0;
    uint32_t refs = 0;
    uint32_t generation = 0; ///< 31 bits
  };
  std::vector<Entry> entries_;
  std::vector<int32_t> unused_; ///< capacity for all entries
  std::unordered_map<std::string, int32_t> byKey_;
};

/// Hashes over the tokens of a sequence up to some page.
struct Chain {
  uint64_t content; ///< of domain and tokens only
  uint64_t digest;  ///< keyed (windowed groups)
};

/// A sequence's part in one group.
struct GroupState {
  int32_t numPages;  ///< table entries, lookahead included
  int32_t numHashed; ///< leading pages that went through the prefix index
  Chain chain;       ///< after `numHashed` pages
};

enum class SequenceState : uint8_t { Unused, Match, Live, Swapped };

struct Sequence {
  uint32_t generation;
  SequenceState state;
  int32_t domain;
  int32_t numTokens;
  int32_t numCommitted;
  uint32_t version; ///< changes when existing table entries change
  uint64_t stamp;   ///< last batch call that named this sequence
  int32_t nextUnused;
};

enum class Side : uint8_t { Keys, Values };

/// What a look-up found in one group.
struct GroupMatch {
  int32_t pages;        ///< entries looked up (full: all of them found)
  int32_t partialIndex; ///< entry behind the last page that was found
  PageId partialPage;   ///< a page that begins with what follows there
  int32_t tokens;       ///< tokens up to the end of what it agrees with
};

/// What a swapped sequence left elsewhere.
struct SwapRecord {
  std::vector<uint8_t> bytes;
  std::string path;
};

/// A file that is mapped for reading, while this object lives.
class MappedFile {
public:
  explicit MappedFile(FileSystem &files) : files_(files) {}
  ~MappedFile();
  MappedFile(const MappedFile &) = delete;
  MappedFile &operator=(const MappedFile &) = delete;
  Status open(const char *path);
  const uint8_t *data() const { return data_; }
  size_t size() const { return size_; }

private:
  FileSystem &files_;
  bool isOpen_ = false;
  const uint8_t *data_ = nullptr;
  size_t size_ = 0;
};

struct ManagerImpl final : PoolListener {
  explicit ManagerImpl(const ManagerOptions &options) : options(options) {}

  //===--- State ----------------------------------------------------------===//
  ManagerOptions options;
  mutable std::mutex mutex;
  std::unique_ptr<PagePool> pools[kMaxGroups];
  PoolMemory memory[kMaxGroups];
  HostArray<uint8_t> owned[kMaxGroups][4];
  Domains domains;
  HostArray<Sequence> sequences;
  // One row more than sequences: `scratchSlot`, for peeking and importing.
  HostArray<GroupState> groupStates;    ///< [maxSequences + 1][numGroups]
  HostArray<TokenId> tokens;            ///< [maxSequences + 1][maxTokens]
  HostArray<PageId> tables[kMaxGroups]; ///< [maxSequences + 1][tableWidth]
  int64_t tableWidth[kMaxGroups] = {};
  int32_t unusedHead = -1;
  std::vector<std::unique_ptr<SwapRecord>> swaps;
  HostArray<PageCopy> copies;
  HostArray<PageZero> zeroes;
  HostArray<SlotCopy> slotCopies;
  int64_t numCopies = 0, numZeroes = 0, numSlotCopies = 0;
  int64_t copyCapacity = 0, zeroCapacity = 0, slotCopyCapacity = 0;
  HostArray<CacheEvent> events;
  uint64_t nextEvent = 0;
  HostAllocator poolAllocator; ///< of the pools' own memory
  uint64_t secret = 0;
  uint64_t stamp = 0;
  uint64_t clockStart = 0;
  mutable ManagerStats counters;

  //===--- Small accessors ------------------------------------------------===//
  int32_t numGroups() const { return options.numGroups; }
  const GroupSpec &spec(int32_t group) const { return options.groups[group]; }
  bool exact(int32_t group) const {
    return spec(group).windowKind == WindowKind::Full;
  }
  GroupState &state(int32_t slot, int32_t group) const {
    return groupStates[size_t(slot) * numGroups() + group];
  }
  PageId *table(int32_t slot, int32_t group) const {
    return &tables[group][size_t(slot) * tableWidth[group]];
  }
  TokenId *tokensOf(int32_t slot) const {
    return &tokens[size_t(slot) * options.maxTokens];
  }
  SeqId handle(int32_t slot) const {
    return SeqId(uint64_t(sequences[slot].generation) << 32 | uint32_t(slot));
  }
  bool workPending() const { return numCopies + numZeroes + numSlotCopies > 0; }
  uint64_t now() const;
  /// Brings the pools' clocks up to date; once per public call.
  void tick() const;

  //===--- Steps ----------------------------------------------------------===//
  Status initialize();
  Status allocateOwnMemory();
  Status allocateSide(int32_t group, Side which);
  Status findSlot(SeqId sequence, int32_t &slot,
                  bool allowSwapped = false) const;
  Status checkGroup(int32_t group) const;
  Status takeSlot(int32_t domain, SequenceState state, int32_t &slot);
  void releaseSlot(int32_t slot);
  /// Drops table entries [from, numPages), tail first.
  void dropPages(int32_t slot, int32_t group, int32_t from, KeepCache keep);
  void freeSlot(int32_t slot, KeepCache keep);
  /// Whether slots from `slot` on of a mapped page are its one owner's.
  bool writable(int32_t group, PageId page, int32_t slot) const {
    return pools[group]->refs(page) == 1 &&
           slot >= pools[group]->cachedTokens(page);
  }
  void freshPages(int32_t group, int32_t count, PageId *pages);
  /// The slot behind the last, for work that needs no sequence.
  int32_t scratchSlot() const { return options.maxSequences; }
  void addCopy(int32_t group, PageId source, PageId target, int32_t tokens);
  void releaseCopies(int64_t count);
  /// Forgets work for unreferenced pages at or past `end`.
  void dropWorkFrom(int32_t group, int64_t end);
  /// Pages that a request takes of a group; `copied` tells whether the last
  /// page must be copied first.
  int64_t pagesNeeded(int32_t slot, int32_t group, int64_t numTokens,
                      int64_t lookahead, bool &copied) const;
  void mapSlots(int32_t slot, const SlotRequest &request);
  /// FailedPrecondition when pending work names a page that holds tokens
  /// [begin, end) of a sequence. Work for other pages does not matter.
  Status needDone(int32_t slot, int32_t begin, int32_t end) const;
  bool isPending(int32_t group, PageId page) const;
  void commitSlot(int32_t slot, int32_t numTokens);
  /// Puts the next full page of a sequence through the prefix index. `store`
  /// false only advances the chain.
  void commitPage(int32_t slot, int32_t group, bool store);
  /// The same when the chain after the page is known.
  void commitHashed(int32_t slot, int32_t group, const Chain &after,
                    bool store);
  /// All full pages up to entry `end`, their cache misses overlapped.
  void commitPages(int32_t slot, int32_t group, int32_t end);
  /// Puts the committed head of a partly filled last page into the prefix
  /// cache, for matches that copy it.
  void storeLastPage(int32_t slot, int32_t group);
  /// Replaces entry `index` of every sequence that maps `from` there.
  void replaceShared(int32_t group, int32_t index, PageId from, PageId to);
  uint64_t parentKey(int32_t slot, int32_t group, int32_t page,
                     uint64_t digest) const;
  void nextChain(int32_t group, const TokenId *tokens, Chain &chain) const;
  void hashAhead(int32_t group, const TokenId *tokens, int32_t count,
                 Chain &chain, Chain *after) const;
  void startChain(int32_t slot, int32_t group);
  void rebuildChain(int32_t slot, int32_t group, int32_t numHashed);
  /// Looks up `numTokens` tokens: pages into the tables of `slot`, without
  /// references, lengths and partial pages into `found`.
  void lookUp(uint64_t root, uint64_t chain, const TokenId *tokens,
              int32_t numTokens, int32_t slot, GroupMatch *found) const;
  GroupMatch lookUpGroup(int32_t group, uint64_t root, uint64_t start,
                         const TokenId *tokens, int32_t numTokens,
                         int32_t slot) const;
  int32_t longestIn(int32_t group, int32_t slot, const GroupMatch &found,
                    int32_t bound) const;
  int32_t commonLength(int32_t slot, const GroupMatch *found,
                       int32_t bound) const;
  /// References the pages of the first `matched` tokens; false, with nothing
  /// changed, when a copied last page cannot be had.
  bool adoptMatch(int32_t slot, int32_t matched, const GroupMatch *found,
                  PrefixMatch &match);
  void matchIntoSlot(int32_t slot, const TokenId *tokens, int32_t numTokens,
                     PrefixMatch &match);
  bool windowIsMapped(int32_t slot, int32_t group, int32_t numTokens) const;
  bool neededByWindow(int32_t group, int64_t page, int64_t next) const;
  Status truncateSlot(int32_t slot, int32_t numTokens);
  void countRuns(int32_t group, int64_t &runs, int64_t &mapped,
                 int64_t &tables) const;
  Status applyMoves(int32_t group, const PageMove *moves, int64_t count);
  Status checkAll() const;

  // Host memory (HostMemory.cpp).
  bool hasMemory(int32_t group) const {
    return memory[group].keys != nullptr &&
           (spec(group).isLatent() || memory[group].values != nullptr);
  }
  Status needMemory(int32_t group) const;
  /// One side of one layer of a page in pool memory.
  PageSide pageSide(int32_t group, int32_t layer, Side side, PageId page) const;
  int32_t numSides(int32_t group) const {
    return spec(group).isLatent() ? 1 : 2;
  }
  void copyPage(int32_t group, PageId source, PageId target) const;
  void copySlots(const SlotCopy &copy) const;
  void fillPage(int32_t group, PageId page, FillMode mode) const;
  void fillGuard(int32_t group) const;
  Status checkGuard(int32_t group) const;

  // Snapshots (Snapshot.cpp, SnapshotReader.cpp).
  Status exportSlots(const int32_t *slots, int32_t count, bool withCache,
                     std::vector<uint8_t> &bytes) const;
  Status exportAll(std::vector<uint8_t> &bytes) const;
  /// Adds what a snapshot holds; `intoSlot` >= 0 brings one swapped sequence
  /// back. On failure nothing changed.
  Status importBytes(const uint8_t *bytes, size_t size, int32_t intoSlot,
                     std::vector<SeqId> &handles);
  Status readSwap(int32_t slot, std::vector<uint8_t> &bytes) const;
  /// Forgets a swapped sequence's bytes, its file too.
  void dropSwap(int32_t slot);

  //===--- PoolListener ---------------------------------------------------===//
  void pageStored(int32_t group, PageId page, uint64_t hash,
                  uint64_t parentHash) override;
  void pageRemoved(int32_t group, PageId page, uint64_t hash,
                   uint64_t parentKey, bool isRoot) override;
  void addEvent(EventKind kind, int32_t group, PageId page, PageId movedTo,
                uint64_t hash, uint64_t parentHash);
};

/// Runs `body`; memory that ends becomes a status.
template <typename Body>
Status guarded(Body &&body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    return Status::error(StatusCode::ResourceExhausted, "out of host memory");
  } catch (...) {
    return Status::error(StatusCode::Internal, "unexpected exception");
  }
}

} // namespace paged_attn

#endif // PAGED_ATTN_SRC_MANAGERIMPL_H
