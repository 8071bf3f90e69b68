// RUN: paged-attn-opt %s -transform-interpreter -canonicalize -cse -split-input-file | FileCheck %s

// Rows in parallel, keys in order: the position moves with the keys, and each
// tile of rows knows how many of its rows are used.

// CHECK-LABEL: func.func @rows_and_keys
// CHECK-SAME:    %[[Q:[^:]*]]: tensor<8x64xf32>, %[[K:[^:]*]]: tensor<64x32xf32>, %[[V:[^:]*]]: tensor<32x64xf32>, %[[POS:[^:]*]]: index, %[[BEGIN:[^:]*]]: index, %[[END:[^:]*]]: index, %[[N:[^:]*]]: index
// CHECK:         scf.for %[[R:.*]] = %{{.*}} to %c8 step %c4
// CHECK:           scf.for %[[C:.*]] = %{{.*}} to %c32 step %c16
// CHECK-DAG:         %[[QS:.*]] = tensor.extract_slice %[[Q]][%[[R]], 0] [4, 64]
// CHECK-DAG:         %[[KS:.*]] = tensor.extract_slice %[[K]][0, %[[C]]] [64, 16]
// CHECK-DAG:         %[[VS:.*]] = tensor.extract_slice %[[V]][%[[C]], 0] [16, 64]
// CHECK-DAG:         %[[P:.*]] = arith.addi %[[POS]], %[[C]]
// CHECK-DAG:         %[[LEFT:.*]] = arith.subi %[[N]], %[[R]]
// CHECK-DAG:         %[[ROWS:.*]] = arith.maxsi %[[LEFT]], %c0
// CHECK:             paged_attn.online_update boundary query(%[[QS]] : tensor<4x64xf32>) keys(%[[KS]] : tensor<64x16xf32>) values(%[[VS]] : tensor<16x64xf32>) at(%[[P]]) range(%[[BEGIN]], %[[END]]) rows(%[[ROWS]])
// CHECK-SAME:          slopes(%{{.*}} : tensor<4xf32>)
// CHECK-SAME:          {mask = #paged_attn.mask<causal>, softcap = 3.000000e+01 : f32}
func.func @rows_and_keys(%q : tensor<8x64xf32>, %k : tensor<64x32xf32>, %v : tensor<32x64xf32>,
    %pos : index, %begin : index, %end : index, %n : index, %p : tensor<8xi32>,
    %slopes : tensor<8xf32>, %acc : tensor<8x64xf32>, %m : tensor<8xf32>, %l : tensor<8xf32>)
    -> (tensor<8x64xf32>, tensor<8xf32>, tensor<8xf32>) {
  %r:3 = paged_attn.online_update boundary query(%q : tensor<8x64xf32>)
      keys(%k : tensor<64x32xf32>) values(%v : tensor<32x64xf32>) at(%pos) range(%begin, %end)
      rows(%n) q_positions(%p : tensor<8xi32>) slopes(%slopes : tensor<8xf32>)
      outs(%acc : tensor<8x64xf32>, %m : tensor<8xf32>, %l : tensor<8xf32>)
      {mask = #paged_attn.mask<causal>, softcap = 30.0 : f32}
      -> tensor<8x64xf32>, tensor<8xf32>, tensor<8xf32>
  return %r#0, %r#1, %r#2 : tensor<8x64xf32>, tensor<8xf32>, tensor<8xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root : !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["paged_attn.online_update"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %tiled, %loops:2 = transform.structured.tile_using_for %op tile_sizes [4, 16]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// Two halves of the keys in parallel, each with its own state from the empty
// one on; combine merges them into the state that was there.

// CHECK-LABEL: func.func @split_keys
// CHECK-SAME:    %[[POS:[^:]*]]: index, %{{.*}}, %[[ACC:[^:]*]]: tensor<8x64xf32>, %[[M:[^:]*]]: tensor<8xf32>, %[[L:[^:]*]]: tensor<8xf32>)
// CHECK-DAG:     arith.constant dense<0.000000e+00> : tensor<2x8x64xf32>
// CHECK-DAG:     arith.constant dense<0xFF800000> : tensor<2x8xf32>
// CHECK-DAG:     arith.constant dense<0.000000e+00> : tensor<2x8xf32>
// CHECK:         %[[S:.*]]:3 = scf.forall (%[[I:.*]]) in (2) shared_outs(%[[ACCS:.*]] = %{{.*}}, %[[MS:.*]] = %{{.*}}, %[[LS:.*]] = %{{.*}})
// CHECK-DAG:       %[[C:.*]] = affine.apply {{.*}}%[[I]]{{[])]}}
// CHECK-DAG:       tensor.extract_slice %[[ACCS]][%[[I]], 0, 0] [1, 8, 64] [1, 1, 1] : tensor<2x8x64xf32> to tensor<8x64xf32>
// CHECK-DAG:       tensor.extract_slice %[[MS]][%[[I]], 0] [1, 8] [1, 1] : tensor<2x8xf32> to tensor<8xf32>
// CHECK-DAG:       %[[P:.*]] = arith.addi %[[POS]], %[[C]]
// CHECK:           paged_attn.online_update none query({{.*}}) keys(%{{[^:]*}} : tensor<64x16xf32>) values(%{{[^:]*}} : tensor<16x64xf32>) at(%[[P]])
// CHECK-DAG:         tensor.parallel_insert_slice %{{.*}} into %[[ACCS]][%[[I]], 0, 0] [1, 8, 64]
// CHECK-DAG:         tensor.parallel_insert_slice %{{.*}} into %[[MS]][%[[I]], 0] [1, 8]
// CHECK-DAG:         tensor.parallel_insert_slice %{{.*}} into %[[LS]][%[[I]], 0] [1, 8]
// CHECK:         paged_attn.combine states(%[[S]]#0 : tensor<2x8x64xf32>, %[[S]]#1 : tensor<2x8xf32>, %[[S]]#2 : tensor<2x8xf32>) outs(%[[ACC]] : tensor<8x64xf32>, %[[M]] : tensor<8xf32>, %[[L]] : tensor<8xf32>)
func.func @split_keys(%pos : index, %q : tensor<8x64xf32>, %k : tensor<64x32xf32>,
    %v : tensor<32x64xf32>, %begin : index, %end : index, %n : index, %p : tensor<8xi32>,
    %acc : tensor<8x64xf32>, %m : tensor<8xf32>, %l : tensor<8xf32>)
    -> (tensor<8x64xf32>, tensor<8xf32>, tensor<8xf32>) {
  %r:3 = paged_attn.online_update none query(%q : tensor<8x64xf32>)
      keys(%k : tensor<64x32xf32>) values(%v : tensor<32x64xf32>) at(%pos) range(%begin, %end)
      rows(%n) q_positions(%p : tensor<8xi32>)
      outs(%acc : tensor<8x64xf32>, %m : tensor<8xf32>, %l : tensor<8xf32>)
      -> tensor<8x64xf32>, tensor<8xf32>, tensor<8xf32>
  return %r#0, %r#1, %r#2 : tensor<8x64xf32>, tensor<8xf32>, tensor<8xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root : !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["paged_attn.online_update"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %fill:3, %split, %merge, %loop = transform.structured.tile_reduction_using_forall %op
        by num_threads = [0, 2] tile_sizes = []
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op,
                                  !transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}
