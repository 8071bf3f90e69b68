// RUN: paged-attn-opt %s --convert-paged-attn-to-linalg --canonicalize --cse --split-input-file | FileCheck %s
// RUN: paged-attn-opt %s --convert-paged-attn-to-linalg --canonicalize --cse --one-shot-bufferize='bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map' --canonicalize --cse --canonicalize --split-input-file | FileCheck %s --check-prefix=BUFFERS

// Tokens are scaled one by one: the dynamic bound handles the ragged end.
// CHECK-LABEL: func.func @load_query
// CHECK:         linalg.fill
// CHECK:         scf.for
// CHECK:           tensor.extract_slice %{{.*}} : tensor<?x4x128xbf16> to tensor<4x128xbf16>
// CHECK:           arith.extf
// CHECK:           arith.mulf
func.func @load_query(%q: tensor<?x4x128xbf16>, %o: tensor<32x128xf32>) -> tensor<32x128xf32> {
  %0 = paged_attn.load_query query(%q : tensor<?x4x128xbf16>) outs(%o : tensor<32x128xf32>)
      {factor = 0.125 : f32} -> tensor<32x128xf32>
  return %0 : tensor<32x128xf32>
}

// -----

// Keys: one slice per page, written as columns. No copy after bufferization.
// CHECK-LABEL: func.func @load_keys
// CHECK:         scf.for
// CHECK:           tensor.extract %{{.*}} : tensor<?xi32>
// CHECK:           tensor.extract_slice %{{.*}} [1, 16, 1, 128] [1, 1, 1, 1] : tensor<?x16x8x128xbf16> to tensor<16x128xbf16>
// CHECK:           linalg.generic
// CHECK-SAME:        outs(%{{.*}} : tensor<128x16xf32>)
// BUFFERS-LABEL: func.func @load_keys
// BUFFERS-NOT:     memref.alloc
// BUFFERS-NOT:     memref.copy
// BUFFERS:         return
func.func @load_keys(%pool: tensor<?x16x8x128xbf16>, %pages: tensor<?xi32>, %h: index, %pos: index,
    %b: index, %e: index, %o: tensor<128x64xf32>) -> tensor<128x64xf32> {
  %0 = paged_attn.load_tile key none pool(%pool : tensor<?x16x8x128xbf16>) pages(%pages : tensor<?xi32>)
      at(%h, %pos) range(%b, %e) outs(%o : tensor<128x64xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<128x64xf32>
  return %0 : tensor<128x64xf32>
}

// -----

// Values of a boundary tile: only pages of the range, zeros outside.
// CHECK-LABEL: func.func @load_values_boundary
// CHECK:         scf.for
// CHECK:           tensor.extract_slice %{{.*}} [1, 1, 128, 16] [1, 1, 1, 1] : tensor<?x8x128x16xf32> to tensor<128x16xf32>
// CHECK-COUNT-2: linalg.fill
func.func @load_values_boundary(%pool: tensor<?x8x128x16xf32>, %pages: tensor<?xi32>, %h: index, %pos: index,
    %b: index, %e: index, %o: tensor<64x128xf32>) -> tensor<64x128xf32> {
  %0 = paged_attn.load_tile value boundary pool(%pool : tensor<?x8x128x16xf32>) pages(%pages : tensor<?xi32>)
      at(%h, %pos) range(%b, %e) outs(%o : tensor<64x128xf32>)
      {layout = #paged_attn.layout<"phds">} -> tensor<64x128xf32>
  return %0 : tensor<64x128xf32>
}

// -----

// One block of rows at a time; an interior tile has no mask. In place: m is
// read for the factor before it is overwritten.
// CHECK-LABEL: func.func @online_update
// CHECK:         scf.for
// CHECK:           linalg.matmul
// CHECK-NOT:       arith.cmpi
// CHECK:           math.exp2
// CHECK:           linalg.matmul
// BUFFERS-LABEL: func.func @online_update
// BUFFERS-NOT:     memref.copy
// BUFFERS:         return
func.func @online_update(%q: tensor<8x128xf32>, %k: tensor<128x64xf32>, %v: tensor<64x128xf32>, %p: tensor<8xi32>,
    %pos: index, %n: index, %acc: tensor<8x128xf32>, %m: tensor<8xf32>, %l: tensor<8xf32>)
    -> (tensor<8x128xf32>, tensor<8xf32>, tensor<8xf32>) {
  %0:3 = paged_attn.online_update none query(%q : tensor<8x128xf32>) keys(%k : tensor<128x64xf32>)
      values(%v : tensor<64x128xf32>) at(%pos) range(%pos, %pos) rows(%n) q_positions(%p : tensor<8xi32>)
      outs(%acc : tensor<8x128xf32>, %m : tensor<8xf32>, %l : tensor<8xf32>) {row_block = 4 : i64}
      -> tensor<8x128xf32>, tensor<8xf32>, tensor<8xf32>
  return %0#0, %0#1, %0#2 : tensor<8x128xf32>, tensor<8xf32>, tensor<8xf32>
}

// -----

// CHECK-LABEL: func.func @combine
// CHECK:         scf.for
// CHECK-COUNT-2: math.exp2
// BUFFERS-LABEL: func.func @combine
// BUFFERS-NOT:     memref.copy
// BUFFERS:         return
func.func @combine(%a: tensor<?x4x128xf32>, %b: tensor<?x4xf32>, %c: tensor<?x4xf32>,
    %acc: tensor<4x128xf32>, %m: tensor<4xf32>, %l: tensor<4xf32>)
    -> (tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>) {
  %0:3 = paged_attn.combine states(%a : tensor<?x4x128xf32>, %b : tensor<?x4xf32>, %c : tensor<?x4xf32>)
      outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
  return %0#0, %0#1, %0#2 : tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
}

// -----

// CHECK-LABEL: func.func @finalize
// CHECK:         scf.for
// CHECK:           arith.divf
// CHECK:           arith.truncf
// CHECK:           math.log2
func.func @finalize(%acc: tensor<4x128xf32>, %m: tensor<4xf32>, %l: tensor<4xf32>,
    %o: tensor<?x4x128xbf16>, %lse: tensor<?x4xf32>) -> (tensor<?x4x128xbf16>, tensor<?x4xf32>) {
  %0:2 = paged_attn.finalize state(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
      outs(%o : tensor<?x4x128xbf16>, %lse : tensor<?x4xf32>) -> tensor<?x4x128xbf16>, tensor<?x4xf32>
  return %0#0, %0#1 : tensor<?x4x128xbf16>, tensor<?x4xf32>
}
