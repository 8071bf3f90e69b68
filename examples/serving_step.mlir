// One serving step as an engine sees it: eight sequences that decode one token
// each, one prefill and one chunked prefill, over a paged bf16 KV cache. 32 query
// heads share 8 KV heads (grouped-query attention), the head dim is 128 and a
// page holds 16 tokens. Each function is level 0 of the ladder: it says what is
// computed, not how.
//
//   q       [T, 32, 128]        new tokens, packed sequence after sequence
//   k, v    [P, 16, 8, 128]     pools of pages
//   table   [B, N]              logical page -> physical page, any order
//   lens    [B]                 tokens in the cache, the new ones included
//   starts  [B + 1]             first row of each sequence in q
//   out     [T, 32, 128]        written and returned

// Eight sequences, one new token each.
func.func @decode(
    %q: tensor<8x32x128xbf16>, %k: tensor<?x16x8x128xbf16>,
    %v: tensor<?x16x8x128xbf16>, %table: tensor<8x?xi32>,
    %lens: tensor<8xi32>, %starts: tensor<9xi32>,
    %out: tensor<8x32x128xbf16>) -> tensor<8x32x128xbf16> {
  %0 = paged_attn.attention auto query(%q : tensor<8x32x128xbf16>)
      keys(%k : tensor<?x16x8x128xbf16>) values(%v : tensor<?x16x8x128xbf16>)
      table(%table : tensor<8x?xi32>) lens(%lens : tensor<8xi32>)
      starts(%starts : tensor<9xi32>) outs(%out : tensor<8x32x128xbf16>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<8x32x128xbf16>
  return %0 : tensor<8x32x128xbf16>
}

// One sequence whose 256 tokens are all new: lens[0] = 256.
func.func @prefill(
    %q: tensor<256x32x128xbf16>, %k: tensor<?x16x8x128xbf16>,
    %v: tensor<?x16x8x128xbf16>, %table: tensor<1x?xi32>,
    %lens: tensor<1xi32>, %starts: tensor<2xi32>,
    %out: tensor<256x32x128xbf16>) -> tensor<256x32x128xbf16> {
  %0 = paged_attn.attention auto query(%q : tensor<256x32x128xbf16>)
      keys(%k : tensor<?x16x8x128xbf16>) values(%v : tensor<?x16x8x128xbf16>)
      table(%table : tensor<1x?xi32>) lens(%lens : tensor<1xi32>)
      starts(%starts : tensor<2xi32>) outs(%out : tensor<256x32x128xbf16>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<256x32x128xbf16>
  return %0 : tensor<256x32x128xbf16>
}

// The next 256 tokens of a long prompt, the earlier chunks are cached: lens[0] > 256.
func.func @chunked(
    %q: tensor<256x32x128xbf16>, %k: tensor<?x16x8x128xbf16>,
    %v: tensor<?x16x8x128xbf16>, %table: tensor<1x?xi32>,
    %lens: tensor<1xi32>, %starts: tensor<2xi32>,
    %out: tensor<256x32x128xbf16>) -> tensor<256x32x128xbf16> {
  %0 = paged_attn.attention auto query(%q : tensor<256x32x128xbf16>)
      keys(%k : tensor<?x16x8x128xbf16>) values(%v : tensor<?x16x8x128xbf16>)
      table(%table : tensor<1x?xi32>) lens(%lens : tensor<1xi32>)
      starts(%starts : tensor<2xi32>) outs(%out : tensor<256x32x128xbf16>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<256x32x128xbf16>
  return %0 : tensor<256x32x128xbf16>
}

// The whole step in one call: all ten sequences, ragged.
func.func @step(
    %q: tensor<?x32x128xbf16>, %k: tensor<?x16x8x128xbf16>,
    %v: tensor<?x16x8x128xbf16>, %table: tensor<10x?xi32>,
    %lens: tensor<10xi32>, %starts: tensor<11xi32>,
    %out: tensor<?x32x128xbf16>) -> tensor<?x32x128xbf16> {
  %0 = paged_attn.attention auto query(%q : tensor<?x32x128xbf16>)
      keys(%k : tensor<?x16x8x128xbf16>) values(%v : tensor<?x16x8x128xbf16>)
      table(%table : tensor<10x?xi32>) lens(%lens : tensor<10xi32>)
      starts(%starts : tensor<11xi32>) outs(%out : tensor<?x32x128xbf16>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<?x32x128xbf16>
  return %0 : tensor<?x32x128xbf16>
}
