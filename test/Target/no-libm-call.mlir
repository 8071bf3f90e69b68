// No call of the C library's math stands in an object, on CPUs without FMA either.

// RUN: paged-attn-compile %s --cpu=x86-64 --emit=asm -o - | FileCheck %s
// RUN: paged-attn-compile %s --cpu=haswell --emit=asm -o - | FileCheck %s
// RUN: paged-attn-compile %s --cpu=skylake-avx512 --emit=asm -o - | FileCheck %s
// REQUIRES: x86

// CHECK-NOT: {{(call|jmp).*(fma|exp|log|tanh|pow)}}
// CHECK: _mlir_ciface_decode:
// CHECK-NOT: {{(call|jmp).*(fma|exp|log|tanh|pow)}}
func.func @decode(%q: memref<2x4x64xf32>, %k: memref<?x16x1x64xf32>, %v: memref<?x16x1x64xf32>,
    %t: memref<2x?xi32>, %n: memref<2xi32>, %o: memref<2x4x64xf32>, %l: memref<2x4xf32>) {
  paged_attn.attention decode query(%q : memref<2x4x64xf32>) keys(%k : memref<?x16x1x64xf32>)
      values(%v : memref<?x16x1x64xf32>) table(%t : memref<2x?xi32>) lens(%n : memref<2xi32>)
      outs(%o : memref<2x4x64xf32>, %l : memref<2x4xf32>)
      {key_layout = #paged_attn.layout<"pshd">, softcap = 30.0 : f32}
  return
}
