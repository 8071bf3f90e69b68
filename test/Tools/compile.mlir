// Every stage of the ladder, by both ways.

// RUN: paged-attn-compile %s --emit=tiled -o - | FileCheck %s --check-prefix=TILED
// RUN: paged-attn-compile %s --emit=linalg -o - | FileCheck %s --check-prefix=LINALG
// RUN: paged-attn-compile %s --emit=vector -o - | FileCheck %s --check-prefix=VECTOR
// RUN: paged-attn-compile %s --emit=llvm -o - | FileCheck %s --check-prefix=LLVM
// RUN: paged-attn-compile %s --emit=llvmir -o - | FileCheck %s --check-prefix=LLVMIR
// RUN: paged-attn-compile %s --emit=llvmir --via=reference -o - | FileCheck %s --check-prefix=LLVMIR
// RUN: paged-attn-compile %s --emit=asm --cpu=haswell -o - | FileCheck %s --check-prefix=ASM
// RUN: paged-attn-compile %s --emit=header -o - | FileCheck %s --check-prefix=HEADER

// TILED: paged_attn.online_update
// LINALG-NOT: paged_attn.
// LINALG: linalg.
// VECTOR: func.func private @kernel_work0(
// VECTOR: vector<
// LLVM: llvm.func @kernel(
// LLVMIR: define void @_mlir_ciface_kernel(
// LLVMIR: define void @kernel_packed(ptr
// ASM: _mlir_ciface_kernel:

// HEADER: typedef struct PagedAttnExecutor {
// HEADER: typedef struct PagedAttnMemRef4 {
// HEADER: /* kernel:
// HEADER-NEXT: *   query: f32 [?, 4, 16]
// HEADER-NEXT: *   keys: bf16 [?, 16, 2, 16]
// HEADER-NEXT: *   values: bf16 [?, 16, 2, 16]
// HEADER-NEXT: *   page_table: i32 [?, ?]
// HEADER-NEXT: *   kv_lens: i32 [?]
// HEADER-NEXT: *   out: f32 [?, 4, 16]
// HEADER-NEXT: *   executor: null for the calling thread alone
// HEADER: void _mlir_ciface_kernel(

func.func @kernel(%query: tensor<?x4x16xf32>, %keys: tensor<?x16x2x16xbf16>,
                  %values: tensor<?x16x2x16xbf16>, %table: tensor<?x?xi32>,
                  %lens: tensor<?xi32>, %out: tensor<?x4x16xf32>) -> tensor<?x4x16xf32> {
  %0 = paged_attn.attention decode query(%query : tensor<?x4x16xf32>)
      keys(%keys : tensor<?x16x2x16xbf16>) values(%values : tensor<?x16x2x16xbf16>)
      table(%table : tensor<?x?xi32>) lens(%lens : tensor<?xi32>)
      outs(%out : tensor<?x4x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<?x4x16xf32>
  return %0 : tensor<?x4x16xf32>
}
