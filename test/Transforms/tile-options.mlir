// RUN: not paged-attn-opt %s --paged-attn-tile='decode-tokens=0' 2>&1 | FileCheck %s --check-prefix=DECODE
// RUN: not paged-attn-opt %s --paged-attn-tile='kv-tokens=2000' 2>&1 | FileCheck %s --check-prefix=KEYS
// RUN: not paged-attn-opt %s --paged-attn-tile='query-tokens=-1' 2>&1 | FileCheck %s --check-prefix=QUERY

// DECODE: error: expected decode-tokens between 1 and 64, got 0
// KEYS: error: expected kv-tokens between 0 and 1024, got 2000
// QUERY: error: expected query-tokens between 0 and 1024, got -1
func.func @empty() {
  return
}
