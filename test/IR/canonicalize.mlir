// RUN: paged-attn-opt %s -canonicalize -split-input-file | FileCheck %s

// CHECK-LABEL: func.func @unused_lse_is_dropped
// CHECK-SAME:    (%[[Q:[^:]*]]: tensor<4x8x64xf32>, {{.*}}, %[[O:[^:]*]]: tensor<4x8x64xf32>, %{{.*}}: tensor<4x8xf32>)
// CHECK:         %[[R:.*]] = paged_attn.attention decode query(%[[Q]] : {{.*}} outs(%[[O]] : tensor<4x8x64xf32>)
// CHECK-SAME:      score(
// CHECK:         } -> tensor<4x8x64xf32>
// CHECK-NEXT:    return %[[R]]
func.func @unused_lse_is_dropped(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>, %l : tensor<4x8xf32>) -> tensor<4x8x64xf32> {
  %out, %lse = paged_attn.attention decode query(%q : tensor<4x8x64xf32>)
      keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>, %l : tensor<4x8xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %seq, %head, %qp, %kp) {
        paged_attn.yield %s : f32
      } -> tensor<4x8x64xf32>, tensor<4x8xf32>
  return %out : tensor<4x8x64xf32>
}

// -----

// CHECK-LABEL: func.func @used_lse_stays
// CHECK:         -> tensor<4x8x64xf32>, tensor<4x8xf32>
func.func @used_lse_stays(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>, %l : tensor<4x8xf32>) -> tensor<4x8xf32> {
  %out, %lse = paged_attn.attention decode query(%q : tensor<4x8x64xf32>)
      keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>, %l : tensor<4x8xf32>)
      {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>, tensor<4x8xf32>
  return %lse : tensor<4x8xf32>
}

// -----

// CHECK-LABEL: func.func @one_token_per_sequence_is_decode
// CHECK:         paged_attn.attention decode
// CHECK-NOT:     starts(
func.func @one_token_per_sequence_is_decode(%q : tensor<4x8x64xf32>,
    %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  %starts = arith.constant dense<[0, 1, 2, 3, 4]> : tensor<5xi32>
  %out = paged_attn.attention auto query(%q : tensor<4x8x64xf32>)
      keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) starts(%starts : tensor<5xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<4x8x64xf32>
  return %out : tensor<4x8x64xf32>
}

// -----

// CHECK-LABEL: func.func @even_starts_are_dropped
// CHECK:         paged_attn.attention auto
// CHECK-NOT:     starts(
func.func @even_starts_are_dropped(%q : tensor<6x8x64xf32>,
    %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>, %t : tensor<2x2xi32>,
    %n : tensor<2xi32>, %o : tensor<6x8x64xf32>) -> tensor<6x8x64xf32> {
  %starts = arith.constant dense<[0, 3, 6]> : tensor<3xi64>
  %out = paged_attn.attention auto query(%q : tensor<6x8x64xf32>)
      keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<2x2xi32>) lens(%n : tensor<2xi32>) starts(%starts : tensor<3xi64>)
      outs(%o : tensor<6x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<6x8x64xf32>
  return %out : tensor<6x8x64xf32>
}

// -----

// Row 4 is padding, which is written as 0.
// CHECK-LABEL: func.func @starts_with_padding_stay
// CHECK:         paged_attn.attention auto {{.*}} starts(
func.func @starts_with_padding_stay(%q : tensor<5x8x64xf32>,
    %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %o : tensor<5x8x64xf32>) -> tensor<5x8x64xf32> {
  %starts = arith.constant dense<[0, 1, 2, 3, 4]> : tensor<5xi32>
  %out = paged_attn.attention auto query(%q : tensor<5x8x64xf32>)
      keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) starts(%starts : tensor<5xi32>)
      outs(%o : tensor<5x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<5x8x64xf32>
  return %out : tensor<5x8x64xf32>
}

// -----

// 2 pages of 16 slots hold at most 32 tokens.
// CHECK-LABEL: func.func @wide_window_is_causal
// CHECK:         paged_attn.attention decode {{.*}}mask = #paged_attn.mask<causal>}
// CHECK:         paged_attn.attention decode {{.*}}mask = #paged_attn.mask<causal, window = 31, sink_tokens = 2>}
// CHECK:         paged_attn.attention decode {{.*}}offsets{{.*}}mask = #paged_attn.mask<causal, window = 32>}
// CHECK:         paged_attn.attention decode {{.*}}outs(%{{.*}} : memref<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
func.func @wide_window_is_causal(%q : memref<4x8x64xf32>, %k : memref<9x16x2x64xf32>,
    %v : memref<9x16x2x64xf32>, %t : memref<4x2xi32>, %n : memref<4xi32>,
    %o : memref<4x8x64xf32>) {
  paged_attn.attention decode query(%q : memref<4x8x64xf32>)
      keys(%k : memref<9x16x2x64xf32>) values(%v : memref<9x16x2x64xf32>)
      table(%t : memref<4x2xi32>) lens(%n : memref<4xi32>) outs(%o : memref<4x8x64xf32>)
      {key_layout = #paged_attn.layout<"pshd">,
       mask = #paged_attn.mask<causal, window = 32, sink_tokens = 2>}
  paged_attn.attention decode query(%q : memref<4x8x64xf32>)
      keys(%k : memref<9x16x2x64xf32>) values(%v : memref<9x16x2x64xf32>)
      table(%t : memref<4x2xi32>) lens(%n : memref<4xi32>) outs(%o : memref<4x8x64xf32>)
      {key_layout = #paged_attn.layout<"pshd">,
       mask = #paged_attn.mask<causal, window = 31, sink_tokens = 2, chunk = 64>}
  paged_attn.attention decode query(%q : memref<4x8x64xf32>)
      keys(%k : memref<9x16x2x64xf32>) values(%v : memref<9x16x2x64xf32>)
      table(%t : memref<4x2xi32>) lens(%n : memref<4xi32>) offsets(%n : memref<4xi32>)
      outs(%o : memref<4x8x64xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal, window = 32>}
  paged_attn.attention decode query(%q : memref<4x8x64xf32>)
      keys(%k : memref<9x16x2x64xf32>) values(%v : memref<9x16x2x64xf32>)
      table(%t : memref<4x2xi32>) lens(%n : memref<4xi32>) outs(%o : memref<4x8x64xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<window = 100>}
  return
}

// -----

// An op without a score region, and casts of every kind around it.
// CHECK-LABEL: func.func @tensor_casts
// CHECK-SAME:    (%[[Q:[^:]*]]: tensor<4x8x64xf32>, %[[K:[^:]*]]: tensor<9x16x2x64xf32>, {{.*}}, %[[O:[^:]*]]: tensor<4x8x64xf32>)
// CHECK-NEXT:    %[[R:.*]] = paged_attn.attention decode query(%[[Q]] : tensor<4x8x64xf32>) keys(%[[K]] : tensor<9x16x2x64xf32>) {{.*}} outs(%[[O]] : tensor<4x8x64xf32>)
// CHECK-NEXT:    return %[[R]]
func.func @tensor_casts(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  %q1 = tensor.cast %q : tensor<4x8x64xf32> to tensor<?x8x64xf32>
  %k1 = tensor.cast %k : tensor<9x16x2x64xf32> to tensor<?x16x2x64xf32>
  %o1 = tensor.cast %o : tensor<4x8x64xf32> to tensor<?x8x64xf32>
  %out = paged_attn.attention decode query(%q1 : tensor<?x8x64xf32>)
      keys(%k1 : tensor<?x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o1 : tensor<?x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<?x8x64xf32>
  %r = tensor.cast %out : tensor<?x8x64xf32> to tensor<4x8x64xf32>
  return %r : tensor<4x8x64xf32>
}

// -----

// CHECK-LABEL: func.func @out_and_capture_casts
// CHECK-SAME:    (%[[F:[^:]*]]: tensor<8xf32>, %[[O:[^:]*]]: tensor<4x8x64xf32>, {{.*}})
// CHECK-NEXT:    %[[R:.*]] = paged_attn.attention {{.*}} captures(%[[F]] : tensor<8xf32>) outs(%[[O]] : tensor<4x8x64xf32>)
// CHECK-SAME:      score(%[[S:.*]], %{{.*}}, %[[H:.*]], %{{.*}}, %{{.*}}, %[[C:.*]]) {
// CHECK-NEXT:      tensor.extract %[[C]][%[[H]]] : tensor<8xf32>
// CHECK:         } -> tensor<4x8x64xf32>
// CHECK-NEXT:    %[[X:.*]] = tensor.cast %[[R]] : tensor<4x8x64xf32> to tensor<?x8x64xf32>
// CHECK-NEXT:    return %[[X]]
func.func @out_and_capture_casts(%f : tensor<8xf32>, %o : tensor<4x8x64xf32>,
    %q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>) -> tensor<?x8x64xf32> {
  %f1 = tensor.cast %f : tensor<8xf32> to tensor<?xf32>
  %o1 = tensor.cast %o : tensor<4x8x64xf32> to tensor<?x8x64xf32>
  %out = paged_attn.attention decode query(%q : tensor<4x8x64xf32>)
      keys(%k : tensor<9x16x2x64xf32>) table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      captures(%f1 : tensor<?xf32>) outs(%o1 : tensor<?x8x64xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %seq, %head, %qp, %kp, %factors) {
        %factor = tensor.extract %factors[%head] : tensor<?xf32>
        %s1 = arith.mulf %s, %factor : f32
        paged_attn.yield %s1 : f32
      } -> tensor<?x8x64xf32>
  return %out : tensor<?x8x64xf32>
}

// -----

// CHECK-LABEL: func.func @result_cast
// CHECK-SAME:    %[[O:[^:]*]]: tensor<?x8x64xf32>)
// CHECK:         %[[C:.*]] = tensor.cast %[[O]] : tensor<?x8x64xf32> to tensor<4x8x64xf32>
// CHECK:         %[[R:.*]] = paged_attn.attention {{.*}} outs(%[[C]] : tensor<4x8x64xf32>) {{.*}} -> tensor<4x8x64xf32>
// CHECK-NEXT:    return %[[R]]
func.func @result_cast(%q : tensor<?x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<?x8x64xf32>) -> tensor<4x8x64xf32> {
  %out = paged_attn.attention decode query(%q : tensor<?x8x64xf32>)
      keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<?x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<?x8x64xf32>
  %r = tensor.cast %out : tensor<?x8x64xf32> to tensor<4x8x64xf32>
  return %r : tensor<4x8x64xf32>
}

// -----

// A cast that knows more than its source stays.
// CHECK-LABEL: func.func @memref_casts
// CHECK-SAME:    (%[[K:[^:]*]]: memref<9x16x2x64xf32>, %[[P:[^:]*]]: memref<?x?xi64>)
// CHECK-NEXT:    %[[C:.*]] = memref.cast %[[P]] : memref<?x?xi64> to memref<?x2xi64>
// CHECK-NEXT:    paged_attn.copy_pages pairs(%[[C]] : memref<?x2xi64>) outs(%[[K]] : memref<9x16x2x64xf32>)
func.func @memref_casts(%k : memref<9x16x2x64xf32>, %p : memref<?x?xi64>) {
  %k1 = memref.cast %k : memref<9x16x2x64xf32> to memref<?x16x2x64xf32, strided<[?, ?, ?, 1], offset: ?>>
  %p1 = memref.cast %p : memref<?x?xi64> to memref<?x2xi64>
  paged_attn.copy_pages pairs(%p1 : memref<?x2xi64>)
      outs(%k1 : memref<?x16x2x64xf32, strided<[?, ?, ?, 1], offset: ?>>)
      {layout = #paged_attn.layout<"pshd">}
  return
}
