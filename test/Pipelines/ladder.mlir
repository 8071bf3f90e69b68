//! # The ladder, one arrow at a time
//!
//! One program from level 0 down. Every excerpt below is required by the test that
//! this page is written from, `...` stands for IR that it skips. Try it from
//! `test/Pipelines`, with `build/bin` on the path: the commands print the whole
//! module.
//!
//! ## Level 0: what
//!
//! Two sequences that decode, 4 query heads on 2 KV heads, pages of 8 tokens.
//! @input decode
//!
//! ## Level 0 to 1: the mode
//!
//! T = B = 2: at most one new token per sequence, so the mode is decode.
//! @command MODE
//! @checked MODE

// RUN: paged-attn-opt %s --paged-attn-select-mode | FileCheck %s --check-prefix=MODE

// MODE-LABEL: func.func @decode
// MODE:   paged_attn.attention decode query

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
