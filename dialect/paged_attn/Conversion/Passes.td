//===- Passes.td - Passes from one level to the next -------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3a (linalg) and 3b (vector), level 0 to loops (the reference).
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_CONVERSION_PASSES_TD
#define PAGED_ATTN_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertPagedAttnToLinalgPass
    : Pass<"convert-paged-attn-to-linalg"> {
  let summary = "level 2 to 3a: tile ops become linalg on static tiles";
  let description = [{
    Input: tile ops on tensors, and `append`, `gather`, `copy_pages`,
    `merge_states` on tensors or memrefs. Output: `linalg` on static tiles,
    `tensor.extract_slice` of pages, `scf.for`; no op of this dialect, but for
    what it cannot lower yet, which is an error at the op.

    ```mlir
    %k = paged_attn.load_tile key none pool(%pool) pages(%row) at(%h, %pos) ...
    // becomes
    scf.for %page = ... { tensor.extract_slice %pool[%id, 0, %h, 0] ... linalg.transpose ... }
    ```
  }];
  let options = [
    Option<"tileOps", "tile-ops", "bool", /*default=*/"true",
           "lower the tile ops too (false: leave them to another conversion)">];
  let dependentDialects = ["::mlir::affine::AffineDialect",
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

def ConvertPagedAttnToVectorPass
    : Pass<"convert-paged-attn-to-vector"> {
  let summary = "level 2 to 3b: tile ops become microkernels of native vectors";
  let description = [{
    Input: tile ops on memrefs (after one-shot bufferization). Output: loops
    over vectors of `vector-bits`, every accumulator a value of its own. An
    `online_update` of few rows (decode) reads keys and values from the pages
    where they stand and requests the lines of the pages to come; one of many
    rows (prefill) works on packed tiles in blocks of 6 rows by 4 vectors.

    ```mlir
    paged_attn.load_tile key none pool(%pool) ... outs(%k)
    paged_attn.online_update none query(%q) keys(%k) values(%v) ...
    // becomes
    scf.for %d = ... iter_args(%s0 = ..., %s1 = ...) -> (vector<16xf32>, ...) {
      %k0 = vector.load %page[%d, %c0] ...  memref.prefetch %later[%d, %c0] ...
      vector.fma ...
    }
    ```
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", /*default=*/"256",
           "width of a native vector (bits, 128 to 512)">,
    Option<"registers", "registers", "int64_t", /*default=*/"16",
           "vector registers of the target (16 or 32)">,
    Option<"int8Dot", "int8-dot", "bool", /*default=*/"false",
           "scores of i8 keys in the order [d/4][slot][4] by vpdpbusd (x86)">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"];
}

def ConvertPagedAttnToLoopsPass
    : Pass<"convert-paged-attn-to-loops"> {
  let summary = "level 0 to scalar loops: the executable specification";
  let description = [{
    Input: ops of level 0 and 1 on memrefs (after one-shot bufferization), of
    any shape, static or dynamic. Output: `scf` loops over scalars, a plain
    reading of the op's formula.

    ```mlir
    paged_attn.attention auto ... outs(%o : memref<?x32x128xf32>)
    // becomes
    scf.for %b ... scf.for %i ... scf.for %h ... scf.for %j ... memref.load ...
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

#endif // PAGED_ATTN_CONVERSION_PASSES_TD
