// Rows before starts[0] belong to no sequence and stay; without a sequence, or
// where T is no multiple of B, the rows that are left over are 0.

// RUN: paged-attn-opt %s --paged-attn-cpu='via=vector executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=linalg executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=reference executor=false' | %run_main | FileCheck %s

memref.global "private" constant @query : memref<5x1x1xf32> = dense<1.0>
memref.global "private" constant @table : memref<1x1xi32> = dense<0>
memref.global "private" constant @table2 : memref<2x1xi32> = dense<0>
memref.global "private" constant @lens : memref<1xi32> = dense<4>
memref.global "private" constant @lens2 : memref<2xi32> = dense<4>
memref.global "private" constant @starts : memref<2xi32> = dense<[3, 5]>
memref.global "private" constant @keys : memref<1x4x1x1xf32> = dense<0.0>
memref.global "private" constant @values : memref<1x4x1x1xf32> = dense<7.0>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @print(%out : memref<5x1x1xf32>) {
  %o = memref.cast %out : memref<5x1x1xf32> to memref<*xf32>
  call @printMemrefF32(%o) : (memref<*xf32>) -> ()
  return
}

// The sizes are known at run time only.
func.func @uneven(%qd: memref<?x1x1xf32>, %k: memref<1x4x1x1xf32>, %v: memref<1x4x1x1xf32>,
    %t2d: memref<?x1xi32>, %n2d: memref<?xi32>, %od: memref<?x1x1xf32>) {
  paged_attn.attention decode query(%qd : memref<?x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t2d : memref<?x1xi32>) lens(%n2d : memref<?xi32>)
      outs(%od : memref<?x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  return
}

func.func @main() {
  %q = memref.get_global @query : memref<5x1x1xf32>
  %qd = memref.cast %q : memref<5x1x1xf32> to memref<?x1x1xf32>
  %k = memref.get_global @keys : memref<1x4x1x1xf32>
  %v = memref.get_global @values : memref<1x4x1x1xf32>
  %o = memref.alloc() : memref<5x1x1xf32>
  %od = memref.cast %o : memref<5x1x1xf32> to memref<?x1x1xf32>
  %t = memref.get_global @table : memref<1x1xi32>
  %n = memref.get_global @lens : memref<1xi32>
  %s = memref.get_global @starts : memref<2xi32>
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c5 = arith.constant 5 : index
  %mark = arith.constant -1.0 : f32
  scf.for %i = %c0 to %c5 step %c1 {
    memref.store %mark, %o[%i, %c0, %c0] : memref<5x1x1xf32>
  }

  // starts[0] = 3: the first three rows keep what they had.
  // CHECK: -1
  // CHECK: -1
  // CHECK: -1
  // CHECK: 7
  // CHECK: 7
  paged_attn.attention prefill query(%qd : memref<?x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t : memref<1x1xi32>) lens(%n : memref<1xi32>)
      starts(%s : memref<2xi32>) outs(%od : memref<?x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  call @print(%o) : (memref<5x1x1xf32>) -> ()

  // B = 2, T = 5 at run time: two rows each, the last one is 0.
  // CHECK: 7
  // CHECK: 7
  // CHECK: 7
  // CHECK: 7
  // CHECK: {{\[}}0]
  %t2 = memref.get_global @table2 : memref<2x1xi32>
  %t2d = memref.cast %t2 : memref<2x1xi32> to memref<?x1xi32>
  %n2 = memref.get_global @lens2 : memref<2xi32>
  %n2d = memref.cast %n2 : memref<2xi32> to memref<?xi32>
  call @uneven(%qd, %k, %v, %t2d, %n2d, %od) : (memref<?x1x1xf32>, memref<1x4x1x1xf32>, memref<1x4x1x1xf32>, memref<?x1xi32>, memref<?xi32>, memref<?x1x1xf32>) -> ()
  call @print(%o) : (memref<5x1x1xf32>) -> ()

  // B = 0 with starts [0]: five rows of padding.
  // CHECK: {{\[}}0]
  // CHECK: {{\[}}0]
  // CHECK: {{\[}}0]
  // CHECK: {{\[}}0]
  // CHECK: {{\[}}0]
  %t0 = memref.alloc(%c0) : memref<?x1xi32>
  %n0 = memref.alloc(%c0) : memref<?xi32>
  %s0 = memref.alloc(%c1) : memref<?xi32>
  %zero = arith.constant 0 : i32
  memref.store %zero, %s0[%c0] : memref<?xi32>
  paged_attn.attention mixed query(%qd : memref<?x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t0 : memref<?x1xi32>) lens(%n0 : memref<?xi32>)
      starts(%s0 : memref<?xi32>) outs(%od : memref<?x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  call @print(%o) : (memref<5x1x1xf32>) -> ()
  return
}
