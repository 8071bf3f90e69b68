// RUN: paged-attn-opt %s -generate-runtime-verification -convert-paged-attn-to-loops \
// RUN:   -convert-scf-to-cf -expand-strided-metadata -lower-affine -arith-expand \
// RUN:   -finalize-memref-to-llvm -convert-cf-to-llvm -convert-func-to-llvm \
// RUN:   -convert-arith-to-llvm -convert-index-to-llvm -reconcile-unrealized-casts -o %t.mlir
// RUN: mlir-runner %t.mlir -e good -entry-point-result=void -shared-libs=%mlir_lib_dir/libmlir_runner_utils.so,%mlir_lib_dir/libmlir_c_runner_utils.so | FileCheck %s --check-prefix=GOOD
// RUN: not --crash stdbuf -o0 mlir-runner %t.mlir -e page -entry-point-result=void -shared-libs=%mlir_lib_dir/libmlir_runner_utils.so,%mlir_lib_dir/libmlir_c_runner_utils.so 2>&1 | FileCheck %s --check-prefix=PAGE
// RUN: not --crash stdbuf -o0 mlir-runner %t.mlir -e length -entry-point-result=void -shared-libs=%mlir_lib_dir/libmlir_runner_utils.so,%mlir_lib_dir/libmlir_c_runner_utils.so 2>&1 | FileCheck %s --check-prefix=LENGTH

// 3 pages of 2 slots, a table of 2 pages. The entry past the used pages may be
// anything.

memref.global "private" constant @pool : memref<3x2x1x1xf32> = dense<[
  [[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]], [[[5.0]], [[6.0]]]]>
memref.global "private" constant @good_table : memref<1x2xi32> = dense<[[2, -7]]>
memref.global "private" constant @bad_table : memref<1x2xi32> = dense<[[3, 0]]>
memref.global "private" constant @two : memref<1xi32> = dense<2>
memref.global "private" constant @five : memref<1xi32> = dense<5>

func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}

func.func @run(%t : memref<1x2xi32>, %n : memref<1xi32>) {
  %pool = memref.get_global @pool : memref<3x2x1x1xf32>
  %o = memref.alloc() : memref<1x6x1x1xf32>
  paged_attn.gather key pool(%pool : memref<3x2x1x1xf32>) table(%t : memref<1x2xi32>)
      lens(%n : memref<1xi32>) outs(%o : memref<1x6x1x1xf32>)
      {layout = #paged_attn.layout<"pshd">}
  %u = memref.cast %o : memref<1x6x1x1xf32> to memref<*xf32>
  call @printMemrefF32(%u) : (memref<*xf32>) -> ()
  memref.dealloc %o : memref<1x6x1x1xf32>
  return
}

// GOOD: 5
// GOOD: 6
// GOOD: 0
func.func @good() {
  %t = memref.get_global @good_table : memref<1x2xi32>
  %n = memref.get_global @two : memref<1xi32>
  call @run(%t, %n) : (memref<1x2xi32>, memref<1xi32>) -> ()
  return
}

// PAGE: expected page ids between 0 and the pool's pages - 1, got one outside
func.func @page() {
  %t = memref.get_global @bad_table : memref<1x2xi32>
  %n = memref.get_global @two : memref<1xi32>
  call @run(%t, %n) : (memref<1x2xi32>, memref<1xi32>) -> ()
  return
}

// LENGTH: expected lens of at most pages in the table * slots in a page, got a larger one
func.func @length() {
  %t = memref.get_global @good_table : memref<1x2xi32>
  %n = memref.get_global @five : memref<1xi32>
  call @run(%t, %n) : (memref<1x2xi32>, memref<1xi32>) -> ()
  return
}
