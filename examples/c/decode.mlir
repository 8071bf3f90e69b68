// Decode of B sequences, one new token each: 4 query heads share 2 KV heads,
// head dim 8, pages of 4 slots. main.c calls the object that this becomes.
func.func @decode(%query: memref<?x4x8xf32>, %keys: memref<?x4x2x8xf32>,
                  %values: memref<?x4x2x8xf32>, %table: memref<?x?xi32>,
                  %lens: memref<?xi32>, %out: memref<?x4x8xf32>) {
  paged_attn.attention decode query(%query : memref<?x4x8xf32>)
      keys(%keys : memref<?x4x2x8xf32>) values(%values : memref<?x4x2x8xf32>)
      table(%table : memref<?x?xi32>) lens(%lens : memref<?xi32>)
      outs(%out : memref<?x4x8xf32>)
      {key_layout = #paged_attn.layout<"pshd">,
       mask = #paged_attn.mask<causal>}
  return
}
