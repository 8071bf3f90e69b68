// RUN: paged-attn-opt %s -generate-runtime-verification -canonicalize -split-input-file | FileCheck %s

// Sizes, then each sequence: starts, lens, and the page ids below lens.
// CHECK-LABEL: func.func @attention
// CHECK-SAME:    %[[Q:[^:]*]]: memref<?x8x64xf32>, %[[K:[^:]*]]: memref<?x16x2x64xf32>, %[[T:[^:]*]]: memref<?x?xi32>, %[[N:[^:]*]]: memref<?xi32>, %[[S:[^:]*]]: memref<?xi64>
// CHECK:         cf.assert {{.*}}expected table to have as many rows as lens has entries, got another number
// CHECK:         cf.assert {{.*}}expected starts to have one entry more than lens, got another number
// CHECK:         scf.for %[[B:.*]] = %{{.*}} to %{{.*}} step %{{.*}} {
// CHECK:           memref.load %[[N]][%[[B]]]
// CHECK:           memref.load %[[S]][%[[B]]]
// CHECK:           cf.assert {{.*}}expected starts of at least 0, got a negative one
// CHECK:           cf.assert {{.*}}expected starts to be monotone, got one below the one before
// CHECK:           cf.assert {{.*}}expected starts of at most the number of tokens, got a larger one
// CHECK:           cf.assert {{.*}}expected lens of at least 0, got a negative one
// CHECK:           cf.assert {{.*}}expected lens of at least the new tokens of the sequence, got a smaller one
// CHECK:           cf.assert {{.*}}expected lens of at most pages in the table * slots in a page, got a larger one
// CHECK:           scf.for %[[P:.*]] = %{{.*}} to %{{.*}} step
// CHECK:             memref.load %[[T]][%[[B]], %[[P]]]
// CHECK:             cf.assert {{.*}}expected page ids between 0 and the pool's pages - 1, got one outside
// CHECK:         paged_attn.attention
func.func @attention(%q : memref<?x8x64xf32>, %k : memref<?x16x2x64xf32>, %t : memref<?x?xi32>,
    %n : memref<?xi32>, %starts : memref<?xi64>, %v : memref<?x16x2x64xf32>,
    %o : memref<?x8x64xf32>) {
  paged_attn.attention auto query(%q : memref<?x8x64xf32>) keys(%k : memref<?x16x2x64xf32>)
      values(%v : memref<?x16x2x64xf32>) table(%t : memref<?x?xi32>) lens(%n : memref<?xi32>)
      starts(%starts : memref<?xi64>) outs(%o : memref<?x8x64xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  return
}

// -----

// What is known to hold is not asserted; without starts T / B tokens are new.
// A window skips its lower pages, but for the sink tokens.
// CHECK-LABEL: func.func @attention_csr
// CHECK-NOT:     cf.assert {{.*}}indptr to have
// CHECK:         cf.assert {{.*}}expected layer to lie in dimension l of the pool, got one outside
// CHECK:         scf.for
// CHECK:           cf.assert {{.*}}expected indptr to be monotone from 0 on, got one below the one before
// CHECK:           cf.assert {{.*}}expected indptr of at most the number of page indices, got a larger one
// CHECK:           cf.assert {{.*}}expected lens of at most pages
// CHECK:           scf.for
// CHECK:             tensor.extract
// CHECK:             cf.assert {{.*}}expected page ids
// CHECK:           scf.for
// CHECK:             cf.assert {{.*}}expected page ids
// CHECK:         paged_attn.attention
func.func @attention_csr(%q : tensor<4x8x64xf32>, %k : tensor<3x9x16x2x64xf32>,
    %i : tensor<?xi32>, %p : tensor<5xi32>, %n : tensor<4xi32>, %layer : index,
    %v : tensor<3x9x16x2x64xf32>, %o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  %out = paged_attn.attention decode query(%q : tensor<4x8x64xf32>)
      keys(%k : tensor<3x9x16x2x64xf32>) values(%v : tensor<3x9x16x2x64xf32>)
      csr(%i : tensor<?xi32>, %p : tensor<5xi32>) lens(%n : tensor<4xi32>) layer(%layer)
      outs(%o : tensor<4x8x64xf32>)
      {key_layout = #paged_attn.layout<"lpshd">,
       mask = #paged_attn.mask<causal, window = 32, sink_tokens = 4>} -> tensor<4x8x64xf32>
  return %out : tensor<4x8x64xf32>
}

// -----

// CHECK-LABEL: func.func @append_slots
// CHECK:         scf.for
// CHECK:           cf.assert {{.*}}expected slots between -1 and pages * slots in a page - 1, got one outside
// CHECK:         paged_attn.append
func.func @append_slots(%kn : memref<?x2x64xf32>, %vn : memref<?x2x64xf32>,
    %slots : memref<?xi64>, %k : memref<?x16x2x64xf32>, %v : memref<?x16x2x64xf32>) {
  paged_attn.append keys(%kn : memref<?x2x64xf32>) values(%vn : memref<?x2x64xf32>)
      slots(%slots : memref<?xi64>)
      outs(%k : memref<?x16x2x64xf32>, %v : memref<?x16x2x64xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// CHECK-LABEL: func.func @append_table
// CHECK:         scf.for
// CHECK:           cf.assert {{.*}}expected lens of at least the new tokens of the sequence, got a smaller one
// CHECK:           scf.for
// CHECK:             cf.assert {{.*}}expected page ids
// CHECK:         paged_attn.append
func.func @append_table(%kn : memref<6x2x64xf32>, %vn : memref<6x2x64xf32>, %t : memref<3x?xi32>,
    %n : memref<3xi32>, %k : memref<?x2x16x2x64xf32>) {
  paged_attn.append keys(%kn : memref<6x2x64xf32>) values(%vn : memref<6x2x64xf32>)
      table(%t : memref<3x?xi32>) lens(%n : memref<3xi32>)
      outs(%k : memref<?x2x16x2x64xf32>) {key_layout = #paged_attn.layout<"pcshd">}
  return
}

// -----

// CHECK-LABEL: func.func @gather
// CHECK:         scf.for
// CHECK:           cf.assert {{.*}}expected lens of at most dimension 1 of out, got a larger one
// CHECK:           scf.for
// CHECK:             cf.assert {{.*}}expected page ids
// CHECK:         paged_attn.gather
func.func @gather(%k : memref<?x16x2x64xf32>, %t : memref<?x?xi32>, %n : memref<?xi32>,
    %o : memref<?x?x2x64xf32>) {
  paged_attn.gather key pool(%k : memref<?x16x2x64xf32>) table(%t : memref<?x?xi32>)
      lens(%n : memref<?xi32>) outs(%o : memref<?x?x2x64xf32>)
      {layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// CHECK-LABEL: func.func @copy_pages
// CHECK:         scf.for
// CHECK:           cf.assert {{.*}}expected source pages of at most the pool's pages - 1, got a larger one
// CHECK:           cf.assert {{.*}}expected target pages between 0 and the pool's pages - 1, got one outside
// CHECK:         paged_attn.copy_pages
func.func @copy_pages(%pairs : memref<?x2xi64>, %k : memref<?x16x2x64xf32>) {
  paged_attn.copy_pages pairs(%pairs : memref<?x2xi64>) outs(%k : memref<?x16x2x64xf32>)
      {layout = #paged_attn.layout<"pshd">}
  return
}
