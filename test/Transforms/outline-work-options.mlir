// RUN: not paged-attn-opt %s --paged-attn-outline-work='max-stack-bytes=-1' 2>&1 | FileCheck %s

// CHECK: error: expected max-stack-bytes from 0 to 2^30, got -1
func.func @empty() {
  return
}
