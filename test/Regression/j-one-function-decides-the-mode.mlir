// Pitfall j: the mode decided once when work is laid out and again when it runs.
// Only paged-attn-select-mode decides: what comes after it is the same whether the
// pipeline or an earlier run chose the mode, and choosing twice changes nothing.

// Four tokens a sequence: decode with the default of 8, prefill with 1.

// RUN: paged-attn-opt %s --paged-attn-select-mode='decode-tokens=1' | FileCheck %s --check-prefix=OTHER
// RUN: paged-attn-opt %s --paged-attn-select-mode -o %t.once
// RUN: paged-attn-opt %t.once --paged-attn-select-mode='decode-tokens=1' -o %t.twice
// RUN: diff %t.once %t.twice
// RUN: paged-attn-opt %t.once --paged-attn-to-linalg -o %t.a
// RUN: paged-attn-opt %s --paged-attn-to-linalg -o %t.b
// RUN: diff %t.a %t.b
// RUN: FileCheck %s < %t.once

// OTHER: paged_attn.attention  prefill
// CHECK: paged_attn.attention  decode
// CHECK-NOT: attention auto
func.func @decode(%q: tensor<8x4x16xf32>, %k: tensor<?x8x2x16xf32>,
    %v: tensor<?x8x2x16xf32>, %table: tensor<2x?xi32>, %lens: tensor<2xi32>,
    %out: tensor<8x4x16xf32>) -> tensor<8x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<8x4x16xf32>)
      keys(%k : tensor<?x8x2x16xf32>) values(%v : tensor<?x8x2x16xf32>)
      table(%table : tensor<2x?xi32>) lens(%lens : tensor<2xi32>)
      outs(%out : tensor<8x4x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<8x4x16xf32>
  return %0 : tensor<8x4x16xf32>
}
