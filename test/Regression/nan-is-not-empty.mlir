// A NaN among the keys that a row sees is that row's answer. It is no row that
// sees nothing: with lse -inf, merge_states would drop it.

// RUN: paged-attn-opt %s --paged-attn-cpu='via=vector executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=linalg executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=reference executor=false' | %run_main | FileCheck %s

memref.global "private" constant @query : memref<1x1x1xf32> = dense<1.0>
memref.global "private" constant @table : memref<1x1xi32> = dense<0>
memref.global "private" constant @lens : memref<1xi32> = dense<1>
memref.global "private" constant @keys : memref<1x1x1x1xf32> = dense<0x7FC00000>
memref.global "private" constant @values : memref<1x1x1x1xf32> = dense<1.0>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @main() {
  %q = memref.get_global @query : memref<1x1x1xf32>
  %t = memref.get_global @table : memref<1x1xi32>
  %n = memref.get_global @lens : memref<1xi32>
  %k = memref.get_global @keys : memref<1x1x1x1xf32>
  %v = memref.get_global @values : memref<1x1x1x1xf32>
  %o = memref.alloc() : memref<1x1x1xf32>
  %l = memref.alloc() : memref<1x1xf32>
  paged_attn.attention decode query(%q : memref<1x1x1xf32>) keys(%k : memref<1x1x1x1xf32>)
      values(%v : memref<1x1x1x1xf32>) table(%t : memref<1x1xi32>) lens(%n : memref<1xi32>)
      outs(%o : memref<1x1x1xf32>, %l : memref<1x1xf32>) {key_layout = #paged_attn.layout<"pshd">}
  // CHECK: nan
  %out = memref.cast %o : memref<1x1x1xf32> to memref<*xf32>
  call @printMemrefF32(%out) : (memref<*xf32>) -> ()
  // CHECK: Unranked
  // CHECK: nan
  %lse = memref.cast %l : memref<1x1xf32> to memref<*xf32>
  call @printMemrefF32(%lse) : (memref<*xf32>) -> ()
  return
}
