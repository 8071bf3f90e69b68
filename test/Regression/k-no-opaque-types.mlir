// Pitfall k: an opaque cache type in the interface of the ops, which no embedding
// compiler can route. In generic form a stock mlir-opt reads every type of an op,
// on tensors and on memrefs.

// RUN: paged-attn-opt %s --mlir-print-op-generic -o %t
// RUN: not grep '!paged_attn' %t
// RUN: mlir-opt %t --allow-unregistered-dialect | FileCheck %s
// RUN: paged-attn-opt %s --pass-pipeline='builtin.module(one-shot-bufferize{bufferize-function-boundaries})' --mlir-print-op-generic -o %t.memref
// RUN: not grep '!paged_attn' %t.memref
// RUN: mlir-opt %t.memref --allow-unregistered-dialect | FileCheck %s

// CHECK: "paged_attn.attention"
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
