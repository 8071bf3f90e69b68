// RUN: paged-attn-opt %s --paged-attn-tile --canonicalize --cse --split-input-file | FileCheck %s

// One token per sequence: a work item is a sequence and a KV head, rows are the
// heads of the group. The causal mask needs no boundary loop at the start; the
// last tile has one for kv_len.
// CHECK-LABEL: func.func @decode_causal
// CHECK:         scf.forall (%[[B:.*]], %[[H:.*]]) in (4, 8)
// CHECK:           %[[LEN:.*]] = tensor.extract %{{.*}}[%[[B]]]
// CHECK:           paged_attn.load_query
// CHECK-SAME:        tensor<4x128xf32>
// CHECK:           scf.for
// CHECK:             paged_attn.load_tile key none
// CHECK-SAME:          tensor<128x64xf32>
// CHECK:             paged_attn.load_tile value none
// CHECK-SAME:          tensor<64x128xf32>
// CHECK:             paged_attn.online_update none
// CHECK:           scf.for
// CHECK:             paged_attn.load_tile key boundary
// CHECK:             paged_attn.online_update boundary
// CHECK-SAME:          mask = #paged_attn.mask<causal>
// CHECK-SAME:          row_block = 4
// CHECK-NOT:         scf.for
// CHECK:           paged_attn.finalize
// CHECK:           tensor.parallel_insert_slice
func.func @decode_causal(%q: tensor<4x32x128xf32>, %k: tensor<?x16x8x128xbf16>, %v: tensor<?x16x8x128xbf16>,
    %t: tensor<4x?xi32>, %l: tensor<4xi32>, %o: tensor<4x32x128xf32>) -> tensor<4x32x128xf32> {
  %0 = paged_attn.attention decode query(%q : tensor<4x32x128xf32>) keys(%k : tensor<?x16x8x128xbf16>)
      values(%v : tensor<?x16x8x128xbf16>) table(%t : tensor<4x?xi32>) lens(%l : tensor<4xi32>)
      outs(%o : tensor<4x32x128xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>} -> tensor<4x32x128xf32>
  return %0 : tensor<4x32x128xf32>
}

// -----

// A window with sink tokens: sinks, lower boundary, interior, upper boundary.
// CHECK-LABEL: func.func @decode_window_sinks
// CHECK-COUNT-2: paged_attn.online_update boundary
// CHECK:         paged_attn.online_update none
// CHECK:         paged_attn.online_update boundary
// CHECK-NOT:     paged_attn.online_update
func.func @decode_window_sinks(%q: tensor<4x8x64xf32>, %k: tensor<?x16x8x64xf32>, %v: tensor<?x16x8x64xf32>,
    %t: tensor<4x?xi32>, %l: tensor<4xi32>, %o: tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  %0 = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<?x16x8x64xf32>)
      values(%v : tensor<?x16x8x64xf32>) table(%t : tensor<4x?xi32>) lens(%l : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>)
      {key_layout = #paged_attn.layout<"pshd">,
       mask = #paged_attn.mask<causal, window = 100, sink_tokens = 4>} -> tensor<4x8x64xf32>
  return %0 : tensor<4x8x64xf32>
}

// -----

// Ragged prefill: at most T / tokens + B query tiles, found by binary search;
// rows past the last sequence become 0.
// CHECK-LABEL: func.func @prefill_ragged
// CHECK:         tensor.extract_slice %[[OUT:.*]][%{{.*}}, 0, 0]
// CHECK:         linalg.fill
// CHECK:         tensor.insert_slice
// CHECK:         scf.forall (%{{.*}}, %{{.*}}) in (%{{.*}}, 8)
// CHECK:           scf.while
// CHECK:           paged_attn.load_query
// CHECK-SAME:        tensor<128x128xf32>
// CHECK:           paged_attn.online_update none
// CHECK-SAME:        row_block = 8
// CHECK:           paged_attn.finalize
func.func @prefill_ragged(%q: tensor<?x32x128xf32>, %k: tensor<?x16x8x128xf32>, %v: tensor<?x16x8x128xf32>,
    %t: tensor<?x?xi32>, %l: tensor<?xi32>, %s: tensor<?xi32>, %o: tensor<?x32x128xf32>) -> tensor<?x32x128xf32> {
  %0 = paged_attn.attention prefill query(%q : tensor<?x32x128xf32>) keys(%k : tensor<?x16x8x128xf32>)
      values(%v : tensor<?x16x8x128xf32>) table(%t : tensor<?x?xi32>) lens(%l : tensor<?xi32>)
      starts(%s : tensor<?xi32>) outs(%o : tensor<?x32x128xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>} -> tensor<?x32x128xf32>
  return %0 : tensor<?x32x128xf32>
}

// -----

// Mixed: one list; each item takes the decode or the prefill tile.
// CHECK-LABEL: func.func @mixed
// CHECK:         scf.forall
// CHECK:           scf.if
// CHECK:             paged_attn.load_query
// CHECK-SAME:          tensor<32x128xf32>
// CHECK:           } else {
// CHECK:             paged_attn.load_query
// CHECK-SAME:          tensor<128x128xf32>
func.func @mixed(%q: tensor<?x32x128xf32>, %k: tensor<?x16x8x128xf32>, %v: tensor<?x16x8x128xf32>,
    %t: tensor<?x?xi32>, %l: tensor<?xi32>, %s: tensor<?xi32>, %o: tensor<?x32x128xf32>) -> tensor<?x32x128xf32> {
  %0 = paged_attn.attention mixed query(%q : tensor<?x32x128xf32>) keys(%k : tensor<?x16x8x128xf32>)
      values(%v : tensor<?x16x8x128xf32>) table(%t : tensor<?x?xi32>) lens(%l : tensor<?xi32>)
      starts(%s : tensor<?xi32>) outs(%o : tensor<?x32x128xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>} -> tensor<?x32x128xf32>
  return %0 : tensor<?x32x128xf32>
}

// -----

// On memrefs: the same on tensors of the buffers.
// CHECK-LABEL: func.func @buffers
// CHECK:         bufferization.to_tensor
// CHECK:         scf.forall
// CHECK:         bufferization.materialize_in_destination
func.func @buffers(%q: memref<4x8x64xf32>, %k: memref<?x16x8x64xf32>, %v: memref<?x16x8x64xf32>,
    %t: memref<4x?xi32>, %l: memref<4xi32>, %o: memref<4x8x64xf32>) {
  paged_attn.attention decode query(%q : memref<4x8x64xf32>) keys(%k : memref<?x16x8x64xf32>)
      values(%v : memref<?x16x8x64xf32>) table(%t : memref<4x?xi32>) lens(%l : memref<4xi32>)
      outs(%o : memref<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
  return
}
