// RUN: paged-attn-opt %s -verify-diagnostics -split-input-file

// One case per constraint of paged_attn.attention, by its number.

// C1
func.func @query_rank(%q : tensor<4x8xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op operand #0 must be [T, Hq, Dk] of f32, f16 or bf16, but got 'tensor<4x8xf32>'}}
  %r = paged_attn.attention decode query(%q : tensor<4x8xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C1
func.func @query_type(%q : tensor<4x8x64xf64>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op operand #0 must be [T, Hq, Dk] of f32, f16 or bf16, but got 'tensor<4x8x64xf64>'}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf64>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C1
func.func @lse_type(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>, %l : tensor<4x8xf16>) {
  // expected-error @+1 {{'paged_attn.attention' op operand #6 must be [T, Hq] of f32, but got 'tensor<4x8xf16>'}}
  %r:2 = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>, %l : tensor<4x8xf16>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>, tensor<4x8xf16>
  return
}

// -----

// C1: zero heads
func.func @no_query_heads(%q : tensor<4x0x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected query to have at least 1 query heads, got 0}}
  %r = paged_attn.attention decode query(%q : tensor<4x0x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C1: zero head dim
func.func @no_key_dim(%q : tensor<4x8x0xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected query to have at least 1 elements in the head dim, got 0}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x0xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C1: zero head dim
func.func @no_value_dim(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x0xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected out to have at least 1 elements in the head dim, got 0}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x0xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x0xf32>
  return
}

// -----

// C1
func.func @out_tokens(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<5x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected out to have 4 tokens like query, got 5}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<5x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<5x8x64xf32>
  return
}

// -----

// C1
func.func @out_heads(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x4x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected out to have 8 query heads like query, got 4}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x4x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x4x64xf32>
  return
}

// -----

// C1
func.func @lse_tokens(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>, %l : tensor<3x8xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected lse to have 4 tokens like query, got 3}}
  %r:2 = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>, %l : tensor<3x8xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>, tensor<3x8xf32>
  return
}

// -----

// C1
func.func @lse_heads(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>, %l : tensor<4x2xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected lse to have 8 query heads like query, got 2}}
  %r:2 = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>, %l : tensor<4x2xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>, tensor<4x2xf32>
  return
}

// -----

// C2
func.func @pool_rank(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected keys to have 5 dimensions as #paged_attn.layout<"phds", pack = 2> says, got 4}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"phds", pack = 2>} -> tensor<4x8x64xf32>
  return
}

// -----

// C2
func.func @pool_pack(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x32x4xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected keys to have 2 elements in the last dimension as #paged_attn.layout<"pshd", pack = 2> says, got 4}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x32x4xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd", pack = 2>} -> tensor<4x8x64xf32>
  return
}

// -----

// C2: zero page size
func.func @no_slots(%q : tensor<4x8x64xf32>, %k : tensor<9x0x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected keys to have at least 1 slots in a page, got 0}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x0x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C2: zero heads
func.func @no_kv_heads(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x0x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected values to have at least 1 KV heads, got 0}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x0x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C2: zero head dim
func.func @no_head_dim(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x0xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected keys to have at least 1 elements in the head dim, got 0}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x0xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C2
func.func @value_layout_alone(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %t : tensor<4x2xi32>, %n : tensor<4xi32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected without values no value_layout, or #paged_attn.layout<"pshd">, got #paged_attn.layout<"phsd">}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">, value_layout = #paged_attn.layout<"phsd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C3
func.func @pair_size(%q : tensor<4x8x64xf32>, %k : tensor<9x3x16x2x64xf32>,
    %t : tensor<4x2xi32>, %n : tensor<4xi32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected keys to have 2 entries in dimension c, got 3}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x3x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pcshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C3
func.func @pair_and_values(%q : tensor<4x8x64xf32>, %k : tensor<9x2x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected layouts without c beside values, got #paged_attn.layout<"pcshd"> for keys}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x2x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pcshd">, value_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C3
func.func @no_layer(%q : tensor<4x8x64xf32>, %k : tensor<3x9x16x2x64xf32>,
    %v : tensor<3x9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected layer beside a layout with l, got none}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<3x9x16x2x64xf32>) values(%v : tensor<3x9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"lpshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C3
func.func @layer_alone(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>, %layer : index,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected a layout with l beside layer, got none with l}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) layer(%layer)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C4
func.func @group(%q : tensor<4x8x64xf32>, %k : tensor<9x16x3x64xf32>,
    %v : tensor<9x16x3x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected query to have a multiple of 3 query heads, got 8}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x3x64xf32>) values(%v : tensor<9x16x3x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C5
func.func @key_dim(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x32xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected keys to have 64 elements in the head dim like query, got 32}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x32xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C5
func.func @packed_key_dim(%q : tensor<4x8x64xf32>, %k : tensor<9x2x64x16x2xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected keys to have 64 elements in the head dim like query, got 128}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x2x64x16x2xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"phds", pack = 2>, value_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C5
func.func @value_dim(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x32xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected values to have 64 elements in the head dim like out, got 32}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x32xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C5
func.func @latent_dim(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %t : tensor<4x2xi32>, %n : tensor<4xi32>, %o : tensor<4x8x80xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected out to have at most 64 elements in the head dim like keys, got 80}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x80xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x80xf32>
  return
}

// -----

// C6
func.func @same_pages(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<8x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected values to have 9 pages like keys, got 8}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<8x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C6
func.func @same_slots(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x8x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected values to have 16 slots in a page like keys, got 8}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x8x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C6
func.func @same_kv_heads(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x4x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected values to have 2 KV heads like keys, got 4}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x4x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C7
func.func @no_table(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %n : tensor<4xi32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected exactly one of table and csr, got none}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C7
func.func @two_tables(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %i : tensor<8xi32>, %p : tensor<5xi32>,
    %n : tensor<4xi32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected exactly one of table and csr, got table and csr}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) csr(%i : tensor<8xi32>, %p : tensor<5xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C8
func.func @table_rows(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<3x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected table to have 4 rows for the 4 sequences of lens, got 3}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<3x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C8
func.func @indptr_entries(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %i : tensor<8xi32>, %p : tensor<4xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected indptr to have 5 entries for the 4 sequences of lens, got 4}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      csr(%i : tensor<8xi32>, %p : tensor<4xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C8
func.func @starts_entries(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %starts : tensor<4xi32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected starts to have 5 entries for the 4 sequences of lens, got 4}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) starts(%starts : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C8
func.func @offsets_entries(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %offsets : tensor<5xi32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected offsets to have 4 entries for the 4 sequences of lens, got 5}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) offsets(%offsets : tensor<5xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C8: with lens of any size
func.func @starts_and_table(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<?xi32>,
    %starts : tensor<6xi32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected starts to have 5 entries for the 4 sequences of table, got 6}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<?xi32>) starts(%starts : tensor<6xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C8
func.func @starts_empty(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<?x2xi32>, %n : tensor<?xi32>,
    %starts : tensor<0xi32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected starts to have at least 1 entries, got 0}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<?x2xi32>) lens(%n : tensor<?xi32>) starts(%starts : tensor<0xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C9
func.func @uneven(%q : tensor<6x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<6x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected without starts query to have a multiple of 4 tokens, got 6}}
  %r = paged_attn.attention decode query(%q : tensor<6x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<6x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<6x8x64xf32>
  return
}

// -----

// C9
func.func @no_sequences(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<0x2xi32>, %n : tensor<0xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected lens to have at least 1 entries, got 0}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<0x2xi32>) lens(%n : tensor<0xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C10
func.func @alibi_entries(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %alibi : tensor<2xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected alibi to have 8 entries like query, got 2}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) alibi(%alibi : tensor<2xf32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C10
func.func @sinks_entries(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %sinks : tensor<4xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected sinks to have 8 entries like query, got 4}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) sinks(%sinks : tensor<4xf32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C10
func.func @bias_tokens(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %bias : tensor<1x8x32xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected bias to have 4 tokens like query, got 1}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) bias(%bias : tensor<1x8x32xf32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C10
func.func @bias_heads(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %bias : tensor<4x2x32xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected bias to have 8 query heads like query, got 2}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) bias(%bias : tensor<4x2x32xf32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C11
func.func @scale_inf(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected a finite scale, got 0x7F800000 : f32}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">, scale = 0x7F800000 : f32} -> tensor<4x8x64xf32>
  return
}

// -----

// C11
func.func @scale_nan(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected a finite scale, got 0x7FC00000 : f32}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">, scale = 0x7FC00000 : f32} -> tensor<4x8x64xf32>
  return
}

// -----

// C11
func.func @softcap_zero(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected a finite, positive softcap, got 0.000000e+00 : f32}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">, softcap = 0.0 : f32} -> tensor<4x8x64xf32>
  return
}

// -----

// C11
func.func @softcap_negative(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected a finite, positive softcap, got -3.000000e+01 : f32}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">, softcap = -30.0 : f32} -> tensor<4x8x64xf32>
  return
}

// -----

// C11
func.func @softcap_inf(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected a finite, positive softcap, got 0x7F800000 : f32}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">, softcap = 0x7F800000 : f32} -> tensor<4x8x64xf32>
  return
}

// -----

// C12
func.func @accumulation(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected accumulation in f32, got 'f16'}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {accumulation = f16, key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C13
func.func @no_key_scale(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xi8>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected k_scale for keys of 'i8', got none}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xi8>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C13
func.func @no_value_scale(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xi8>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected v_scale for values of 'i8', got none}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xi8>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C13
func.func @scale_of_floats(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %k_scale : tensor<f32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected no k_scale for keys of 'f32', got one}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) k_scale(%k_scale : tensor<f32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C13
func.func @value_scale_of_floats(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %v_scale : tensor<f32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected no v_scale for values of 'f32', got one}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) v_scale(%v_scale : tensor<f32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C13
func.func @value_scale_of_latent(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xi8>,
    %t : tensor<4x2xi32>, %n : tensor<4xi32>, %k_scale : tensor<f32>, %v_scale : tensor<f32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected no v_scale where keys hold the values, got one}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xi8>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) k_scale(%k_scale : tensor<f32>) v_scale(%v_scale : tensor<f32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C14
func.func @score_terminator(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected the score region to end in paged_attn.yield, got llvm.unreachable}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %seq, %head, %qp, %kp) {
        llvm.unreachable
      } -> tensor<4x8x64xf32>
  return
}

// -----

// C14
func.func @score_arguments(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected a score region with 5 arguments, got 1}}
  %r = "paged_attn.attention"(%q, %k, %v, %t, %n, %o) <{
      key_layout = #paged_attn.layout<"pshd">, mode = #paged_attn<mode decode>,
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0>}> ({
  ^bb0(%s : f32):
    paged_attn.yield %s : f32
  }) : (tensor<4x8x64xf32>, tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>, tensor<4x2xi32>,
        tensor<4xi32>, tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  return
}

// -----

// C14
func.func @score_argument_type(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected argument #4 of the score region to be 'index', got 'i32'}}
  %r = "paged_attn.attention"(%q, %k, %v, %t, %n, %o) <{
      key_layout = #paged_attn.layout<"pshd">, mode = #paged_attn<mode decode>,
      operandSegmentSizes = array<i32: 1, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0>}> ({
  ^bb0(%s : f32, %seq : index, %head : index, %qp : index, %kp : i32):
    paged_attn.yield %s : f32
  }) : (tensor<4x8x64xf32>, tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>, tensor<4x2xi32>,
        tensor<4xi32>, tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  return
}

// -----

// C14: as the parser says it
func.func @score_syntax(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      // expected-error @+1 {{expected a score region with 5 arguments, got 2}}
      score(%s, %seq) {
        paged_attn.yield %s : f32
      } -> tensor<4x8x64xf32>
  return
}

// -----

// C14
func.func @yield_type(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %seq, %head, %qp, %kp) {
        %z = arith.constant 0.0 : f16
        // expected-error @+1 {{'paged_attn.yield' op operand #0 must be 32-bit float, but got 'f16'}}
        paged_attn.yield %z : f16
      } -> tensor<4x8x64xf32>
  return
}

// -----

// C15
func.func @captures_alone(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>, %captures : f32,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected a score region beside 1 captures, got none}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) captures(%captures : f32)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C16
func.func @tensor_and_memref(%q : tensor<4x8x64xf32>, %k : memref<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected all operands to be tensors like 'tensor<4x8x64xf32>', got 'memref<9x16x2x64xf32>'}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : memref<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C16
func.func @memref_and_tensor(%q : memref<4x8x64xf32>, %k : memref<9x16x2x64xf32>,
    %v : memref<9x16x2x64xf32>, %t : memref<4x2xi32>, %n : tensor<4xi32>,
    %o : memref<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected all operands to be memrefs like 'memref<4x8x64xf32>', got 'tensor<4xi32>'}}
  paged_attn.attention decode query(%q : memref<4x8x64xf32>) keys(%k : memref<9x16x2x64xf32>) values(%v : memref<9x16x2x64xf32>)
      table(%t : memref<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : memref<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// C16
func.func @no_result(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected the number of tensor results (0) to be equal to the number of output tensors (1)}}
  paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// C16
func.func @result_type(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected type of operand #5 ('tensor<4x8x64xf32>') to match type of corresponding result ('tensor<4x8x64xf16>')}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf16>
  return
}

// -----

// C17
func.func @decode_tokens(%q : tensor<260x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<260x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected in mode decode at most 64 tokens for each of 4 sequences, got 260 tokens}}
  %r = paged_attn.attention decode query(%q : tensor<260x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<260x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<260x8x64xf32>
  return
}

// -----

// C18
func.func @scale_heads(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xi8>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %k_scale : tensor<8xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected k_scale to have 2 KV heads like keys, got 8}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xi8>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) k_scale(%k_scale : tensor<8xf32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C18
func.func @scale_pages(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xi8>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %k_scale : tensor<8x16x2xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected k_scale to have 9 pages like keys, got 8}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xi8>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) k_scale(%k_scale : tensor<8x16x2xf32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}

// -----

// C18
func.func @scale_slots(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xi8>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %v_scale : tensor<9x4x2xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.attention' op expected v_scale to have 16 slots in a page like values, got 4}}
  %r = paged_attn.attention decode query(%q : tensor<4x8x64xf32>) keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xi8>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) v_scale(%v_scale : tensor<9x4x2xf32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x8x64xf32>
  return
}
