// RUN: paged-attn-opt %s --paged-attn-tile='kv-tokens=16 split-tokens=100' --canonicalize --cse | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-tile='split-tokens=-1 cores=2' | FileCheck %s --check-prefix=WHOLE
// RUN: paged-attn-opt %s --paged-attn-tile='split-tokens=-1 cores=8' | FileCheck %s --check-prefix=CUT
// RUN: paged-attn-opt %s --paged-attn-tile | FileCheck %s --check-prefix=WHOLE
// RUN: not paged-attn-opt %s --paged-attn-tile='split-tokens=-2' 2>&1 | FileCheck %s --check-prefix=RANGE

// RANGE: error: expected split-tokens between -1 and 1048576, got -2

// WHOLE-LABEL: func.func @decode
// WHOLE-COUNT-1: scf.forall
// WHOLE-NOT: paged_attn.combine

// CUT-LABEL: func.func @decode
// CUT: paged_attn.combine

// Splits of 112 keys, the next multiple of a tile.

// CHECK-LABEL: func.func @decode(
// The longest sequence decides how many there are.
// CHECK: %[[MOST:.+]] = scf.for
// CHECK: %[[ROUNDED:.+]] = arith.addi %[[MOST]], %c111
// CHECK: %[[QUOTIENT:.+]] = arith.divui %[[ROUNDED]], %c112
// CHECK: %[[SPLITS:.+]] = arith.maxsi %[[QUOTIENT]], %c1
// CHECK: %[[ISONE:.+]] = arith.cmpi eq, %[[SPLITS]], %c1
// CHECK: %[[ACCS:.+]] = bufferization.alloc_tensor(%[[TILES:.+]], %[[SPLITS]]) : tensor<?x2x?x32x32xf32>
// CHECK: %[[FIRST:.+]]:5 = scf.forall (%[[TILE:.+]], %[[HEAD:.+]], %[[SPLIT:.+]]) in (%[[TILES]], 2, %[[SPLITS]]) shared_outs(
// CHECK: scf.if
// CHECK: %[[BEGIN:.+]] = arith.muli %[[SPLIT]], %c112
// CHECK: %[[END:.+]] = arith.addi %[[BEGIN]], %c112
// CHECK: paged_attn.load_query
// CHECK: arith.minsi %{{.+}}, %[[END]]
// CHECK: paged_attn.online_update none
// CHECK: paged_attn.online_update boundary
// CHECK: scf.if %[[ISONE]]
// CHECK: paged_attn.finalize
// CHECK: } else {
// CHECK: linalg.copy {{.*}} tensor<4x32xf32>
// CHECK: scf.forall.in_parallel
// CHECK-COUNT-5: tensor.parallel_insert_slice
// CHECK: %[[LEFT:.+]] = arith.select %[[ISONE]], %c0, %[[TILES]]
// CHECK: scf.forall (%[[TILE2:.+]], %[[HEAD2:.+]]) in (%[[LEFT]], 2) shared_outs(
// CHECK: tensor.extract_slice %[[FIRST]]#2[%[[TILE2]], %[[HEAD2]], 0, 0, 0] [1, 1, %{{[0-9]+}}, 32, 32]
// CHECK: paged_attn.combine states({{.*}} : tensor<?x4x32xf32>
// CHECK: paged_attn.finalize
func.func @decode(%q: tensor<?x8x32xf32>, %k: tensor<?x8x2x32xf32>,
    %v: tensor<?x8x2x32xf32>, %table: tensor<?x?xi32>, %lens: tensor<?xi32>,
    %out: tensor<?x8x32xf32>, %lse : tensor<?x8xf32>) -> (tensor<?x8x32xf32>, tensor<?x8xf32>) {
  %0:2 = paged_attn.attention decode query(%q : tensor<?x8x32xf32>)
      keys(%k : tensor<?x8x2x32xf32>) values(%v : tensor<?x8x2x32xf32>)
      table(%table : tensor<?x?xi32>) lens(%lens : tensor<?xi32>)
      outs(%out : tensor<?x8x32xf32>, %lse : tensor<?x8xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<?x8x32xf32>, tensor<?x8xf32>
  return %0#0, %0#1 : tensor<?x8x32xf32>, tensor<?x8xf32>
}
