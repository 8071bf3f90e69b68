// Functions whose names are those that a lowering would choose.

// RUN: split-file %s %t
// RUN: paged-attn-compile %t/work.mlir --emit=vector -o - | FileCheck %s --check-prefix=WORK
// RUN: not paged-attn-compile %t/packed.mlir --emit=obj -o %t/packed.o 2>&1 | FileCheck %s --check-prefix=PACKED
// RUN: not ls %t/packed.o

// WORK: call @decode_work0_(
// WORK: func.func private @decode_work0_(
// WORK: func.func @decode_work0(
// PACKED: error: expected no function 'decode_packed' beside 'decode', got one: the name is that of its packed entry

//--- work.mlir
func.func @decode(%q: memref<2x1x8xf32>, %k: memref<?x4x1x8xf32>, %v: memref<?x4x1x8xf32>,
    %t: memref<2x?xi32>, %n: memref<2xi32>, %o: memref<2x1x8xf32>) {
  paged_attn.attention decode query(%q : memref<2x1x8xf32>) keys(%k : memref<?x4x1x8xf32>)
      values(%v : memref<?x4x1x8xf32>) table(%t : memref<2x?xi32>) lens(%n : memref<2xi32>)
      outs(%o : memref<2x1x8xf32>) {key_layout = #paged_attn.layout<"pshd">}
  return
}
func.func @decode_work0(%x: memref<1xf32>) {
  return
}

//--- packed.mlir
func.func @decode(%q: memref<2x1x8xf32>, %k: memref<?x4x1x8xf32>, %v: memref<?x4x1x8xf32>,
    %t: memref<2x?xi32>, %n: memref<2xi32>, %o: memref<2x1x8xf32>) {
  paged_attn.attention decode query(%q : memref<2x1x8xf32>) keys(%k : memref<?x4x1x8xf32>)
      values(%v : memref<?x4x1x8xf32>) table(%t : memref<2x?xi32>) lens(%n : memref<2xi32>)
      outs(%o : memref<2x1x8xf32>) {key_layout = #paged_attn.layout<"pshd">}
  return
}
func.func @decode_packed(%x: memref<1xf32>) {
  return
}
