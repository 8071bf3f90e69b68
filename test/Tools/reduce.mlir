// paged-attn-reduce drops every function without the op that the script wants.

// RUN: paged-attn-reduce %s -reduction-tree='traversal-mode=0 test=%S/Inputs/has-append.sh' | FileCheck %s

// CHECK-NOT: @gather
// CHECK-LABEL: func.func @append
// CHECK: paged_attn.append
// CHECK-NOT: @gather
func.func @gather(%pool: tensor<?x8x2x16xf32>, %table: tensor<?x?xi32>,
    %lens: tensor<?xi32>, %out: tensor<?x?x2x16xf32>) -> tensor<?x?x2x16xf32> {
  %0 = paged_attn.gather key pool(%pool : tensor<?x8x2x16xf32>)
      table(%table : tensor<?x?xi32>) lens(%lens : tensor<?xi32>)
      outs(%out : tensor<?x?x2x16xf32>)
      {layout = #paged_attn.layout<"pshd">} -> tensor<?x?x2x16xf32>
  return %0 : tensor<?x?x2x16xf32>
}

func.func @append(%keys: tensor<?x2x16xf32>, %values: tensor<?x2x16xf32>,
    %slots: tensor<?xi64>, %k: tensor<?x8x2x16xf32>, %v: tensor<?x8x2x16xf32>)
    -> (tensor<?x8x2x16xf32>, tensor<?x8x2x16xf32>) {
  %0, %1 = paged_attn.append keys(%keys : tensor<?x2x16xf32>)
      values(%values : tensor<?x2x16xf32>) slots(%slots : tensor<?xi64>)
      outs(%k : tensor<?x8x2x16xf32>, %v : tensor<?x8x2x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">}
      -> tensor<?x8x2x16xf32>, tensor<?x8x2x16xf32>
  return %0, %1 : tensor<?x8x2x16xf32>, tensor<?x8x2x16xf32>
}
