// Pitfall n: a query that is scaled and rounded to the type of a quantised pool
// loses its range. The scale belongs to the score: with q = 0.001, a key of 100 and
// a scale of 44.8 the score is 4.48, while 0.001 rounds to 0.

// RUN: paged-attn-opt %s --paged-attn-cpu='via=reference executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=linalg executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=vector executor=false' | %run_main | FileCheck %s

memref.global "private" constant @query : memref<1x1x1xf32> = dense<0.001>
memref.global "private" constant @table : memref<1x1xi32> = dense<0>
memref.global "private" constant @lens : memref<1xi32> = dense<2>
memref.global "private" constant @k_scale : memref<f32> = dense<44.8>
memref.global "private" constant @v_scale : memref<f32> = dense<0.5>
memref.global "private" constant @keys : memref<1x2x1x1xi8> = dense<[[[[100]], [[0]]]]>
memref.global "private" constant @values : memref<1x2x1x1xi8> = dense<[[[[2]], [[0]]]]>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @main() {
  %q = memref.get_global @query : memref<1x1x1xf32>
  %t = memref.get_global @table : memref<1x1xi32>
  %n = memref.get_global @lens : memref<1xi32>
  %ks = memref.get_global @k_scale : memref<f32>
  %vs = memref.get_global @v_scale : memref<f32>
  %k = memref.get_global @keys : memref<1x2x1x1xi8>
  %v = memref.get_global @values : memref<1x2x1x1xi8>
  %o = memref.alloc() : memref<1x1x1xf32>

  paged_attn.attention decode query(%q : memref<1x1x1xf32>)
      keys(%k : memref<1x2x1x1xi8>) values(%v : memref<1x2x1x1xi8>)
      table(%t : memref<1x1xi32>) lens(%n : memref<1xi32>)
      k_scale(%ks : memref<f32>) v_scale(%vs : memref<f32>)
      outs(%o : memref<1x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, scale = 1.0 : f32}

  // e^4.48 / (e^4.48 + 1).
  // CHECK: {{\[}}0.98879
  %out = memref.cast %o : memref<1x1x1xf32> to memref<*xf32>
  call @printMemrefF32(%out) : (memref<*xf32>) -> ()
  return
}
