// The vector registers that each level of x86-64 gives, the FMAs from v3 on, and no call but memset and memcpy.

// REQUIRES: x86
// RUN: paged-attn-compile %s --cpu=x86-64 --emit=asm -o %t.1
// RUN: paged-attn-compile %s --cpu=x86-64-v3 --emit=asm -o %t.3
// RUN: paged-attn-compile %s --cpu=x86-64-v4 --emit=asm -o %t.4
// RUN: FileCheck %s --check-prefix=SSE < %t.1
// RUN: FileCheck %s --check-prefix=AVX2 < %t.3
// RUN: FileCheck %s --check-prefix=AVX512 < %t.4
// RUN: FileCheck %s --check-prefix=CALLS < %t.1
// RUN: FileCheck %s --check-prefix=CALLS < %t.3
// RUN: FileCheck %s --check-prefix=CALLS < %t.4

// SSE-NOT: {{ymm|zmm|vfmadd}}
// SSE: decode_work0
// SSE-NOT: {{ymm|zmm|vfmadd}}
// SSE: mulps {{.*}}xmm
// SSE-NOT: {{ymm|zmm|vfmadd}}
// SSE: decode_packed:
// SSE-NOT: {{ymm|zmm|vfmadd}}

// AVX2-NOT: zmm
// AVX2: decode_work0
// AVX2-NOT: zmm
// AVX2-COUNT-8: vfmadd{{[0-9]+}}ps {{.*}}%ymm
// AVX2-NOT: zmm
// AVX2: decode_packed:

// AVX512: decode_work0
// AVX512-COUNT-8: vfmadd{{[0-9]+}}ps {{.*}}%zmm
// AVX512: decode_packed:

// CALLS-NOT: {{(call|jmp)q?[[:space:]]+(fma|exp|log|tanh|pow|__)}}
// CALLS: decode_packed:

func.func @decode(%q: memref<2x8x64xf32>, %k: memref<?x16x2x64xf16>, %v: memref<?x16x2x64xbf16>,
    %t: memref<2x?xi32>, %n: memref<2xi32>, %o: memref<2x8x64xf16>) {
  paged_attn.attention decode query(%q : memref<2x8x64xf32>) keys(%k : memref<?x16x2x64xf16>)
      values(%v : memref<?x16x2x64xbf16>) table(%t : memref<2x?xi32>) lens(%n : memref<2xi32>)
      outs(%o : memref<2x8x64xf16>)
      {key_layout = #paged_attn.layout<"pshd">, value_layout = #paged_attn.layout<"pshd">}
  return
}
