// RUN: paged-attn-opt %s --paged-attn-prefetch-pages | FileCheck %s
// RUN: paged-attn-opt %s --paged-attn-prefetch-pages='pages-ahead=0' | FileCheck %s --check-prefix=NONE
// RUN: not paged-attn-opt %s --paged-attn-prefetch-pages='pages-ahead=65' 2>&1 | FileCheck %s --check-prefix=RANGE

// RANGE: error: expected pages-ahead between 0 and 64, got 65

// A line is 32 elements of bf16.
// CHECK-LABEL: func.func @pages
// CHECK:         memref.subview %{{.*}}[%[[PAGE:.*]], 0, 3, 0]
// CHECK:         %[[LAST:.*]] = arith.subi
// CHECK:         arith.minsi %{{.*}}, %[[LAST]]
// CHECK:         %[[LATER:.*]] = arith.select %{{.*}}, %{{.*}}, %[[PAGE]] : index
// CHECK:         memref.subview %{{.*}}[%[[LATER]], 0, 3, 0]
// CHECK:         scf.for %[[ROW:.*]] = %{{.*}} to %c16
// CHECK:           scf.for %[[COLUMN:.*]] = %{{.*}} to %c128{{.*}} step %c32
// CHECK:             memref.prefetch %{{.*}}[%[[ROW]], %[[COLUMN]]], read, locality<2>, data
// CHECK-NOT:         memref.prefetch
// NONE-NOT:      memref.prefetch
func.func @pages(%pool: memref<?x16x8x128xbf16>, %table: memref<?xi32>, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.for %i = %c0 to %n step %c1 {
    %id = memref.load %table[%i] : memref<?xi32>
    %page = arith.index_cast %id : i32 to index
    %view = memref.subview %pool[%page, 0, 3, 0] [1, 16, 1, 128] [1, 1, 1, 1]
      : memref<?x16x8x128xbf16> to memref<16x128xbf16, strided<[1024, 1], offset: ?>>
    %x = memref.load %view[%c0, %c0] : memref<16x128xbf16, strided<[1024, 1], offset: ?>>
  }
  return
}
