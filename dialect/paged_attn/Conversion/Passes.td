//===- Passes.td - Passes from one level to the next -------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3a (linalg) and level 0 to loops (the reference).
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
  let dependentDialects = ["::mlir::affine::AffineDialect",
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
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
