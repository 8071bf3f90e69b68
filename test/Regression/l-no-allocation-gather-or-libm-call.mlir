// Pitfall l: online softmax that allocates or copies in the KV loop, a gather per
// element of a page, one exp2f call per lane.

// RUN: paged-attn-compile %s --target=cpu --emit=vector -o - | FileCheck %s --check-prefix=VECTOR
// RUN: paged-attn-compile %s --target=cpu --emit=llvmir -o - | FileCheck %s --check-prefix=LLVMIR

// VECTOR-NOT: memref.alloc(
// VECTOR-NOT: memref.copy
// VECTOR-NOT: tensor<
// VECTOR-NOT: vector.gather
// VECTOR-NOT: math.exp2
// VECTOR: scf.for
// VECTOR: vector.
// VECTOR-NOT: memref.alloc(
// VECTOR-NOT: memref.copy
// VECTOR-NOT: tensor<
// VECTOR-NOT: vector.gather
// VECTOR-NOT: math.exp2

// LLVMIR-NOT: @malloc
// LLVMIR-NOT: masked.gather
// LLVMIR-NOT: exp2
// LLVMIR: define {{.*}}decode
// LLVMIR-NOT: @malloc
// LLVMIR-NOT: masked.gather
// LLVMIR-NOT: exp2
func.func @decode(%q: tensor<2x4x16xf32>, %k: tensor<?x8x2x16xf32>,
    %v: tensor<?x8x2x16xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %out: tensor<2x4x16xf32>) -> tensor<2x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<2x4x16xf32>)
      keys(%k : tensor<?x8x2x16xf32>) values(%v : tensor<?x8x2x16xf32>)
      table(%table : tensor<2x?xi32>) lens(%lens : tensor<2xi32>)
      outs(%out : tensor<2x4x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<2x4x16xf32>
  return %0 : tensor<2x4x16xf32>
}
