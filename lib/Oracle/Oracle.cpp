//===- Oracle.cpp - Attention in float64 from the definition --------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One work item = (sequence, KV head, a few query rows). For each row and query
// head:
//   1. scores s_j of the visible keys, in the order of the definition;
//   2. m = max(s_j [, sink]), weights exp(s_j - m), their sum;
//   3. o = sum of weights * v_j / sum, lse = m + log(sum).
// Written once for float64 (the oracle) and float32 (the rounded reference).
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Oracle/Oracle.h"

#include "Parallel.h"

#include <algorithm>
#include <cmath>
#include <mutex>

namespace paged_attn::oracle {

namespace {

/// Rows of a work item: enough to repay the decoding of keys, few enough to
/// spread one long prefill over threads.
constexpr int64_t kRowsPerItem = 64;

/// A few query rows of one sequence with the query heads of one KV head.
struct WorkItem {
  int64_t sequence;
  int64_t kvHead;
  int64_t firstRow, lastRow; ///< rows of the sequence, half open
};

std::vector<WorkItem> listItems(const Problem &problem) {
  std::vector<WorkItem> items;
  for (int64_t b = 0; b < problem.spec.batch(); ++b)
    for (int64_t head = 0; head < problem.spec.numKvHeads; ++head)
      for (int64_t row = 0, n = problem.qLen(b); row < n; row += kRowsPerItem)
        items.push_back({b, head, row, std::min(row + kRowsPerItem, n)});
  // Long sequences first, so that no thread starts one at the end.
  std::sort(items.begin(), items.end(),
            [&](const WorkItem &x, const WorkItem &y) {
              return problem.kvLen(x.sequence) > problem.kvLen(y.sequence);
            });
  return items;
}

/// Rows of one sequence and KV head, widened to f32 when first asked for: a
/// key that nobody sees is never read, nor is its page table entry.
class RowCache {
public:
  RowCache(const Problem &problem, const PoolView &view, const WorkItem &item)
      : problem_(problem), view_(view), item_(item),
        rows_(problem.kvLen(item.sequence) * view.depth),
        factors_(problem.kvLen(item.sequence)),
        known_(problem.kvLen(item.sequence)) {}

  /// [depth] entries of the token at logical position `j` as they are stored,
  /// widened.
  const float *row(int64_t j) {
    float *row = rows_.data() + j * view_.depth;
    if (!known_[j])
      load(j, row);
    known_[j] = true;
    return row;
  }
  /// What they are to be multiplied with, after `row(j)`.
  float factor(int64_t j) const { return factors_[j]; }

private:
  void load(int64_t j, float *row) {
    int64_t pageSize = problem_.spec.pageSize;
    int64_t page = problem_.physicalPage(item_.sequence, j / pageSize);
    factors_[j] = view_.factor(page, j % pageSize, item_.kvHead);
    int64_t offset = view_.rowOffset(page, j % pageSize, item_.kvHead);
    if (view_.shape.hasContiguousRows())
      return loadElements(view_.type, view_.data, offset, view_.depth, row);
    for (int64_t d = 0; d < view_.depth; ++d)
      row[d] = loadElement(view_.type, view_.data,
                           offset + view_.shape.depthOffset(d));
  }

  const Problem &problem_;
  const PoolView &view_;
  const WorkItem &item_;
  std::vector<float> rows_, factors_;
  std::vector<bool> known_;
};

/// Sum of x[i] * y[i] in `Real`, in eight partial sums (so that it vectorizes
/// with a fixed order).
template <typename Real>
Real dot(const float *x, const float *y, int64_t count) {
  constexpr int kParts = 8;
  Real parts[kParts] = {};
  int64_t i = 0;
  for (; i + kParts <= count; i += kParts)
    for (int k = 0; k < kParts; ++k)
      parts[k] += Real(x[i + k]) * Real(y[i + k]);
  for (; i < count; ++i)
    parts[0] += Real(x[i]) * Real(y[i]);
  return ((parts[0] + parts[4]) + (parts[1] + parts[5])) +
         ((parts[2] + parts[6]) + (parts[3] + parts[7]));
}

/// Computes the rows of one work item in `Real`.
template <typename Real>
class ItemWorker {
public:
  ItemWorker(const Problem &problem, const PoolView &keys,
             const PoolView &values, const OracleOptions &options,
             const WorkItem &item, AttentionResult &result)
      : problem_(problem), spec_(problem.spec), options_(options), item_(item),
        result_(result), keys_(problem, keys, item),
        values_(problem, values, item), query_(spec_.keyDim),
        accumulator_(spec_.valueDim) {}

  void run() {
    for (int64_t row = item_.firstRow; row < item_.lastRow; ++row)
      for (int64_t g = 0; g < spec_.group(); ++g)
        computeRow(row, item_.kvHead * spec_.group() + g);
  }

  double maxAbsValue() const { return maxAbsValue_; }

private:
  void computeRow(int64_t row, int64_t head) {
    int64_t kvLen = problem_.kvLen(item_.sequence);
    int64_t token = problem_.queryStart(item_.sequence) + row;
    place_ = {item_.sequence, head, kvLen - problem_.qLen(item_.sequence) + row,
              0};
    slot_ = token * spec_.numHeads + head;
    loadElements(spec_.queryType, problem_.query.data(), slot_ * spec_.keyDim,
                 spec_.keyDim, query_.data());
    collectScores(kvLen);
    finishRow();
    result_.queryPeak[slot_] = queryPeak();
  }

  /// |q|max / |q| of the row's query.
  double queryPeak() const {
    double most = 0, squares = 0;
    for (float q : query_) {
      most = std::max(most, std::abs(double(q)));
      squares += double(q) * double(q);
    }
    return most > 0 ? most / std::sqrt(squares) : 0;
  }

  /// Fills `visible_`, `scores_` and `scales_` with the keys that the row
  /// sees.
  void collectScores(int64_t kvLen) {
    visible_.clear();
    scores_.clear();
    scales_.clear();
    double perKey =
        std::abs(spec_.effectiveScale()) *
        std::sqrt(dot<double>(query_.data(), query_.data(), spec_.keyDim));
    for (int64_t j = 0; j < kvLen; ++j) {
      place_.keyPosition = j;
      if (!spec_.mask.visible(place_.queryPosition, j) ||
          (options_.visible && !options_.visible(place_)))
        continue;
      const float *key = keys_.row(j);
      visible_.push_back(j);
      scores_.push_back(score(key, keys_.factor(j)));
      scales_.push_back(perKey * std::sqrt(keySquare(j, key)) +
                        std::abs(slope() * double(distance())));
    }
  }

  /// j - p of the key at `place_`.
  int64_t distance() const { return place_.keyPosition - place_.queryPosition; }

  /// |k_j|^2, computed once per key.
  double keySquare(int64_t j, const float *key) {
    if (keySquares_.empty())
      keySquares_.assign(problem_.kvLen(item_.sequence), -1);
    double factor = keys_.factor(j);
    if (keySquares_[j] < 0)
      keySquares_[j] = factor * factor * dot<double>(key, key, spec_.keyDim);
    return keySquares_[j];
  }

  double slope() const {
    return spec_.hasAlibi ? problem_.alibiSlopes.as<float>()[place_.head] : 0;
  }

  /// The score of the key at `place_`, in the order of the definition.
  Real score(const float *key, float factor) const {
    Real s = Real(spec_.effectiveScale()) *
             (Real(factor) * dot<Real>(query_.data(), key, spec_.keyDim));
    if (spec_.softcap > 0)
      s = Real(spec_.softcap) * std::tanh(s / Real(spec_.softcap));
    if (spec_.hasAlibi)
      s += Real(slope()) * Real(distance());
    if (options_.score)
      s = Real(options_.score(s, place_));
    return s;
  }

  /// Softmax of `scores_` and the weighted sum of values.
  void finishRow() {
    constexpr Real kNone = -std::numeric_limits<Real>::infinity();
    Real sink =
        spec_.hasSinks ? Real(problem_.sinks.as<float>()[place_.head]) : kNone;
    Real top = sink;
    for (Real s : scores_)
      top = std::max(top, s);
    if (top == kNone) // nothing visible, or every score -inf
      return storeRow(Real(0), kNone);
    Real sum = spec_.hasSinks ? std::exp(sink - top) : Real(0);
    topScale_ = spec_.hasSinks ? std::abs(double(sink)) : 0;
    meanScale_ = spec_.hasSinks ? double(sum) * topScale_ : 0;
    std::fill(accumulator_.begin(), accumulator_.end(), Real(0));
    for (size_t i = 0; i < scores_.size(); ++i) {
      Real weight = std::exp(scores_[i] - top);
      sum += weight;
      const float *value = values_.row(visible_[i]);
      addValue(weight, value, values_.factor(visible_[i]));
      topScale_ = std::max(topScale_, scales_[i]);
      meanScale_ += double(weight) * scales_[i];
    }
    storeRow(sum, top + std::log(sum));
  }

  /// accumulator += weight * factor * value.
  void addValue(Real weight, const float *value, float factor) {
    float largest = 0;
    Real product = weight * Real(factor);
    for (int64_t d = 0; d < spec_.valueDim; ++d) {
      accumulator_[d] += product * Real(value[d]);
      largest = std::max(largest, std::abs(value[d]));
    }
    maxAbsValue_ = std::max(maxAbsValue_, std::abs(double(factor)) * largest);
  }

  /// Writes out = accumulator / sum (0 for an empty row) and lse.
  void storeRow(Real sum, Real lse) {
    double *out = result_.out.data() + slot_ * spec_.valueDim;
    for (int64_t d = 0; d < spec_.valueDim; ++d)
      out[d] = sum > 0 ? accumulator_[d] / sum : Real(0);
    result_.lse[slot_] = lse;
    result_.numVisible[slot_] = scores_.size();
    if (scores_.empty() || !(sum > 0))
      return;
    result_.topWeight[slot_] = 1 / sum; // the largest weight is exp(0) / sum
    result_.topScoreScale[slot_] = topScale_;
    result_.meanScoreScale[slot_] = meanScale_ / double(sum);
  }

  const Problem &problem_;
  const ProblemSpec &spec_;
  const OracleOptions &options_;
  const WorkItem &item_;
  AttentionResult &result_;
  RowCache keys_, values_;
  std::vector<float> query_;       ///< [Dk]
  std::vector<Real> accumulator_;  ///< [Dv]
  std::vector<int64_t> visible_;   ///< positions of the visible keys
  std::vector<Real> scores_;       ///< their scores
  std::vector<double> scales_;     ///< magnitude of their terms
  std::vector<double> keySquares_; ///< [kv_len], -1 = not yet known
  ScorePlace place_;               ///< row and key at work
  int64_t slot_ = 0;               ///< token * Hq + head
  double topScale_ = 0, meanScale_ = 0, maxAbsValue_ = 0;
};

template <typename Real>
AttentionResult compute(const Problem &problem, const OracleOptions &options) {
  const ProblemSpec &spec = problem.spec;
  int64_t rows = spec.numTokens() * spec.numHeads;
  AttentionResult result;
  result.out.assign(rows * spec.valueDim, 0);
  result.lse.assign(rows, -std::numeric_limits<double>::infinity());
  result.topWeight.assign(rows, 0);
  result.topScoreScale.assign(rows, 0);
  result.meanScoreScale.assign(rows, 0);
  result.queryPeak.assign(rows, 0);
  result.numVisible.assign(rows, 0);

  std::vector<WorkItem> items = listItems(problem);
  PoolView keys = problem.keys(), values = problem.values();
  std::mutex mutex;
  parallelFor(items.size(), options.numThreads, [&](int64_t i) {
    ItemWorker<Real> worker(problem, keys, values, options, items[i], result);
    worker.run();
    std::lock_guard<std::mutex> lock(mutex);
    result.maxAbsValue = std::max(result.maxAbsValue, worker.maxAbsValue());
  });
  return result;
}

} // namespace

AttentionResult attention(const Problem &problem,
                          const OracleOptions &options) {
  return compute<double>(problem, options);
}

AttentionResult roundedReference(const Problem &problem,
                                 const OracleOptions &options) {
  AttentionResult result = compute<float>(problem, options);
  for (double &value : result.out)
    value = roundTo(problem.spec.outputType, value);
  return result;
}

} // namespace paged_attn::oracle
