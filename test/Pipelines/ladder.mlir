//! # The ladder, one arrow at a time
//!
//! One program from level 0 down. Every line of IR below is required, in this order,
//! by the test that this page is written from; lines between them are left out. Try
//! it from `test/Pipelines`, with `build/bin` on the path: the commands print the
//! whole module.
//!
//! ## Level 0: what
//!
//! Two sequences that decode, 4 query heads on 2 KV heads, pages of 8 tokens.
//! @input decode
//!
//! ## Level 0 to 1: the mode
//!
//! T = B = 2: at most one new token per sequence, so the mode is decode.
//! @command MODE
//! @checked MODE

// RUN: paged-attn-opt %s --paged-attn-select-mode | FileCheck %s --check-prefix=MODE

// MODE-LABEL: func.func @decode
// MODE:   paged_attn.attention decode query

//! ## Level 1 to 2: work items and tiles
//!
//! One work item per sequence and KV head. The two query heads of the KV head are
//! the rows of its tiles, so that each key is read once. Tiles hold 64 keys; those
//! that lie wholly before kv_len carry no mask, the last one is a `boundary`.
//! `load_tile` goes through the sequence's row of the page table.
//! @command TILED
//! @checked TILED

// RUN: paged-attn-opt %s --paged-attn-select-mode --paged-attn-tile | FileCheck %s --check-prefix=TILED

// TILED-LABEL: func.func @decode
// TILED:   scf.forall (%[[SEQ:[a-z0-9]+]], %[[HEAD:[a-z0-9]+]]) in (2, 2) shared_outs
// TILED:     %[[LEN:.*]] = tensor.extract %{{.*}}[%[[SEQ]]] : tensor<2xi32>
// TILED:     %[[PAGES:.*]] = tensor.extract_slice %{{.*}}[%[[SEQ]], 0] {{.*}} : tensor<2x?xi32> to tensor<?xi32>
// TILED:     %[[QUERY:.*]] = paged_attn.load_query query
// TILED:     scf.for
// TILED:       %[[KEYS:.*]] = paged_attn.load_tile key none pool({{.*}}) pages(%[[PAGES]] : tensor<?xi32>)
// TILED:       %[[VALUES:.*]] = paged_attn.load_tile value none
// TILED:       paged_attn.online_update none query(%[[QUERY]] : tensor<2x16xf32>) keys(%[[KEYS]] : tensor<16x64xf32>) values(%[[VALUES]] : tensor<64x16xf32>)
// TILED:       scf.yield
// TILED:     scf.for
// TILED:       paged_attn.online_update boundary
// TILED:       scf.yield
// TILED:     paged_attn.finalize state
// TILED:     tensor.parallel_insert_slice

//! ## Level 2 to 3: linalg on static tiles
//!
//! A tile of keys is filled page by page: one page id, one slice of the pool, one
//! transpose into the tile. Then S = Q K^T, the row maxima, 2^(S - m) and S V, all on
//! tensors of static shape and all written in place.
//! @command LINALG
//! @checked LINALG

// RUN: paged-attn-opt %s --paged-attn-to-linalg | FileCheck %s --check-prefix=LINALG

// LINALG-LABEL: func.func @decode
// LINALG:   scf.forall
// LINALG:     scf.for
// LINALG:       %[[KEYS:.*]] = scf.for
// LINALG:         %[[ID:.*]] = tensor.extract %{{.*}} : tensor<?xi32>
// LINALG:         %[[PAGE:.*]] = arith.index_cast %[[ID]] : i32 to index
// LINALG:         tensor.extract_slice %{{.*}}[%[[PAGE]], 0, %{{.*}}, 0] [1, 8, 1, 16] [1, 1, 1, 1] : tensor<?x8x2x16xf32> to tensor<8x16xf32>
// LINALG:         linalg.generic
// LINALG:         scf.yield
// LINALG:       %[[VALUES:.*]] = scf.for
// LINALG:         scf.yield
// LINALG:       %[[S:.*]] = linalg.matmul ins(%{{.*}}, %[[KEYS]] : tensor<2x16xf32>, tensor<16x64xf32>)
// LINALG:       arith.maximumf
// LINALG:       math.exp2
// LINALG:       linalg.matmul ins(%{{.*}}, %[[VALUES]] : tensor<2x64xf32>, tensor<64x16xf32>)
// LINALG:       scf.yield
// LINALG-NOT: paged_attn.

//! ## Level 2 to 3b: microkernels
//!
//! The way that CPUs take by default (`--via=vector`). One-shot bufferization first
//! finds every write in place; then the tile ops become loops over native vectors.
//! Rows that decode read keys and values where they stand in their pages, and request
//! the lines of the pages to come; each accumulator is a value of its own. The body of
//! the work loop is a function over work items [begin, end), with its scratch in its
//! frame; exp2 is a polynomial.
//! @command MICRO
//! @checked MICRO

// RUN: paged-attn-compile %s --target=cpu --emit=vector -o - | FileCheck %s --check-prefix=MICRO

// MICRO-LABEL: func.func @decode(
// MICRO:   call @decode_work0({{.*}}) {paged_attn.work}
// MICRO:   return
// MICRO-LABEL: func.func private @decode_work0(
// MICRO:   memref.alloca() {{.*}} : memref<2x64xf32>
// MICRO-NOT: memref.alloc(
// MICRO:   scf.for
// MICRO:     memref.load %{{.*}} : memref<?xi32
// MICRO:     memref.subview
// MICRO:     memref.prefetch
// MICRO:     vector.load
// MICRO:     vector.fma
// MICRO-NOT: math.exp2
// MICRO-NOT: vector.gather
// MICRO-NOT: memref.alloc(

//! ## Level 3a to 4: the same by way of linalg
//!
//! With `--via=linalg`, the path that an embedding compiler gets without a line of
//! target code: linalg on static tiles is bufferized in place, the matrix products
//! become loops with their accumulators in registers.
//! @command VECTOR
//! @checked VECTOR

// RUN: paged-attn-compile %s --target=cpu --via=linalg --emit=vector -o - | FileCheck %s --check-prefix=VECTOR

// VECTOR-LABEL: func.func @decode(
// VECTOR:   call @decode_work0({{.*}}) {paged_attn.work}
// VECTOR:   return
// VECTOR-LABEL: func.func private @decode_work0(
// VECTOR:   memref.alloca() {{.*}} : memref<16x64xf32>
// VECTOR-NOT: memref.alloc(
// VECTOR:   scf.for
// VECTOR:     scf.for
// VECTOR:       memref.load %{{.*}} : memref<?xi32
// VECTOR:       memref.subview
// VECTOR:       scf.for {{.*}} iter_args(
// VECTOR:         vector.fma
// VECTOR:         vector.fma
// VECTOR:         scf.yield
// VECTOR-NOT: math.exp2
// VECTOR-NOT: vector.gather
// VECTOR-NOT: memref.alloc(

//! ## Level 4 to 5: the LLVM dialect
//!
//! The last argument is the executor: a null pointer runs the work items in the
//! calling thread, otherwise it is called with the work function and their number.
//! From here `paged-attn-compile --emit=llvmir|asm|obj|header` goes on to machine code.
//! @command LLVM
//! @checked LLVM

// RUN: paged-attn-opt %s --paged-attn-cpu | FileCheck %s --check-prefix=LLVM

// LLVM-LABEL: llvm.func @decode(
// LLVM:   llvm.cond_br
// LLVM:   llvm.call @decode_work0
// LLVM-LABEL: llvm.func {{.*}}@decode_work0(
// LLVM:   llvm.intr.fma

func.func @decode(%q: tensor<2x4x16xf32>, %k: tensor<?x8x2x16xf32>,
    %v: tensor<?x8x2x16xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %out: tensor<2x4x16xf32>) -> tensor<2x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<2x4x16xf32>)
      keys(%k : tensor<?x8x2x16xf32>) values(%v : tensor<?x8x2x16xf32>)
      table(%table : tensor<2x?xi32>) lens(%lens : tensor<2xi32>)
      outs(%out : tensor<2x4x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<2x4x16xf32>
  return %0 : tensor<2x4x16xf32>
}
