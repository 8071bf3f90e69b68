//===- ServingWorkload.cpp - A random serving engine ----------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The engine. K, V and Q of a token are functions of the tokens up to it, so
// that the reference needs nothing but the tokens, and a page that holds
// another prefix gives another result.
//
//===----------------------------------------------------------------------===//

#include "ServingWorkload.h"

#include "Transcode.h"

#include <algorithm>
#include <cmath>

using namespace paged_attn;
using namespace paged_attn::test;

namespace {

constexpr int32_t kVocabulary = 5;
constexpr int32_t kChunk = 24; ///< tokens of a prefill chunk at most

/// A value in [-1, 1] of a token's chain, head and dim.
float valueOf(uint32_t chain, int32_t kind, int32_t head, int32_t dim) {
  uint32_t x = chain + uint32_t(kind) * 0x632be5abu +
               uint32_t(head) * 0x85157af5u + uint32_t(dim) * 0x9e3779b1u;
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return float(int32_t(x ^ (x >> 16)) / 2147483648.0);
}
enum Kind { kKey, kValue, kQuery };

struct Request {
  SeqId id = kNoSequence;
  std::vector<TokenId> tokens; ///< prompt and generated
  int32_t inCache = 0;         ///< tokens that the manager holds
  int32_t target = 0;          ///< length at which it is done
  bool swapped = false;
};

/// Rows of one call: request, tokens to append, whether they are drafts.
struct BatchEntry {
  size_t request;
  std::vector<TokenId> newTokens;
  int32_t numDrafts; ///< speculative tokens among them
};

class Engine {
public:
  Engine(KVCacheManager &manager, const ManagerOptions &options,
         const WorkloadOptions &workload, const AttentionCallback &attention,
         WorkloadReport &report)
      : m(manager), options(options), workload(workload), attention(attention),
        report(report), random(workload.seed) {}
  std::string step();
  std::string finish();

private:
  uint32_t below(uint32_t bound) { return random() % bound; }
  std::string fail(const Status &status, const char *what) const {
    return status.isOk() ? "" : std::string(what) + ": " + status.message();
  }
  std::string admit();
  std::string forkOne();
  std::string swapSome();
  std::string preempt();
  std::string retire();
  std::vector<BatchEntry> schedule();
  std::string allocate(std::vector<BatchEntry> &batch);
  std::string attend(const std::vector<BatchEntry> &batch);
  std::string attendGroup(int32_t group, const std::vector<BatchEntry> &batch);
  std::string settle(const std::vector<BatchEntry> &batch);
  std::string compare(const AttentionStep &step, int32_t sequence,
                      const std::vector<uint32_t> &chains);
  std::vector<uint32_t> chainsOf(const std::vector<TokenId> &tokens) const;

  KVCacheManager &m;
  const ManagerOptions &options;
  const WorkloadOptions &workload;
  const AttentionCallback &attention;
  WorkloadReport &report;
  std::mt19937 random;
  std::vector<Request> requests;
  std::vector<std::vector<TokenId>> prompts;
};

std::vector<uint32_t>
Engine::chainsOf(const std::vector<TokenId> &tokens) const {
  std::vector<uint32_t> chains;
  uint32_t chain = 1;
  for (TokenId token : tokens)
    chains.push_back(chain = chainValue(chain, token));
  return chains;
}

//===----------------------------------------------------------------------===//
// Life of requests
//===----------------------------------------------------------------------===//

/// A new request, with what the prefix cache has of its prompt.
std::string Engine::admit() {
  Request request;
  if (!prompts.empty() && below(2))
    request.tokens = prompts[below(uint32_t(prompts.size()))];
  for (uint32_t n = 4 + below(40); n > 0; --n)
    request.tokens.push_back(TokenId(below(kVocabulary)));
  auto most = size_t(options.maxTokens) - 40;
  request.tokens.resize(std::min(request.tokens.size(), most));
  prompts.push_back(request.tokens);
  request.target = int32_t(request.tokens.size()) + 4 + int32_t(below(24));
  PrefixMatch match;
  Status status =
      m.matchPrefix(request.tokens.data(), int32_t(request.tokens.size()) - 1,
                    PrefixDomain(), match);
  if (status.code() == StatusCode::ResourceExhausted)
    return "";
  if (status.isOk())
    status = m.addMatchedSequence(match.handle, request.id);
  request.inCache = match.numTokens;
  report.prefixHits += match.numTokens > 0;
  requests.push_back(request);
  return fail(status, "admit");
}

std::string Engine::forkOne() {
  if (requests.empty())
    return "";
  Request child = requests[below(uint32_t(requests.size()))];
  if (child.swapped || child.inCache < int32_t(child.tokens.size()) - 1)
    return ""; // Still in prefill.
  Status status = m.fork(child.id, -1, child.id);
  if (status.code() == StatusCode::ResourceExhausted)
    return "";
  child.tokens.back() = TokenId(below(kVocabulary));
  ++report.forks;
  requests.push_back(child);
  return fail(status, "fork");
}

std::string Engine::swapSome() {
  for (Request &request : requests) {
    if (below(6) != 0)
      continue;
    Status status = request.swapped ? m.swapIn(request.id)
                                    : m.swapOut(request.id, SwapTarget::Host);
    if (status.code() == StatusCode::ResourceExhausted)
      continue;
    if (!status.isOk())
      return fail(status, "swap");
    request.swapped = !request.swapped;
    ++(request.swapped ? report.swapOuts : report.swapIns);
  }
  return "";
}

/// Frees a request's pages; its tokens are computed again later.
std::string Engine::preempt() {
  for (size_t i = requests.size(); i-- > 0;) {
    Request &request = requests[i];
    if (request.swapped || request.inCache == 0)
      continue;
    std::string text = fail(m.freeSequence(request.id), "preempt");
    request.inCache = 0;
    ++report.preemptions;
    return text + fail(m.addSequence(PrefixDomain(), request.id), "readmit");
  }
  return "";
}

std::string Engine::retire() {
  for (size_t i = requests.size(); i-- > 0;)
    if (!requests[i].swapped &&
        int32_t(requests[i].tokens.size()) >= requests[i].target) {
      Status status = m.freeSequence(
          requests[i].id, below(3) ? KeepCache::Keep : KeepCache::Drop);
      if (!status.isOk())
        return fail(status, "free");
      requests.erase(requests.begin() + ptrdiff_t(i));
      ++report.frees;
    }
  return "";
}

//===----------------------------------------------------------------------===//
// Steps
//===----------------------------------------------------------------------===//

/// A chunk of the prompt, or the last token with some drafts behind it.
std::vector<BatchEntry> Engine::schedule() {
  std::vector<BatchEntry> batch;
  for (size_t i = 0; i < requests.size(); ++i) {
    Request &request = requests[i];
    auto left = int32_t(request.tokens.size()) - request.inCache;
    if (request.swapped || below(5) == 0)
      continue;
    BatchEntry entry{i, {}, 0};
    int32_t count = std::min(left, 1 + int32_t(below(kChunk)));
    entry.newTokens.assign(request.tokens.begin() + request.inCache,
                           request.tokens.begin() + request.inCache + count);
    report.prefillChunks += left > 1;
    report.decodes += left == 1;
    for (; left == 1 && entry.numDrafts < int32_t(below(5)); ++entry.numDrafts)
      entry.newTokens.push_back(TokenId(below(kVocabulary)));
    batch.push_back(entry);
  }
  return batch;
}

/// All slots of the batch; preempts until they fit.
std::string Engine::allocate(std::vector<BatchEntry> &batch) {
  while (true) {
    std::vector<SlotRequest> slots;
    for (const BatchEntry &entry : batch)
      slots.push_back(SlotRequest{requests[entry.request].id,
                                  entry.newTokens.data(),
                                  int32_t(entry.newTokens.size()), 0, nullptr});
    Status status = m.allocateSlots(slots.data(), int32_t(slots.size()));
    if (status.code() != StatusCode::ResourceExhausted)
      return fail(status, "allocate") + fail(m.runPendingWork(), "work");
    std::string text = preempt();
    if (!text.empty())
      return text;
    batch = schedule();
    batch.resize(batch.size() / 2); // Fewer, until some fit.
  }
}

std::string Engine::compare(const AttentionStep &step, int32_t b,
                            const std::vector<uint32_t> &chains) {
  const GroupSpec &spec = *step.spec;
  int32_t valueDim = spec.isLatent() ? spec.keys.dim : spec.values.dim;
  int32_t perGroup = step.numQueryHeads / spec.numKVHeads;
  int32_t first = step.queryStarts[b];
  int32_t rows = step.queryStarts[b + 1] - first;
  for (int32_t row = 0; row < rows; ++row)
    for (int32_t h = 0; h < step.numQueryHeads; ++h) {
      int64_t p = step.kvLens[b] - rows + row;
      std::vector<double> sum(size_t(valueDim), 0);
      double denominator = 0;
      for (int64_t j = 0; j <= p; ++j) {
        bool sink =
            spec.windowKind == WindowKind::SinkWindow && j < spec.sinkTokens;
        if (j < windowStart(spec, p) && !sink)
          continue;
        double score = 0;
        for (int32_t d = 0; d < spec.keys.dim; ++d)
          score +=
              double(
                  step.query[(int64_t(first + row) * step.numQueryHeads + h) *
                                 spec.keys.dim +
                             d]) *
              valueOf(chains[size_t(j)], kKey, h / perGroup, d);
        double weight = std::exp(score * step.scale);
        denominator += weight;
        for (int32_t d = 0; d < valueDim; ++d)
          sum[size_t(d)] +=
              weight * valueOf(chains[size_t(j)], kValue, h / perGroup, d);
      }
      for (int32_t d = 0; d < valueDim; ++d) {
        double got = step.out[(int64_t(first + row) * step.numQueryHeads + h) *
                                  valueDim +
                              d];
        double error = std::fabs(got - sum[size_t(d)] / denominator);
        report.worstError = std::max(report.worstError, error);
        if (!(error <= workload.tolerance))
          return "row " + std::to_string(row) + " of " + std::to_string(rows) +
                 ", kv_len " + std::to_string(step.kvLens[b]) + ", head " +
                 std::to_string(h) + ": error " + std::to_string(error);
      }
      ++report.comparedRows;
    }
  return "";
}

std::string Engine::attendGroup(int32_t group,
                                const std::vector<BatchEntry> &batch) {
  const GroupSpec &spec = options.groups[group];
  auto count = int32_t(batch.size());
  std::vector<SeqId> ids;
  std::vector<std::vector<uint32_t>> chains;
  int32_t total = 0;
  for (const BatchEntry &entry : batch) {
    const Request &request = requests[entry.request];
    ids.push_back(request.id);
    std::vector<TokenId> tokens(request.tokens.begin(),
                                request.tokens.begin() + request.inCache);
    tokens.insert(tokens.end(), entry.newTokens.begin(), entry.newTokens.end());
    chains.push_back(chainsOf(tokens));
    total += int32_t(entry.newTokens.size());
  }
  std::vector<int32_t> table(size_t(count) * size_t(options.maxTokens + 1));
  std::vector<int32_t> kvLens(size_t(count) + 1), starts(size_t(count) + 1);
  std::vector<int64_t> slots(size_t(total) + 1);
  BatchViews views;
  views.pageTable = table.data();
  views.tableStride = options.maxTokens + 1;
  views.kvLens = kvLens.data();
  views.queryStarts = starts.data();
  views.slotMapping = slots.data();
  views.slotCapacity = total;
  std::string text =
      fail(m.fillViews(group, ids.data(), count, views), "views");
  if (!text.empty() || views.numSlots != total)
    return text + "wrong number of slots";
  std::vector<float> keys, values, query;
  for (size_t b = 0; b < batch.size(); ++b)
    for (size_t i = 0; i < batch[b].newTokens.size(); ++i) {
      uint32_t chain =
          chains[b][size_t(requests[batch[b].request].inCache) + i];
      for (int32_t h = 0; h < spec.numKVHeads; ++h) {
        for (int32_t d = 0; d < spec.keys.dim; ++d)
          keys.push_back(valueOf(chain, kKey, h, d));
        for (int32_t d = 0; d < spec.values.dim; ++d)
          values.push_back(valueOf(chain, kValue, h, d));
      }
      for (int32_t h = 0; h < workload.numQueryHeads; ++h)
        for (int32_t d = 0; d < spec.keys.dim; ++d)
          query.push_back(2 * valueOf(chain, kQuery, h, d));
    }
  std::vector<float> out(size_t(total) * size_t(workload.numQueryHeads) *
                             size_t(spec.values.dim),
                         NAN);
  AttentionStep step{&spec,
                     {},
                     count,
                     workload.numQueryHeads,
                     total,
                     table.data(),
                     views.tableStride,
                     kvLens.data(),
                     starts.data(),
                     slots.data(),
                     keys.data(),
                     values.data(),
                     query.data(),
                     1.0f / std::sqrt(float(spec.keys.dim)),
                     out.data()};
  text = fail(m.poolMemory(group, step.memory), "pool");
  if (!text.empty())
    return text;
  attention(step);
  for (int32_t b = 0; text.empty() && b < count; ++b)
    text = compare(step, b, chains[size_t(b)]);
  return text.empty() ? "" : "group " + std::to_string(group) + ", " + text;
}

/// Accepts or rejects drafts, commits, and releases what windows have passed.
std::string Engine::settle(const std::vector<BatchEntry> &batch) {
  std::vector<SeqId> ids;
  for (const BatchEntry &entry : batch) {
    Request &request = requests[entry.request];
    auto fresh = int32_t(entry.newTokens.size());
    int32_t accepted = int32_t(below(uint32_t(entry.numDrafts) + 1));
    int32_t kept = fresh - entry.numDrafts + accepted;
    report.accepted += accepted;
    report.rejected += entry.numDrafts - accepted;
    Status status;
    if (kept < fresh && below(2)) {
      status = m.truncate(request.id, request.inCache + kept);
    } else {
      std::vector<int32_t> path(static_cast<size_t>(kept));
      std::iota(path.begin(), path.end(), 0);
      status = m.commitTree(request.id, path.data(), kept);
    }
    if (!status.isOk())
      return fail(status, "settle");
    for (int32_t i = 0; i < accepted; ++i)
      request.tokens.push_back(
          entry.newTokens[size_t(fresh - entry.numDrafts + i)]);
    request.inCache += kept;
    if (request.inCache == int32_t(request.tokens.size())) // Sampled.
      request.tokens.push_back(TokenId(below(kVocabulary)));
    ids.push_back(request.id);
  }
  std::string text = fail(m.commit(ids.data(), int32_t(ids.size())), "commit");
  for (SeqId id : ids) {
    int64_t released;
    if (text.empty() && below(2))
      text = fail(m.releaseWindow(id, released), "release window");
  }
  return text;
}

std::string Engine::step() {
  ++report.steps;
  std::string text = retire();
  if (text.empty() && requests.size() < 9 && below(2))
    text = admit();
  if (text.empty() && below(6) == 0)
    text = forkOne();
  if (text.empty())
    text = fail(m.runPendingWork(), "work");
  if (text.empty() && below(3) == 0)
    text = swapSome();
  std::vector<BatchEntry> batch = schedule();
  if (text.empty())
    text = allocate(batch);
  for (int32_t g = 0; text.empty() && g < options.numGroups; ++g)
    text = attendGroup(g, batch);
  if (text.empty())
    text = settle(batch);
  if (text.empty() && report.steps % 10 == 0)
    text = fail(m.checkInvariants(), "invariants");
  return text;
}

std::string Engine::finish() {
  for (const Request &request : requests)
    if (Status status = m.freeSequence(request.id); !status.isOk())
      return fail(status, "free");
  return fail(m.checkInvariants(), "invariants");
}

} // namespace

//===----------------------------------------------------------------------===//
// The plain attention step
//===----------------------------------------------------------------------===//

namespace {

/// One side of layer 0 of a page.
PageSide sideOf(const AttentionStep &step, bool isValue, int64_t page) {
  const GroupSpec &spec = *step.spec;
  const PoolMemory &m = step.memory;
  return PageSide{spec.pageSize, spec.numKVHeads,
                  isValue ? spec.values : spec.keys,
                  isValue ? m.values + page * m.valuePageStride
                          : m.keys + page * m.keyPageStride,
                  nullptr};
}

void append(const AttentionStep &step) {
  const GroupSpec &spec = *step.spec;
  for (int32_t t = 0; t < step.numTokens; ++t) {
    int64_t slot = step.slotMapping[t];
    if (slot < 0)
      continue;
    for (int32_t h = 0; h < spec.numKVHeads; ++h) {
      auto at = int32_t(slot % spec.pageSize);
      int64_t row = int64_t(t) * spec.numKVHeads + h;
      writeRow(sideOf(step, false, slot / spec.pageSize), at, h,
               step.newKeys + row * spec.keys.dim);
      writeRow(sideOf(step, true, slot / spec.pageSize), at, h,
               step.newValues + row * spec.values.dim);
    }
  }
}

/// One row and head; the score first, then a running sum in double.
void attendRow(const AttentionStep &step, int32_t b, int32_t t, int32_t h,
               int64_t p) {
  const GroupSpec &spec = *step.spec;
  int32_t kvHead = h / (step.numQueryHeads / spec.numKVHeads);
  std::vector<float> key(size_t(spec.keys.dim)), value(size_t(spec.values.dim));
  std::vector<double> sum(size_t(spec.values.dim), 0);
  const float *query =
      step.query + (int64_t(t) * step.numQueryHeads + h) * spec.keys.dim;
  double denominator = 0;
  for (int64_t j = 0; j <= p; ++j) {
    bool sink =
        spec.windowKind == WindowKind::SinkWindow && j < spec.sinkTokens;
    if (j < windowStart(spec, p) && !sink)
      continue;
    int64_t page = step.pageTable[b * step.tableStride + j / spec.pageSize];
    auto at = int32_t(j % spec.pageSize);
    readRow(sideOf(step, false, page), at, kvHead, key.data());
    readRow(sideOf(step, true, page), at, kvHead, value.data());
    double score = std::inner_product(key.begin(), key.end(), query, 0.0);
    double weight = std::exp(score * step.scale);
    denominator += weight;
    for (size_t d = 0; d < sum.size(); ++d)
      sum[d] += weight * value[d];
  }
  for (size_t d = 0; d < sum.size(); ++d)
    step.out[(int64_t(t) * step.numQueryHeads + h) * spec.values.dim +
             int64_t(d)] = float(sum[d] / denominator);
}

} // namespace

void paged_attn::test::scalarAttention(const AttentionStep &step) {
  append(step);
  for (int32_t b = 0; b < step.numSequences; ++b) {
    int32_t first = step.queryStarts[b], end = step.queryStarts[b + 1];
    for (int32_t t = first; t < end; ++t)
      for (int32_t h = 0; h < step.numQueryHeads; ++h)
        attendRow(step, b, t, h, step.kvLens[b] - end + t);
  }
}

ManagerOptions paged_attn::test::servingOptions(int32_t pageSize,
                                                PageLayout layout) {
  ManagerOptions options = tinyOptions(pageSize);
  options.numGroups = 3;
  options.groups[0] = tinyGroup(pageSize);
  options.groups[1] = tinyWindow(pageSize + 1, WindowKind::Sliding, 20);
  options.groups[2] = tinyWindow(pageSize, WindowKind::SinkWindow, 13, 4);
  for (int32_t g = 0; g < options.numGroups; ++g) {
    GroupSpec &spec = options.groups[g];
    spec.numKVHeads = 2;
    spec.keys.dim = 6;
    spec.values.dim = 4;
    spec.keys.layout = spec.values.layout = layout;
    // About two of nine long requests fit.
    options.numPages[g] = 260 / spec.pageSize;
  }
  options.maxSequences = 24;
  options.maxTokens = 128;
  options.fill = FillMode::NaN;
  options.guardPage = true;
  return options;
}

std::string paged_attn::test::runWorkload(KVCacheManager &manager,
                                          const ManagerOptions &options,
                                          const WorkloadOptions &workload,
                                          const AttentionCallback &attention,
                                          WorkloadReport &report) {
  Engine engine(manager, options, workload, attention, report);
  for (int32_t i = 0; i < workload.steps; ++i)
    if (std::string text = engine.step(); !text.empty())
      return "step " + std::to_string(i) + ": " + text;
  return engine.finish();
}
