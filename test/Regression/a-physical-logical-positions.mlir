// Pitfall a: positions of masks and biases taken from physical instead of logical
// slots. The same sequence lies in two pools, pages in order and swapped; with
// ALiBi (weights 2^(j - p)) and with a window both give the same.

// RUN: paged-attn-opt %s --paged-attn-cpu='via=reference executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=vector executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=linalg executor=false' | %run_main | FileCheck %s

memref.global "private" constant @query : memref<1x1x1xf32> = dense<1.0>
memref.global "private" constant @table : memref<1x2xi32> = dense<[[0, 1]]>
memref.global "private" constant @swapped : memref<1x2xi32> = dense<[[1, 0]]>
memref.global "private" constant @lens : memref<1xi32> = dense<4>
memref.global "private" constant @slopes : memref<1xf32> = dense<0.693147182>
memref.global "private" constant @keys : memref<2x2x1x1xf32> = dense<0.0>
memref.global "private" constant @values : memref<2x2x1x1xf32> = dense<[[[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]]]>
memref.global "private" constant @swapped_values : memref<2x2x1x1xf32> = dense<[[[[3.0]], [[4.0]]], [[[1.0]], [[2.0]]]]>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @attend(%table : memref<1x2xi32>, %values : memref<2x2x1x1xf32>) {
  %q = memref.get_global @query : memref<1x1x1xf32>
  %n = memref.get_global @lens : memref<1xi32>
  %s = memref.get_global @slopes : memref<1xf32>
  %k = memref.get_global @keys : memref<2x2x1x1xf32>
  %o = memref.alloc() : memref<1x1x1xf32>
  paged_attn.attention decode query(%q : memref<1x1x1xf32>)
      keys(%k : memref<2x2x1x1xf32>) values(%values : memref<2x2x1x1xf32>)
      table(%table : memref<1x2xi32>) lens(%n : memref<1xi32>)
      alibi(%s : memref<1xf32>) outs(%o : memref<1x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  %all = memref.cast %o : memref<1x1x1xf32> to memref<*xf32>
  call @printMemrefF32(%all) : (memref<*xf32>) -> ()
  paged_attn.attention decode query(%q : memref<1x1x1xf32>)
      keys(%k : memref<2x2x1x1xf32>) values(%values : memref<2x2x1x1xf32>)
      table(%table : memref<1x2xi32>) lens(%n : memref<1xi32>)
      alibi(%s : memref<1xf32>) outs(%o : memref<1x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">,
       mask = #paged_attn.mask<causal, window = 3>}
  %last = memref.cast %o : memref<1x1x1xf32> to memref<*xf32>
  call @printMemrefF32(%last) : (memref<*xf32>) -> ()
  return
}

func.func @main() {
  %table = memref.get_global @table : memref<1x2xi32>
  %swapped = memref.get_global @swapped : memref<1x2xi32>
  %values = memref.get_global @values : memref<2x2x1x1xf32>
  %swapped_values = memref.get_global @swapped_values : memref<2x2x1x1xf32>

  // (1/8 + 2/4 + 3/2 + 4) / (15/8), then (2/4 + 3/2 + 4) / (7/4).
  // CHECK: {{\[}}3.26667]
  // CHECK: {{\[}}3.42857]
  call @attend(%table, %values) : (memref<1x2xi32>, memref<2x2x1x1xf32>) -> ()

  // CHECK: {{\[}}3.26667]
  // CHECK: {{\[}}3.42857]
  call @attend(%swapped, %swapped_values) : (memref<1x2xi32>, memref<2x2x1x1xf32>) -> ()
  return
}
