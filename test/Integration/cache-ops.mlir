// RUN: paged-attn-opt %s -pass-pipeline='builtin.module(func.func(convert-paged-attn-to-loops),convert-scf-to-cf,convert-math-to-llvm,expand-strided-metadata,finalize-memref-to-llvm,convert-func-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,convert-cf-to-llvm,reconcile-unrealized-casts)' \
// RUN:   | mlir-runner -e main -entry-point-result=void \
// RUN:     -shared-libs=%mlir_lib_dir/libmlir_c_runner_utils.so,%mlir_lib_dir/libmlir_runner_utils.so \
// RUN:   | FileCheck %s
// RUN: paged-attn-opt %s -pass-pipeline='builtin.module(func.func(convert-paged-attn-to-linalg),one-shot-bufferize,cse,canonicalize,func.func(convert-linalg-to-loops),convert-scf-to-cf,convert-math-to-llvm,expand-strided-metadata,lower-affine,finalize-memref-to-llvm,convert-func-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,convert-cf-to-llvm,reconcile-unrealized-casts)' \
// RUN:   | mlir-runner -e main -entry-point-result=void \
// RUN:     -shared-libs=%mlir_lib_dir/libmlir_c_runner_utils.so,%mlir_lib_dir/libmlir_runner_utils.so \
// RUN:   | FileCheck %s

// The same numbers down both paths. Pages of 2 slots, 2 KV heads, head dim 2.

// Token t, head h, entry d is 100 t + 10 h + d.
memref.global "private" constant @tokens : memref<3x2x2xf32> = dense<[
  [[0.0, 1.0], [10.0, 11.0]], [[100.0, 101.0], [110.0, 111.0]],
  [[200.0, 201.0], [210.0, 211.0]]]>
memref.global "private" constant @slots : memref<3xi64> = dense<[3, -1, 0]>
memref.global "private" constant @table : memref<2x2xi32> = dense<[[2, 0], [1, -1]]>
memref.global "private" constant @lens : memref<2xi32> = dense<[3, 1]>
memref.global "private" constant @starts : memref<3xi32> = dense<[0, 2, 3]>
memref.global "private" constant @pairs : memref<3x2xi64> = dense<[[0, 2], [-1, 0], [1, 0]]>
memref.global "private" constant @part0 : memref<1x3x1xf32> = dense<[[[1.0], [2.0], [0x7FC00000]]]>
memref.global "private" constant @part1 : memref<1x3x1xf32> = dense<[[[3.0], [0x7FC00000], [0x7FC00000]]]>
memref.global "private" constant @lse0 : memref<1x3xf32> = dense<[[0.0, 4.0, 0xFF800000]]>
memref.global "private" constant @lse1 : memref<1x3xf32> = dense<[[0.0, 0xFF800000, 0xFF800000]]>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @main() {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
  %c4 = arith.constant 4 : index
  %empty = arith.constant -1.0 : f32
  %new = memref.get_global @tokens : memref<3x2x2xf32>
  %slots = memref.get_global @slots : memref<3xi64>
  %table = memref.get_global @table : memref<2x2xi32>
  %lens = memref.get_global @lens : memref<2xi32>
  %starts = memref.get_global @starts : memref<3xi32>
  %pairs = memref.get_global @pairs : memref<3x2xi64>

  // Three pages [P, S, Hkv, D] and three transposed ones, packed by 2.
  %flat = memref.alloc() : memref<24xf32>
  %flat2 = memref.alloc() : memref<24xf32>
  %c24 = arith.constant 24 : index
  scf.for %i = %c0 to %c24 step %c1 {
    memref.store %empty, %flat[%i] : memref<24xf32>
    memref.store %empty, %flat2[%i] : memref<24xf32>
  }
  %pool = memref.expand_shape %flat [[0, 1, 2, 3]] output_shape [3, 2, 2, 2]
      : memref<24xf32> into memref<3x2x2x2xf32>
  %packed = memref.expand_shape %flat2 [[0, 1, 2, 3, 4]]
      output_shape [3, 2, 1, 2, 2] : memref<24xf32> into memref<3x2x1x2x2xf32>
  %shown = memref.cast %flat : memref<24xf32> to memref<*xf32>
  %shown2 = memref.cast %flat2 : memref<24xf32> to memref<*xf32>

  // Token 0 goes to page 1, slot 1; token 2 to page 0, slot 0.
  // CHECK: [200,  201,  210,  211,  -1,  -1,  -1,  -1,
  // CHECK-SAME: -1,  -1,  -1,  -1,  0,  1,  10,  11,
  // CHECK-SAME: -1,  -1,  -1,  -1,  -1,  -1,  -1,  -1]
  paged_attn.append keys(%new : memref<3x2x2xf32>) slots(%slots : memref<3xi64>)
      outs(%pool : memref<3x2x2x2xf32>) {key_layout = #paged_attn.layout<"pshd">}
  call @printMemrefF32(%shown) : (memref<*xf32>) -> ()

  // Tokens 0 and 1 are positions 1 and 2 of sequence 0: page 2 slot 1, page 0
  // slot 0; token 2 is position 0 of sequence 1: page 1, slot 0.
  // CHECK: [100,  101,  -1,  -1,  110,  111,  -1,  -1,
  // CHECK-SAME: 200,  201,  -1,  -1,  210,  211,  -1,  -1,
  // CHECK-SAME: -1,  -1,  0,  1,  -1,  -1,  10,  11]
  paged_attn.append keys(%new : memref<3x2x2xf32>) table(%table : memref<2x2xi32>)
      lens(%lens : memref<2xi32>) starts(%starts : memref<3xi32>)
      outs(%packed : memref<3x2x1x2x2xf32>)
      {key_layout = #paged_attn.layout<"phds", pack = 2>}
  call @printMemrefF32(%shown2) : (memref<*xf32>) -> ()

  // Positions past kv_len are 0.
  // CHECK: [-1,   -1],{{[[:space:]]*}}[-1,   -1]
  // CHECK: [0,   1],{{[[:space:]]*}}[10,   11]
  // CHECK: [100,   101],{{[[:space:]]*}}[110,   111]
  // CHECK: [200,   201],{{[[:space:]]*}}[210,   211]
  // CHECK: [0,   0],{{[[:space:]]*}}[0,   0]
  // CHECK: [0,   0],{{[[:space:]]*}}[0,   0]
  %dense = memref.alloc() : memref<2x3x2x2xf32>
  paged_attn.gather key pool(%packed : memref<3x2x1x2x2xf32>)
      table(%table : memref<2x2xi32>) lens(%lens : memref<2xi32>)
      outs(%dense : memref<2x3x2x2xf32>)
      {layout = #paged_attn.layout<"phds", pack = 2>}
  %shown3 = memref.cast %dense : memref<2x3x2x2xf32> to memref<*xf32>
  call @printMemrefF32(%shown3) : (memref<*xf32>) -> ()

  // Page 2 becomes page 0, then page 0 becomes page 1.
  // CHECK: [-1,  -1,  -1,  -1,  0,  1,  10,  11,
  // CHECK-SAME: -1,  -1,  -1,  -1,  0,  1,  10,  11,
  // CHECK-SAME: 200,  201,  210,  211,  -1,  -1,  -1,  -1]
  paged_attn.copy_pages pairs(%pairs : memref<3x2xi64>)
      outs(%pool : memref<3x2x2x2xf32>) {layout = #paged_attn.layout<"pshd">}
  call @printMemrefF32(%shown) : (memref<*xf32>) -> ()

  // Equal weights: 2 and ln 2; one part alone; no part.
  // CHECK: [2],{{[[:space:]]*}}[2],{{[[:space:]]*}}[0]
  // CHECK: [0.693147,   4,   -inf]
  %a = memref.get_global @part0 : memref<1x3x1xf32>
  %b = memref.get_global @part1 : memref<1x3x1xf32>
  %la = memref.get_global @lse0 : memref<1x3xf32>
  %lb = memref.get_global @lse1 : memref<1x3xf32>
  %o = memref.alloc() : memref<1x3x1xf32>
  %l = memref.alloc() : memref<1x3xf32>
  paged_attn.merge_states parts(%a, %b : memref<1x3x1xf32>, memref<1x3x1xf32>)
      lses(%la, %lb : memref<1x3xf32>, memref<1x3xf32>)
      outs(%o : memref<1x3x1xf32>, %l : memref<1x3xf32>)
  %shown4 = memref.cast %o : memref<1x3x1xf32> to memref<*xf32>
  %shown5 = memref.cast %l : memref<1x3xf32> to memref<*xf32>
  call @printMemrefF32(%shown4) : (memref<*xf32>) -> ()
  call @printMemrefF32(%shown5) : (memref<*xf32>) -> ()
  return
}
