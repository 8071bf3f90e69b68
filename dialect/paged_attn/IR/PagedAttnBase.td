//===- PagedAttnBase.td - The paged_attn dialect -----------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The dialect itself and the base classes of its attributes and ops.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_IR_PAGEDATTNBASE_TD
#define PAGED_ATTN_IR_PAGEDATTNBASE_TD

include "mlir/IR/OpBase.td"

def PagedAttn_Dialect : Dialect {
  let name = "paged_attn";
  let summary = "attention over a paged KV cache";
  let description = [{
    One op, `paged_attn.attention`, says what paged, ragged attention is. Tile
    ops (`load_query`, `load_tile`, `online_update`, `combine`, `finalize`) say
    how a work item computes it; every target lowers those. The cache is plain
    tensors or memrefs whose dimensions are named by `#paged_attn.layout`.

    Words: a *page* holds *slots*; a *page table* maps the logical pages of a
    *sequence* to physical pages of a *pool*. `kv_len` counts all tokens of a
    sequence in the cache, the new ones included; `q_len` counts the new ones.
    B sequences, T packed new tokens, Hq query heads, Hkv KV heads, group
    G = Hq / Hkv, head dims Dk and Dv, P pages in a pool, S slots in a page,
    N entries in a row of the page table.
  }];
  let cppNamespace = "::mlir::paged_attn";
  let useDefaultAttributePrinterParser = 1;
  let dependentDialects = ["::mlir::arith::ArithDialect"];
}

#endif // PAGED_ATTN_IR_PAGEDATTNBASE_TD
