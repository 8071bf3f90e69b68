//===- ReadCase.cpp - A case of the benchmark from JSON -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Keys as in bench/cpu/README.md. Unknown keys are errors: a case that asks for
// something that is not measured must not pass silently.
//
//===----------------------------------------------------------------------===//

#include "ReadCase.h"

#include "llvm/Support/JSON.h"

#include <algorithm>

using namespace mlir::paged_attn;
using namespace paged_attn_bench;
namespace oracle = ::paged_attn::oracle;

namespace {

/// Reads members of an object and remembers the first thing that is wrong.
class Reader {
public:
  Reader(const llvm::json::Object &object, std::string &error)
      : object(object), error(error) {}

  std::string text(llvm::StringRef key) {
    const llvm::json::Value *value = find(key);
    std::optional<llvm::StringRef> found =
        value ? value->getAsString() : std::nullopt;
    if (!found)
      fail(key, "a text");
    return found ? found->str() : std::string();
  }
  int64_t number(llvm::StringRef key) {
    const llvm::json::Value *value = find(key);
    std::optional<int64_t> found = value ? value->getAsInteger() : std::nullopt;
    if (!found)
      fail(key, "an integer");
    return found.value_or(0);
  }
  std::vector<int64_t> numbers(llvm::StringRef key) {
    const llvm::json::Value *value = find(key);
    const llvm::json::Array *array = value ? value->getAsArray() : nullptr;
    std::vector<int64_t> result;
    for (size_t i = 0; array && i < array->size(); ++i)
      if (std::optional<int64_t> entry = (*array)[i].getAsInteger())
        result.push_back(*entry);
    if (!array || result.size() != array->size())
      fail(key, "an array of integers");
    return result;
  }
  /// The first member that nothing has read is an error.
  void finish() {
    for (const auto &member : object)
      if (error.empty() && !llvm::is_contained(seen, member.first.str()))
        error = "expected only known keys in a case, got '" +
                member.first.str() + "'";
  }

private:
  const llvm::json::Value *find(llvm::StringRef key) {
    seen.push_back(key.str());
    return object.get(key);
  }
  void fail(llvm::StringRef key, const char *what) {
    if (error.empty())
      error = "expected '" + key.str() + "' of a case to be " + what;
  }

  const llvm::json::Object &object;
  std::string &error;
  std::vector<std::string> seen;
};

LayoutSpec readLayout(const std::string &text, std::string &error) {
  std::string why;
  std::optional<oracle::PoolLayout> parsed =
      oracle::PoolLayout::parse(text, why);
  if (!parsed && error.empty())
    error = why;
  return parsed ? LayoutSpec{parsed->letters(), parsed->pack()} : LayoutSpec{};
}

void readKernel(Reader &reader, KernelSpec &kernel, std::string &error) {
  kernel.mode = reader.text("mode");
  kernel.numHeads = reader.number("heads");
  kernel.numKVHeads = reader.number("kv_heads");
  kernel.keyDim = kernel.valueDim = reader.number("head_dim");
  kernel.pageSize = reader.number("page_size");
  kernel.queryType = kernel.outType = reader.text("query_type");
  kernel.keyType = kernel.valueType = reader.text("kv_type");
  if (kernel.keyType == "i8") // a factor for each token and KV head
    kernel.keyScaleRank = kernel.valueScaleRank = 3;
  kernel.keyLayout = readLayout(reader.text("key_layout"), error);
  kernel.valueLayout = readLayout(reader.text("value_layout"), error);
  if (kernel.keyLayout.dims.find('c') != std::string::npos)
    kernel.pools = Pools::Pair;
  kernel.wantsLse = false;
}

void readCompile(Reader &reader, CompileOptions &compile, std::string &error) {
  std::string why;
  if (std::optional<Via> via = parseVia(reader.text("via"), why))
    compile.via = *via;
  else if (error.empty())
    error = why;
  if (std::optional<TargetInfo> target =
          TargetInfo::get(reader.text("cpu"), why))
    compile.target = *target;
  else if (error.empty())
    error = why;
}

} // namespace

std::optional<Case> paged_attn_bench::readCase(std::string_view text,
                                               std::string &error) {
  llvm::Expected<llvm::json::Value> parsed =
      llvm::json::parse(llvm::StringRef(text));
  if (!parsed) {
    error = llvm::toString(parsed.takeError());
    std::replace(error.begin(), error.end(), '\n', ' ');
    return std::nullopt;
  }
  const llvm::json::Object *object = parsed->getAsObject();
  if (!object) {
    error = "expected a case to be an object";
    return std::nullopt;
  }
  error.clear();
  Case result;
  Reader reader(*object, error);
  readKernel(reader, result.kernel, error);
  readCompile(reader, result.compile, error);
  result.seed = reader.number("seed");
  result.numThreads = reader.number("threads");
  std::vector<int64_t> qLens = reader.numbers("q_lens");
  std::vector<int64_t> kvLens = reader.numbers("kv_lens");
  std::string pages = reader.text("pages");
  if (error.empty() && pages != "identity" && pages != "shuffled")
    error = "expected 'pages' to be identity or shuffled, got '" + pages + "'";
  reader.finish();
  if (!error.empty())
    return std::nullopt;
  std::optional<oracle::ProblemSpec> problem =
      makeProblemSpec(result.kernel, error);
  if (!problem)
    return std::nullopt;
  result.problem = *problem;
  result.problem.qLens = std::move(qLens);
  result.problem.kvLens = std::move(kvLens);
  result.problem.pageOrder = pages == "identity" ? oracle::PageOrder::Identity
                                                 : oracle::PageOrder::Shuffled;
  result.problem.poison = oracle::Poison::None;
  result.problem.hugePages = true;
  return result;
}
