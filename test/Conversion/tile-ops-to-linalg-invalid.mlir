// RUN: paged-attn-opt %s --convert-paged-attn-to-linalg --split-input-file --verify-diagnostics

func.func @memrefs(%q: memref<?x4x128xbf16>, %o: memref<32x128xf32>) {
  // expected-error @+1 {{'paged_attn.load_query' op expected tensors, got memrefs}}
  paged_attn.load_query query(%q : memref<?x4x128xbf16>) outs(%o : memref<32x128xf32>) {factor = 0.125 : f32}
  return
}

// -----

func.func @not_tiled(%q: tensor<4x8x64xf32>, %k: tensor<?x16x8x64xf32>, %v: tensor<?x16x8x64xf32>,
    %t: tensor<4x?xi32>, %l: tensor<4xi32>, %o: tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  // expected-error @+1 {{'paged_attn.attention' op expected tile ops, got attention (run paged-attn-tile first)}}
  %0 = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<?x16x8x64xf32>)
      values(%v : tensor<?x16x8x64xf32>) table(%t : tensor<4x?xi32>) lens(%l : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return %0 : tensor<4x8x64xf32>
}
