// RUN: paged-attn-opt %s -verify-diagnostics -split-input-file

// One case per constraint of the tile ops, by its number.

// load_query C1
func.func @query_rank(%q : tensor<4x128xbf16>, %o : tensor<32x128xf32>) {
  // expected-error @+1 {{'paged_attn.load_query' op operand #0 must be [nt, G, Dk] of f32, f16 or bf16, but got 'tensor<4x128xbf16>'}}
  %r = paged_attn.load_query query(%q : tensor<4x128xbf16>) outs(%o : tensor<32x128xf32>)
      {factor = 1.0 : f32} -> tensor<32x128xf32>
  return
}

// -----

// load_query C1
func.func @query_any_rows(%q : tensor<?x4x128xbf16>, %o : tensor<?x128xf32>) {
  // expected-error @+1 {{'paged_attn.load_query' op expected out to have a static number of rows, got ?}}
  %r = paged_attn.load_query query(%q : tensor<?x4x128xbf16>) outs(%o : tensor<?x128xf32>)
      {factor = 1.0 : f32} -> tensor<?x128xf32>
  return
}

// -----

// load_query C1
func.func @query_dim(%q : tensor<?x4x64xbf16>, %o : tensor<32x128xf32>) {
  // expected-error @+1 {{'paged_attn.load_query' op expected out to have 64 elements in the head dim like query, got 128}}
  %r = paged_attn.load_query query(%q : tensor<?x4x64xbf16>) outs(%o : tensor<32x128xf32>)
      {factor = 1.0 : f32} -> tensor<32x128xf32>
  return
}

// -----

// load_query C1
func.func @query_rows(%q : tensor<10x4x128xbf16>, %o : tensor<32x128xf32>) {
  // expected-error @+1 {{'paged_attn.load_query' op expected out to have at least 40 rows for the tokens and heads of query, got 32}}
  %r = paged_attn.load_query query(%q : tensor<10x4x128xbf16>) outs(%o : tensor<32x128xf32>)
      {factor = 1.0 : f32} -> tensor<32x128xf32>
  return
}

// -----

// load_query C2
func.func @query_mixed(%q : memref<?x4x128xbf16>, %o : tensor<32x128xf32>) {
  // expected-error @+1 {{'paged_attn.load_query' op expected all operands to be memrefs like 'memref<?x4x128xbf16>', got 'tensor<32x128xf32>'}}
  %r = paged_attn.load_query query(%q : memref<?x4x128xbf16>) outs(%o : tensor<32x128xf32>)
      {factor = 1.0 : f32} -> tensor<32x128xf32>
  return
}

// -----

// load_query C2
func.func @query_no_result(%q : tensor<?x4x128xbf16>, %o : tensor<32x128xf32>) {
  // expected-error @+1 {{'paged_attn.load_query' op expected the number of tensor results (0) to be equal to the number of output tensors (1)}}
  paged_attn.load_query query(%q : tensor<?x4x128xbf16>) outs(%o : tensor<32x128xf32>)
      {factor = 1.0 : f32}
  return
}

// -----

// load_tile C1
func.func @tile_pool_rank(%pool : tensor<?x16x8x128xbf16>, %pages : tensor<?xi32>, %h : index,
    %p : index, %b : index, %e : index, %layer : index, %o : tensor<128x64xf32>) {
  // expected-error @+1 {{'paged_attn.load_tile' op expected pool to have 5 dimensions as #paged_attn.layout<"lpshd"> says, got 4}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%h, %p) range(%b, %e) layer(%layer) outs(%o : tensor<128x64xf32>)
      {layout = #paged_attn.layout<"lpshd">} -> tensor<128x64xf32>
  return
}

// -----

// load_tile C1
func.func @tile_no_layer(%pool : tensor<2x?x16x8x128xbf16>, %pages : tensor<?xi32>, %h : index,
    %p : index, %b : index, %e : index, %o : tensor<128x64xf32>) {
  // expected-error @+1 {{'paged_attn.load_tile' op expected layer beside a layout with l, got none}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<2x?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%h, %p) range(%b, %e) outs(%o : tensor<128x64xf32>)
      {layout = #paged_attn.layout<"lpshd">} -> tensor<128x64xf32>
  return
}

// -----

// load_tile C1
func.func @tile_layer_alone(%pool : tensor<?x16x8x128xbf16>, %pages : tensor<?xi32>,
    %h : index, %p : index, %b : index, %e : index, %layer : index, %o : tensor<128x64xf32>) {
  // expected-error @+1 {{'paged_attn.load_tile' op expected a layout with l beside layer, got none with l}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%h, %p) range(%b, %e) layer(%layer) outs(%o : tensor<128x64xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<128x64xf32>
  return
}

// -----

// load_tile C2
func.func @tile_key_dim(%pool : tensor<?x16x8x128xbf16>, %pages : tensor<?xi32>, %h : index,
    %p : index, %b : index, %e : index, %o : tensor<64x64xf32>) {
  // expected-error @+1 {{'paged_attn.load_tile' op expected out to have 128 elements in the head dim like pool, got 64}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%h, %p) range(%b, %e) outs(%o : tensor<64x64xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<64x64xf32>
  return
}

// -----

// load_tile C2
func.func @tile_value_dim(%pool : tensor<?x16x8x128xbf16>, %pages : tensor<?xi32>, %h : index,
    %p : index, %b : index, %e : index, %o : tensor<64x256xf32>) {
  // expected-error @+1 {{'paged_attn.load_tile' op expected out to have at most 128 elements in the head dim like pool, got 256}}
  %r = paged_attn.load_tile value none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%h, %p) range(%b, %e) outs(%o : tensor<64x256xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<64x256xf32>
  return
}

// -----

// load_tile C2
func.func @tile_any_keys(%pool : tensor<?x16x8x128xbf16>, %pages : tensor<?xi32>, %h : index,
    %p : index, %b : index, %e : index, %o : tensor<128x?xf32>) {
  // expected-error @+1 {{'paged_attn.load_tile' op expected out to have a static number of keys, got ?}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%h, %p) range(%b, %e) outs(%o : tensor<128x?xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<128x?xf32>
  return
}

// -----

// load_tile C2
func.func @tile_no_keys(%pool : tensor<?x16x8x128xbf16>, %pages : tensor<?xi32>, %h : index,
    %p : index, %b : index, %e : index, %o : tensor<128x0xf32>) {
  // expected-error @+1 {{'paged_attn.load_tile' op expected out to have at least 1 keys, got 0}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%h, %p) range(%b, %e) outs(%o : tensor<128x0xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<128x0xf32>
  return
}

// -----

// load_tile C3
func.func @tile_keys(%pool : tensor<?x16x8x128xbf16>, %pages : tensor<?xi32>, %h : index,
    %p : index, %b : index, %e : index, %o : tensor<128x24xf32>) {
  // expected-error @+1 {{'paged_attn.load_tile' op expected out to have a multiple or a divisor of 16 keys, got 24}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%h, %p) range(%b, %e) outs(%o : tensor<128x24xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<128x24xf32>
  return
}

// -----

// load_tile C5
func.func @load_tile_scale_missing(%pool: tensor<?x16x8x128xi8>, %pages: tensor<?xi32>, %i: index,
    %o: tensor<128x16xf32>) -> tensor<128x16xf32> {
  // expected-error @+1 {{'paged_attn.load_tile' op expected scale for pool of 'i8', got none}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xi8>) pages(%pages : tensor<?xi32>)
      at(%i, %i) range(%i, %i) outs(%o : tensor<128x16xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<128x16xf32>
  return %r : tensor<128x16xf32>
}

// -----

// load_tile C5
func.func @load_tile_scale_of_floats(%pool: tensor<?x16x8x128xbf16>, %pages: tensor<?xi32>, %i: index,
    %s: tensor<f32>, %o: tensor<128x16xf32>) -> tensor<128x16xf32> {
  // expected-error @+1 {{'paged_attn.load_tile' op expected no scale for pool of 'bf16', got one}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%i, %i) range(%i, %i) scale(%s : tensor<f32>)
      outs(%o : tensor<128x16xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<128x16xf32>
  return %r : tensor<128x16xf32>
}

// -----

// load_tile C5
func.func @load_tile_scale_heads(%pool: tensor<?x16x8x128xi8>, %pages: tensor<?xi32>, %i: index,
    %s: tensor<4xf32>, %o: tensor<128x16xf32>) -> tensor<128x16xf32> {
  // expected-error @+1 {{'paged_attn.load_tile' op expected scale to have 8 KV heads like pool, got 4}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xi8>) pages(%pages : tensor<?xi32>)
      at(%i, %i) range(%i, %i) scale(%s : tensor<4xf32>)
      outs(%o : tensor<128x16xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<128x16xf32>
  return %r : tensor<128x16xf32>
}

// -----

// load_tile C4
func.func @tile_mixed(%pool : tensor<?x16x8x128xbf16>, %pages : memref<?xi32>, %h : index,
    %p : index, %b : index, %e : index, %o : tensor<128x64xf32>) {
  // expected-error @+1 {{'paged_attn.load_tile' op expected all operands to be tensors like 'tensor<?x16x8x128xbf16>', got 'memref<?xi32>'}}
  %r = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : memref<?xi32>)
      at(%h, %p) range(%b, %e) outs(%o : tensor<128x64xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<128x64xf32>
  return
}

// -----

// load_tile C4
func.func @tile_no_result(%pool : tensor<?x16x8x128xbf16>, %pages : tensor<?xi32>, %h : index,
    %p : index, %b : index, %e : index, %o : tensor<128x64xf32>) {
  // expected-error @+1 {{'paged_attn.load_tile' op expected the number of tensor results (0) to be equal to the number of output tensors (1)}}
  paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%h, %p) range(%b, %e) outs(%o : tensor<128x64xf32>)
      {layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// online_update C1
func.func @update_any_rows(%q : tensor<?x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<4xi32>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected query to have a static number of rows, got ?}}
  %r:3 = paged_attn.online_update none query(%q : tensor<?x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// online_update C1
func.func @update_any_m(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<4xi32>, %acc : tensor<4x128xf32>, %m : tensor<?xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected m to have a static number of rows, got ?}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<?xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<?xf32>, tensor<4xf32>
  return
}

// -----

// online_update C1
func.func @update_key_dim(%q : tensor<4x128xf32>, %k : tensor<64x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<4xi32>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected keys to have 128 elements in the head dim like query, got 64}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<64x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// online_update C1
func.func @update_keys(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<32x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<4xi32>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected values to have 64 keys like keys, got 32}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<32x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// online_update C1
func.func @update_positions(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<8xi32>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected q_positions to have 4 rows like query, got 8}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<8xi32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// online_update C1
func.func @update_position_type(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<4xi64>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op operand #7 must be [R] of i32, but got 'tensor<4xi64>'}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi64>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// online_update C1
func.func @update_slopes(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<4xi32>, %slopes : tensor<1xf32>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>,
    %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected slopes to have 4 rows like query, got 1}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>) slopes(%slopes : tensor<1xf32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// online_update C1
func.func @update_acc_rows(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<4xi32>, %acc : tensor<5x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected acc to have 4 rows like query, got 5}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>)
      outs(%acc : tensor<5x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<5x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// online_update C1
func.func @update_acc_dim(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<4xi32>, %acc : tensor<4x64xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected acc to have 128 elements in the head dim like values, got 64}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>)
      outs(%acc : tensor<4x64xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x64xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// online_update C1
func.func @update_m(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>, %v : tensor<64x128xf32>,
    %pos : index, %b : index, %e : index, %n : index, %p : tensor<4xi32>,
    %acc : tensor<4x128xf32>, %m : tensor<3xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected m to have 4 rows like query, got 3}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<3xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<3xf32>, tensor<4xf32>
  return
}

// -----

// online_update C1
func.func @update_l(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>, %v : tensor<64x128xf32>,
    %pos : index, %b : index, %e : index, %n : index, %p : tensor<4xi32>,
    %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<2xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected l to have 4 rows like query, got 2}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<2xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<2xf32>
  return
}

// -----

// online_update C2
func.func @update_softcap(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<4xi32>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected a finite, positive softcap, got -1.000000e+00 : f32}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {softcap = -1.0 : f32}
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// online_update C3
func.func @update_mixed(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : memref<4xi32>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected all operands to be tensors like 'tensor<4x128xf32>', got 'memref<4xi32>'}}
  %r:3 = paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : memref<4xi32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// online_update C3
func.func @update_no_result(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %b : index, %e : index, %n : index,
    %p : tensor<4xi32>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected the number of tensor results (0) to be equal to the number of output tensors (3)}}
  paged_attn.online_update none query(%q : tensor<4x128xf32>)
      keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>) at(%pos) range(%b, %e) rows(%n)
      q_positions(%p : tensor<4xi32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
  return
}

// -----

// combine C1
func.func @combine_any_rows(%a : tensor<8x4x128xf32>, %b : tensor<8x4xf32>,
    %c : tensor<8x4xf32>, %acc : tensor<?x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.combine' op expected acc to have a static number of rows, got ?}}
  %r:3 = paged_attn.combine states(%a : tensor<8x4x128xf32>, %b : tensor<8x4xf32>, %c : tensor<8x4xf32>)
      outs(%acc : tensor<?x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<?x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// combine C1
func.func @combine_states(%a : tensor<8x4x128xf32>, %b : tensor<7x4xf32>, %c : tensor<8x4xf32>,
    %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.combine' op expected ms to have 8 states like accs, got 7}}
  %r:3 = paged_attn.combine states(%a : tensor<8x4x128xf32>, %b : tensor<7x4xf32>, %c : tensor<8x4xf32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// combine C1
func.func @combine_ls(%a : tensor<8x4x128xf32>, %b : tensor<8x4xf32>, %c : tensor<1x4xf32>,
    %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.combine' op expected ls to have 8 states like accs, got 1}}
  %r:3 = paged_attn.combine states(%a : tensor<8x4x128xf32>, %b : tensor<8x4xf32>, %c : tensor<1x4xf32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// combine C1
func.func @combine_rows(%a : tensor<8x2x128xf32>, %b : tensor<8x4xf32>, %c : tensor<8x4xf32>,
    %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.combine' op expected accs to have 4 rows like acc, got 2}}
  %r:3 = paged_attn.combine states(%a : tensor<8x2x128xf32>, %b : tensor<8x4xf32>, %c : tensor<8x4xf32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// combine C1
func.func @combine_dim(%a : tensor<8x4x64xf32>, %b : tensor<8x4xf32>, %c : tensor<8x4xf32>,
    %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.combine' op expected accs to have 128 elements in the head dim like acc, got 64}}
  %r:3 = paged_attn.combine states(%a : tensor<8x4x64xf32>, %b : tensor<8x4xf32>, %c : tensor<8x4xf32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// combine C1
func.func @combine_m(%a : tensor<8x4x128xf32>, %b : tensor<8x4xf32>, %c : tensor<8x4xf32>,
    %acc : tensor<4x128xf32>, %m : tensor<1xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.combine' op expected m to have 4 rows like acc, got 1}}
  %r:3 = paged_attn.combine states(%a : tensor<8x4x128xf32>, %b : tensor<8x4xf32>, %c : tensor<8x4xf32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<1xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<1xf32>, tensor<4xf32>
  return
}

// -----

// combine C2
func.func @combine_mixed(%a : memref<8x4x128xf32>, %b : tensor<8x4xf32>, %c : tensor<8x4xf32>,
    %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.combine' op expected all operands to be memrefs like 'memref<8x4x128xf32>', got 'tensor<8x4xf32>'}}
  %r:3 = paged_attn.combine states(%a : memref<8x4x128xf32>, %b : tensor<8x4xf32>, %c : tensor<8x4xf32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return
}

// -----

// combine C2
func.func @combine_no_result(%a : tensor<8x4x128xf32>, %b : tensor<8x4xf32>,
    %c : tensor<8x4xf32>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>) {
  // expected-error @+1 {{'paged_attn.combine' op expected the number of tensor results (0) to be equal to the number of output tensors (3)}}
  paged_attn.combine states(%a : tensor<8x4x128xf32>, %b : tensor<8x4xf32>, %c : tensor<8x4xf32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
  return
}

// -----

// finalize C1
func.func @finalize_any_rows(%acc : tensor<?x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>,
    %o : tensor<?x4x128xbf16>) {
  // expected-error @+1 {{'paged_attn.finalize' op expected acc to have a static number of rows, got ?}}
  %r = paged_attn.finalize state(%acc : tensor<?x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      outs(%o : tensor<?x4x128xbf16>) -> tensor<?x4x128xbf16>
  return
}

// -----

// finalize C1
func.func @finalize_m(%acc : tensor<4x128xf32>, %m : tensor<8xf32>, %l : tensor<4xf32>,
    %o : tensor<?x4x128xbf16>) {
  // expected-error @+1 {{'paged_attn.finalize' op expected m to have 4 rows like acc, got 8}}
  %r = paged_attn.finalize state(%acc : tensor<4x128xf32>, %m : tensor<8xf32>, %l : tensor<4xf32>)
      outs(%o : tensor<?x4x128xbf16>) -> tensor<?x4x128xbf16>
  return
}

// -----

// finalize C1
func.func @finalize_sinks(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>,
    %sinks : tensor<1xf32>, %o : tensor<?x4x128xbf16>) {
  // expected-error @+1 {{'paged_attn.finalize' op expected sinks to have 4 rows like acc, got 1}}
  %r = paged_attn.finalize state(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      sinks(%sinks : tensor<1xf32>) outs(%o : tensor<?x4x128xbf16>) -> tensor<?x4x128xbf16>
  return
}

// -----

// finalize C1
func.func @finalize_dim(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>,
    %o : tensor<?x4x64xbf16>) {
  // expected-error @+1 {{'paged_attn.finalize' op expected out to have 128 elements in the head dim like acc, got 64}}
  %r = paged_attn.finalize state(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      outs(%o : tensor<?x4x64xbf16>) -> tensor<?x4x64xbf16>
  return
}

// -----

// finalize C1
func.func @finalize_lse(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>,
    %o : tensor<?x4x128xbf16>, %lse : tensor<?x2xf32>) {
  // expected-error @+1 {{'paged_attn.finalize' op expected lse to have 4 query heads like out, got 2}}
  %r:2 = paged_attn.finalize state(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      outs(%o : tensor<?x4x128xbf16>, %lse : tensor<?x2xf32>) -> tensor<?x4x128xbf16>, tensor<?x2xf32>
  return
}

// -----

// finalize C1
func.func @finalize_rows(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>,
    %o : tensor<2x4x128xbf16>) {
  // expected-error @+1 {{'paged_attn.finalize' op expected acc to have at least 8 rows for the tokens and heads of out, got 4}}
  %r = paged_attn.finalize state(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      outs(%o : tensor<2x4x128xbf16>) -> tensor<2x4x128xbf16>
  return
}

// -----

// finalize C2
func.func @finalize_mixed(%acc : tensor<4x128xf32>, %m : memref<4xf32>, %l : tensor<4xf32>,
    %o : tensor<?x4x128xbf16>) {
  // expected-error @+1 {{'paged_attn.finalize' op expected all operands to be tensors like 'tensor<4x128xf32>', got 'memref<4xf32>'}}
  %r = paged_attn.finalize state(%acc : tensor<4x128xf32>, %m : memref<4xf32>, %l : tensor<4xf32>)
      outs(%o : tensor<?x4x128xbf16>) -> tensor<?x4x128xbf16>
  return
}

// -----

// finalize C2
func.func @finalize_no_result(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>,
    %o : tensor<?x4x128xbf16>) {
  // expected-error @+1 {{'paged_attn.finalize' op expected the number of tensor results (0) to be equal to the number of output tensors (1)}}
  paged_attn.finalize state(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      outs(%o : tensor<?x4x128xbf16>)
  return
}

// -----

func.func @online_update_c4(%q: tensor<6x8xf32>, %k: tensor<8x16xf32>, %v: tensor<16x8xf32>, %p: tensor<6xi32>,
    %i: index, %acc: tensor<6x8xf32>, %m: tensor<6xf32>, %l: tensor<6xf32>) {
  // expected-error @+1 {{'paged_attn.online_update' op expected row_block to divide the 6 rows, got 4}}
  %0:3 = paged_attn.online_update none query(%q : tensor<6x8xf32>) keys(%k : tensor<8x16xf32>)
      values(%v : tensor<16x8xf32>) at(%i) range(%i, %i) rows(%i) q_positions(%p : tensor<6xi32>)
      outs(%acc : tensor<6x8xf32>, %m : tensor<6xf32>, %l : tensor<6xf32>) {row_block = 4 : i64}
      -> tensor<6x8xf32>, tensor<6xf32>, tensor<6xf32>
  return
}
