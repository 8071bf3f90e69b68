// RUN: paged-attn-opt %s --paged-attn-tile --split-input-file --verify-diagnostics

func.func @dynamic_page_size(%q: tensor<4x8x64xf32>, %k: tensor<?x?x8x64xf32>, %v: tensor<?x?x8x64xf32>,
    %t: tensor<4x?xi32>, %l: tensor<4xi32>, %o: tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  // expected-error @+1 {{'paged_attn.attention' op expected a static page size to tile, got a dynamic one}}
  %0 = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<?x?x8x64xf32>)
      values(%v : tensor<?x?x8x64xf32>) table(%t : tensor<4x?xi32>) lens(%l : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return %0 : tensor<4x8x64xf32>
}

// -----

func.func @score_region(%q: tensor<4x8x64xf32>, %k: tensor<?x16x8x64xf32>, %v: tensor<?x16x8x64xf32>,
    %t: tensor<4x?xi32>, %l: tensor<4xi32>, %o: tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  // expected-error @+1 {{'paged_attn.attention' op expected no score region on the tiled path, got one (convert-paged-attn-to-loops lowers it)}}
  %0 = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<?x16x8x64xf32>)
      values(%v : tensor<?x16x8x64xf32>) table(%t : tensor<4x?xi32>) lens(%l : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %b, %h, %i, %j) { paged_attn.yield %s : f32 } -> tensor<4x8x64xf32>
  return %0 : tensor<4x8x64xf32>
}

// -----

func.func @bias(%q: tensor<4x8x64xf32>, %k: tensor<?x16x8x64xf32>, %v: tensor<?x16x8x64xf32>,
    %t: tensor<4x?xi32>, %l: tensor<4xi32>, %bias: tensor<4x1x?xf32>, %o: tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  // expected-error @+1 {{'paged_attn.attention' op expected no bias on the tiled path, got one (convert-paged-attn-to-loops lowers it)}}
  %0 = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<?x16x8x64xf32>)
      values(%v : tensor<?x16x8x64xf32>) table(%t : tensor<4x?xi32>) lens(%l : tensor<4xi32>)
      bias(%bias : tensor<4x1x?xf32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return %0 : tensor<4x8x64xf32>
}
