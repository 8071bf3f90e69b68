//===- TileOptions.cpp - Options of the CPU pipelines by name -------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One table of names and ranges, for text in both directions.
//
//===----------------------------------------------------------------------===//

#include "paged_attn/Pipelines/Pipelines.h"

#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"

using namespace mlir::paged_attn;

const std::vector<TileOptions::Field> &TileOptions::getFields() {
  static const std::vector<Field> fields = {
      {"query-tokens", &TileOptions::queryTokens, 0, 1024},
      {"kv-tokens", &TileOptions::kvTokens, 0, 1024},
      {"split-tokens", &TileOptions::splitTokens, -1, 1 << 20},
      {"pages-ahead", &TileOptions::pagesAhead, 0, 64},
      {"vector-bits", &TileOptions::vectorBits, 0, 512},
  };
  return fields;
}

/// The field `name`, or an error that lists all names.
static const TileOptions::Field *findField(llvm::StringRef name,
                                           std::string &error) {
  std::string names;
  for (const TileOptions::Field &field : TileOptions::getFields()) {
    if (field.name == name)
      return &field;
    names += (names.empty() ? "" : ", ") + std::string(field.name);
  }
  error =
      "expected a tile option out of " + names + ", got '" + name.str() + "'";
  return nullptr;
}

bool TileOptions::set(std::string_view name, int64_t value,
                      std::string &error) {
  const Field *field = findField(name, error);
  if (!field)
    return false;
  bool isWidth = field->member == &TileOptions::vectorBits;
  if (value < field->low || value > field->high ||
      (isWidth && value != 0 && value != 128 && value != 256 && value != 512)) {
    error = "expected " + std::string(name) +
            (isWidth ? " to be 0, 128, 256 or 512"
                     : " from " + std::to_string(field->low) + " to " +
                           std::to_string(field->high)) +
            ", got " + std::to_string(value);
    return false;
  }
  this->*field->member = value;
  return true;
}

std::optional<TileOptions> TileOptions::parse(std::string_view text,
                                              std::string &error) {
  TileOptions options;
  llvm::SmallVector<llvm::StringRef> parts;
  llvm::StringRef(text).split(parts, ',', /*MaxSplit=*/-1,
                              /*KeepEmpty=*/false);
  for (llvm::StringRef part : parts) {
    auto [name, number] = part.split('=');
    int64_t value;
    if (number.getAsInteger(10, value)) {
      error = "expected tile options as name=number, got '" + part.str() + "'";
      return std::nullopt;
    }
    if (!options.set(name, value, error))
      return std::nullopt;
  }
  return options;
}

std::string TileOptions::print() const {
  std::string text;
  for (const Field &field : getFields())
    text += (text.empty() ? "" : ",") + std::string(field.name) + "=" +
            std::to_string(this->*field.member);
  return text;
}
