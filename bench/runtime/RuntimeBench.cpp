//===- RuntimeBench.cpp - Speed of the page-table runtime -----------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The steps of a serving engine: decode, match, allocation, a prefix that is
// committed, freed and evicted, plans. bench/runtime/vllm_logic.py does the
// same work in plain Python.
//
//===----------------------------------------------------------------------===//

#include "SkewedBatches.h"
#include "paged_attn/KVCacheManager.h"
#include "paged_attn/Plan.h"

#include <algorithm>
#include <benchmark/benchmark.h>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <random>

using namespace paged_attn;

namespace {

constexpr int32_t kPageSize = 16;
constexpr int32_t kBatch = 256;    ///< sequences of a decode step
constexpr int32_t kSmallBatch = 8; ///< fits a pool of 1,000 pages
constexpr int32_t kContext = 1008; ///< tokens before the first step
constexpr int32_t kRoom = 512;     ///< steps until sequences start again

void check(const Status &status) {
  if (status.isOk())
    return;
  std::fprintf(stderr, "%s\n", status.message());
  std::abort();
}

std::unique_ptr<KVCacheManager> makeManager(int64_t pages, int32_t sequences,
                                            int32_t maxTokens) {
  ManagerOptions options;
  options.groups[0].pageSize = kPageSize;
  options.numPages[0] = pages;
  options.maxSequences = sequences;
  options.maxTokens = maxTokens;
  std::unique_ptr<KVCacheManager> manager;
  check(KVCacheManager::create(options, manager));
  return manager;
}

std::vector<TokenId> randomTokens(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> tokens(static_cast<size_t>(count));
  for (TokenId &token : tokens)
    token = TokenId(random() % 128000);
  return tokens;
}

SeqId addSequence(KVCacheManager &manager, const TokenId *tokens,
                  int32_t count) {
  SeqId sequence;
  check(manager.addSequence(PrefixDomain(), sequence));
  SlotRequest request{sequence, tokens, count, 0, nullptr};
  check(manager.allocateSlots(&request, 1));
  check(manager.commit(&sequence, 1));
  return sequence;
}

/// The sequences and buffers of a decode step.
struct DecodeStep {
  DecodeStep(KVCacheManager &manager, int32_t batch)
      : manager(manager), batch(batch), rows(size_t(batch)),
        kvLens(size_t(batch)), starts(size_t(batch) + 1), slots(size_t(batch)),
        tokens(randomTokens(batch, 5)) {
    std::vector<TokenId> prompts = randomTokens(int64_t(batch) * kContext, 1);
    for (int32_t i = 0; i < batch; ++i) {
      ids.push_back(
          addSequence(manager, &prompts[size_t(i) * kContext], kContext));
      requests.push_back(
          SlotRequest{ids.back(), &tokens[size_t(i)], 1, 0, nullptr});
    }
    views.tableStride = (kContext + kRoom) / kPageSize + 1;
    table.resize(size_t(batch) * size_t(views.tableStride));
    views.pageTable = table.data();
    views.rows = rows.data();
    views.kvLens = kvLens.data();
    views.queryStarts = starts.data();
    views.slotMapping = slots.data();
    views.slotCapacity = batch;
  }
  void allocateAndView() {
    check(manager.allocateSlots(requests.data(), batch));
    check(manager.fillViews(0, ids.data(), batch, views));
  }
  void commit() { check(manager.commit(ids.data(), batch)); }
  /// Back to the context, for the next round.
  void rewind() {
    for (SeqId id : ids)
      check(manager.truncate(id, kContext));
    check(manager.resetPrefixCache());
    check(manager.fillViews(0, ids.data(), batch, views));
  }

  KVCacheManager &manager;
  int32_t batch;
  std::vector<SeqId> ids;
  std::vector<SlotRequest> requests;
  std::vector<int32_t> table;
  std::vector<ViewRow> rows;
  std::vector<int32_t> kvLens, starts;
  std::vector<int64_t> slots;
  std::vector<TokenId> tokens;
  BatchViews views;
};

/// A decode step: slots, page table, lengths, query starts, slot mapping, and
/// the commit of the tokens.
void DecodeStepWithCommit(benchmark::State &state) {
  auto batch = int32_t(state.range(0));
  auto manager = makeManager(state.range(1), batch + 1, kContext + kRoom);
  DecodeStep step(*manager, batch);
  int32_t grown = 0;
  for (auto _ : state) {
    step.allocateAndView();
    step.commit();
    if (++grown == kRoom) {
      state.PauseTiming();
      step.rewind();
      grown = 0;
      state.ResumeTiming();
    }
  }
}

/// The same without the commit, which happens while the clock stands.
void DecodeStepOnly(benchmark::State &state) {
  auto batch = int32_t(state.range(0));
  auto manager = makeManager(state.range(1), batch + 1, kContext + kRoom);
  DecodeStep step(*manager, batch);
  int32_t grown = 0;
  for (auto _ : state) {
    step.allocateAndView();
    state.PauseTiming();
    step.commit();
    if (++grown == kRoom) {
      step.rewind();
      grown = 0;
    }
    state.ResumeTiming();
  }
}

void MatchPrefix8192(benchmark::State &state) {
  auto manager = makeManager(state.range(0), 8, 8192 + 16);
  std::vector<TokenId> prompt = randomTokens(8192, 3);
  check(manager->freeSequence(addSequence(*manager, prompt.data(), 8192)));
  for (auto _ : state) {
    PrefixMatch match;
    check(manager->matchPrefix(prompt.data(), 8192, PrefixDomain(), match));
    if (match.numTokens != 8192)
      std::abort();
    check(manager->releaseMatch(match.handle));
  }
}

void PeekPrefix8192(benchmark::State &state) {
  auto manager = makeManager(state.range(0), 8, 8192 + 16);
  std::vector<TokenId> prompt = randomTokens(8192, 3);
  check(manager->freeSequence(addSequence(*manager, prompt.data(), 8192)));
  int32_t matched = 0;
  for (auto _ : state) {
    check(manager->peekPrefix(prompt.data(), 8192, PrefixDomain(), matched));
    benchmark::DoNotOptimize(matched);
  }
}

/// A million pages handed out in requests of 64, then freed.
void MillionPages(benchmark::State &state) {
  constexpr int64_t kPages = 1000000;
  PoolOptions options;
  options.numPages = options.maxPages = kPages + 1;
  std::unique_ptr<PagePool> pool;
  check(PagePool::create(options, pool));
  std::vector<PageId> pages(kPages);
  for (auto _ : state) {
    for (int64_t i = 0; i < kPages; i += 64)
      check(pool->allocate(std::min<int64_t>(64, kPages - i), &pages[i]));
    for (int64_t i = kPages; i-- > 0;)
      pool->deref(pages[size_t(i)]);
  }
  state.counters["bytes_per_page"] =
      double(pool->bookkeepingBytes()) / double(kPages);
}

/// Prompts of 512 tokens that come, are cached, go and push out others. The
/// first token makes each a new one, so all its pages are new to the cache.
void PromptThroughFullCache(benchmark::State &state) {
  auto manager = makeManager(state.range(0), 8, 1024);
  std::vector<TokenId> tokens = randomTokens(512, 9);
  tokens[0] = 0;
  auto one = [&] {
    ++tokens[0];
    check(manager->freeSequence(addSequence(*manager, tokens.data(), 512)));
  };
  for (int64_t i = 0; i < state.range(0) / 32 + 1; ++i)
    one();
  for (auto _ : state)
    one();
  state.counters["bytes_per_page"] =
      double(manager->bookkeepingBytes(0)) / double(state.range(0));
}

void Fork(benchmark::State &state) {
  auto manager = makeManager(100000, 64, 8192);
  std::vector<TokenId> prompt = randomTokens(8000, 3);
  SeqId parent = addSequence(*manager, prompt.data(), 8000), child;
  for (auto _ : state) {
    check(manager->fork(parent, -1, child));
    check(manager->freeSequence(child));
  }
}

PlanOptions planOptions() {
  PlanOptions options;
  options.numKVHeads = 8;
  options.numWorkers = 16;
  return options;
}

void BuildPlan256(benchmark::State &state) {
  std::vector<int32_t> qLens(kBatch, 1), kvLens(kBatch);
  std::mt19937 random(1);
  for (int32_t &length : kvLens)
    length = 100 + int32_t(random() % 8000);
  Plan plan;
  for (auto _ : state)
    check(buildPlan(planOptions(), qLens.data(), kvLens.data(), kBatch, plan));
  state.counters["quality"] = plan.quality();
}

void AdvancePlan256(benchmark::State &state) {
  std::vector<int32_t> qLens(kBatch, 1), kvLens(kBatch, 1000);
  Plan plan;
  check(buildPlan(planOptions(), qLens.data(), kvLens.data(), kBatch, plan));
  for (auto _ : state) {
    for (int32_t &length : kvLens)
      ++length;
    PlanUpdate done;
    check(updatePlan(qLens.data(), kvLens.data(), kBatch, plan, done));
  }
}

/// Makespan against the lower bound. Arguments: batch of SkewedBatches.h,
/// workers.
void PlanQuality(benchmark::State &state) {
  auto [name, batch] = test::skewedBatches()[size_t(state.range(0))];
  PlanOptions options = planOptions();
  options.numWorkers = int32_t(state.range(1));
  Plan balanced, whole;
  for (auto _ : state)
    check(buildPlan(options, batch.qLens.data(), batch.kvLens.data(),
                    batch.count(), balanced));
  options.splits = SplitMode::None;
  check(buildPlan(options, batch.qLens.data(), batch.kvLens.data(),
                  batch.count(), whole));
  state.SetLabel(name);
  state.counters["quality"] = balanced.quality();
  state.counters["quality_without_cuts"] = whole.makespan / balanced.lowerBound;
}

/// What a cut costs: partial states of four query heads with 128 values each,
/// written by one item and merged by another (fit_plan_cost.py).
void MergePartials(benchmark::State &state) {
  constexpr int64_t kRows = 256, kParts = 8, kGroup = 4, kDim = 128;
  constexpr int64_t kState = kGroup * (kDim + 1); // Values and their lse.
  std::vector<float> accumulators(kState, 0.25f), out(kRows * kGroup * kDim);
  std::vector<float> partials(size_t(kRows * kParts * kState));
  for (auto _ : state) {
    for (int64_t i = 0; i < kRows * kParts; ++i)
      std::copy(accumulators.begin(), accumulators.end(),
                partials.begin() + i * kState);
    for (int64_t head = 0; head < kRows * kGroup; ++head) {
      const float *from = &partials[size_t(head / kGroup * kParts * kState +
                                           head % kGroup * (kDim + 1))];
      float *to = &out[size_t(head * kDim)];
      float largest = from[kDim], sum = 0;
      for (int64_t part = 1; part < kParts; ++part)
        largest = std::max(largest, from[part * kState + kDim]);
      std::fill(to, to + kDim, 0.0f);
      for (int64_t part = 0; part < kParts; ++part) {
        float weight = std::exp(from[part * kState + kDim] - largest);
        sum += weight;
        for (int64_t d = 0; d < kDim; ++d)
          to[d] += weight * from[part * kState + d];
      }
      for (int64_t d = 0; d < kDim; ++d)
        to[d] /= sum;
    }
    benchmark::DoNotOptimize(out.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kRows * kParts);
}

// Arguments: sequences, pages. From a thousand to ten million pages the cost of
// a step must stay; 256 sequences of this length need 24,576 pages.
BENCHMARK(DecodeStepWithCommit)
    ->Args({kSmallBatch, 1000})
    ->Args({kSmallBatch, 100000})
    ->Args({kSmallBatch, 10000000})
    ->Args({kBatch, 32768})
    ->Args({kBatch, 1000000})
    ->Args({kBatch, 10000000});
BENCHMARK(DecodeStepOnly)->Args({kBatch, 32768})->Args({kBatch, 10000000});
BENCHMARK(MatchPrefix8192)
    ->Arg(1000)
    ->Arg(100000)
    ->Arg(10000000)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(PeekPrefix8192)->Arg(1000)->Unit(benchmark::kMicrosecond);
BENCHMARK(MillionPages)->Unit(benchmark::kMillisecond);
BENCHMARK(PromptThroughFullCache)
    ->Arg(1000)
    ->Arg(100000)
    ->Arg(1000000)
    ->Arg(10000000)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(Fork)->Unit(benchmark::kMicrosecond);
BENCHMARK(BuildPlan256)->Unit(benchmark::kMicrosecond);
BENCHMARK(AdvancePlan256)->Unit(benchmark::kMicrosecond);
BENCHMARK(PlanQuality)
    ->ArgsProduct({{0, 1, 2, 3, 4}, {2, 16, 132}})
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(MergePartials)->Unit(benchmark::kMicrosecond);

} // namespace
