// RUN: paged-attn-opt %s -pass-pipeline='builtin.module(func.func(paged-attn-lower-math))' | FileCheck %s

// No call of a math function is left but the fused multiply-add.
// CHECK-NOT: math.exp2
// CHECK-NOT: math.tanh
// CHECK-NOT: math.log2

// CHECK-LABEL: func.func @exp2_vector
// CHECK-SAME: (%[[X:.*]]: vector<16xf32>)
// CHECK-COUNT-6: math.fma {{.*}} : vector<16xf32>
// CHECK: arith.shli
// CHECK: arith.cmpf olt, %[[X]]
// CHECK: arith.cmpf olt, %[[X]]
// CHECK: return {{.*}} : vector<16xf32>
func.func @exp2_vector(%x: vector<16xf32>) -> vector<16xf32> {
  %0 = math.exp2 %x : vector<16xf32>
  return %0 : vector<16xf32>
}

// CHECK-LABEL: func.func @exp2_scalar
// CHECK-COUNT-6: math.fma {{.*}} : f32
func.func @exp2_scalar(%x: f32) -> f32 {
  %0 = math.exp2 %x : f32
  return %0 : f32
}

// The sign is moved as a bit, so tanh is odd exactly.
// CHECK-LABEL: func.func @tanh_vector
// CHECK: arith.andi
// CHECK: arith.divf
// CHECK: arith.ori
func.func @tanh_vector(%x: vector<8xf32>) -> vector<8xf32> {
  %0 = math.tanh %x : vector<8xf32>
  return %0 : vector<8xf32>
}

// CHECK-LABEL: func.func @log2_matrix
// CHECK: arith.shrsi {{.*}} : vector<2x4xi32>
// CHECK: math.fma {{.*}} : vector<2x4xf32>
func.func @log2_matrix(%x: vector<2x4xf32>) -> vector<2x4xf32> {
  %0 = math.log2 %x : vector<2x4xf32>
  return %0 : vector<2x4xf32>
}

// CHECK-LABEL: func.func @bf16_through_f32
// CHECK: arith.extf {{.*}} : vector<8xbf16> to vector<8xf32>
// CHECK: arith.truncf {{.*}} : vector<8xf32> to vector<8xbf16>
func.func @bf16_through_f32(%x: vector<8xbf16>) -> vector<8xbf16> {
  %0 = math.tanh %x : vector<8xbf16>
  return %0 : vector<8xbf16>
}

// CHECK-LABEL: func.func @f64_stays
// CHECK: math.exp {{.*}} : f64
func.func @f64_stays(%x: f64) -> f64 {
  %0 = math.exp %x : f64
  return %0 : f64
}
