// What only the reference path lowers, run: a bias, a score region with a capture,
// fp8 pools with a scale per head, int8 pools with a scale per token and head.

// RUN: paged-attn-opt %s --paged-attn-cpu='via=reference executor=false' \
// RUN:   | mlir-runner -e main -entry-point-result=void \
// RUN:     -shared-libs=%mlir_lib_dir/libmlir_c_runner_utils.so,%mlir_lib_dir/libmlir_runner_utils.so \
// RUN:   | FileCheck %s

// One sequence of two keys on one page, one query head, D = 1, q = 1. Keys 0 and 0
// (weights 1/2, 1/2) unless said; values 10 and 20.
memref.global "private" constant @query : memref<1x1x1xf32> = dense<1.0>
memref.global "private" constant @table : memref<1x1xi32> = dense<0>
memref.global "private" constant @lens : memref<1xi32> = dense<2>
memref.global "private" constant @keys : memref<1x2x1x1xf32> = dense<0.0>
memref.global "private" constant @values : memref<1x2x1x1xf32> = dense<[[[[10.0]], [[20.0]]]]>
// log(3) on the second key: weights 1/4 and 3/4.
memref.global "private" constant @bias : memref<1x1x2xf32> = dense<[[[0.0, 1.0986123]]]>
memref.global "private" constant @capture : memref<2xf32> = dense<[1.0986123, 0.0]>
// fp8: keys 1 and -1 with a scale of log(3) / 2, so that scores differ by log(3).
memref.global "private" constant @keys8 : memref<1x2x1x1xf8E4M3FN> = dense<[[[[1.0]], [[-1.0]]]]>
memref.global "private" constant @values8 : memref<1x2x1x1xf8E4M3FN> = dense<[[[[5.0]], [[10.0]]]]>
memref.global "private" constant @k_scale8 : memref<1xf32> = dense<0.54930615>
memref.global "private" constant @v_scale8 : memref<1xf32> = dense<2.0>
// int8: equal keys, values 2 and 4 with scales 5 and 10 per token.
memref.global "private" constant @keys_i8 : memref<1x2x1x1xi8> = dense<3>
memref.global "private" constant @values_i8 : memref<1x2x1x1xi8> = dense<[[[[2]], [[4]]]]>
memref.global "private" constant @k_scale_i8 : memref<1x2x1xf32> = dense<1.0>
memref.global "private" constant @v_scale_i8 : memref<1x2x1xf32> = dense<[[[5.0], [10.0]]]>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @print(%out : memref<1x1x1xf32>) {
  %o = memref.cast %out : memref<1x1x1xf32> to memref<*xf32>
  call @printMemrefF32(%o) : (memref<*xf32>) -> ()
  return
}

func.func @main() {
  %q = memref.get_global @query : memref<1x1x1xf32>
  %t = memref.get_global @table : memref<1x1xi32>
  %n = memref.get_global @lens : memref<1xi32>
  %k = memref.get_global @keys : memref<1x2x1x1xf32>
  %v = memref.get_global @values : memref<1x2x1x1xf32>
  %o = memref.alloc() : memref<1x1x1xf32>

  // 10 / 4 + 20 * 3 / 4
  // CHECK: {{\[}}17.5
  %bias = memref.get_global @bias : memref<1x1x2xf32>
  paged_attn.attention auto query(%q : memref<1x1x1xf32>) keys(%k : memref<1x2x1x1xf32>)
      values(%v : memref<1x2x1x1xf32>) table(%t : memref<1x1xi32>) lens(%n : memref<1xi32>)
      bias(%bias : memref<1x1x2xf32>) outs(%o : memref<1x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
  call @print(%o) : (memref<1x1x1xf32>) -> ()

  // The region adds log(3) to the first key: 10 * 3 / 4 + 20 / 4
  // CHECK: {{\[}}12.5
  %capture = memref.get_global @capture : memref<2xf32>
  paged_attn.attention auto query(%q : memref<1x1x1xf32>) keys(%k : memref<1x2x1x1xf32>)
      values(%v : memref<1x2x1x1xf32>) table(%t : memref<1x1xi32>) lens(%n : memref<1xi32>)
      captures(%capture : memref<2xf32>) outs(%o : memref<1x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %b, %h, %i, %j, %c) {
        %x = memref.load %c[%j] : memref<2xf32>
        %y = arith.addf %s, %x : f32
        paged_attn.yield %y : f32
      }
  call @print(%o) : (memref<1x1x1xf32>) -> ()

  // The region hides the first key: 20
  // CHECK: {{\[}}20
  paged_attn.attention auto query(%q : memref<1x1x1xf32>) keys(%k : memref<1x2x1x1xf32>)
      values(%v : memref<1x2x1x1xf32>) table(%t : memref<1x1xi32>) lens(%n : memref<1xi32>)
      outs(%o : memref<1x1x1xf32>) {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %b, %h, %i, %j) {
        %one = arith.constant 1 : index
        %visible = arith.cmpi eq, %j, %one : index
        paged_attn.yield %s, %visible : f32, i1
      }
  call @print(%o) : (memref<1x1x1xf32>) -> ()

  // Scores log(3) / 2 and -log(3) / 2, values 10 and 20: 12.5
  // CHECK: {{\[}}12.5
  %k8 = memref.get_global @keys8 : memref<1x2x1x1xf8E4M3FN>
  %v8 = memref.get_global @values8 : memref<1x2x1x1xf8E4M3FN>
  %ks8 = memref.get_global @k_scale8 : memref<1xf32>
  %vs8 = memref.get_global @v_scale8 : memref<1xf32>
  paged_attn.attention auto query(%q : memref<1x1x1xf32>) keys(%k8 : memref<1x2x1x1xf8E4M3FN>)
      values(%v8 : memref<1x2x1x1xf8E4M3FN>) table(%t : memref<1x1xi32>) lens(%n : memref<1xi32>)
      k_scale(%ks8 : memref<1xf32>) v_scale(%vs8 : memref<1xf32>) outs(%o : memref<1x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
  call @print(%o) : (memref<1x1x1xf32>) -> ()

  // (2 * 5 + 4 * 10) / 2
  // CHECK: {{\[}}25
  %ki = memref.get_global @keys_i8 : memref<1x2x1x1xi8>
  %vi = memref.get_global @values_i8 : memref<1x2x1x1xi8>
  %ksi = memref.get_global @k_scale_i8 : memref<1x2x1xf32>
  %vsi = memref.get_global @v_scale_i8 : memref<1x2x1xf32>
  paged_attn.attention auto query(%q : memref<1x1x1xf32>) keys(%ki : memref<1x2x1x1xi8>)
      values(%vi : memref<1x2x1x1xi8>) table(%t : memref<1x1xi32>) lens(%n : memref<1xi32>)
      k_scale(%ksi : memref<1x2x1xf32>) v_scale(%vsi : memref<1x2x1xf32>) outs(%o : memref<1x1x1xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
  call @print(%o) : (memref<1x1x1xf32>) -> ()
  return
}
