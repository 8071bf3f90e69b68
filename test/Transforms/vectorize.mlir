// RUN: paged-attn-opt %s -pass-pipeline='builtin.module(func.func(paged-attn-vectorize{vector-bits=512 registers=32},canonicalize,cse))' \
// RUN:   | FileCheck %s --implicit-check-not="vector.gather" --implicit-check-not="vector<32x" --implicit-check-not="vector<64x"
// RUN: paged-attn-opt %s -pass-pipeline='builtin.module(func.func(paged-attn-vectorize{vector-bits=256 registers=16},canonicalize,cse))' \
// RUN:   | FileCheck %s --check-prefix=NARROW --implicit-check-not="vector<16x"
// RUN: not paged-attn-opt %s -pass-pipeline='builtin.module(func.func(paged-attn-vectorize{vector-bits=384}))' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=BITS
// RUN: not paged-attn-opt %s -pass-pipeline='builtin.module(func.func(paged-attn-vectorize{registers=8}))' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=REGISTERS

// BITS: error: expected vector-bits to be 128, 256 or 512, got 384
// REGISTERS: error: expected registers to be 16 or 32, got 8

#rc = affine_map<(r, c) -> (r, c)>
#cr = affine_map<(r, c) -> (c, r)>
#r = affine_map<(r, c) -> (r)>

// Blocks of 4 x 4 vectors: 16 accumulators, a loop over k in steps of 4.
// CHECK-LABEL: func.func @matmul_blocks(
// CHECK-SAME: %[[A:.*]]: memref<8x128xf32>, %[[B:.*]]: memref<128x64xf32>, %[[C:.*]]: memref<8x64xf32>
// CHECK-DAG: %[[C4:.*]] = arith.constant 4 : index
// CHECK-DAG: %[[C128:.*]] = arith.constant 128 : index
// CHECK: scf.for
// CHECK-COUNT-16: vector.load %[[C]]
// CHECK: %[[SUMS:.*]]:16 = scf.for %[[K:.*]] = %{{.*}} to %[[C128]] step %[[C4]] iter_args
// CHECK-COUNT-4: vector.load %[[B]]
// CHECK: %[[X:.*]] = memref.load %[[A]]
// CHECK: vector.broadcast %[[X]] : f32 to vector<16xf32>
// CHECK-COUNT-64: vector.fma
// CHECK: scf.yield
// CHECK-COUNT-16: vector.store {{.*}}, %[[C]]
// 16 registers of 8 lanes: 4 x 2.
// NARROW-LABEL: func.func @matmul_blocks(
// NARROW: scf.for
// NARROW: scf.for
// NARROW: %{{.*}}:8 = scf.for
func.func @matmul_blocks(%a: memref<8x128xf32>, %b: memref<128x64xf32>, %c: memref<8x64xf32>) {
  linalg.matmul ins(%a, %b : memref<8x128xf32>, memref<128x64xf32>) outs(%c : memref<8x64xf32>)
  return
}

// Six rows take 24 accumulators.
// CHECK-LABEL: func.func @matmul_six_rows(
// CHECK: %{{.*}}:24 = scf.for
func.func @matmul_six_rows(%a: memref<6x128xf32>, %b: memref<128x64xf32>, %c: memref<6x64xf32>) {
  linalg.matmul ins(%a, %b : memref<6x128xf32>, memref<128x64xf32>) outs(%c : memref<6x64xf32>)
  return
}

// A fill with 0 before the product is folded in.
// CHECK-LABEL: func.func @matmul_after_fill(
// CHECK-SAME: %[[A:.*]]: memref<4x8xf32>, %[[B:.*]]: memref<8x64xf32>, %[[C:.*]]: memref<4x64xf32>
// CHECK: %[[ZERO:.*]] = arith.constant dense<0.000000e+00> : vector<16xf32>
// CHECK-NOT: %[[C]]
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[ZERO]],
// CHECK: vector.store {{.*}}, %[[C]]
func.func @matmul_after_fill(%a: memref<4x8xf32>, %b: memref<8x64xf32>, %c: memref<4x64xf32>) {
  %zero = arith.constant 0.0 : f32
  linalg.fill ins(%zero : f32) outs(%c : memref<4x64xf32>)
  linalg.matmul ins(%a, %b : memref<4x8xf32>, memref<8x64xf32>) outs(%c : memref<4x64xf32>)
  return
}

// 19 = 16 + 2 + 1 columns.
// CHECK-LABEL: func.func @matmul_column_rest(
// CHECK: scf.for {{.*}} -> (vector<16xf32>, vector<2xf32>, vector<1xf32>)
func.func @matmul_column_rest(%a: memref<1x3xf32>, %b: memref<3x19xf32>, %c: memref<1x19xf32>) {
  linalg.matmul ins(%a, %b : memref<1x3xf32>, memref<3x19xf32>) outs(%c : memref<1x19xf32>)
  return
}

// CHECK-LABEL: func.func @matmul_strided_columns(
// CHECK: linalg.matmul
func.func @matmul_strided_columns(%a: memref<4x4xf32>, %b: memref<4x4xf32, strided<[8, 2]>>, %c: memref<4x4xf32>) {
  linalg.matmul ins(%a, %b : memref<4x4xf32>, memref<4x4xf32, strided<[8, 2]>>) outs(%c : memref<4x4xf32>)
  return
}

// The maximum is kept as a vector, in the form of one instruction.
// CHECK-LABEL: func.func @row_maximum(
// CHECK-DAG: %[[LOWEST:.*]] = arith.constant dense<0xFF800000> : vector<16xf32>
// CHECK: scf.for
// CHECK: scf.for {{.*}} iter_args(%{{.*}} = %[[LOWEST]]) -> (vector<16xf32>)
// CHECK-COUNT-4: arith.cmpf ogt, {{.*}} : vector<16xf32>
// CHECK: scf.yield
// CHECK: vector.shuffle {{.*}}[8, 9, 10, 11, 12, 13, 14, 15]
// CHECK: vector.extract
// CHECK: memref.load
// CHECK: memref.store
// CHECK-NOT: linalg.
// CHECK: return
func.func @row_maximum(%s: memref<8x128xf32>, %m: memref<8xf32>) {
  linalg.generic {indexing_maps = [#rc, #r], iterator_types = ["parallel", "reduction"]}
      ins(%s : memref<8x128xf32>) outs(%m : memref<8xf32>) {
  ^bb0(%x: f32, %old: f32):
    %0 = arith.maximumf %x, %old : f32
    linalg.yield %0 : f32
  }
  return
}

// The scalars of a row stay scalar until a vector meets them.
// CHECK-LABEL: func.func @row_exp2_and_sum(
// CHECK: scf.for
// CHECK: %[[M:.*]] = memref.load
// CHECK: vector.broadcast %[[M]]
// CHECK-COUNT-4: math.exp2 {{.*}} : vector<16xf32>
// CHECK-NOT: linalg.
// CHECK: return
func.func @row_exp2_and_sum(%s: memref<8x64xf32>, %m: memref<8xf32>, %l: memref<8xf32>) {
  linalg.generic {indexing_maps = [#r, #rc, #r], iterator_types = ["parallel", "reduction"]}
      ins(%m : memref<8xf32>) outs(%s, %l : memref<8x64xf32>, memref<8xf32>) {
  ^bb0(%max: f32, %x: f32, %sum: f32):
    %0 = arith.subf %x, %max : f32
    %1 = math.exp2 %0 : f32
    %2 = arith.addf %sum, %1 : f32
    linalg.yield %1, %2 : f32, f32
  }
  return
}

// Whole vectors, then single elements.
// CHECK-LABEL: func.func @dynamic_widening(
// CHECK: scf.for
// CHECK: scf.for
// CHECK: arith.extf {{.*}} : vector<16xbf16> to vector<16xf32>
// CHECK: scf.for
// CHECK: arith.extf {{.*}} : vector<1xbf16> to vector<1xf32>
func.func @dynamic_widening(%x: memref<?x?xbf16>, %y: memref<?x?xf32>) {
  linalg.generic {indexing_maps = [#rc, #rc], iterator_types = ["parallel", "parallel"]}
      ins(%x : memref<?x?xbf16>) outs(%y : memref<?x?xf32>) {
  ^bb0(%a: bf16, %b: f32):
    %0 = arith.extf %a : bf16 to f32
    linalg.yield %0 : f32
  }
  return
}

// Four stages of sixteen shuffles each, for each block of 16 columns.
// CHECK-LABEL: func.func @transpose_page(
// CHECK: scf.for
// CHECK-COUNT-16: vector.load {{.*}}, vector<16xbf16>
// CHECK-COUNT-64: vector.shuffle {{.*}} : vector<16xf32>, vector<16xf32>
// CHECK-NOT: vector.shuffle
// CHECK-COUNT-16: vector.store
// CHECK-NOT: linalg.
// CHECK: return
func.func @transpose_page(%x: memref<16x128xbf16>, %y: memref<128x16xf32>) {
  linalg.generic {indexing_maps = [#rc, #cr], iterator_types = ["parallel", "parallel"]}
      ins(%x : memref<16x128xbf16>) outs(%y : memref<128x16xf32>) {
  ^bb0(%a: bf16, %b: f32):
    %0 = arith.extf %a : bf16 to f32
    linalg.yield %0 : f32
  }
  return
}

// CHECK-LABEL: func.func @fill_dynamic(
// CHECK: vector.store {{.*}} vector<16xf32>
// CHECK-NOT: linalg.
// CHECK: return
func.func @fill_dynamic(%x: memref<?xf32>, %value: f32) {
  linalg.fill ins(%value : f32) outs(%x : memref<?xf32>)
  return
}

// CHECK-LABEL: func.func @page_copy(
// CHECK: vector.load {{.*}} vector<16xf32>
// CHECK: vector.store {{.*}} vector<16xf32>
// CHECK-NOT: memref.copy
// CHECK: return
func.func @page_copy(%x: memref<8x16xf32>, %y: memref<8x16xf32>) {
  memref.copy %x, %y : memref<8x16xf32> to memref<8x16xf32>
  return
}

// CHECK-LABEL: func.func @copy_onto_itself(
// CHECK-NEXT: return
func.func @copy_onto_itself(%x: memref<8x16xf32>) {
  memref.copy %x, %x : memref<8x16xf32> to memref<8x16xf32>
  return
}

// f64 has no vector of this width.
// CHECK-LABEL: func.func @f64_stays(
// CHECK: linalg.copy
func.func @f64_stays(%x: memref<8xf64>, %y: memref<8xf64>) {
  linalg.copy ins(%x : memref<8xf64>) outs(%y : memref<8xf64>)
  return
}
