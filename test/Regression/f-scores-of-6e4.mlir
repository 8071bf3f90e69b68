// Pitfall f: a running maximum that starts at a magic number (-5e4) and a
// denominator that starts at 1. Scores here are +-6e4: all low, both, all high.

// RUN: paged-attn-opt %s --paged-attn-cpu='via=reference executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=vector executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=linalg executor=false' | %run_main | FileCheck %s

memref.global "private" constant @query : memref<3x1x1xf32> = dense<300.0>
memref.global "private" constant @table : memref<3x1xi32> = dense<[[0], [1], [2]]>
memref.global "private" constant @lens : memref<3xi32> = dense<2>
memref.global "private" constant @keys : memref<3x2x1x1xf32> = dense<[
  [[[-200.0]], [[-200.0]]], [[[-200.0]], [[200.0]]], [[[200.0]], [[200.0]]]]>
memref.global "private" constant @values : memref<3x2x1x1xf32> = dense<[
  [[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]], [[[5.0]], [[6.0]]]]>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @main() {
  %q = memref.get_global @query : memref<3x1x1xf32>
  %t = memref.get_global @table : memref<3x1xi32>
  %n = memref.get_global @lens : memref<3xi32>
  %k = memref.get_global @keys : memref<3x2x1x1xf32>
  %v = memref.get_global @values : memref<3x2x1x1xf32>
  %o = memref.alloc() : memref<3x1x1xf32>
  %l = memref.alloc() : memref<3x1xf32>
  paged_attn.attention decode query(%q : memref<3x1x1xf32>)
      keys(%k : memref<3x2x1x1xf32>) values(%v : memref<3x2x1x1xf32>)
      table(%t : memref<3x1xi32>) lens(%n : memref<3xi32>)
      outs(%o : memref<3x1x1xf32>, %l : memref<3x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, scale = 1.0 : f32,
       mask = #paged_attn.mask<causal>}
  %out = memref.cast %o : memref<3x1x1xf32> to memref<*xf32>
  %lse = memref.cast %l : memref<3x1xf32> to memref<*xf32>

  // CHECK: {{\[}}1.5]
  // CHECK: {{\[}}4]
  // CHECK: {{\[}}5.5]
  call @printMemrefF32(%out) : (memref<*xf32>) -> ()

  // -6e4 + ln 2, 6e4, 6e4 + ln 2.
  // CHECK: {{\[}}-59999.3]
  // CHECK: {{\[}}60000]
  // CHECK: {{\[}}60000.7]
  call @printMemrefF32(%lse) : (memref<*xf32>) -> ()
  return
}
