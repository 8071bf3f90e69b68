// RUN: paged-attn-opt %s | FileCheck %s
// RUN: paged-attn-opt %s -mlir-print-op-generic | paged-attn-opt | FileCheck %s
// RUN: paged-attn-opt %s -emit-bytecode | paged-attn-opt | FileCheck %s

// The tile ops survive text, generic form and bytecode, on tensors and memrefs.

// CHECK-LABEL: func.func @load_query
// CHECK:         paged_attn.load_query query(%{{.*}} : tensor<?x4x128xbf16>) outs(%{{.*}} : tensor<32x128xf32>) {factor = 0.127517402 : f32} -> tensor<32x128xf32>
// CHECK:         paged_attn.load_query query(%{{.*}} : memref<8x4x128xf32>) outs(%{{.*}} : memref<32x128xf32>) {factor = 1.000000e+00 : f32}
func.func @load_query(%slice : tensor<?x4x128xbf16>, %init : tensor<32x128xf32>,
    %m : memref<8x4x128xf32>, %o : memref<32x128xf32>) -> tensor<32x128xf32> {
    %rows = paged_attn.load_query query(%slice : tensor<?x4x128xbf16>)
        outs(%init : tensor<32x128xf32>) {factor = 1.275174e-01 : f32} -> tensor<32x128xf32>
  paged_attn.load_query query(%m : memref<8x4x128xf32>) outs(%o : memref<32x128xf32>)
      {factor = 1.0 : f32}
  return %rows : tensor<32x128xf32>
}

// CHECK-LABEL: func.func @load_tile
// CHECK:         paged_attn.load_tile key boundary pool(%{{.*}} : tensor<?x16x8x128xbf16>) pages(%{{.*}} : tensor<?xi32>) at(%{{.*}}, %{{.*}}) range(%{{.*}}, %{{.*}}) outs(%{{.*}} : tensor<128x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<128x64xf32>
// CHECK:         paged_attn.load_tile value none pool({{.*}}) pages({{.*}}) at({{.*}}) range({{.*}}) layer(%{{.*}}) outs(%{{.*}} : memref<8x100xf32>) {layout = #paged_attn.layout<"lphsd">}
// CHECK:         paged_attn.load_tile value none pool({{.*}}) pages({{.*}}) at({{.*}}) range({{.*}}) layer(%{{.*}}) scale(%{{.*}} : memref<?x16x8xf32>) outs(%{{.*}} : memref<8x100xf32>) {layout = #paged_attn.layout<"lphsd">}
func.func @load_tile(%pool : tensor<?x16x8x128xbf16>, %row : tensor<?xi32>, %head : index,
    %pos : index, %begin : index, %end : index, %init : tensor<128x64xf32>,
    %m : memref<2x?x8x16x128xf32>, %mrow : memref<?xi64>, %layer : index,
    %m8 : memref<2x?x8x16x128xi8>, %scale : memref<?x16x8xf32>,
    %o : memref<8x100xf32>) -> tensor<128x64xf32> {
    %k = paged_attn.load_tile key boundary pool(%pool : tensor<?x16x8x128xbf16>)
        pages(%row : tensor<?xi32>) at(%head, %pos) range(%begin, %end)
        outs(%init : tensor<128x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<128x64xf32>
  paged_attn.load_tile value none pool(%m : memref<2x?x8x16x128xf32>)
      pages(%mrow : memref<?xi64>) at(%head, %pos) range(%begin, %end) layer(%layer)
      outs(%o : memref<8x100xf32>) {layout = #paged_attn.layout<"lphsd">}
  paged_attn.load_tile value none pool(%m8 : memref<2x?x8x16x128xi8>)
      pages(%mrow : memref<?xi64>) at(%head, %pos) range(%begin, %end) layer(%layer)
      scale(%scale : memref<?x16x8xf32>) outs(%o : memref<8x100xf32>) {layout = #paged_attn.layout<"lphsd">}
  return %k : tensor<128x64xf32>
}

// CHECK-LABEL: func.func @online_update
// CHECK:         paged_attn.online_update boundary query(%{{.*}} : tensor<4x128xf32>) keys(%{{.*}} : tensor<128x64xf32>) values(%{{.*}} : tensor<64x128xf32>) at(%{{.*}}) range(%{{.*}}, %{{.*}}) rows(%{{.*}}) q_positions(%{{.*}} : tensor<4xi32>) outs(%{{.*}} : tensor<4x128xf32>, %{{.*}} : tensor<4xf32>, %{{.*}} : tensor<4xf32>) {mask = #paged_attn.mask<causal>} -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
// CHECK:         paged_attn.online_update none query({{.*}}) keys({{.*}}) values({{.*}}) at({{.*}}) range({{.*}}) rows({{.*}}) q_positions({{.*}}) slopes(%{{.*}} : memref<4xf32>) outs({{.*}}) {softcap = 3.000000e+01 : f32}
func.func @online_update(%q : tensor<4x128xf32>, %k : tensor<128x64xf32>,
    %v : tensor<64x128xf32>, %pos : index, %begin : index, %end : index, %n : index,
    %p : tensor<4xi32>, %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>,
    %mq : memref<4x128xf32>, %mk : memref<128x64xf32>, %mv : memref<64x32xf32>,
    %mp : memref<4xi32>, %slopes : memref<4xf32>, %macc : memref<4x32xf32>,
    %mm : memref<4xf32>, %ml : memref<4xf32>)
    -> (tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>) {
    %acc1, %m1, %l1 = paged_attn.online_update boundary query(%q : tensor<4x128xf32>)
        keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>)
        at(%pos) range(%begin, %end) rows(%n) q_positions(%p : tensor<4xi32>)
        outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
        {mask = #paged_attn.mask<causal>} -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  paged_attn.online_update none query(%mq : memref<4x128xf32>) keys(%mk : memref<128x64xf32>)
      values(%mv : memref<64x32xf32>) at(%pos) range(%begin, %end) rows(%n)
      q_positions(%mp : memref<4xi32>) slopes(%slopes : memref<4xf32>)
      outs(%macc : memref<4x32xf32>, %mm : memref<4xf32>, %ml : memref<4xf32>)
      {softcap = 30.0 : f32}
  return %acc1, %m1, %l1 : tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
}

// CHECK-LABEL: func.func @combine
// CHECK:         paged_attn.combine states(%{{.*}} : tensor<8x4x128xf32>, %{{.*}} : tensor<8x4xf32>, %{{.*}} : tensor<8x4xf32>) outs(
func.func @combine(%accs : tensor<8x4x128xf32>, %ms : tensor<8x4xf32>, %ls : tensor<8x4xf32>,
    %acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
    -> (tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>) {
    %acc1, %m1, %l1 = paged_attn.combine
        states(%accs : tensor<8x4x128xf32>, %ms : tensor<8x4xf32>, %ls : tensor<8x4xf32>)
        outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
        -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return %acc1, %m1, %l1 : tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
}

// CHECK-LABEL: func.func @finalize
// CHECK:         paged_attn.finalize state(%{{.*}} : tensor<4x128xf32>, %{{.*}} : tensor<4xf32>, %{{.*}} : tensor<4xf32>) outs(
// CHECK:         paged_attn.finalize state({{.*}}) sinks(%{{.*}} : memref<4xf32>) outs(%{{.*}} : memref<2x2x128xf16>)
func.func @finalize(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>,
    %o : tensor<?x4x128xbf16>, %lse : tensor<?x4xf32>, %macc : memref<4x128xf32>,
    %mm : memref<4xf32>, %ml : memref<4xf32>, %sinks : memref<4xf32>,
    %mo : memref<2x2x128xf16>) -> (tensor<?x4x128xbf16>, tensor<?x4xf32>) {
    %o1, %l1 = paged_attn.finalize state(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
        outs(%o : tensor<?x4x128xbf16>, %lse : tensor<?x4xf32>)
        -> tensor<?x4x128xbf16>, tensor<?x4xf32>
  paged_attn.finalize state(%macc : memref<4x128xf32>, %mm : memref<4xf32>, %ml : memref<4xf32>)
      sinks(%sinks : memref<4xf32>) outs(%mo : memref<2x2x128xf16>)
  return %o1, %l1 : tensor<?x4x128xbf16>, tensor<?x4xf32>
}
