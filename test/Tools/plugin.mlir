// A stock mlir-opt with the plugin: parses the dialect, lists and runs passes
// and pipelines, and finds the bufferization models.

// RUN: mlir-opt %s --load-dialect-plugin=%plugin | FileCheck %s --check-prefix=PARSE
// RUN: mlir-opt %s --load-dialect-plugin=%plugin --load-pass-plugin=%plugin \
// RUN:   --pass-pipeline='builtin.module(func.func(paged-attn-select-mode))' | FileCheck %s --check-prefix=MODE
// RUN: mlir-opt %s --load-dialect-plugin=%plugin --load-pass-plugin=%plugin \
// RUN:   --pass-pipeline='builtin.module(one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map})' \
// RUN:   | FileCheck %s --check-prefix=BUFFERIZE
// RUN: mlir-opt %s --load-dialect-plugin=%plugin --load-pass-plugin=%plugin --pass-pipeline='builtin.module(paged-attn-cpu)' \
// RUN:   | FileCheck %s --check-prefix=CPU
// RUN: mlir-opt %s --load-dialect-plugin=%plugin --load-pass-plugin=%plugin --pass-pipeline='builtin.module(paged-attn-reference)' \
// RUN:   | FileCheck %s --check-prefix=CPU
// RUN: mlir-opt --load-pass-plugin=%plugin --help | FileCheck %s --check-prefix=HELP

// HELP-DAG: --paged-attn-cpu
// HELP-DAG: --paged-attn-reference
// HELP-DAG: --paged-attn-to-linalg
// HELP-DAG: --convert-paged-attn-to-linalg
// HELP-DAG: --convert-paged-attn-to-loops
// HELP-DAG: --paged-attn-dispatch-work
// HELP-DAG: --paged-attn-lower-math
// HELP-DAG: --paged-attn-outline-work
// HELP-DAG: --paged-attn-prefetch-pages
// HELP-DAG: --paged-attn-select-mode
// HELP-DAG: --paged-attn-tile
// HELP-DAG: --paged-attn-vectorize

// The pipelines run every pass of the project.
// CPU-NOT: paged_attn.
// CPU: llvm.func @decode
// CPU-NOT: paged_attn.

// PARSE-LABEL: func.func @decode
// PARSE: paged_attn.attention auto
// MODE-LABEL: func.func @decode
// MODE: paged_attn.attention decode
// BUFFERIZE-LABEL: func.func @decode
// BUFFERIZE-NOT: memref.alloc
// BUFFERIZE: paged_attn.attention auto query(%{{.*}} : memref<2x4x16xf32>)
// BUFFERIZE-NOT: memref.copy
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
