// Pitfall h: a row's loop bounded by the pool (or the width of the table) and
// not by kv_len: the time of a short sequence then grows with the pool. The upper
// bound of the last loop over KV tiles is ceil(kv_len / 64), and the number of
// pages is never asked for.

// RUN: paged-attn-opt %s --paged-attn-select-mode --paged-attn-tile --canonicalize --cse | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-select-mode --paged-attn-tile --convert-paged-attn-to-linalg --canonicalize --cse | FileCheck %s

// CHECK-LABEL: func.func @decode
// CHECK-SAME: %[[Q:[a-z0-9]+]]: tensor<2x4x16xf32>, %[[K:[a-z0-9]+]]: tensor<?x8x2x16xf32>, %[[V:[a-z0-9]+]]: tensor<?x8x2x16xf32>, %[[TABLE:[a-z0-9]+]]: tensor<2x?xi32>, %[[LENS:[a-z0-9]+]]: tensor<2xi32>
// CHECK-DAG: %[[C63:.*]] = arith.constant 63 : index
// CHECK-DAG: %[[C64:.*]] = arith.constant 64 : index
// CHECK-NOT: tensor.dim %[[K]]
// CHECK-NOT: tensor.dim %[[V]]
// CHECK: %[[ENTRY:.*]] = tensor.extract %[[LENS]]
// CHECK: %[[LEN:.*]] = arith.index_cast %[[ENTRY]] : i32 to index
// CHECK-NOT: tensor.dim %[[K]]
// CHECK-NOT: tensor.dim %[[V]]
// CHECK: %[[SEEN:.*]] = arith.maxsi %[[LEN]], %{{.*}} : index
// CHECK: %[[END:.*]] = arith.select %{{.*}}, %{{.*}}, %[[SEEN]] : index
// CHECK: %[[SUM:.*]] = arith.addi %[[END]], %[[C63]] : index
// CHECK: %[[LAST:.*]] = arith.divui %[[SUM]], %[[C64]] : index
// CHECK: %[[INTERIOR:.*]] = arith.maxsi
// CHECK: scf.for %{{.*}} = %{{.*}} to %[[INTERIOR]] step
// CHECK: scf.for %{{.*}} = %[[INTERIOR]] to %[[LAST]] step
// CHECK-NOT: tensor.dim %[[K]]
// CHECK-NOT: tensor.dim %[[V]]
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
