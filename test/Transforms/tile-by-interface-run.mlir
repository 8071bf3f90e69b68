// RUN: paged-attn-opt %s -transform-interpreter -symbol-dce \
// RUN:   -one-shot-bufferize="bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map" \
// RUN:   -convert-linalg-to-loops -convert-paged-attn-to-loops -lower-affine -convert-scf-to-cf \
// RUN:   -convert-vector-to-llvm -convert-math-to-llvm -convert-math-to-libm -expand-strided-metadata -lower-affine \
// RUN:   -finalize-memref-to-llvm -convert-func-to-llvm -convert-arith-to-llvm \
// RUN:   -convert-index-to-llvm -convert-cf-to-llvm -reconcile-unrealized-casts \
// RUN:   | mlir-runner -e main -entry-point-result=void \
// RUN:     -shared-libs=%mlir_lib_dir/libmlir_c_runner_utils.so,%mlir_lib_dir/libmlir_runner_utils.so \
// RUN:   | FileCheck %s

// The sum of the tiles is the whole: 3 ragged sequences (1, 3 and 2 new tokens
// and a row of padding), 4 query heads on 2 KV heads, causal with a window and
// ALiBi slopes, tiled to 2 tokens and 1 KV head. `@whole` is not tiled.

func.func @whole(%q : tensor<7x4x2xf32>, %k : tensor<5x2x2x2xf32>, %v : tensor<5x2x2x2xf32>,
    %t : tensor<3x3xi32>, %n : tensor<3xi32>, %s : tensor<4xi64>, %a : tensor<4xf32>,
    %o : tensor<7x4x2xf32>) -> tensor<7x4x2xf32> {
  %r = paged_attn.attention mixed query(%q : tensor<7x4x2xf32>) keys(%k : tensor<5x2x2x2xf32>)
      values(%v : tensor<5x2x2x2xf32>) table(%t : tensor<3x3xi32>) lens(%n : tensor<3xi32>)
      starts(%s : tensor<4xi64>) alibi(%a : tensor<4xf32>) outs(%o : tensor<7x4x2xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal, window = 3>}
      -> tensor<7x4x2xf32>
  return %r : tensor<7x4x2xf32>
}

func.func @tiles(%q : tensor<7x4x2xf32>, %k : tensor<5x2x2x2xf32>, %v : tensor<5x2x2x2xf32>,
    %t : tensor<3x3xi32>, %n : tensor<3xi32>, %s : tensor<4xi64>, %a : tensor<4xf32>,
    %o : tensor<7x4x2xf32>) -> tensor<7x4x2xf32> {
  %r = paged_attn.attention mixed query(%q : tensor<7x4x2xf32>) keys(%k : tensor<5x2x2x2xf32>)
      values(%v : tensor<5x2x2x2xf32>) table(%t : tensor<3x3xi32>) lens(%n : tensor<3xi32>)
      starts(%s : tensor<4xi64>) alibi(%a : tensor<4xf32>) outs(%o : tensor<7x4x2xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal, window = 3>, tiled}
      -> tensor<7x4x2xf32>
  return %r : tensor<7x4x2xf32>
}

// Entries in [0, 2) that differ in every dimension.
func.func @number(%i : index, %j : index, %l : index, %m : index) -> f32 {
  %c3 = arith.constant 3 : index
  %c5 = arith.constant 5 : index
  %c7 = arith.constant 7 : index
  %c17 = arith.constant 17 : index
  %0 = arith.muli %i, %c7 : index
  %1 = arith.muli %j, %c5 : index
  %2 = arith.muli %l, %c3 : index
  %3 = arith.addi %0, %1 : index
  %4 = arith.addi %3, %2 : index
  %5 = arith.addi %4, %m : index
  %6 = arith.remui %5, %c17 : index
  %7 = arith.index_cast %6 : index to i32
  %8 = arith.sitofp %7 : i32 to f32
  %c8 = arith.constant 8.0 : f32
  %9 = arith.divf %8, %c8 : f32
  return %9 : f32
}

func.func @main() {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c4 = arith.constant 4 : index
  %c7 = arith.constant 7 : index
  %zero = arith.constant 0.0 : f32
  %q = tensor.generate {
  ^bb0(%i : index, %j : index, %l : index):
    %x = func.call @number(%i, %j, %l, %c1) : (index, index, index, index) -> f32
    tensor.yield %x : f32
  } : tensor<7x4x2xf32>
  %k = tensor.generate {
  ^bb0(%i : index, %j : index, %l : index, %m : index):
    %x = func.call @number(%i, %j, %l, %m) : (index, index, index, index) -> f32
    tensor.yield %x : f32
  } : tensor<5x2x2x2xf32>
  %v = tensor.generate {
  ^bb0(%i : index, %j : index, %l : index, %m : index):
    %x = func.call @number(%m, %l, %i, %j) : (index, index, index, index) -> f32
    tensor.yield %x : f32
  } : tensor<5x2x2x2xf32>
  %t = arith.constant dense<[[3, 1, -1], [0, 4, 2], [1, -1, -1]]> : tensor<3x3xi32>
  %n = arith.constant dense<[4, 5, 2]> : tensor<3xi32>
  %s = arith.constant dense<[0, 1, 4, 6]> : tensor<4xi64>
  %a = arith.constant dense<[0.5, 0.25, 0.125, 0.0625]> : tensor<4xf32>
  %o = tensor.splat %zero : tensor<7x4x2xf32>
  %x = func.call @whole(%q, %k, %v, %t, %n, %s, %a, %o)
      : (tensor<7x4x2xf32>, tensor<5x2x2x2xf32>, tensor<5x2x2x2xf32>, tensor<3x3xi32>,
         tensor<3xi32>, tensor<4xi64>, tensor<4xf32>, tensor<7x4x2xf32>) -> tensor<7x4x2xf32>
  %y = func.call @tiles(%q, %k, %v, %t, %n, %s, %a, %o)
      : (tensor<7x4x2xf32>, tensor<5x2x2x2xf32>, tensor<5x2x2x2xf32>, tensor<3x3xi32>,
         tensor<3xi32>, tensor<4xi64>, tensor<4xf32>, tensor<7x4x2xf32>) -> tensor<7x4x2xf32>

  // The largest difference, and the largest entry.
  %r:2 = scf.for %i = %c0 to %c7 step %c1 iter_args(%d0 = %zero, %m0 = %zero) -> (f32, f32) {
    %r1:2 = scf.for %j = %c0 to %c4 step %c1 iter_args(%d1 = %d0, %m1 = %m0) -> (f32, f32) {
      %r2:2 = scf.for %l = %c0 to %c2 step %c1 iter_args(%d2 = %d1, %m2 = %m1) -> (f32, f32) {
        %xe = tensor.extract %x[%i, %j, %l] : tensor<7x4x2xf32>
        %ye = tensor.extract %y[%i, %j, %l] : tensor<7x4x2xf32>
        %diff = arith.subf %xe, %ye : f32
        %abs = math.absf %diff : f32
        %d3 = arith.maximumf %d2, %abs : f32
        %m3 = arith.maximumf %m2, %xe : f32
        scf.yield %d3, %m3 : f32, f32
      }
      scf.yield %r2#0, %r2#1 : f32, f32
    }
    scf.yield %r1#0, %r1#1 : f32, f32
  }
  %one = arith.constant 1.0 : f32
  %isLarge = arith.cmpf ogt, %r#1, %one : f32
  // CHECK: 0
  vector.print %r#0 : f32
  // CHECK-NEXT: 1
  vector.print %isLarge : i1
  return
}

module @schedule attributes {sym_visibility = "private", transform.with_named_sequence} {
  transform.named_sequence @__transform_main(%root : !transform.any_op) {
    %op = transform.structured.match ops{["paged_attn.attention"]} attributes {tiled} in %root
        : (!transform.any_op) -> !transform.any_op
    %tiled, %loops:2 = transform.structured.tile_using_for %op tile_sizes [2, 1]
        : (!transform.any_op) -> (!transform.any_op, !transform.any_op, !transform.any_op)
    transform.yield
  }
}
