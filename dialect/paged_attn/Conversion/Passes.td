//===- Passes.td - Passes from one level to the next -------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 2 to 3a (linalg), 3b (vector) and 3c (gpu), level 0 to loops (the
// reference).
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_CONVERSION_PASSES_TD
#define PAGED_ATTN_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertPagedAttnToLinalgPass
    : Pass<"convert-paged-attn-to-linalg"> {
  let summary = "level 2 to 3a: tile ops become linalg on static tiles";
  let description = [{
    Input: tile ops on tensors, and `append`, `gather`, `copy_pages`,
    `merge_states` on tensors or memrefs. Output: `linalg` on static tiles,
    `tensor.extract_slice` of pages, `scf.for`; no op of this dialect, but for
    what it cannot lower yet, which is an error at the op.

    ```mlir
    %k = paged_attn.load_tile key none pool(%pool) pages(%row) at(%h, %pos) ...
    // becomes
    scf.for %page = ... { tensor.extract_slice %pool[%id, 0, %h, 0] ... linalg.transpose ... }
    ```
  }];
  let options = [
    Option<"tileOps", "tile-ops", "bool", /*default=*/"true",
           "lower the tile ops too (false: leave them to another conversion)">];
  let dependentDialects = ["::mlir::affine::AffineDialect",
    "::mlir::arith::ArithDialect", "::mlir::bufferization::BufferizationDialect",
    "::mlir::linalg::LinalgDialect", "::mlir::math::MathDialect",
    "::mlir::scf::SCFDialect", "::mlir::tensor::TensorDialect"];
}

def ConvertPagedAttnToVectorPass
    : Pass<"convert-paged-attn-to-vector"> {
  let summary = "level 2 to 3b: tile ops become microkernels of native vectors";
  let description = [{
    Input: tile ops on memrefs (after one-shot bufferization). Output: loops
    over vectors of `vector-bits`, every accumulator a value of its own. An
    `online_update` of few rows (decode) reads keys and values from the pages
    where they stand and requests the lines of the pages to come; one of many
    rows (prefill) works on packed tiles in blocks of 6 rows by 4 vectors.

    ```mlir
    paged_attn.load_tile key none pool(%pool) ... outs(%k)
    paged_attn.online_update none query(%q) keys(%k) values(%v) ...
    // becomes
    scf.for %d = ... iter_args(%s0 = ..., %s1 = ...) -> (vector<16xf32>, ...) {
      %k0 = vector.load %page[%d, %c0] ...  memref.prefetch %later[%d, %c0] ...
      vector.fma ...
    }
    ```
  }];
  let options = [
    Option<"vectorBits", "vector-bits", "int64_t", /*default=*/"256",
           "width of a native vector (bits, 128 to 512)">,
    Option<"registers", "registers", "int64_t", /*default=*/"16",
           "vector registers of the target (16 or 32)">,
    Option<"int8Dot", "int8-dot", "bool", /*default=*/"false",
           "scores of i8 keys in the order [d/4][slot][4] by vpdpbusd (x86)">];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"];
}

def ConvertPagedAttnToLoopsPass
    : Pass<"convert-paged-attn-to-loops"> {
  let summary = "level 0 to scalar loops: the executable specification";
  let description = [{
    Input: ops of level 0 and 1 on memrefs (after one-shot bufferization), of
    any shape, static or dynamic. Output: `scf` loops over scalars, a plain
    reading of the op's formula.

    ```mlir
    paged_attn.attention auto ... outs(%o : memref<?x32x128xf32>)
    // becomes
    scf.for %b ... scf.for %i ... scf.for %h ... scf.for %j ... memref.load ...
    ```
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def ConvertPagedAttnToGPUPass
    : Pass<"convert-paged-attn-to-gpu", "::mlir::ModuleOp"> {
  let summary = "level 2 to 3c: work items become kernels of one subgroup";
  let description = [{
    Input: functions on memrefs that hold level 2 (from `paged-attn-tile`),
    `append` and `merge_states`. Output: kernels of `gpu`, `vector`, `scf`,
    `arith` and `math` in a `gpu.module`, and a `gpu.launch_func` in the place
    of each work loop, each fill of padding rows and each cache op. A block of
    the grid is one subgroup: (work item, KV head, block of rows). Keys and
    values go from pages straight into registers: no shared memory, no barrier.

    ```mlir
    scf.forall (%item, %head) in (%n, 8) { ... paged_attn.online_update ... }
    // becomes
    gpu.launch_func @paged_attn_kernels::@decode_attention
        blocks in (%n, %c8, %c1) threads in (%c32, %c1, %c1) args(...)
    ```
  }];
  let options = [
    Option<"subgroupSize", "subgroup-size", "int64_t", /*default=*/"32",
           "lanes of a subgroup (a power of two, 2 to 128)">,
    Option<"loadElements", "load-elements", "int64_t", /*default=*/"8",
           "most elements of one load (a power of two, 1 to 16; 16 bytes at most)">,
    Option<"rows", "rows", "int64_t", /*default=*/"8",
           "most rows of a tile that a subgroup holds in registers (1 to 64)">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::func::FuncDialect",
    "::mlir::gpu::GPUDialect", "::mlir::math::MathDialect",
    "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect",
    "::mlir::vector::VectorDialect"];
}

def LowerKernelMemoryPass
    : Pass<"paged-attn-lower-kernel-memory", "::mlir::ModuleOp"> {
  let summary = "level 3c to 4: buffers of kernels become 64-bit addresses";
  let description = [{
    Input: the kernels of `convert-paged-attn-to-gpu`. Output: kernels whose
    arguments are 64-bit integers (docs/GPU.md): for each buffer the address of
    its first element, then its dynamic sizes; a scalar is one integer. With
    `abi=llvm` each integer is an argument, with `abi=spirv` all of them lie in
    one buffer, and the module gets a Vulkan 1.2 target environment. Functions
    of the host that launch kernels are removed.

    ```mlir
    gpu.func @k(%q: memref<?x4x16xf16>) kernel { ... vector.load %q[%t, %h, %d] ... }
    // becomes (llvm)
    gpu.func @k(%q: i64, %t: i64) kernel { ... llvm.load %p : !llvm.ptr<1> -> vector<8xf16> ... }
    ```
  }];
  let options = [
    Option<"abi", "abi", "std::string", /*default=*/"\"llvm\"", "llvm or spirv">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::gpu::GPUDialect",
    "::mlir::LLVM::LLVMDialect", "::mlir::memref::MemRefDialect",
    "::mlir::spirv::SPIRVDialect"];
}

def LowerKernelMathPass : Pass<"paged-attn-lower-kernel-math"> {
  let summary = "level 3c to 4: exp2 and fma of kernels become instructions";
  let description = [{
    Input: kernels after `paged-attn-lower-math{keep-exp2}`. Output: exp2 as
    the instruction of the target, exact at 0 and for infinities, and (but for
    spirv) `llvm.intr.fma`; no call into a device library remains.

    ```mlir
    %y = math.exp2 %x : f32
    // becomes (nvptx)
    %y = llvm.call_intrinsic "llvm.nvvm.ex2.approx.ftz.f"(%x) : (f32) -> f32
    ```
  }];
  let options = [
    Option<"target", "target", "std::string", /*default=*/"\"nvptx\"",
           "nvptx, amdgpu or spirv">];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::LLVM::LLVMDialect",
    "::mlir::ROCDL::ROCDLDialect", "::mlir::spirv::SPIRVDialect"];
}

def FinishSpirvPass : Pass<"paged-attn-finish-spirv", "::mlir::spirv::ModuleOp"> {
  let summary = "level 5: addressing model and version of a SPIR-V module";
  let description = [{
    Input: a `spirv.module` after `spirv-update-vce`. Output: the same, version
    1.5 with the addressing model PhysicalStorageBuffer64.

    ```mlir
    spirv.module Logical GLSL450 requires #spirv.vce<v1.3, ...> { ... }
    // becomes
    spirv.module PhysicalStorageBuffer64 GLSL450 requires #spirv.vce<v1.5, ...> { ... }
    ```
  }];
  let dependentDialects = ["::mlir::spirv::SPIRVDialect"];
}

#endif // PAGED_ATTN_CONVERSION_PASSES_TD
