// RUN: paged-attn-opt %s | FileCheck %s
// RUN: paged-attn-opt %s -mlir-print-op-generic | paged-attn-opt | FileCheck %s
// RUN: paged-attn-opt %s -emit-bytecode | paged-attn-opt | FileCheck %s

// Every op with every optional operand survives text, generic form and
// bytecode.

// CHECK-LABEL: func.func @attention
// CHECK:         paged_attn.attention auto query(%{{.*}} : tensor<?x32x128xbf16>) keys(%{{.*}} : tensor<?x16x8x128xbf16>) values(%{{.*}} : tensor<?x16x8x128xbf16>) table(%{{.*}} : tensor<?x?xi32>) lens(%{{.*}} : tensor<?xi32>) starts(%{{.*}} : tensor<?xi32>) outs(%{{.*}} : tensor<?x32x128xbf16>, %{{.*}} : tensor<?x32xf32>) {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>} -> tensor<?x32x128xbf16>, tensor<?x32xf32>
func.func @attention(%q : tensor<?x32x128xbf16>, %k : tensor<?x16x8x128xbf16>,
    %v : tensor<?x16x8x128xbf16>, %pages : tensor<?x?xi32>, %kv_lens : tensor<?xi32>,
    %query_starts : tensor<?xi32>, %o : tensor<?x32x128xbf16>, %l : tensor<?x32xf32>)
    -> (tensor<?x32x128xbf16>, tensor<?x32xf32>) {
    %out, %lse = paged_attn.attention auto
        query(%q : tensor<?x32x128xbf16>) keys(%k : tensor<?x16x8x128xbf16>)
        values(%v : tensor<?x16x8x128xbf16>) table(%pages : tensor<?x?xi32>)
        lens(%kv_lens : tensor<?xi32>) starts(%query_starts : tensor<?xi32>)
        outs(%o : tensor<?x32x128xbf16>, %l : tensor<?x32xf32>)
        {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
        -> tensor<?x32x128xbf16>, tensor<?x32xf32>
  return %out, %lse : tensor<?x32x128xbf16>, tensor<?x32xf32>
}

// CHECK-LABEL: func.func @attention_every_operand
// CHECK:         paged_attn.attention prefill query(
// CHECK-SAME:      csr(%{{[^:]*}} : tensor<?xi32>, %{{.*}} : tensor<5xi32>)
// CHECK-SAME:      lens(%{{[^:]*}} : tensor<4xi64>)
// CHECK-SAME:      starts(%{{[^:]*}} : tensor<5xi64>)
// CHECK-SAME:      offsets(%{{[^:]*}} : tensor<4xi32>)
// CHECK-SAME:      layer(%{{[^:)]*}})
// CHECK-SAME:      k_scale(%{{[^:]*}} : tensor<f32>)
// CHECK-SAME:      v_scale(%{{[^:]*}} : tensor<2xf32>)
// CHECK-SAME:      alibi(%{{[^:]*}} : tensor<8xf32>)
// CHECK-SAME:      sinks(%{{[^:]*}} : tensor<8xf32>)
// CHECK-SAME:      bias(%{{[^:]*}} : tensor<?x1x?xf16>)
// CHECK-SAME:      captures(%{{.*}}, %{{.*}} : f32, index)
// CHECK-SAME:      accumulation = f32
// CHECK-SAME:      key_layout = #paged_attn.layout<"lpshd">
// CHECK-SAME:      mask = #paged_attn.mask<causal, window = 64, sink_tokens = 4, chunk = 128>
// CHECK-SAME:      scale = 1.250000e-01 : f32
// CHECK-SAME:      softcap = 3.000000e+01 : f32
// CHECK-SAME:      value_layout = #paged_attn.layout<"lphds">
// CHECK-SAME:      score(%{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) {
// CHECK:           paged_attn.yield %{{.*}}, %{{.*}} : f32, i1
// CHECK:         } -> tensor<?x8x64xf32>, tensor<?x8xf32>
func.func @attention_every_operand(%q : tensor<?x8x64xf16>,
    %k : tensor<3x?x16x2x64xi8>, %v : tensor<3x?x2x64x16xi8>, %indices : tensor<?xi32>,
    %indptr : tensor<5xi32>, %lens : tensor<4xi64>, %starts : tensor<5xi64>,
    %offsets : tensor<4xi32>, %layer : index, %ks : tensor<f32>, %vs : tensor<2xf32>,
    %alibi : tensor<8xf32>, %sinks : tensor<8xf32>, %bias : tensor<?x1x?xf16>,
    %factor : f32, %limit : index, %o : tensor<?x8x64xf32>, %l : tensor<?x8xf32>)
    -> (tensor<?x8x64xf32>, tensor<?x8xf32>) {
  %out, %lse = paged_attn.attention prefill
      query(%q : tensor<?x8x64xf16>) keys(%k : tensor<3x?x16x2x64xi8>)
      values(%v : tensor<3x?x2x64x16xi8>)
      csr(%indices : tensor<?xi32>, %indptr : tensor<5xi32>)
      lens(%lens : tensor<4xi64>) starts(%starts : tensor<5xi64>)
      offsets(%offsets : tensor<4xi32>) layer(%layer)
      k_scale(%ks : tensor<f32>) v_scale(%vs : tensor<2xf32>)
      alibi(%alibi : tensor<8xf32>) sinks(%sinks : tensor<8xf32>)
      bias(%bias : tensor<?x1x?xf16>) captures(%factor, %limit : f32, index)
      outs(%o : tensor<?x8x64xf32>, %l : tensor<?x8xf32>)
      {accumulation = f32, key_layout = #paged_attn.layout<"lpshd">,
       mask = #paged_attn.mask<causal, window = 64, sink_tokens = 4, chunk = 128>,
       scale = 0.125 : f32, softcap = 30.0 : f32,
       value_layout = #paged_attn.layout<"lphds">}
      score(%s, %seq, %head, %qp, %kp, %f, %n) {
        %s1 = arith.mulf %s, %f : f32
        %near = arith.cmpi ult, %kp, %n : index
        paged_attn.yield %s1, %near : f32, i1
      } -> tensor<?x8x64xf32>, tensor<?x8xf32>
  return %out, %lse : tensor<?x8x64xf32>, tensor<?x8xf32>
}

// A score region without captures, which keeps what the mask shows.
// CHECK-LABEL: func.func @attention_score
// CHECK:         score(%[[S:.*]], %{{.*}}, %{{.*}}, %{{.*}}, %{{.*}}) {
// CHECK-NEXT:      paged_attn.yield %[[S]] : f32
func.func @attention_score(%q : tensor<4x8x64xf32>, %k : tensor<9x16x2x64xf32>,
    %v : tensor<9x16x2x64xf32>, %t : tensor<4x2xi32>, %n : tensor<4xi32>,
    %o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  %out = paged_attn.attention decode query(%q : tensor<4x8x64xf32>)
      keys(%k : tensor<9x16x2x64xf32>) values(%v : tensor<9x16x2x64xf32>)
      table(%t : tensor<4x2xi32>) lens(%n : tensor<4xi32>)
      outs(%o : tensor<4x8x64xf32>) {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %seq, %head, %qp, %kp) {
        paged_attn.yield %s : f32
      } -> tensor<4x8x64xf32>
  return %out : tensor<4x8x64xf32>
}

// One pool for keys and values.
// CHECK-LABEL: func.func @attention_pair
// CHECK:         paged_attn.attention mixed query(%{{.*}}) keys(%{{.*}} : tensor<?x2x16x2x64xf32>) table(
func.func @attention_pair(%q : tensor<4x8x64xf32>, %k : tensor<?x2x16x2x64xf32>,
    %t : tensor<4x2xi32>, %n : tensor<4xi32>, %o : tensor<4x8x64xf32>) -> tensor<4x8x64xf32> {
  %out = paged_attn.attention mixed query(%q : tensor<4x8x64xf32>)
      keys(%k : tensor<?x2x16x2x64xf32>) table(%t : tensor<4x2xi32>)
      lens(%n : tensor<4xi32>) outs(%o : tensor<4x8x64xf32>)
      {key_layout = #paged_attn.layout<"pcshd">} -> tensor<4x8x64xf32>
  return %out : tensor<4x8x64xf32>
}

// Latent attention: V is the first 512 entries of each key of 576.
// CHECK-LABEL: func.func @attention_latent
// CHECK:         paged_attn.attention decode query(%{{.*}} : tensor<4x16x576xbf16>) keys(%{{.*}} : tensor<?x16x1x576xbf16>) table(
// CHECK-SAME:      -> tensor<4x16x512xbf16>
func.func @attention_latent(%q : tensor<4x16x576xbf16>, %k : tensor<?x16x1x576xbf16>,
    %t : tensor<4x?xi32>, %n : tensor<4xi32>, %o : tensor<4x16x512xbf16>)
    -> tensor<4x16x512xbf16> {
  %out = paged_attn.attention decode query(%q : tensor<4x16x576xbf16>)
      keys(%k : tensor<?x16x1x576xbf16>) table(%t : tensor<4x?xi32>)
      lens(%n : tensor<4xi32>) outs(%o : tensor<4x16x512xbf16>)
      {key_layout = #paged_attn.layout<"pshd">} -> tensor<4x16x512xbf16>
  return %out : tensor<4x16x512xbf16>
}

// Packed, transposed pools in memory of any strides; no result.
// CHECK-LABEL: func.func @attention_memref
// CHECK:         paged_attn.attention decode query(%{{.*}} : memref<4x8x64xf32, strided<[1024, 64, 1], offset: ?>>)
// CHECK-SAME:      outs(%{{.*}} : memref<4x8x64xf32>, %{{.*}} : memref<4x8xf32>) {key_layout = #paged_attn.layout<"phds", pack = 2>}
// CHECK-NOT:       ->
// CHECK:         return
func.func @attention_memref(%q : memref<4x8x64xf32, strided<[1024, 64, 1], offset: ?>>,
    %k : memref<9x2x32x16x2xbf16>, %v : memref<9x2x32x16x2xbf16>,
    %t : memref<4x2xi32>, %n : memref<4xi32>, %o : memref<4x8x64xf32>, %l : memref<4x8xf32>) {
  paged_attn.attention decode query(%q : memref<4x8x64xf32, strided<[1024, 64, 1], offset: ?>>)
      keys(%k : memref<9x2x32x16x2xbf16>) values(%v : memref<9x2x32x16x2xbf16>)
      table(%t : memref<4x2xi32>) lens(%n : memref<4xi32>)
      outs(%o : memref<4x8x64xf32>, %l : memref<4x8xf32>)
      {key_layout = #paged_attn.layout<"phds", pack = 2>}
  return
}

// CHECK-LABEL: func.func @append_slots
// CHECK:         paged_attn.append keys(%{{.*}} : tensor<?x8x128xf32>) values(%{{.*}} : tensor<?x8x128xf32>) slots(%{{.*}} : tensor<?xi64>) outs(
func.func @append_slots(%kn : tensor<?x8x128xf32>, %vn : tensor<?x8x128xf32>,
    %slots : tensor<?xi64>, %k : tensor<?x16x8x128xbf16>, %v : tensor<?x16x8x128xbf16>)
    -> (tensor<?x16x8x128xbf16>, tensor<?x16x8x128xbf16>) {
    %k1, %v1 = paged_attn.append keys(%kn : tensor<?x8x128xf32>)
        values(%vn : tensor<?x8x128xf32>) slots(%slots : tensor<?xi64>)
        outs(%k : tensor<?x16x8x128xbf16>, %v : tensor<?x16x8x128xbf16>)
        {key_layout = #paged_attn.layout<"pshd">}
        -> tensor<?x16x8x128xbf16>, tensor<?x16x8x128xbf16>
  return %k1, %v1 : tensor<?x16x8x128xbf16>, tensor<?x16x8x128xbf16>
}

// CHECK-LABEL: func.func @append_table
// CHECK:         paged_attn.append keys(%{{.*}}) values(%{{.*}}) table(%{{.*}} : memref<3x?xi32>) lens(%{{.*}} : memref<3xi32>) starts(%{{.*}} : memref<4xi32>) layer(%{{.*}}) outs(%{{.*}} : memref<2x?x16x8x2x128xf16>) {key_layout = #paged_attn.layout<"lpshcd">}
func.func @append_table(%kn : memref<?x8x128xf32>, %vn : memref<?x8x128xf32>,
    %t : memref<3x?xi32>, %n : memref<3xi32>, %starts : memref<4xi32>, %layer : index,
    %k : memref<2x?x16x8x2x128xf16>) {
  paged_attn.append keys(%kn : memref<?x8x128xf32>) values(%vn : memref<?x8x128xf32>)
      table(%t : memref<3x?xi32>) lens(%n : memref<3xi32>)
      starts(%starts : memref<4xi32>) layer(%layer)
      outs(%k : memref<2x?x16x8x2x128xf16>) {key_layout = #paged_attn.layout<"lpshcd">}
  return
}

// Keys alone (latent attention), through a CSR table.
// CHECK-LABEL: func.func @append_csr
// CHECK:         paged_attn.append keys(%{{.*}}) csr(%{{.*}} : tensor<?xi64>, %{{.*}} : tensor<4xi64>) lens(
func.func @append_csr(%kn : tensor<6x1x576xf32>, %indices : tensor<?xi64>,
    %indptr : tensor<4xi64>, %n : tensor<3xi64>, %k : tensor<?x16x1x576xf32>)
    -> tensor<?x16x1x576xf32> {
  %k1 = paged_attn.append keys(%kn : tensor<6x1x576xf32>)
      csr(%indices : tensor<?xi64>, %indptr : tensor<4xi64>) lens(%n : tensor<3xi64>)
      outs(%k : tensor<?x16x1x576xf32>)
      {key_layout = #paged_attn.layout<"pshd">} -> tensor<?x16x1x576xf32>
  return %k1 : tensor<?x16x1x576xf32>
}

// CHECK-LABEL: func.func @gather
// CHECK:         paged_attn.gather key pool(%{{.*}}) table(
// CHECK:         paged_attn.gather value pool(%{{.*}}) csr({{.*}}) lens({{.*}}) layer(%{{.*}}) outs(
func.func @gather(%k : tensor<?x16x8x128xbf16>, %pages : tensor<?x?xi32>,
    %kv_lens : tensor<?xi32>, %o : tensor<?x?x8x128xf32>, %all : memref<2x?x2x16x8x128xbf16>,
    %indices : memref<?xi32>, %indptr : memref<4xi32>, %n : memref<3xi32>, %layer : index,
    %m : memref<3x64x8x128xf32>) -> tensor<?x?x8x128xf32> {
    %dense = paged_attn.gather key pool(%k : tensor<?x16x8x128xbf16>)
        table(%pages : tensor<?x?xi32>) lens(%kv_lens : tensor<?xi32>)
        outs(%o : tensor<?x?x8x128xf32>)
        {layout = #paged_attn.layout<"pshd">} -> tensor<?x?x8x128xf32>
  paged_attn.gather value pool(%all : memref<2x?x2x16x8x128xbf16>)
      csr(%indices : memref<?xi32>, %indptr : memref<4xi32>) lens(%n : memref<3xi32>)
      layer(%layer) outs(%m : memref<3x64x8x128xf32>)
      {layout = #paged_attn.layout<"lpcshd">}
  return %dense : tensor<?x?x8x128xf32>
}

// CHECK-LABEL: func.func @copy_pages
// CHECK:         paged_attn.copy_pages pairs(%{{.*}} : tensor<?x2xi64>) outs(%{{.*}} : tensor<?x16x8x128xbf16>) {layout = #paged_attn.layout<"pshd">} -> tensor<?x16x8x128xbf16>
// CHECK:         paged_attn.copy_pages pairs(%{{.*}} : memref<2x2xi32>) outs(%{{.*}} : memref<?x16x8x128xi8>) {layout = #paged_attn.layout<"pshd">}
func.func @copy_pages(%pairs : tensor<?x2xi64>, %k : tensor<?x16x8x128xbf16>,
    %few : memref<2x2xi32>, %m : memref<?x16x8x128xi8>) -> tensor<?x16x8x128xbf16> {
    %k1 = paged_attn.copy_pages pairs(%pairs : tensor<?x2xi64>)
        outs(%k : tensor<?x16x8x128xbf16>)
        {layout = #paged_attn.layout<"pshd">} -> tensor<?x16x8x128xbf16>
  paged_attn.copy_pages pairs(%few : memref<2x2xi32>) outs(%m : memref<?x16x8x128xi8>)
      {layout = #paged_attn.layout<"pshd">}
  return %k1 : tensor<?x16x8x128xbf16>
}

// CHECK-LABEL: func.func @merge_states
// CHECK:         paged_attn.merge_states parts(%{{.*}}, %{{.*}} : tensor<?x32x128xf32>, tensor<?x32x128xf32>) lses(%{{.*}}, %{{.*}} : tensor<?x32xf32>, tensor<?x32xf32>) outs(
// CHECK:         paged_attn.merge_states parts({{.*}}) lses({{.*}}) outs(%{{.*}} : memref<4x32x128xbf16>)
func.func @merge_states(%a : tensor<?x32x128xf32>, %b : tensor<?x32x128xf32>,
    %la : tensor<?x32xf32>, %lb : tensor<?x32xf32>, %out : tensor<?x32x128xf32>,
    %lse : tensor<?x32xf32>, %ma : memref<4x32x128xf32>, %mb : memref<4x32x128xf16>,
    %mla : memref<4x32xf32>, %mlb : memref<4x32xf32>, %mo : memref<4x32x128xbf16>)
    -> (tensor<?x32x128xf32>, tensor<?x32xf32>) {
    %o, %l = paged_attn.merge_states
        parts(%a, %b : tensor<?x32x128xf32>, tensor<?x32x128xf32>)
        lses(%la, %lb : tensor<?x32xf32>, tensor<?x32xf32>)
        outs(%out : tensor<?x32x128xf32>, %lse : tensor<?x32xf32>)
        -> tensor<?x32x128xf32>, tensor<?x32xf32>
  paged_attn.merge_states parts(%ma, %mb : memref<4x32x128xf32>, memref<4x32x128xf16>)
      lses(%mla, %mlb : memref<4x32xf32>, memref<4x32xf32>)
      outs(%mo : memref<4x32x128xbf16>)
  return %o, %l : tensor<?x32x128xf32>, tensor<?x32xf32>
}
