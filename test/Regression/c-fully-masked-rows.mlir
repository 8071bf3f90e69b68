// Pitfall c: a row that sees no key gives 0 and lse -inf (with sinks: the sink),
// never NaN. Row 0 stands at position -1 of a causal sequence, row 1 sees one key;
// the second sequence has no keys at all.

// RUN: paged-attn-opt %s --paged-attn-cpu='via=reference executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=vector executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=linalg executor=false' | %run_main | FileCheck %s

memref.global "private" constant @query : memref<3x1x1xf32> = dense<1.0>
memref.global "private" constant @table : memref<2x1xi32> = dense<[[0], [-1]]>
memref.global "private" constant @lens : memref<2xi32> = dense<[1, 0]>
memref.global "private" constant @starts : memref<3xi32> = dense<[0, 2, 3]>
memref.global "private" constant @offsets : memref<2xi32> = dense<[-1, 0]>
memref.global "private" constant @sinks : memref<1xf32> = dense<0.5>
memref.global "private" constant @keys : memref<1x2x1x1xf32> = dense<[[[[0.0]], [[0x7FC00000]]]]>
memref.global "private" constant @values : memref<1x2x1x1xf32> = dense<[[[[7.0]], [[0x7FC00000]]]]>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @main() {
  %q = memref.get_global @query : memref<3x1x1xf32>
  %t = memref.get_global @table : memref<2x1xi32>
  %n = memref.get_global @lens : memref<2xi32>
  %b = memref.get_global @starts : memref<3xi32>
  %p = memref.get_global @offsets : memref<2xi32>
  %s = memref.get_global @sinks : memref<1xf32>
  %k = memref.get_global @keys : memref<1x2x1x1xf32>
  %v = memref.get_global @values : memref<1x2x1x1xf32>
  %o = memref.alloc() : memref<3x1x1xf32>
  %l = memref.alloc() : memref<3x1xf32>
  paged_attn.attention mixed query(%q : memref<3x1x1xf32>)
      keys(%k : memref<1x2x1x1xf32>) values(%v : memref<1x2x1x1xf32>)
      table(%t : memref<2x1xi32>) lens(%n : memref<2xi32>)
      starts(%b : memref<3xi32>) offsets(%p : memref<2xi32>)
      outs(%o : memref<3x1x1xf32>, %l : memref<3x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  // CHECK: {{\[}}0]
  // CHECK: {{\[}}7]
  // CHECK: {{\[}}0]
  // CHECK: {{\[}}-inf]
  // CHECK: {{\[}}0]
  // CHECK: {{\[}}-inf]
  %o1 = memref.cast %o : memref<3x1x1xf32> to memref<*xf32>
  call @printMemrefF32(%o1) : (memref<*xf32>) -> ()
  %l1 = memref.cast %l : memref<3x1xf32> to memref<*xf32>
  call @printMemrefF32(%l1) : (memref<*xf32>) -> ()
  paged_attn.attention mixed query(%q : memref<3x1x1xf32>)
      keys(%k : memref<1x2x1x1xf32>) values(%v : memref<1x2x1x1xf32>)
      table(%t : memref<2x1xi32>) lens(%n : memref<2xi32>)
      starts(%b : memref<3xi32>) offsets(%p : memref<2xi32>) sinks(%s : memref<1xf32>)
      outs(%o : memref<3x1x1xf32>, %l : memref<3x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  // 7 / (1 + e^0.5) and ln(1 + e^0.5) in the row that sees a key.
  // CHECK: {{\[}}0]
  // CHECK: {{\[}}2.6427
  // CHECK: {{\[}}0]
  // CHECK: {{\[}}0.5]
  // CHECK: {{\[}}0.974077]
  // CHECK: {{\[}}0.5]
  %o2 = memref.cast %o : memref<3x1x1xf32> to memref<*xf32>
  call @printMemrefF32(%o2) : (memref<*xf32>) -> ()
  %l2 = memref.cast %l : memref<3x1xf32> to memref<*xf32>
  call @printMemrefF32(%l2) : (memref<*xf32>) -> ()
  return
}
