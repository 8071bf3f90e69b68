//===- KernelSpec.h - Which kernel a front end wants ------------*- C++ -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What all front ends share: a plain description of one attention call that
// builds its level-0 module. No MLIR types.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_KERNEL_KERNELSPEC_H
#define PAGED_ATTN_KERNEL_KERNELSPEC_H

#include "paged_attn/Kernel/Compile.h"

namespace mlir::paged_attn {

/// Which buffers hold keys and values.
enum class Pools {
  Separate, ///< keys and values
  Pair,     ///< one pool whose layout has c
  Latent,   ///< one pool; the value is the first Dv entries of the key
};

/// A layout attribute: `#paged_attn.layout<"dims", pack = n>`.
struct LayoutSpec {
  std::string dims = "pshd";
  int64_t pack = 1;
};

/// One attention kernel. B, T, P, N and nnz stay dynamic unless given.
struct KernelSpec {
  std::string name = "attention"; ///< of the function
  std::string mode = "auto";      ///< auto, prefill, decode or mixed

  std::string queryType = "f32";
  std::string keyType = "f32";
  std::string valueType = "f32"; ///< Pools::Separate only
  std::string outType = "f32";
  std::string indexType = "i32"; ///< of table, lens and starts

  Pools pools = Pools::Separate;
  LayoutSpec keyLayout;
  LayoutSpec valueLayout; ///< Pools::Separate only
  bool csr = false;       ///< page_indices, page_indptr instead of page_table

  int64_t numHeads = 1;             ///< Hq
  int64_t numKVHeads = 1;           ///< Hkv
  int64_t keyDim = 64;              ///< Dk
  int64_t valueDim = 64;            ///< Dv
  int64_t pageSize = 16;            ///< S, tokens
  int64_t numTokens = kDynamicSize; ///< T
  int64_t batch = kDynamicSize;     ///< B

  bool causal = true;
  int64_t window = 0;     ///< tokens, 0: none
  int64_t sinkTokens = 0; ///< tokens
  int64_t chunk = 0;      ///< tokens, 0: none
  std::optional<float> scale;
  float softcap = 0; ///< 0: none
  bool hasAlibi = false;
  bool hasSinks = false;
  bool wantsLse = true;
  bool hasQueryStarts = true;
  bool hasQueryOffsets = false;
  std::optional<int64_t> keyScaleRank;   ///< 0, 1 or 3; absent: no scale
  std::optional<int64_t> valueScaleRank; ///< the same
  std::string biasType;                  ///< empty: no bias
  int64_t biasHeads = 1;                 ///< 1 or Hq
};

/// The level-0 module: one function on memrefs whose arguments are the op's
/// operands in the op's order. Its parser and verifier judge the spec.
std::string buildModule(const KernelSpec &spec);

/// The spec of the attention op of each public function that has one, in the
/// order of the module `source`. Empty and a one-line `error` when there is
/// none, or one has operands that a spec does not describe.
std::vector<KernelSpec> readSpecs(std::string_view source,
                                  std::string_view sourceName,
                                  std::string &error);

} // namespace mlir::paged_attn

#endif // PAGED_ATTN_KERNEL_KERNELSPEC_H
