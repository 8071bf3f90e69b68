// Quantised pools have no GPU kernels yet: one error, at the op.

// RUN: not paged-attn-compile %s --target=spirv --emit=gpu -o %t 2>&1 | FileCheck %s

// CHECK: expected pools of f32, f16 or bf16 on GPUs, got 'i8'
func.func @f(%q : tensor<?x8x64xf32>, %k : tensor<?x2x16x64xi8>, %v : tensor<?x2x16x64xi8>, %s : tensor<f32>, %t : tensor<?x?xi32>, %l : tensor<?xi32>, %o : tensor<?x8x64xf32>) -> (tensor<?x8x64xf32>) {
  %0 = paged_attn.attention decode query(%q : tensor<?x8x64xf32>) keys(%k : tensor<?x2x16x64xi8>) values(%v : tensor<?x2x16x64xi8>) table(%t : tensor<?x?xi32>) lens(%l : tensor<?xi32>) k_scale(%s : tensor<f32>) v_scale(%s : tensor<f32>) outs(%o : tensor<?x8x64xf32>) {key_layout = #paged_attn.layout<"phsd">, value_layout = #paged_attn.layout<"phsd">, mask = #paged_attn.mask<causal>} -> tensor<?x8x64xf32>
  return %0 : tensor<?x8x64xf32>
}
