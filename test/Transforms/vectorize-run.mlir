// Runs every form of op over many sizes and types, lowered to plain loops and
// to vectors: the outputs must be the same text. The cases and the reason why
// they are exact: Inputs/vectorize_cases.py.

// RUN: python3 %S/Inputs/vectorize_cases.py > %t.mlir

// DEFINE: %{vectorize} =
// DEFINE: %{out} =
// DEFINE: %{run} = paged-attn-opt %t.mlir -pass-pipeline='builtin.module(%{vectorize}func.func(convert-linalg-to-loops),expand-strided-metadata,lower-affine,convert-scf-to-cf,convert-vector-to-llvm,convert-math-to-llvm,arith-expand,finalize-memref-to-llvm,convert-func-to-llvm,convert-cf-to-llvm,convert-arith-to-llvm,convert-index-to-llvm,convert-ub-to-llvm,reconcile-unrealized-casts)' | mlir-runner -O0 -e main -entry-point-result=void -shared-libs=%mlir_lib_dir/libmlir_c_runner_utils.so,%mlir_lib_dir/libmlir_runner_utils.so,%mlir_lib_dir/libmlir_float16_utils.so | sed 's/base@ = 0x[0-9a-f]*//' > %{out}

// REDEFINE: %{out} = %t.loops
// RUN: %{run}
// RUN: FileCheck %s --input-file=%t.loops

// REDEFINE: %{out} = %t.vector
// REDEFINE: %{vectorize} = func.func(paged-attn-vectorize{vector-bits=512 registers=32}),
// RUN: %{run}
// RUN: diff %t.loops %t.vector
// REDEFINE: %{vectorize} = func.func(paged-attn-vectorize{vector-bits=256 registers=16}),
// RUN: %{run}
// RUN: diff %t.loops %t.vector

// No case stays linalg.
// RUN: paged-attn-opt %t.mlir -pass-pipeline='builtin.module(func.func(paged-attn-vectorize))' | FileCheck %s --check-prefix=VECTOR
// VECTOR: vector.fma
// VECTOR-NOT: linalg.
// VECTOR-NOT: vector.gather

// CHECK: Unranked Memref{{.*}} rank = 2 offset = 0 sizes = [3, 10]
