// RUN: paged-attn-opt %s -transform-interpreter -canonicalize -cse -split-input-file | FileCheck %s

// Tokens and KV heads: each tile has its own starts and offsets, and the group
// of query heads of its KV heads.

// CHECK-LABEL: func.func @tokens_and_heads
// CHECK-SAME:    %[[Q:[^:]*]]: tensor<6x8x64xf32>, %[[K:[^:]*]]: tensor<9x16x2x64xf32>, %[[V:[^:]*]]: tensor<9x2x16x64xf32>
// CHECK:         scf.for %[[T0:.*]] = %{{.*}} to %c6 step %c2 iter_args
// CHECK:           scf.for %[[H:.*]] = %{{.*}} to %c2 step %c1 iter_args(%[[O:.*]] = %{{.*}}, %[[L:.*]] = %{{.*}})
// CHECK-DAG:         %[[HQ:.*]] = affine.apply {{.*}}%[[H]]{{[])]}}
// CHECK-DAG:         %[[QS:.*]] = tensor.extract_slice %[[Q]][%[[T0]], %[[HQ]], 0] [2, 4, 64]
// CHECK-DAG:         %[[KS:.*]] = tensor.extract_slice %[[K]][0, 0, %[[H]], 0] [9, 16, 1, 64]
// CHECK-DAG:         %[[VS:.*]] = tensor.extract_slice %[[V]][0, %[[H]], 0, 0] [9, 1, 16, 64]
// CHECK-DAG:         %[[AS:.*]] = tensor.extract_slice %{{.*}}[%[[HQ]]] [4]
// CHECK-DAG:         %[[BS:.*]] = tensor.extract_slice %{{.*}}[%[[T0]], 0, 0] [2, 1, 32]
// CHECK:             %[[OFF:.*]] = tensor.generate
// CHECK:               arith.maxsi
// CHECK:             : tensor<3xi32>
// CHECK:             %[[ST:.*]] = tensor.generate
// CHECK:               arith.maxsi
// CHECK:               arith.minsi
// CHECK:             : tensor<4xi32>
// CHECK:             paged_attn.attention prefill query(%[[QS]] : tensor<2x4x64xf32>) keys(%[[KS]] : tensor<9x16x1x64xf32>) values(%[[VS]] : tensor<9x1x16x64xf32>)
// CHECK-SAME:          starts(%[[ST]] : tensor<4xi32>) offsets(%[[OFF]] : tensor<3xi32>)
// CHECK-SAME:          alibi(%[[AS]] : tensor<4xf32>) bias(%[[BS]] : tensor<2x1x32xf32>)
// CHECK-SAME:          -> tensor<2x4x64xf32>, tensor<2x4xf32>
// CHECK:             tensor.insert_slice %{{.*}} into %[[O]][%[[T0]], %[[HQ]], 0] [2, 4, 64]
// CHECK:             tensor.insert_slice %{{.*}} into %[[L]][%[[T0]], %[[HQ]]] [2, 4]
func.func @tokens_and_heads(%q : tensor<6x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x2x16x64xf32>, %t : tensor<3x2xi32>, %n : tensor<3xi32>,
    %starts : tensor<4xi32>, %alibi : tensor<8xf32>, %bias : tensor<6x1x32xf32>,
    %o : tensor<6x8x64xf32>, %l : tensor<6x8xf32>) -> (tensor<6x8x64xf32>, tensor<6x8xf32>) {
  %out, %lse = paged_attn.attention prefill query(%q : tensor<6x8x64xf32>)
      keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x2x16x64xf32>)
      table(%t : tensor<3x2xi32>) lens(%n : tensor<3xi32>) starts(%starts : tensor<4xi32>)
      alibi(%alibi : tensor<8xf32>) bias(%bias : tensor<6x1x32xf32>)
      outs(%o : tensor<6x8x64xf32>, %l : tensor<6x8xf32>)
      {key_layout = #paged_attn.layout<"pshd">, value_layout = #paged_attn.layout<"phsd">}
      -> tensor<6x8x64xf32>, tensor<6x8xf32>
  return %out, %lse : tensor<6x8x64xf32>, tensor<6x8xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root : !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["paged_attn.attention"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %tiled, %loops:2 = transform.structured.tile_using_for %op tile_sizes [2, 1]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// Heads alone leave the sequences as they are; the score region still sees
// the number of the whole call's query head.

// CHECK-LABEL: func.func @heads_with_score
// CHECK-NOT:     tensor.generate
// CHECK:         scf.forall (%[[H:.*]]) in (2)
// CHECK:           %[[HQ:.*]] = affine.apply {{.*}}%[[H]]{{[])]}}
// CHECK:           paged_attn.attention decode
// CHECK-NOT:         starts(
// CHECK-SAME:        captures(%{{.*}}, %[[HQ]] : f32, index)
// CHECK-SAME:        score(%[[S:.*]], %{{.*}}, %[[HEAD:.*]], %{{.*}}, %{{.*}}, %{{.*}}, %[[FIRST:.*]]) {
// CHECK-NEXT:        arith.addi %[[HEAD]], %[[FIRST]] : index
func.func @heads_with_score(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>, %f : f32,
    %o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  %out = paged_attn.attention decode query(%q : tensor<4x8x64xf32>)
      keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) captures(%f : f32)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %seq, %head, %qp, %kp, %factor) {
        %h = arith.index_cast %head : index to i32
        %hf = arith.sitofp %h : i32 to f32
        %x = arith.mulf %hf, %factor : f32
        %s1 = arith.addf %s, %x : f32
        paged_attn.yield %s1 : f32
      } -> tensor<4x8x64xf32>
  return %out : tensor<4x8x64xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root : !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["paged_attn.attention"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_forall %op tile_sizes [0, 1]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}

// -----

// Without starts they are made: B sequences of T / B tokens.

// CHECK-LABEL: func.func @dynamic_without_starts
// CHECK:         scf.for
// CHECK:           arith.divsi
// CHECK:           tensor.generate
// CHECK:             arith.muli
// CHECK:           : tensor<?xi32>
// CHECK:           paged_attn.attention auto query(%{{[^:]*}} : tensor<?x8x64xf32>)
// CHECK-SAME:        starts(%{{[^:]*}} : tensor<?xi32>) offsets(
func.func @dynamic_without_starts(%q : tensor<?x8x64xf32>, %k : tensor<?x16x2x64xf32>,
    %v : tensor<?x16x2x64xf32>, %t : tensor<?x?xi32>, %n : tensor<?xi32>,
    %o : tensor<?x8x64xf32>) -> tensor<?x8x64xf32> {
  %out = paged_attn.attention auto query(%q : tensor<?x8x64xf32>)
      keys(%k : tensor<?x16x2x64xf32>) values(%v : tensor<?x16x2x64xf32>)
      table(%t : tensor<?x?xi32>) lens(%n : tensor<?xi32>)
      outs(%o : tensor<?x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<?x8x64xf32>
  return %out : tensor<?x8x64xf32>
}

module attributes {transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root : !transform.any_op {transform.readonly}) {
    %op = transform.structured.match ops{["paged_attn.attention"]} in %root
        : (!transform.any_op) -> !transform.any_op
    %tiled, %loop = transform.structured.tile_using_for %op tile_sizes [16]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op)
    transform.yield
  }
}
