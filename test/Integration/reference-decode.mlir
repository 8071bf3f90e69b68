// RUN: paged-attn-opt %s -pass-pipeline='builtin.module(func.func(convert-paged-attn-to-loops),convert-scf-to-cf,convert-math-to-llvm,convert-math-to-libm,expand-strided-metadata,finalize-memref-to-llvm,convert-func-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,convert-cf-to-llvm,reconcile-unrealized-casts)' \
// RUN:   | mlir-runner -e main -entry-point-result=void \
// RUN:     -shared-libs=%mlir_lib_dir/libmlir_c_runner_utils.so,%mlir_lib_dir/libmlir_runner_utils.so \
// RUN:   | FileCheck %s

// One head, D = 1, pages of 2 slots. Sequence 0 has 3 keys on pages 1 and 0,
// sequence 1 one key, sequence 2 none. With k = 0 all weights are equal; sequence 1 has k = 5.

memref.global "private" constant @query : memref<3x1x1xf32> = dense<1.0>
memref.global "private" constant @table : memref<3x2xi32> = dense<[[1, 0], [2, -1], [-1, -1]]>
memref.global "private" constant @lens : memref<3xi32> = dense<[3, 1, 0]>
// NaN where no token is.
memref.global "private" constant @keys : memref<3x2x1x1xf32> = dense<[
  [[[0.0]], [[0x7FC00000]]], [[[0.0]], [[0.0]]], [[[5.0]], [[0x7FC00000]]]]>
memref.global "private" constant @values : memref<3x2x1x1xf32> = dense<[
  [[[6.0]], [[0x7FC00000]]], [[[1.0]], [[2.0]]], [[[7.0]], [[0x7FC00000]]]]>
memref.global "private" constant @sinks : memref<1xf32> = dense<0.0>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @print3(%out : memref<3x1x1xf32>, %lse : memref<3x1xf32>) {
  %o = memref.cast %out : memref<3x1x1xf32> to memref<*xf32>
  %l = memref.cast %lse : memref<3x1xf32> to memref<*xf32>
  call @printMemrefF32(%o) : (memref<*xf32>) -> ()
  call @printMemrefF32(%l) : (memref<*xf32>) -> ()
  return
}

func.func @main() {
  %q = memref.get_global @query : memref<3x1x1xf32>
  %t = memref.get_global @table : memref<3x2xi32>
  %n = memref.get_global @lens : memref<3xi32>
  %k = memref.get_global @keys : memref<3x2x1x1xf32>
  %v = memref.get_global @values : memref<3x2x1x1xf32>
  %s = memref.get_global @sinks : memref<1xf32>
  %o = memref.alloc() : memref<3x1x1xf32>
  %l = memref.alloc() : memref<3x1xf32>

  // (1 + 2 + 6) / 3 and ln 3; 7 and 5; nothing.
  paged_attn.attention decode query(%q : memref<3x1x1xf32>)
      keys(%k : memref<3x2x1x1xf32>) values(%v : memref<3x2x1x1xf32>)
      table(%t : memref<3x2xi32>) lens(%n : memref<3xi32>)
      outs(%o : memref<3x1x1xf32>, %l : memref<3x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
  // CHECK: {{\[}}3]{{\],[[:space:]]+\[}}[7]{{\],[[:space:]]+\[}}[0]
  // CHECK: [1.09861],{{[[:space:]]+}}[5],{{[[:space:]]+}}[-inf]
  call @print3(%o, %l) : (memref<3x1x1xf32>, memref<3x1xf32>) -> ()

  // A window of 2 and a sink of weight 1: (2 + 6) / 3 and ln 3.
  // 7 e^5 / (e^5 + 1) and ln(e^5 + 1); 0 and the sink.
  paged_attn.attention decode query(%q : memref<3x1x1xf32>)
      keys(%k : memref<3x2x1x1xf32>) values(%v : memref<3x2x1x1xf32>)
      table(%t : memref<3x2xi32>) lens(%n : memref<3xi32>)
      sinks(%s : memref<1xf32>)
      outs(%o : memref<3x1x1xf32>, %l : memref<3x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">,
       mask = #paged_attn.mask<causal, window = 2>}
  // CHECK: {{\[}}2.66667]{{\],[[:space:]]+\[}}[6.95315]{{\],[[:space:]]+\[}}[0]
  // CHECK: [1.09861],{{[[:space:]]+}}[5.00672],{{[[:space:]]+}}[0]
  call @print3(%o, %l) : (memref<3x1x1xf32>, memref<3x1xf32>) -> ()
  return
}
