// RUN: paged-attn-opt %s -verify-diagnostics -split-input-file

// One case per constraint of paged_attn.append, by its number.

// C1
func.func @keys_rank(%kn : tensor<6x64xf32>, %vn : tensor<6x2x64xf32>, %slots : tensor<6xi64>,
    %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op operand #0 must be [T, Hkv, Dk] of f32, f16 or bf16, but got 'tensor<6x64xf32>'}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C1
func.func @values_tokens(%kn : tensor<6x2x64xf32>, %vn : tensor<5x2x64xf32>,
    %slots : tensor<6xi64>, %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected values to have 6 tokens like keys, got 5}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<5x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C2
func.func @pool_rank(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected key pool to have 5 dimensions as #paged_attn.layout<"phds", pack = 4> says, got 4}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"phds", pack = 4>}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C2
func.func @pool_pack(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %k : tensor<9x16x2x64xf32>, %v : tensor<9x2x16x16x2xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected value pool to have 4 elements in the last dimension as #paged_attn.layout<"phds", pack = 4> says, got 2}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x2x16x16x2xf32>) {key_layout = #paged_attn.layout<"pshd">, value_layout = #paged_attn.layout<"phds", pack = 4>}
      -> tensor<9x16x2x64xf32>, tensor<9x2x16x16x2xf32>
  return
}

// -----

// C2: zero page size
func.func @no_slots_in_page(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %k : tensor<9x0x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected key pool to have at least 1 slots in a page, got 0}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x0x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x0x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C2
func.func @value_layout_alone(%kn : tensor<6x2x64xf32>, %slots : tensor<6xi64>,
    %k : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected without a value pool no value_layout, or #paged_attn.layout<"pshd">, got #paged_attn.layout<"phsd">}}
  %r = paged_attn.append keys(%kn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">, value_layout = #paged_attn.layout<"phsd">}
      -> tensor<9x16x2x64xf32>
  return
}

// -----

// C3
func.func @pair_size(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %k : tensor<9x1x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected key pool to have 2 entries in dimension c, got 1}}
  %r = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x1x16x2x64xf32>) {key_layout = #paged_attn.layout<"pcshd">}
      -> tensor<9x1x16x2x64xf32>
  return
}

// -----

// C3
func.func @pair_and_pool(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %k : tensor<9x2x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected one pool for a layout with c, got #paged_attn.layout<"pcshd"> beside a value pool}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x2x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pcshd">, value_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x2x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C3
func.func @no_values(%kn : tensor<6x2x64xf32>, %slots : tensor<6xi64>,
    %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected values for the pools, got none}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C3
func.func @no_value_pool(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %k : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected a pool for values, got none}}
  %r = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>
  return
}

// -----

// C3
func.func @no_layer(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>, %slots : tensor<6xi64>,
    %k : tensor<3x9x16x2x64xf32>, %v : tensor<3x9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected layer beside a layout with l, got none}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<3x9x16x2x64xf32>, %v : tensor<3x9x16x2x64xf32>) {key_layout = #paged_attn.layout<"lpshd">}
      -> tensor<3x9x16x2x64xf32>, tensor<3x9x16x2x64xf32>
  return
}

// -----

// C3
func.func @layer_alone(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %layer : index, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected a layout with l beside layer, got none with l}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>) layer(%layer)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C4
func.func @kv_heads(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>, %slots : tensor<6xi64>,
    %k : tensor<9x16x4x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected keys to have 4 KV heads like key pool, got 2}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x4x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x4x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C4
func.func @head_dim(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>, %slots : tensor<6xi64>,
    %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x32xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected values to have 32 elements in the head dim like value pool, got 64}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x32xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x32xf32>
  return
}

// -----

// C5
func.func @no_place(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected exactly one of slots, table and csr, got none}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
     
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C5
func.func @two_places(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %t : tensor<3x2xi32>, %n : tensor<3xi32>,
    %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected exactly one of slots, table and csr, got slots and table}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>) table(%t : tensor<3x2xi32>) lens(%n : tensor<3xi32>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C5
func.func @lens_and_slots(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %n : tensor<3xi32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected no lens beside slots, got lens}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>) lens(%n : tensor<3xi32>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C5
func.func @no_lens(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>, %t : tensor<3x2xi32>,
    %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected lens beside a page table, got none}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      table(%t : tensor<3x2xi32>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C5
func.func @starts_alone(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %starts : tensor<4xi32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected lens beside starts, got none}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>) starts(%starts : tensor<4xi32>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C6
func.func @slots_entries(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<5xi64>, %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected slots to have 6 entries like keys, got 5}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<5xi64>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C6
func.func @table_rows(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>, %t : tensor<2x2xi32>,
    %n : tensor<3xi32>, %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected table to have 3 rows for the 3 sequences of lens, got 2}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      table(%t : tensor<2x2xi32>) lens(%n : tensor<3xi32>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C6
func.func @indptr_entries(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %i : tensor<8xi32>, %p : tensor<3xi32>, %n : tensor<3xi32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected indptr to have 4 entries for the 3 sequences of lens, got 3}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      csr(%i : tensor<8xi32>, %p : tensor<3xi32>) lens(%n : tensor<3xi32>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C6
func.func @starts_entries(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %t : tensor<3x2xi32>, %n : tensor<3xi32>, %starts : tensor<5xi32>,
    %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected starts to have 4 entries for the 3 sequences of lens, got 5}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      table(%t : tensor<3x2xi32>) lens(%n : tensor<3xi32>) starts(%starts : tensor<5xi32>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C7
func.func @uneven(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected without starts keys to have a multiple of 4 tokens, got 6}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C8
func.func @tensor_and_memref(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : memref<6xi64>, %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected all operands to be tensors like 'tensor<6x2x64xf32>', got 'memref<6xi64>'}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : memref<6xi64>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xf32>, tensor<9x16x2x64xf32>
  return
}

// -----

// C8
func.func @no_result(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected the number of tensor results (0) to be equal to the number of output tensors (2)}}
  paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x2x64xf32>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// C9
func.func @integer_pool(%kn : tensor<6x2x64xf32>, %vn : tensor<6x2x64xf32>,
    %slots : tensor<6xi64>, %k : tensor<9x16x2x64xi8>, %v : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.append' op expected key pool of f32, f16 or bf16, got 'i8'}}
  %r:2 = paged_attn.append keys(%kn : tensor<6x2x64xf32>) values(%vn : tensor<6x2x64xf32>)
      slots(%slots : tensor<6xi64>)
      outs(%k : tensor<9x16x2x64xi8>, %v : tensor<9x16x2x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<9x16x2x64xi8>, tensor<9x16x2x64xf32>
  return
}
