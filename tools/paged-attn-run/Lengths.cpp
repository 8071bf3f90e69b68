//===- Lengths.cpp - Sequence lengths of a problem ------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// From a JSON file, or drawn from a seed.
//
//===----------------------------------------------------------------------===//

#include "Run.h"

#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

#include <algorithm>
#include <random>

using namespace paged_attn_run;

namespace {

/// Most sequences of a file; beyond it the file is a mistake.
constexpr size_t kMaxSequences = 1 << 20;

std::string atIndex(const char *name, size_t index) {
  return std::string(name) + "[" + std::to_string(index) + "]";
}

/// Reads one array of lengths.
bool readArray(const llvm::json::Object &object, const char *name,
               std::vector<int64_t> &result, std::string &error) {
  const llvm::json::Array *array = object.getArray(name);
  if (!array) {
    error = std::string("expected an array \"") + name + "\"";
    return false;
  }
  for (const llvm::json::Value &value : *array) {
    std::optional<int64_t> length = value.getAsInteger();
    if (!length) {
      error = "expected " + atIndex(name, result.size()) + " to be an integer";
      return false;
    }
    result.push_back(*length);
  }
  return true;
}

/// Reads a list of [q, kv] pairs.
bool readPairs(const llvm::json::Array &pairs, Lengths &lengths,
               std::string &error) {
  for (size_t i = 0; i < pairs.size(); ++i) {
    const llvm::json::Array *pair = pairs[i].getAsArray();
    std::optional<int64_t> q, kv;
    if (pair && pair->size() == 2) {
      q = (*pair)[0].getAsInteger();
      kv = (*pair)[1].getAsInteger();
    }
    if (!q || !kv) {
      error = "expected entry " + std::to_string(i) +
              " to be a pair [q_len, kv_len] of integers";
      return false;
    }
    lengths.qLens.push_back(*q);
    lengths.kvLens.push_back(*kv);
  }
  return true;
}

void readValue(const llvm::json::Value &value, const std::string &function,
               Lengths &lengths, std::string &error) {
  const llvm::json::Object *object = value.getAsObject();
  const llvm::json::Value *named = object ? object->get(function) : nullptr;
  if (named)
    return readValue(*named, "", lengths, error);
  if (const llvm::json::Array *pairs = value.getAsArray())
    readPairs(*pairs, lengths, error);
  else if (!object)
    error = "expected an object with q_lens and kv_lens or a list of pairs";
  else if (readArray(*object, "q_lens", lengths.qLens, error))
    readArray(*object, "kv_lens", lengths.kvLens, error);
}

bool checkLengths(const Lengths &lengths, std::string &error) {
  size_t batch = lengths.qLens.size();
  if (lengths.kvLens.size() != batch)
    error = "expected kv_lens to have " + std::to_string(batch) +
            " entries like q_lens, got " +
            std::to_string(lengths.kvLens.size());
  else if (batch == 0 || batch > kMaxSequences)
    error = "expected from 1 to " + std::to_string(kMaxSequences) +
            " sequences, got " + std::to_string(batch);
  for (size_t b = 0; error.empty() && b < batch; ++b)
    if (lengths.qLens[b] < 0)
      error = "expected " + atIndex("q_lens", b) + " to be at least 0, got " +
              std::to_string(lengths.qLens[b]);
    else if (lengths.kvLens[b] < lengths.qLens[b])
      error = "expected " + atIndex("kv_lens", b) +
              " to be at least the q_len " + std::to_string(lengths.qLens[b]) +
              ", got " + std::to_string(lengths.kvLens[b]);
  return error.empty();
}

} // namespace

bool paged_attn_run::readLengths(const std::string &path,
                                 const std::string &function, Lengths &lengths,
                                 std::string &error) {
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!file) {
    error = "cannot read " + path + ": " + file.getError().message();
    return false;
  }
  auto parsed = llvm::json::parse((*file)->getBuffer());
  if (!parsed) {
    error = llvm::toString(parsed.takeError());
    std::replace(error.begin(), error.end(), '\n', ' ');
  } else {
    readValue(*parsed, function, lengths, error);
  }
  if (error.empty())
    checkLengths(lengths, error);
  if (error.empty())
    return true;
  error = path + ": " + error;
  return false;
}

Lengths paged_attn_run::drawLengths(const LengthRequest &request) {
  std::mt19937_64 random(request.seed);
  auto draw = [&](int64_t low, int64_t high) {
    return low + static_cast<int64_t>(random() % (high - low + 1));
  };
  Lengths lengths;
  for (int64_t b = 0; b < request.batch; ++b) {
    int64_t q = request.qLen, kv = request.context;
    if (request.mode == "mixed" && b % 2 == 1)
      q = std::min<int64_t>(q, 1); // decoding sequences between the others
    if (b > 0 && !request.uniform) {
      q = draw(std::min<int64_t>(q, 1), q);
      kv = draw(std::max(q, kv / 2), kv);
    }
    lengths.qLens.push_back(q);
    lengths.kvLens.push_back(kv);
  }
  return lengths;
}
