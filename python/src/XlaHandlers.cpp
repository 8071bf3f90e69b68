//===- XlaHandlers.cpp - Kernels as custom calls of XLA -------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One handler per op. A call site names its operands and carries its options
// as attributes (python/paged_attn/jax/_native.py); buffers are XLA's own and
// nothing is copied. Runs on XLA's threads, without the GIL.
//
//===----------------------------------------------------------------------===//

#include "Bindings.h"
#include "XlaAbi.h"

#include "paged_attn/FrontEnd/Calls.h"

#include <cstring>
#include <exception>
#include <map>
#include <sstream>

using namespace paged_attn_python;
using namespace mlir::paged_attn;

namespace {

/// Of an element type of XLA, the name in MLIR; its number when it has none.
std::string typeName(int32_t elementType) {
  static const std::map<int32_t, const char *> names = {
      {2, "i8"},   {4, "i32"},   {5, "i64"},      {10, "f16"},
      {11, "f32"}, {16, "bf16"}, {20, "f8E4M3FN"}};
  auto found = names.find(elementType);
  return found != names.end() ? found->second
                              : "XLA type " + std::to_string(elementType);
}

ArrayView toView(const xla::Buffer &buffer) {
  return {buffer.data, typeName(buffer.elementType),
          std::vector<int64_t>(buffer.sizes, buffer.sizes + buffer.rank)};
}

/// Attributes of a call by name.
class Options {
public:
  explicit Options(const xla::Attributes &attributes) {
    for (int64_t i = 0; i < attributes.count; ++i) {
      std::string name(attributes.names[i]->data, attributes.names[i]->length);
      if (attributes.kinds[i] == xla::kTextAttribute) {
        auto *text = static_cast<const xla::Text *>(attributes.values[i]);
        texts[name] = std::string(text->data, text->length);
      } else if (attributes.kinds[i] == xla::kScalarAttribute) {
        auto *scalar = static_cast<const xla::Scalar *>(attributes.values[i]);
        scalars[name] = scalar->value;
      }
    }
  }

  /// Of int64; 0 when absent.
  int64_t getInteger(const char *name) const { return read<int64_t>(name, 0); }
  /// Of float32; nothing when absent.
  std::optional<float> getFloat(const char *name) const {
    if (!scalars.count(name))
      return std::nullopt;
    return read<float>(name, 0);
  }
  std::string getText(const char *name) const {
    auto found = texts.find(name);
    return found != texts.end() ? found->second : std::string();
  }
  LayoutSpec getLayout(const std::string &prefix) const {
    return {getText((prefix + "_layout").c_str()),
            getInteger((prefix + "_pack").c_str())};
  }

private:
  template <typename T>
  T read(const char *name, T value) const {
    auto found = scalars.find(name);
    if (found != scalars.end())
      std::memcpy(&value, found->second, sizeof(value));
    return value;
  }
  std::map<std::string, std::string> texts;
  std::map<std::string, const void *> scalars;
};

/// Operands of a call by the names in its attribute `operands`.
class Operands {
public:
  Operands(const xla::Buffers &buffers, const Options &options) {
    std::istringstream names(options.getText("operands"));
    std::string name;
    for (int64_t i = 0; i < buffers.count && std::getline(names, name, ',');
         ++i)
      views[name] = toView(*buffers.entries[i]);
  }

  OptionalArray get(const char *name) const {
    auto found = views.find(name);
    return found != views.end() ? OptionalArray(found->second) : std::nullopt;
  }
  ArrayView need(const char *name) const {
    return get(name).value_or(ArrayView());
  }

private:
  std::map<std::string, ArrayView> views;
};

CacheArrays readCache(const Operands &operands, const Options &options) {
  CacheArrays cache;
  cache.keys = operands.need("keys");
  cache.values = operands.get("values");
  cache.keyLayout = options.getLayout("key");
  cache.valueLayout = options.getLayout("value");
  cache.pageTable = operands.get("page_table");
  cache.pageIndices = operands.get("page_indices");
  cache.pageIndptr = operands.get("page_indptr");
  cache.kvLens = operands.get("kv_lens");
  cache.queryStarts = operands.get("query_starts");
  if (OptionalArray layer = operands.get("layer")) {
    int32_t index = 0;
    std::memcpy(&index, layer->data, sizeof(index));
    cache.layer = index;
  }
  return cache;
}

CallError callAttention(const xla::Frame &frame) {
  Options options(frame.attributes);
  Operands operands(frame.operands, options);
  AttentionCall call;
  call.query = operands.need("query");
  call.cache = readCache(operands, options);
  call.queryOffsets = operands.get("query_offsets");
  call.keyScale = operands.get("key_scale");
  call.valueScale = operands.get("value_scale");
  call.alibiSlopes = operands.get("alibi_slopes");
  call.sinks = operands.get("sinks");
  call.bias = operands.get("bias");
  call.out = toView(*frame.results.entries[0]);
  call.lse = toView(*frame.results.entries[1]);
  call.mode = options.getText("mode");
  call.causal = options.getInteger("causal") != 0;
  call.window = options.getInteger("window");
  call.sinkTokens = options.getInteger("sink_tokens");
  call.chunk = options.getInteger("chunk");
  call.scale = options.getFloat("scale");
  call.softcap = options.getFloat("softcap").value_or(0);
  return runAttention(call);
}

int64_t countBytes(const xla::Buffer &buffer) {
  int64_t bytes = buffer.elementType == 11                               ? 4
                  : buffer.elementType == 10 || buffer.elementType == 16 ? 2
                                                                         : 1;
  for (int64_t i = 0; i < buffer.rank; ++i)
    bytes *= buffer.sizes[i];
  return bytes;
}

/// The pools are the first operands and alias the results; where XLA has not
/// given both one buffer, the old pool is copied into the new one.
CallError callAppend(const xla::Frame &frame) {
  Options options(frame.attributes);
  Operands operands(frame.operands, options);
  AppendCall call;
  call.keys = operands.need("key");
  call.values = operands.get("value");
  call.cache = readCache(operands, options);
  call.slots = operands.get("slots");
  for (int64_t i = 0; i < frame.results.count; ++i) {
    const xla::Buffer &pool = *frame.results.entries[i];
    const xla::Buffer &old = *frame.operands.entries[i];
    if (pool.data != old.data)
      std::memcpy(pool.data, old.data, size_t(countBytes(old)));
    (i == 0 ? call.cache.keys.data : call.cache.values->data) = pool.data;
  }
  return runAppend(call);
}

xla::Error *makeError(const xla::Frame &frame, const std::string &message,
                      int32_t code) {
  xla::ErrorRequest request = {sizeof(xla::ErrorRequest), nullptr,
                               message.c_str(), code};
  return frame.api->createError(&request);
}

/// Answers the registration's question for the interface version: the layouts
/// in XlaAbi.h hold in all of major version 0, so the one that asks is right.
/// Interface 0.1 asks without saying which it is.
bool answerMetadata(const xla::Frame &frame) {
  bool isQuestion = false;
  for (xla::Extension *entry = frame.extensions; entry; entry = entry->next) {
    if (entry->kind != xla::kMetadataExtension)
      continue;
    xla::Metadata &metadata =
        *reinterpret_cast<xla::MetadataExtension *>(entry)->metadata;
    metadata.version.major = frame.api ? frame.api->version.major : 0;
    metadata.version.minor = frame.api ? frame.api->version.minor : 1;
    metadata.traits = 0;
    isQuestion = true;
  }
  return isQuestion;
}

template <CallError (*run)(const xla::Frame &)>
xla::Error *handle(xla::Frame *frame) {
  if (answerMetadata(*frame) || frame->stage != xla::kExecuteStage)
    return nullptr;
  try {
    CallError error = run(*frame);
    return error ? makeError(*frame, error.message, xla::kInvalidArgument)
                 : nullptr;
  } catch (const std::exception &exception) {
    return makeError(*frame, exception.what(), xla::kInternal);
  }
}

template <CallError (*run)(const xla::Frame &)>
nb::capsule makeCapsule() {
  return nb::capsule(reinterpret_cast<void *>(&handle<run>),
                     "xla._CUSTOM_CALL_TARGET");
}

} // namespace

void paged_attn_python::bindXla(nb::module_ &module) {
  module.def(
      "xla_handlers",
      [] {
        nb::dict handlers;
        handlers["paged_attn_attention"] = makeCapsule<callAttention>();
        handlers["paged_attn_append"] = makeCapsule<callAppend>();
        return handlers;
      },
      "Custom calls of XLA by name, for jax.ffi.register_ffi_target.");
}
