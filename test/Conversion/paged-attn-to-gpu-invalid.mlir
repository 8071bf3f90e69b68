// RUN: paged-attn-opt %s -split-input-file -verify-diagnostics --convert-paged-attn-to-gpu

func.func @not_tiled(%q: memref<2x2x16xf32>, %k: memref<?x8x2x16xf32>,
    %table: memref<2x?xi32>, %lens: memref<2xi32>, %out: memref<2x2x16xf32>) {
  // expected-error@below {{'paged_attn.attention' op expected tile ops, append or merge_states, got an op that is not lowered to gpu (attention: run paged-attn-tile first)}}
  paged_attn.attention decode query(%q : memref<2x2x16xf32>)
      keys(%k : memref<?x8x2x16xf32>) values(%k : memref<?x8x2x16xf32>)
      table(%table : memref<2x?xi32>) lens(%lens : memref<2xi32>)
      outs(%out : memref<2x2x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// expected-error@below {{expected a function on buffers without results, got tensors or results of its own (run one-shot-bufferize first)}}
func.func @tensors(%k: tensor<?x8x2x16xf32>, %pairs: tensor<?x2xi64>) -> tensor<?x8x2x16xf32> {
  %0 = paged_attn.copy_pages pairs(%pairs : tensor<?x2xi64>) outs(%k : tensor<?x8x2x16xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<?x8x2x16xf32>
  return %0 : tensor<?x8x2x16xf32>
}

// -----

func.func @outside(%q: memref<1x2x4xf32>) {
  %t = bufferization.to_tensor %q restrict : memref<1x2x4xf32> to tensor<1x2x4xf32>
  %out = tensor.empty() : tensor<2x4xf32>
  // expected-error@below {{'paged_attn.load_query' op expected tile ops inside scf.forall over work items, got one outside}}
  %0 = paged_attn.load_query query(%t : tensor<1x2x4xf32>) outs(%out : tensor<2x4xf32>) {factor = 1.0 : f32} -> tensor<2x4xf32>
  return
}
