// Sizes of prefill tiles from the caches of the target.

// RUN: paged-attn-opt %s --paged-attn-tile | FileCheck %s --check-prefixes=CHECK,UNKNOWN
// RUN: paged-attn-opt %s --paged-attn-tile='l1-kib=48 l2-kib=2048' | FileCheck %s --check-prefixes=CHECK,LARGE
// RUN: paged-attn-opt %s --paged-attn-tile='l1-kib=48 l2-kib=2048 cores=64' | FileCheck %s --check-prefixes=CHECK,MANY
// RUN: paged-attn-opt %s --paged-attn-tile='l1-kib=32 l2-kib=256' | FileCheck %s --check-prefixes=CHECK,SMALL
// RUN: not paged-attn-opt %s --paged-attn-tile='l1-kib=0' 2>&1 | FileCheck %s --check-prefix=L1
// RUN: not paged-attn-opt %s --paged-attn-tile='l2-kib=-1' 2>&1 | FileCheck %s --check-prefix=L2

// L1: error: expected l1-kib between 1 and 1048576, got 0
// L2: error: expected l2-kib between 0 and 1048576, got -1

// Rows and keys of 256 dims: 128 x 32 unless told; 384 x 48 in 2 MiB, 120 for many cores; 48 x 32 in 256 KiB.

// CHECK-LABEL: func.func @prefill
// UNKNOWN: paged_attn.online_update none query({{.*}} : tensor<128x256xf32>) keys({{.*}} : tensor<256x32xf32>)
// LARGE: paged_attn.online_update none query({{.*}} : tensor<384x256xf32>) keys({{.*}} : tensor<256x48xf32>)
// MANY: paged_attn.online_update none query({{.*}} : tensor<120x256xf32>) keys({{.*}} : tensor<256x48xf32>)
// SMALL: paged_attn.online_update none query({{.*}} : tensor<48x256xf32>) keys({{.*}} : tensor<256x32xf32>)
func.func @prefill(%q: tensor<?x4x256xf32>, %k: tensor<?x16x1x256xf32>, %v: tensor<?x16x1x256xf32>,
    %table: tensor<?x?xi32>, %lens: tensor<?xi32>, %starts: tensor<?xi32>, %out: tensor<?x4x256xf32>) -> tensor<?x4x256xf32> {
  %0 = paged_attn.attention prefill query(%q : tensor<?x4x256xf32>)
      keys(%k : tensor<?x16x1x256xf32>) values(%v : tensor<?x16x1x256xf32>)
      table(%table : tensor<?x?xi32>) lens(%lens : tensor<?xi32>) starts(%starts : tensor<?xi32>)
      outs(%out : tensor<?x4x256xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<?x4x256xf32>
  return %0 : tensor<?x4x256xf32>
}
