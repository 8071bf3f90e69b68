// Pitfall i: the page table read inside the loops over slots, heads or the head
// dim. A page id is read once per page of a tile: never in the body of a linalg
// op, and after each read of the table the whole page is cut out of the pool.

// RUN: paged-attn-opt %s --paged-attn-to-linalg | FileCheck %s

// The sequence's row is cut out of the table once; every read of it is followed
// by the page it names. Two loops over tiles (interior, boundary), keys and values.
// CHECK-LABEL: func.func @decode
// CHECK: scf.forall
// CHECK: %[[ROW:.*]] = tensor.extract_slice %arg3
// CHECK-NOT: %arg3
// CHECK: tensor.extract %[[ROW]]
// CHECK-NEXT: arith.index_cast
// CHECK-NEXT: tensor.extract_slice %arg1[{{[^]]*}}] [1, 8, 1, 16]
// CHECK-NOT: tensor.extract %
// CHECK: tensor.extract %[[ROW]]
// CHECK-NEXT: arith.index_cast
// CHECK-NEXT: tensor.extract_slice %arg2[{{[^]]*}}] [1, 8, 1, 16]
// CHECK-NOT: tensor.extract %
// CHECK: tensor.extract %[[ROW]]
// CHECK-NEXT: arith.index_cast
// CHECK-NEXT: tensor.extract_slice %arg1[{{[^]]*}}] [1, 8, 1, 16]
// CHECK-NOT: tensor.extract %
// CHECK: tensor.extract %[[ROW]]
// CHECK-NEXT: arith.index_cast
// CHECK-NEXT: tensor.extract_slice %arg2[{{[^]]*}}] [1, 8, 1, 16]
// CHECK-NOT: tensor.extract %
// CHECK: return
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
