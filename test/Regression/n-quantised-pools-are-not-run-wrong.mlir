// Pitfall n: fp8 and int8 attention that scales the query before the product and
// loses its range. The tiled path does not lower quantised pools yet: it says so at
// the op and leaves nothing half lowered. The reference scales K and V themselves.

// RUN: not paged-attn-opt %s --paged-attn-cpu='via=linalg' 2>&1 | FileCheck %s
// RUN: paged-attn-opt %s --one-shot-bufferize='bufferize-function-boundaries' --convert-paged-attn-to-loops | FileCheck %s --check-prefix=REFERENCE

// REFERENCE: arith.bitcast %{{.*}} : f8E4M3FN to i8

// CHECK: n-quantised-pools-are-not-run-wrong.mlir:[[#@LINE+6]]:{{[0-9]+}}: error: 'paged_attn.attention' op
// CHECK-NOT: llvm.func
func.func @decode(%q: tensor<2x4x16xf32>, %k: tensor<?x8x2x16xf8E4M3FN>,
    %v: tensor<?x8x2x16xf8E4M3FN>, %ks: tensor<f32>, %vs: tensor<f32>,
    %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %out: tensor<2x4x16xf32>) -> tensor<2x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<2x4x16xf32>)
      keys(%k : tensor<?x8x2x16xf8E4M3FN>) values(%v : tensor<?x8x2x16xf8E4M3FN>)
      table(%table : tensor<2x?xi32>) lens(%lens : tensor<2xi32>)
      k_scale(%ks : tensor<f32>) v_scale(%vs : tensor<f32>)
      outs(%out : tensor<2x4x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<2x4x16xf32>
  return %0 : tensor<2x4x16xf32>
}
