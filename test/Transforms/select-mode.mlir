// RUN: paged-attn-opt %s -pass-pipeline='builtin.module(func.func(paged-attn-select-mode))' \
// RUN:   | FileCheck %s
// RUN: paged-attn-opt %s -pass-pipeline='builtin.module(func.func(paged-attn-select-mode{decode-tokens=1}))' \
// RUN:   | FileCheck %s --check-prefix=ONE
// RUN: not paged-attn-opt %s -pass-pipeline='builtin.module(func.func(paged-attn-select-mode{decode-tokens=65}))' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=RANGE
// RUN: not paged-attn-opt %s -pass-pipeline='builtin.module(func.func(paged-attn-select-mode{decode-tokens=0}))' 2>&1 \
// RUN:   | FileCheck %s --check-prefix=ZERO

// RANGE: expected decode-tokens from 1 to 64, got 65
// ZERO: expected decode-tokens from 1 to 64, got 0

// CHECK-LABEL: func @one_token_each
// CHECK: paged_attn.attention decode
// ONE-LABEL: func @one_token_each
// ONE: paged_attn.attention decode
func.func @one_token_each(
    %q : tensor<8x4x16xf32>, %k : tensor<?x16x2x16xf32>, %t : tensor<8x?xi32>,
    %n : tensor<8xi32>, %o : tensor<8x4x16xf32>) -> tensor<8x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<8x4x16xf32>)
      keys(%k : tensor<?x16x2x16xf32>) values(%k : tensor<?x16x2x16xf32>)
      table(%t : tensor<8x?xi32>) lens(%n : tensor<8xi32>)
      outs(%o : tensor<8x4x16xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<8x4x16xf32>
  return %0 : tensor<8x4x16xf32>
}

// CHECK-LABEL: func @four_tokens_each
// CHECK: paged_attn.attention decode
// ONE-LABEL: func @four_tokens_each
// ONE: paged_attn.attention prefill
func.func @four_tokens_each(
    %q : tensor<8x4x16xf32>, %k : tensor<?x16x2x16xf32>, %t : tensor<2x?xi32>,
    %n : tensor<2xi32>, %o : tensor<8x4x16xf32>) -> tensor<8x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<8x4x16xf32>)
      keys(%k : tensor<?x16x2x16xf32>) values(%k : tensor<?x16x2x16xf32>)
      table(%t : tensor<2x?xi32>) lens(%n : tensor<2xi32>)
      outs(%o : tensor<8x4x16xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<8x4x16xf32>
  return %0 : tensor<8x4x16xf32>
}

// CHECK-LABEL: func @few_ragged_tokens
// CHECK: paged_attn.attention decode
// ONE-LABEL: func @few_ragged_tokens
// ONE: paged_attn.attention mixed
func.func @few_ragged_tokens(
    %q : tensor<8x4x16xf32>, %k : tensor<?x16x2x16xf32>, %t : tensor<?x?xi32>,
    %n : tensor<?xi32>, %s : tensor<?xi32>, %o : tensor<8x4x16xf32>)
    -> tensor<8x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<8x4x16xf32>)
      keys(%k : tensor<?x16x2x16xf32>) values(%k : tensor<?x16x2x16xf32>)
      table(%t : tensor<?x?xi32>) lens(%n : tensor<?xi32>)
      starts(%s : tensor<?xi32>) outs(%o : tensor<8x4x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">} -> tensor<8x4x16xf32>
  return %0 : tensor<8x4x16xf32>
}

// CHECK-LABEL: func @one_long_sequence
// CHECK: paged_attn.attention prefill
func.func @one_long_sequence(
    %q : tensor<64x4x16xf32>, %k : tensor<?x16x2x16xf32>, %t : tensor<1x?xi32>,
    %n : tensor<1xi32>, %s : tensor<2xi32>, %o : tensor<64x4x16xf32>)
    -> tensor<64x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<64x4x16xf32>)
      keys(%k : tensor<?x16x2x16xf32>) values(%k : tensor<?x16x2x16xf32>)
      table(%t : tensor<1x?xi32>) lens(%n : tensor<1xi32>)
      starts(%s : tensor<2xi32>) outs(%o : tensor<64x4x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">} -> tensor<64x4x16xf32>
  return %0 : tensor<64x4x16xf32>
}

// CHECK-LABEL: func @many_ragged_tokens
// CHECK: paged_attn.attention mixed
func.func @many_ragged_tokens(
    %q : tensor<64x4x16xf32>, %k : tensor<?x16x2x16xf32>, %t : tensor<3x?xi32>,
    %n : tensor<3xi32>, %s : tensor<4xi32>, %o : tensor<64x4x16xf32>)
    -> tensor<64x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<64x4x16xf32>)
      keys(%k : tensor<?x16x2x16xf32>) values(%k : tensor<?x16x2x16xf32>)
      table(%t : tensor<3x?xi32>) lens(%n : tensor<3xi32>)
      starts(%s : tensor<4xi32>) outs(%o : tensor<64x4x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">} -> tensor<64x4x16xf32>
  return %0 : tensor<64x4x16xf32>
}

// CHECK-LABEL: func @dynamic_tokens
// CHECK: paged_attn.attention mixed
func.func @dynamic_tokens(
    %q : tensor<?x4x16xf32>, %k : tensor<?x16x2x16xf32>, %t : tensor<?x?xi32>,
    %n : tensor<?xi32>, %o : tensor<?x4x16xf32>) -> tensor<?x4x16xf32> {
  %0 = paged_attn.attention auto query(%q : tensor<?x4x16xf32>)
      keys(%k : tensor<?x16x2x16xf32>) values(%k : tensor<?x16x2x16xf32>)
      table(%t : tensor<?x?xi32>) lens(%n : tensor<?xi32>)
      outs(%o : tensor<?x4x16xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<?x4x16xf32>
  return %0 : tensor<?x4x16xf32>
}

// A mode that is fixed stays.
// CHECK-LABEL: func @fixed
// CHECK: paged_attn.attention mixed
func.func @fixed(
    %q : tensor<8x4x16xf32>, %k : tensor<?x16x2x16xf32>, %t : tensor<8x?xi32>,
    %n : tensor<8xi32>, %o : tensor<8x4x16xf32>) -> tensor<8x4x16xf32> {
  %0 = paged_attn.attention mixed query(%q : tensor<8x4x16xf32>)
      keys(%k : tensor<?x16x2x16xf32>) values(%k : tensor<?x16x2x16xf32>)
      table(%t : tensor<8x?xi32>) lens(%n : tensor<8xi32>)
      outs(%o : tensor<8x4x16xf32>) {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<8x4x16xf32>
  return %0 : tensor<8x4x16xf32>
}
