//===- Passes.td - Passes that stay inside one level -------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Levels 0 to 2 (select-mode, tile) and the clean-up of level 4.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_TRANSFORMS_PASSES_TD
#define PAGED_ATTN_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

def SelectModePass
    : Pass<"paged-attn-select-mode"> {
  let summary = "level 0 to 1: gives every attention op a fixed mode";
  let description = [{
    Input: `paged_attn.attention` of any mode. Output: none of mode `auto`.
    With static T and B: decode when every sequence can have at most
    `decode-tokens` new tokens (T <= that, or no starts and T / B <= that),
    prefill when there is one sequence or no starts; otherwise mixed, which
    decides per sequence at run time.

    ```mlir
    paged_attn.attention auto ... query(%q : tensor<8x32x128xf32>) ... lens(%l : tensor<8xi32>)
    // becomes
    paged_attn.attention decode ...
    ```
  }];
  let options = [
    Option<"decodeTokens", "decode-tokens", "int64_t", /*default=*/"8",
           "most new tokens of a sequence that decodes (tokens, 1 to 64)">];
}

def TilePass : Pass<"paged-attn-tile"> {
  let summary = "level 1 to 2: cuts attention into work items over KV tiles";
  let description = [{
    Input: `paged_attn.attention` of a fixed mode with static heads, head dims
    and page size. Output: `scf.forall` over work items; in it `scf.for` over
    KV tiles with `load_query`, `load_tile`, `online_update` and `finalize`.
    One pattern per mode: decode takes (sequence, KV head), prefill and mixed
    take (query tile, KV head). The KV range of a tile comes from the mask;
    tiles inside it carry no mask. Ops of mode auto stay as they are.
    With `split-tokens`, decode takes (query tile, KV head, split): splits begin
    at multiples of that many tokens, put their states into a scratch buffer,
    and a second `scf.forall` merges them in order by `combine`. Where no
    sequence has two splits, the first loop writes the outs and the second one
    has no items.

    ```mlir
    paged_attn.attention decode ...
    // becomes
    scf.forall (%item) in (%n) shared_outs(...) {
      scf.for %tile = ... { paged_attn.load_tile ...  paged_attn.online_update none ... }
      scf.for %tile = ... { paged_attn.load_tile ...  paged_attn.online_update boundary ... }
      paged_attn.finalize ...
    }
    ```
  }];
  let options = [
    Option<"queryTokens", "query-tokens", "int64_t", /*default=*/"0",
           "new tokens of a prefill tile (tokens, 1 to 1024; 0: from the group size)">,
    Option<"decodeTokens", "decode-tokens", "int64_t", /*default=*/"8",
           "new tokens of a decode tile (tokens, 1 to 64)">,
    Option<"kvTokens", "kv-tokens", "int64_t", /*default=*/"0",
           "keys of a KV tile (tokens, 1 to 1024; 0: from the head dims and the page size)">,
    Option<"splitTokens", "split-tokens", "int64_t", /*default=*/"0",
           "keys of a split of decode (tokens, up to 2^20; 0: no splits, -1: 1024 where cores could lack items)">,
    Option<"cores", "cores", "int64_t", /*default=*/"0",
           "cores of the target, for sizes that are chosen (0: unknown)">,
    Option<"l1KiB", "l1-kib", "int64_t", /*default=*/"32",
           "data cache of a core, for kv-tokens=0 (KiB)">,
    Option<"l2KiB", "l2-kib", "int64_t", /*default=*/"0",
           "second-level cache of a core, for query-tokens=0 (KiB; 0: unknown, 128 rows)">];
  let dependentDialects = ["::mlir::affine::AffineDialect",
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

def VectorizePass : Pass<"paged-attn-vectorize"> {
  let summary = "level 3a to 4: linalg on tiles becomes loops over native vectors";
  let description = [{
    Input: linalg ops on static memref tiles (after one-shot bufferization).
    Output: `scf.for` loops over vectors of `vector-bits`: matrix products as
    register blocks of separate accumulators, row operations as vectors along
    the row, transposes as shuffle networks. Shapes that do not fit stay linalg
    and are lowered to loops afterwards.

    ```mlir
    linalg.matmul ins(%q, %k : memref<8x128xf32>, memref<128x64xf32>) outs(%s : memref<8x64xf32>)
    // becomes
    scf.for %k = ... iter_args(%a0 = ..., %a1 = ...) -> (vector<16xf32>, ...) { vector.fma ... }
    ```
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", /*default=*/"256",
           "width of a native vector (bits, 128 to 512)">,
    Option<"registers", "registers", "int64_t", /*default=*/"16",
           "vector registers of the target (16 or 32)">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect", "::mlir::ub::UBDialect", "::mlir::vector::VectorDialect"];
}

def PrefetchPagesPass : Pass<"paged-attn-prefetch-pages"> {
  let summary = "level 4: requests the lines of a later page while one is read";
  let description = [{
    Input: memrefs; views of a page whose id is an entry of a page table.
    Output: the same, and beside each such view in a loop `memref.prefetch` of
    every line of the page that stands `pages-ahead` entries later in the table.
    Results do not change; entries past a sequence's pages are only used as
    addresses to request, and negative ones not at all.

    ```mlir
    %page = memref.subview %pool[%id, 0, %h, 0] ...
    // becomes
    %page = memref.subview %pool[%id, 0, %h, 0] ...
    %later = memref.subview %pool[%later_id, 0, %h, 0] ...
    scf.for %row = ... { memref.prefetch %later[%row, %c0], read, locality<2>, data ... }
    ```
  }];
  let options = [
    Option<"pagesAhead", "pages-ahead", "int64_t", /*default=*/"4",
           "distance in the page table (pages, 1 to 64; 0: no prefetch)">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
    "::mlir::scf::SCFDialect"];
}

def LowerMathPass : Pass<"paged-attn-lower-math"> {
  let summary = "level 4: exp2, tanh and log2 become polynomials, no libm";
  let description = [{
    Input: `math.exp2`, `math.tanh`, `math.log2` on f32 scalars and vectors.
    Output: arithmetic and `math.fma`. Largest errors against float64, checked
    by a test: exp2 8.5e-8 relative, exact at 0 and 0 for -inf; tanh 2.4e-7
    absolute; log2 2e-7 of max(1, |log2 x|).

    ```mlir
    %y = math.exp2 %x : vector<16xf32>
    // becomes
    %n = ... round(%x) ...  %p = math.fma ...  %y = arith.select ...
    ```
  }];
  let options = [
    Option<"keepExp2", "keep-exp2", "bool", /*default=*/"false",
           "leave exp2, which the target has; exp and log become base 2">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect"];
}

def OutlineWorkPass : Pass<"paged-attn-outline-work", "::mlir::ModuleOp"> {
  let summary = "level 4: work loops become functions over [begin, end)";
  let description = [{
    Input: `scf.forall` on memrefs directly in a function. Output: a private
    function `<name>_work<k>(captures..., %begin : index, %end : index)` that
    runs work items [begin, end) one by one, its scratch buffers in its frame,
    and in the place of the loop a call over all items marked
    `paged_attn.work`, which `paged-attn-dispatch-work` can hand to an executor.
    Memref results that are one of the function's arguments are dropped.

    ```mlir
    scf.forall (%i, %h) in (%b, 8) { ... }
    // becomes
    func.call @decode_work0(%a, ..., %c0, %n) {paged_attn.work} : ...
    ```
  }];
  let options = [
    Option<"maxStackBytes", "max-stack-bytes", "int64_t", /*default=*/"1048576",
           "largest scratch buffer that is put in the frame (bytes, 0 to 2^30)">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def DispatchWorkPass : Pass<"paged-attn-dispatch-work", "::mlir::ModuleOp"> {
  let summary = "level 5: calls of work functions go through an executor";
  let description = [{
    Input: LLVM dialect with calls marked `paged_attn.work`. Output: every
    function with such calls takes a last argument, a pointer to
    `struct { void *context; void (*run)(void *context, void (*work)(void *data,
    int64_t begin, int64_t end), void *data, int64_t numItems); }`. When it is
    null the items run in the calling thread; else `run` must have run all of
    [0, numItems) when it returns, in any order and on any threads.

    ```mlir
    llvm.call @decode_work0(..., %c0, %n) {paged_attn.work}
    // becomes
    llvm.cond_br %is_null ... llvm.call %run(%context, %work, %data, %n)
    ```
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif // PAGED_ATTN_TRANSFORMS_PASSES_TD
