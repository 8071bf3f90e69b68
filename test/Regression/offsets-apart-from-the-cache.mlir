// Rows that stand before position 0 or far behind the cache (context-parallel
// shards) see no key: 0, and no page is visited. Page 1 and the rest of the table
// are out of the pool. A window or sink_tokens beyond 32 bits hides nothing, and a
// chunk beyond them is one chunk.

// RUN: paged-attn-opt %s --paged-attn-cpu='via=vector executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=linalg executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=reference executor=false' | %run_main | FileCheck %s

memref.global "private" constant @query : memref<2x1x1xf32> = dense<1.0>
memref.global "private" constant @table : memref<1x8xi32> = dense<[[0, 99999999, 99999999, 99999999, 99999999, 99999999, 99999999, 99999999]]>
memref.global "private" constant @lens : memref<1xi32> = dense<4>
memref.global "private" constant @starts : memref<2xi32> = dense<[0, 2]>
memref.global "private" constant @before : memref<1xi32> = dense<-1000>
memref.global "private" constant @behind : memref<1xi32> = dense<70>
memref.global "private" constant @keys : memref<1x4x1x1xf32> = dense<0.0>
memref.global "private" constant @values : memref<1x4x1x1xf32> = dense<[[[[1.0]], [[2.0]], [[3.0]], [[6.0]]]]>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @print(%out : memref<2x1x1xf32>) {
  %o = memref.cast %out : memref<2x1x1xf32> to memref<*xf32>
  call @printMemrefF32(%o) : (memref<*xf32>) -> ()
  return
}

func.func @main() {
  %q = memref.get_global @query : memref<2x1x1xf32>
  %t = memref.get_global @table : memref<1x8xi32>
  %n = memref.get_global @lens : memref<1xi32>
  %s = memref.get_global @starts : memref<2xi32>
  %k = memref.get_global @keys : memref<1x4x1x1xf32>
  %v = memref.get_global @values : memref<1x4x1x1xf32>
  %o = memref.alloc() : memref<2x1x1xf32>

  // Before the cache.
  // CHECK: {{\[}}{{\[}}{{\[}}0]
  // CHECK: {{\[}}{{\[}}0]
  %before0 = memref.get_global @before : memref<1xi32>
  paged_attn.attention decode query(%q : memref<2x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t : memref<1x8xi32>) lens(%n : memref<1xi32>)
      starts(%s : memref<2xi32>) offsets(%before0 : memref<1xi32>) outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  call @print(%o) : (memref<2x1x1xf32>) -> ()

  // The same as prefill.
  // CHECK: {{\[}}{{\[}}{{\[}}0]
  // CHECK: {{\[}}{{\[}}0]
  %before1 = memref.get_global @before : memref<1xi32>
  paged_attn.attention prefill query(%q : memref<2x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t : memref<1x8xi32>) lens(%n : memref<1xi32>)
      starts(%s : memref<2xi32>) offsets(%before1 : memref<1xi32>) outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  call @print(%o) : (memref<2x1x1xf32>) -> ()

  // A chunk before the cache.
  // CHECK: {{\[}}{{\[}}{{\[}}0]
  // CHECK: {{\[}}{{\[}}0]
  %before2 = memref.get_global @before : memref<1xi32>
  paged_attn.attention mixed query(%q : memref<2x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t : memref<1x8xi32>) lens(%n : memref<1xi32>)
      starts(%s : memref<2xi32>) offsets(%before2 : memref<1xi32>) outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<chunk = 10>}
  call @print(%o) : (memref<2x1x1xf32>) -> ()

  // Behind the cache.
  // CHECK: {{\[}}{{\[}}{{\[}}0]
  // CHECK: {{\[}}{{\[}}0]
  %behind3 = memref.get_global @behind : memref<1xi32>
  paged_attn.attention decode query(%q : memref<2x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t : memref<1x8xi32>) lens(%n : memref<1xi32>)
      starts(%s : memref<2xi32>) offsets(%behind3 : memref<1xi32>) outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal, window = 4>}
  call @print(%o) : (memref<2x1x1xf32>) -> ()

  // A chunk behind the cache.
  // CHECK: {{\[}}{{\[}}{{\[}}0]
  // CHECK: {{\[}}{{\[}}0]
  %behind4 = memref.get_global @behind : memref<1xi32>
  paged_attn.attention prefill query(%q : memref<2x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t : memref<1x8xi32>) lens(%n : memref<1xi32>)
      starts(%s : memref<2xi32>) offsets(%behind4 : memref<1xi32>) outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal, chunk = 10>}
  call @print(%o) : (memref<2x1x1xf32>) -> ()

  // The sink tokens alone: (1 + 2) / 2.
  // CHECK: {{\[}}{{\[}}{{\[}}1.5]
  // CHECK: {{\[}}{{\[}}1.5]
  %behind5 = memref.get_global @behind : memref<1xi32>
  paged_attn.attention decode query(%q : memref<2x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t : memref<1x8xi32>) lens(%n : memref<1xi32>)
      starts(%s : memref<2xi32>) offsets(%behind5 : memref<1xi32>) outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal, window = 4, sink_tokens = 2>}
  call @print(%o) : (memref<2x1x1xf32>) -> ()

  // A window of 2^32 + 1: (1 + 2 + 3) / 3 and (1 + 2 + 3 + 6) / 4.
  // CHECK: {{\[}}{{\[}}{{\[}}2]
  // CHECK: {{\[}}{{\[}}3]
  
  paged_attn.attention decode query(%q : memref<2x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t : memref<1x8xi32>) lens(%n : memref<1xi32>)
      starts(%s : memref<2xi32>)  outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal, window = 4294967297>}
  call @print(%o) : (memref<2x1x1xf32>) -> ()

  // 3e9 sink tokens.
  // CHECK: {{\[}}{{\[}}{{\[}}2]
  // CHECK: {{\[}}{{\[}}3]
  
  paged_attn.attention prefill query(%q : memref<2x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t : memref<1x8xi32>) lens(%n : memref<1xi32>)
      starts(%s : memref<2xi32>)  outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal, window = 1, sink_tokens = 3000000000>}
  call @print(%o) : (memref<2x1x1xf32>) -> ()

  // A chunk of 2^32 + 2.
  // CHECK: {{\[}}{{\[}}{{\[}}2]
  // CHECK: {{\[}}{{\[}}3]
  
  paged_attn.attention mixed query(%q : memref<2x1x1xf32>) keys(%k : memref<1x4x1x1xf32>)
      values(%v : memref<1x4x1x1xf32>) table(%t : memref<1x8xi32>) lens(%n : memref<1xi32>)
      starts(%s : memref<2xi32>)  outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal, chunk = 4294967298>}
  call @print(%o) : (memref<2x1x1xf32>) -> ()
  return
}
