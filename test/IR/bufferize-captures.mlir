// RUN: paged-attn-opt %s -one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" -canonicalize \
// RUN:   | FileCheck %s

// The region takes the buffer of a tensor capture.
// CHECK-LABEL: func @tensor_capture
// CHECK-SAME: %[[C:[a-z0-9]+]]: memref<4xf32>
// CHECK: captures(%[[C]] : memref<4xf32>)
// CHECK: score(%{{.*}}, %{{.*}}, %[[HEAD:.*]], %{{.*}}, %{{.*}}, %[[FACTORS:.*]]) {
// CHECK-NEXT: memref.load %[[FACTORS]][%[[HEAD]]] : memref<4xf32>
func.func @tensor_capture(%c : tensor<4xf32>, %q : tensor<1x1x4xf32>,
    %k : tensor<9x8x1x4xf32>, %v : tensor<9x8x1x2xf32>, %t : tensor<1x9xi32>,
    %n : tensor<1xi32>, %o : tensor<1x1x2xf32>) -> tensor<1x1x2xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<1x1x4xf32>)
      keys(%k : tensor<9x8x1x4xf32>) values(%v : tensor<9x8x1x2xf32>)
      table(%t : tensor<1x9xi32>) lens(%n : tensor<1xi32>)
      captures(%c : tensor<4xf32>) outs(%o : tensor<1x1x2xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %seq, %head, %p, %j, %factors) {
        %factor = tensor.extract %factors[%head] : tensor<4xf32>
        %s1 = arith.mulf %s, %factor : f32
        paged_attn.yield %s1 : f32
      } -> tensor<1x1x2xf32>
  return %0 : tensor<1x1x2xf32>
}
