// Level 2 to 3c: kernels of one subgroup and their launches.
// RUN: paged-attn-opt %s -split-input-file --paged-attn-tile="query-tokens=4 decode-tokens=1 kv-tokens=16" --cse \
// RUN:   --convert-paged-attn-to-gpu="subgroup-size=16 load-elements=4" --canonicalize --cse | FileCheck %s

// One row of 16 f32 is 4 lanes of 4 elements: 4 groups of lanes, one key each,
// and one step of 4 keys a group for 16 keys.
// CHECK-LABEL: func.func @decode(
// CHECK-SAME: %[[Q:.*]]: memref<2x2x16xf32>, %[[K:[a-z0-9]*]]: memref
// CHECK-DAG: %[[B:.*]] = arith.constant 2 : index
// CHECK-DAG: %[[ONE:.*]] = arith.constant 1 : index
// CHECK-DAG: %[[LANES:.*]] = arith.constant 16 : index
// CHECK: gpu.launch_func @paged_attn_kernels::@decode_attention
// CHECK-SAME: blocks in (%[[B]], %[[B]], %[[ONE]]) threads in (%[[LANES]], %[[ONE]], %[[ONE]])
// CHECK-NEXT: return
// CHECK: gpu.module @paged_attn_kernels
// CHECK: gpu.func @decode_attention(
// CHECK-SAME: kernel attributes {known_block_size = array<i32: 16, 1, 1>}
// CHECK-DAG: %[[ITEM:.*]] = gpu.block_id x
// CHECK-DAG: %[[HEAD:.*]] = gpu.block_id y
// CHECK-DAG: %[[LANE:.*]] = gpu.thread_id x
// CHECK-DAG: %[[IN_GROUP:.*]] = arith.remui %[[LANE]], %{{.*}} : index
// CHECK-DAG: %[[GROUP:.*]] = arith.divui %[[LANE]], %{{.*}} : index
// The query row, then the loop without a mask: page, slot, K and V, scores.
// CHECK: vector.load %{{.*}}[%{{.*}}] : memref<2x2x16xf32>, vector<4xf32>
// CHECK: scf.for
// CHECK: %[[ID:.*]] = memref.load %{{.*}}[%[[ITEM]], %{{.*}}] : memref<2x?xi32>
// CHECK: %[[PAGE:.*]] = arith.index_cast %[[ID]] : i32 to index
// CHECK: vector.load %{{.*}}[%[[PAGE]], %{{.*}}, %[[HEAD]], %{{.*}}] : memref<?x8x2x16xf32>, vector<4xf32>
// CHECK: vector.reduction <add>
// CHECK: gpu.shuffle xor %{{.*}}, %{{.*}}, %{{.*}} : f32
// CHECK: math.exp2
// CHECK: scf.yield
// The boundary loop: the position that is read lies in the range.
// CHECK: scf.for
// CHECK: arith.minsi
// CHECK: arith.maxsi
// CHECK: arith.cmpi sle
// CHECK: scf.yield
// The groups' states are merged, one group writes.
// CHECK: gpu.shuffle xor
// CHECK: %[[FIRST:.*]] = arith.cmpi eq, %[[GROUP]]
// CHECK: vector.store %{{.*}} : memref<2x2x16xf32>, vector<4xf32>
// CHECK: gpu.return
// CHECK-NOT: gpu.barrier
func.func @decode(%q: memref<2x2x16xf32>, %k: memref<?x8x2x16xf32>,
    %v: memref<?x8x2x16xf32>, %table: memref<2x?xi32>, %lens: memref<2xi32>,
    %out: memref<2x2x16xf32>) {
  paged_attn.attention decode query(%q : memref<2x2x16xf32>)
      keys(%k : memref<?x8x2x16xf32>) values(%v : memref<?x8x2x16xf32>)
      table(%table : memref<2x?xi32>) lens(%lens : memref<2xi32>)
      outs(%out : memref<2x2x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  return
}

// -----

// Padding rows have a kernel of their own: a block per row of `out` looks up
// where they begin. 24 rows of a tile are 3 blocks of 8.
// CHECK-LABEL: func.func @prefill(
// CHECK-DAG: %[[C0:.*]] = arith.constant 0 : index
// CHECK-DAG: %[[C1:.*]] = arith.constant 1 : index
// CHECK-DAG: %[[C3:.*]] = arith.constant 3 : index
// CHECK: %[[ROWS:.*]] = memref.dim %{{.*}}, %[[C0]] : memref<?x6x8xf16>
// CHECK: gpu.launch_func @paged_attn_kernels::@prefill_pad blocks in (%{{.*}}, %[[C1]], %[[C1]])
// CHECK: gpu.launch_func @paged_attn_kernels::@prefill_attention blocks in (%{{.*}}, %[[C1]], %[[C3]])
// CHECK: gpu.func @prefill_pad(
// CHECK: memref.store %{{.*}} : memref<?x6x8xf16>
// CHECK: gpu.func @prefill_attention(
// CHECK: gpu.block_id z
func.func @prefill(%q: memref<?x6x8xf16>, %k: memref<?x4x1x8xf16>,
    %v: memref<?x4x1x8xf16>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %starts: memref<?xi32>, %out: memref<?x6x8xf16>) {
  paged_attn.attention prefill query(%q : memref<?x6x8xf16>)
      keys(%k : memref<?x4x1x8xf16>) values(%v : memref<?x4x1x8xf16>)
      table(%table : memref<?x?xi32>) lens(%lens : memref<?xi32>)
      starts(%starts : memref<?xi32>) outs(%out : memref<?x6x8xf16>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  return
}

// -----

// A block per token and head; the sequence of a token is searched.
// CHECK-LABEL: func.func @append(
// CHECK: gpu.launch_func @paged_attn_kernels::@append_append blocks in (%{{.*}}, %{{.*}}, %{{.*}}) threads in
// CHECK: gpu.func @append_append(
// CHECK: scf.while
// CHECK: scf.for
// CHECK: arith.truncf %{{.*}} : f32 to f16
// CHECK: memref.store %{{.*}} : memref<?x4x2x8xf16>
func.func @append(%kn: memref<?x2x8xf32>, %vn: memref<?x2x8xf32>,
    %table: memref<?x?xi32>, %lens: memref<?xi32>, %starts: memref<?xi32>,
    %k: memref<?x4x2x8xf16>, %v: memref<?x4x2x8xf16>) {
  paged_attn.append keys(%kn : memref<?x2x8xf32>) values(%vn : memref<?x2x8xf32>)
      table(%table : memref<?x?xi32>) lens(%lens : memref<?xi32>)
      starts(%starts : memref<?xi32>)
      outs(%k : memref<?x4x2x8xf16>, %v : memref<?x4x2x8xf16>)
      {key_layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// CHECK-LABEL: func.func @merge(
// CHECK: gpu.launch_func @paged_attn_kernels::@merge_merge
// CHECK: gpu.func @merge_merge(
// CHECK: math.log
func.func @merge(%a: memref<?x2x8xf32>, %b: memref<?x2x8xf32>, %la: memref<?x2xf32>,
    %lb: memref<?x2xf32>, %out: memref<?x2x8xf32>, %lse: memref<?x2xf32>) {
  paged_attn.merge_states parts(%a, %b : memref<?x2x8xf32>, memref<?x2x8xf32>)
      lses(%la, %lb : memref<?x2xf32>, memref<?x2xf32>)
      outs(%out : memref<?x2x8xf32>, %lse : memref<?x2xf32>)
  return
}

// -----

// Nothing to do: no module of kernels.
// CHECK-LABEL: func.func @nothing
// CHECK-NOT: gpu.module
func.func @nothing() {
  return
}
