// Two kernels for kernels_main.c: decode in f32, and ragged new tokens with a
// cache of f16 keys and bf16 values, keys transposed inside the page.
func.func @decode(%query: memref<?x8x32xf32>, %keys: memref<?x8x2x32xf32>,
    %values: memref<?x8x2x32xf32>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %out: memref<?x8x32xf32>, %lse: memref<?x8xf32>) {
  paged_attn.attention decode query(%query : memref<?x8x32xf32>)
      keys(%keys : memref<?x8x2x32xf32>) values(%values : memref<?x8x2x32xf32>)
      table(%table : memref<?x?xi32>) lens(%lens : memref<?xi32>)
      outs(%out : memref<?x8x32xf32>, %lse : memref<?x8xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  return
}

func.func @mixed(%query: memref<?x8x32xf32>, %keys: memref<?x2x32x8xf16>,
    %values: memref<?x8x2x32xbf16>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %starts: memref<?xi32>, %out: memref<?x8x32xf32>, %lse: memref<?x8xf32>) {
  paged_attn.attention mixed query(%query : memref<?x8x32xf32>)
      keys(%keys : memref<?x2x32x8xf16>) values(%values : memref<?x8x2x32xbf16>)
      table(%table : memref<?x?xi32>) lens(%lens : memref<?xi32>)
      starts(%starts : memref<?xi32>)
      outs(%out : memref<?x8x32xf32>, %lse : memref<?x8xf32>)
      {key_layout = #paged_attn.layout<"phds">, value_layout = #paged_attn.layout<"pshd">,
       mask = #paged_attn.mask<causal, window = 40>}
  return
}
