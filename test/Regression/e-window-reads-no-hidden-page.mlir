// Pitfall e: a window that only masks, or that starts at the wrong page. Pages
// without a visible key have ids that lie gigabytes past the pool: a path that
// visits one does not survive, one that starts too late has the wrong mean.

// RUN: paged-attn-opt %s --paged-attn-cpu='via=reference executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=vector executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-cpu='via=linalg executor=false' | %run_main | FileCheck %s
// RUN: paged-attn-run --mode=decode --batch=3 --context=200 --heads=4 --kv-heads=2 --head-dim=32 --window=17 --poison-hidden --check --json | FileCheck %s --check-prefix=PASS
// RUN: paged-attn-run --mode=mixed --batch=3 --q-len=40 --context=200 --heads=4 --kv-heads=2 --head-dim=32 --window=17 --sink-tokens=3 --poison-hidden --check --json | FileCheck %s --check-prefix=PASS
// PASS: {{"check": ?"pass"}}

memref.global "private" constant @query : memref<2x1x1xf32> = dense<1.0>
memref.global "private" constant @table : memref<2x4xi32> = dense<[
  [2000000000, 2000000000, 0, 1], [2000000000, 0, 1, 2000000000]]>
memref.global "private" constant @lens : memref<2xi32> = dense<[7, 5]>
memref.global "private" constant @keys : memref<2x2x1x1xf32> = dense<0.0>
memref.global "private" constant @values : memref<2x2x1x1xf32> = dense<[
  [[[1.0]], [[2.0]]], [[[3.0]], [[0x7FC00000]]]]>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @main() {
  %q = memref.get_global @query : memref<2x1x1xf32>
  %t = memref.get_global @table : memref<2x4xi32>
  %n = memref.get_global @lens : memref<2xi32>
  %k = memref.get_global @keys : memref<2x2x1x1xf32>
  %v = memref.get_global @values : memref<2x2x1x1xf32>
  %o = memref.alloc() : memref<2x1x1xf32>
  %out = memref.cast %o : memref<2x1x1xf32> to memref<*xf32>

  // Positions 4 to 6 of the first sequence, 2 to 4 of the second: (1 + 2 + 3) / 3.
  paged_attn.attention decode query(%q : memref<2x1x1xf32>)
      keys(%k : memref<2x2x1x1xf32>) values(%v : memref<2x2x1x1xf32>)
      table(%t : memref<2x4xi32>) lens(%n : memref<2xi32>)
      outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">,
       mask = #paged_attn.mask<causal, window = 3>}
  // CHECK: {{\[}}2]
  // CHECK: {{\[}}2]
  call @printMemrefF32(%out) : (memref<*xf32>) -> ()

  // Chunks of 4: positions 4 to 6 of the first, 4 of the second.
  paged_attn.attention decode query(%q : memref<2x1x1xf32>)
      keys(%k : memref<2x2x1x1xf32>) values(%v : memref<2x2x1x1xf32>)
      table(%t : memref<2x4xi32>) lens(%n : memref<2xi32>)
      outs(%o : memref<2x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">,
       mask = #paged_attn.mask<causal, chunk = 4>}
  // CHECK: {{\[}}2]
  // CHECK: {{\[}}3]
  call @printMemrefF32(%out) : (memref<*xf32>) -> ()
  return
}
