// RUN: paged-attn-opt %s -verify-diagnostics -split-input-file

// One case per constraint of paged_attn.gather, copy_pages and merge_states, by
// its number.

// gather C1
func.func @gather_pool_rank(%pool : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected pool to have 5 dimensions as #paged_attn.layout<"pcshd"> says, got 4}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"pcshd">} -> tensor<4x32x2x64xf32>
  return
}

// -----

// gather C1
func.func @gather_pair_size(%pool : tensor<9x4x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected pool to have 2 entries in dimension c, got 4}}
  %r = paged_attn.gather key pool(%pool : tensor<9x4x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"pcshd">} -> tensor<4x32x2x64xf32>
  return
}

// -----

// gather C1
func.func @gather_no_layer(%pool : tensor<3x9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected layer beside a layout with l, got none}}
  %r = paged_attn.gather key pool(%pool : tensor<3x9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"lpshd">} -> tensor<4x32x2x64xf32>
  return
}

// -----

// gather C1
func.func @gather_layer_alone(%pool : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %layer : index, %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected a layout with l beside layer, got none with l}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>) layer(%layer)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<4x32x2x64xf32>
  return
}

// -----

// gather C2
func.func @gather_no_table(%pool : tensor<9x16x2x64xf32>, %n : tensor<4xi32>,
    %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected exactly one of table and csr, got none}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<4x32x2x64xf32>
  return
}

// -----

// gather C2
func.func @gather_two_tables(%pool : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %i : tensor<8xi32>, %p : tensor<5xi32>, %n : tensor<4xi32>, %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected exactly one of table and csr, got table and csr}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) csr(%i : tensor<8xi32>, %p : tensor<5xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<4x32x2x64xf32>
  return
}

// -----

// gather C3
func.func @gather_out_sequences(%pool : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %o : tensor<3x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected out to have 4 sequences for the 4 sequences of lens, got 3}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<3x32x2x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<3x32x2x64xf32>
  return
}

// -----

// gather C3
func.func @gather_out_heads(%pool : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %o : tensor<4x32x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected out to have 2 KV heads like pool, got 8}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x8x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<4x32x8x64xf32>
  return
}

// -----

// gather C3
func.func @gather_out_dim(%pool : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %o : tensor<4x32x2x32xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected out to have 64 elements in the head dim like pool, got 32}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x2x32xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<4x32x2x32xf32>
  return
}

// -----

// gather C4
func.func @gather_table_rows(%pool : tensor<9x16x2x64xf32>, %t : tensor<5x2xi32>,
    %n : tensor<4xi32>, %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected table to have 4 rows for the 4 sequences of lens, got 5}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      table(%t : tensor<5x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<4x32x2x64xf32>
  return
}

// -----

// gather C4
func.func @gather_indptr_entries(%pool : tensor<9x16x2x64xf32>, %i : tensor<8xi32>,
    %p : tensor<8xi32>, %n : tensor<4xi32>, %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected indptr to have 5 entries for the 4 sequences of lens, got 8}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      csr(%i : tensor<8xi32>, %p : tensor<8xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<4x32x2x64xf32>
  return
}

// -----

// gather C5
func.func @gather_tensor_and_memref(%pool : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : memref<4xi32>, %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected all operands to be tensors like 'tensor<9x16x2x64xf32>', got 'memref<4xi32>'}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : memref<4xi32>)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<4x32x2x64xf32>
  return
}

// -----

// gather C5
func.func @gather_no_result(%pool : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected the number of tensor results (0) to be equal to the number of output tensors (1)}}
  paged_attn.gather key pool(%pool : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// gather C6
func.func @gather_integer_pool(%pool : tensor<9x16x2x64xi8>, %t : tensor<4x2xi32>,
    %n : tensor<4xi32>, %o : tensor<4x32x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.gather' op expected pool of f32, f16 or bf16, got 'i8'}}
  %r = paged_attn.gather key pool(%pool : tensor<9x16x2x64xi8>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x32x2x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<4x32x2x64xf32>
  return
}

// -----

// copy_pages C1
func.func @copy_pages_rank(%pairs : tensor<?x2xi64>, %pool : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.copy_pages' op expected pool to have 5 dimensions as #paged_attn.layout<"lpshd"> says, got 4}}
  %r = paged_attn.copy_pages pairs(%pairs : tensor<?x2xi64>) outs(%pool : tensor<9x16x2x64xf32>)
      {layout = #paged_attn.layout<"lpshd">} -> tensor<9x16x2x64xf32>
  return
}

// -----

// copy_pages C2
func.func @copy_pages_columns(%pairs : tensor<?x3xi64>, %pool : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.copy_pages' op expected pairs to have 2 columns, got 3}}
  %r = paged_attn.copy_pages pairs(%pairs : tensor<?x3xi64>) outs(%pool : tensor<9x16x2x64xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<9x16x2x64xf32>
  return
}

// -----

// copy_pages C2
func.func @copy_pages_any_columns(%pairs : tensor<?x?xi64>, %pool : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.copy_pages' op expected pairs to have 2 columns, got ?}}
  %r = paged_attn.copy_pages pairs(%pairs : tensor<?x?xi64>) outs(%pool : tensor<9x16x2x64xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<9x16x2x64xf32>
  return
}

// -----

// copy_pages C3
func.func @copy_pages_mixed(%pairs : memref<?x2xi64>, %pool : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.copy_pages' op expected all operands to be memrefs like 'memref<?x2xi64>', got 'tensor<9x16x2x64xf32>'}}
  %r = paged_attn.copy_pages pairs(%pairs : memref<?x2xi64>) outs(%pool : tensor<9x16x2x64xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<9x16x2x64xf32>
  return
}

// -----

// copy_pages C3
func.func @copy_pages_no_result(%pairs : tensor<?x2xi64>, %pool : tensor<9x16x2x64xf32>) {
  // expected-error @+1 {{'paged_attn.copy_pages' op expected the number of tensor results (0) to be equal to the number of output tensors (1)}}
  paged_attn.copy_pages pairs(%pairs : tensor<?x2xi64>) outs(%pool : tensor<9x16x2x64xf32>)
      {layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// merge_states C1
func.func @merge_one(%a0 : tensor<4x8x64xf32>, %l0 : tensor<4x8xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected at least 2 parts, got 1}}
  %r = paged_attn.merge_states parts(%a0 : tensor<4x8x64xf32>)
      lses(%l0 : tensor<4x8xf32>) outs(%o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  return
}

// -----

// merge_states C1
func.func @merge_lses(%a0 : tensor<4x8x64xf32>, %a1 : tensor<4x8x64xf32>,
    %l0 : tensor<4x8xf32>, %l1 : tensor<4x8xf32>, %l2 : tensor<4x8xf32>,
    %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected 2 lses like parts, got 3}}
  %r = paged_attn.merge_states parts(%a0, %a1 : tensor<4x8x64xf32>, tensor<4x8x64xf32>)
      lses(%l0, %l1, %l2 : tensor<4x8xf32>, tensor<4x8xf32>, tensor<4x8xf32>) outs(%o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  return
}

// -----

// merge_states C2
func.func @merge_part_tokens(%a0 : tensor<4x8x64xf32>, %a1 : tensor<3x8x64xf32>,
    %l0 : tensor<4x8xf32>, %l1 : tensor<4x8xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected parts to have 4 tokens like out, got 3}}
  %r = paged_attn.merge_states parts(%a0, %a1 : tensor<4x8x64xf32>, tensor<3x8x64xf32>)
      lses(%l0, %l1 : tensor<4x8xf32>, tensor<4x8xf32>) outs(%o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  return
}

// -----

// merge_states C2
func.func @merge_part_heads(%a0 : tensor<4x4x64xf32>, %a1 : tensor<4x8x64xf32>,
    %l0 : tensor<4x8xf32>, %l1 : tensor<4x8xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected parts to have 8 query heads like out, got 4}}
  %r = paged_attn.merge_states parts(%a0, %a1 : tensor<4x4x64xf32>, tensor<4x8x64xf32>)
      lses(%l0, %l1 : tensor<4x8xf32>, tensor<4x8xf32>) outs(%o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  return
}

// -----

// merge_states C2
func.func @merge_part_dim(%a0 : tensor<4x8x64xf32>, %a1 : tensor<4x8x32xf32>,
    %l0 : tensor<4x8xf32>, %l1 : tensor<4x8xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected parts to have 64 elements in the head dim like out, got 32}}
  %r = paged_attn.merge_states parts(%a0, %a1 : tensor<4x8x64xf32>, tensor<4x8x32xf32>)
      lses(%l0, %l1 : tensor<4x8xf32>, tensor<4x8xf32>) outs(%o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  return
}

// -----

// merge_states C2: zero heads
func.func @merge_no_heads(%a0 : tensor<4x0x64xf32>, %a1 : tensor<4x0x64xf32>,
    %l0 : tensor<4x8xf32>, %l1 : tensor<4x8xf32>, %o : tensor<4x0x64xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected out to have at least 1 query heads, got 0}}
  %r = paged_attn.merge_states parts(%a0, %a1 : tensor<4x0x64xf32>, tensor<4x0x64xf32>)
      lses(%l0, %l1 : tensor<4x8xf32>, tensor<4x8xf32>) outs(%o : tensor<4x0x64xf32>) -> tensor<4x0x64xf32>
  return
}

// -----

// merge_states C3
func.func @merge_lse_tokens(%a0 : tensor<4x8x64xf32>, %a1 : tensor<4x8x64xf32>,
    %l0 : tensor<5x8xf32>, %l1 : tensor<4x8xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected lses to have 4 tokens like out, got 5}}
  %r = paged_attn.merge_states parts(%a0, %a1 : tensor<4x8x64xf32>, tensor<4x8x64xf32>)
      lses(%l0, %l1 : tensor<5x8xf32>, tensor<4x8xf32>) outs(%o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  return
}

// -----

// merge_states C3
func.func @merge_lse_heads(%a0 : tensor<4x8x64xf32>, %a1 : tensor<4x8x64xf32>,
    %l0 : tensor<4x8xf32>, %l1 : tensor<4x2xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected lses to have 8 query heads like out, got 2}}
  %r = paged_attn.merge_states parts(%a0, %a1 : tensor<4x8x64xf32>, tensor<4x8x64xf32>)
      lses(%l0, %l1 : tensor<4x8xf32>, tensor<4x2xf32>) outs(%o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  return
}

// -----

// merge_states C3
func.func @merge_lse_out(%a0 : tensor<4x8x64xf32>, %a1 : tensor<4x8x64xf32>,
    %l0 : tensor<4x8xf32>, %l1 : tensor<4x8xf32>, %o : tensor<4x8x64xf32>,
    %l : tensor<4x1xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected lse to have 8 query heads like out, got 1}}
  %r:2 = paged_attn.merge_states parts(%a0, %a1 : tensor<4x8x64xf32>, tensor<4x8x64xf32>)
      lses(%l0, %l1 : tensor<4x8xf32>, tensor<4x8xf32>) outs(%o : tensor<4x8x64xf32>, %l : tensor<4x1xf32>) -> tensor<4x8x64xf32>, tensor<4x1xf32>
  return
}

// -----

// merge_states C4
func.func @merge_mixed(%a0 : tensor<4x8x64xf32>, %a1 : memref<4x8x64xf32>,
    %l0 : tensor<4x8xf32>, %l1 : tensor<4x8xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected all operands to be tensors like 'tensor<4x8x64xf32>', got 'memref<4x8x64xf32>'}}
  %r = paged_attn.merge_states parts(%a0, %a1 : tensor<4x8x64xf32>, memref<4x8x64xf32>)
      lses(%l0, %l1 : tensor<4x8xf32>, tensor<4x8xf32>) outs(%o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32>
  return
}

// -----

// merge_states C4
func.func @merge_no_result(%a0 : tensor<4x8x64xf32>, %a1 : tensor<4x8x64xf32>,
    %l0 : tensor<4x8xf32>, %l1 : tensor<4x8xf32>, %o : tensor<4x8x64xf32>) {
  // expected-error @+1 {{'paged_attn.merge_states' op expected the number of tensor results (0) to be equal to the number of output tensors (1)}}
  paged_attn.merge_states parts(%a0, %a1 : tensor<4x8x64xf32>, tensor<4x8x64xf32>)
      lses(%l0, %l1 : tensor<4x8xf32>, tensor<4x8xf32>) outs(%o : tensor<4x8x64xf32>)
  return
}
