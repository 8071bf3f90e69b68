// RUN: paged-attn-opt %s -pass-pipeline='builtin.module(func.func(paged-attn-lower-math),convert-scf-to-cf,convert-math-to-libm,convert-math-to-llvm,convert-arith-to-llvm,convert-func-to-llvm,convert-cf-to-llvm,reconcile-unrealized-casts)' \
// RUN:   | mlir-runner -O2 -e main -entry-point-result=void -shared-libs=%mlir_lib_dir/libmlir_c_runner_utils.so,%mlir_lib_dir/libmlir_runner_utils.so \
// RUN:   | FileCheck %s

// The largest errors against float64 (libm) over every 61st float of the
// stated range, and the special values.

func.func private @printF32(f32)
func.func private @printF64(f64)
func.func private @printI64(i64)
func.func private @printNewline()

func.func private @exp2_error(%x: f32) -> f64 {
  %got = math.exp2 %x : f32
  %got64 = arith.extf %got : f32 to f64
  %x64 = arith.extf %x : f32 to f64
  %want = math.exp2 %x64 : f64
  %difference = arith.subf %got64, %want : f64
  %relative = arith.divf %difference, %want : f64
  %error = math.absf %relative : f64
  return %error : f64
}

func.func private @tanh_error(%x: f32) -> f64 {
  %got = math.tanh %x : f32
  %got64 = arith.extf %got : f32 to f64
  %x64 = arith.extf %x : f32 to f64
  %want = math.tanh %x64 : f64
  %difference = arith.subf %got64, %want : f64
  %error = math.absf %difference : f64
  return %error : f64
}

func.func private @log2_error(%x: f32) -> f64 {
  %one = arith.constant 1.0 : f64
  %got = math.log2 %x : f32
  %got64 = arith.extf %got : f32 to f64
  %x64 = arith.extf %x : f32 to f64
  %want = math.log2 %x64 : f64
  %difference = arith.subf %got64, %want : f64
  %size = math.absf %want : f64
  %scale = arith.maximumf %size, %one : f64
  %relative = arith.divf %difference, %scale : f64
  %error = math.absf %relative : f64
  return %error : f64
}

// Floats with bits from %first to %last.
func.func private @sweep(%f: (f32) -> f64, %first: i32, %last: i32) -> f64 {
  %step = arith.constant 61 : i32
  %zero = arith.constant 0.0 : f64
  %worst = scf.for unsigned %i = %first to %last step %step iter_args(%w = %zero) -> (f64) : i32 {
    %x = arith.bitcast %i : i32 to f32
    %error = func.call_indirect %f(%x) : (f32) -> f64
    %next = arith.maximumf %w, %error : f64
    scf.yield %next : f64
  }
  return %worst : f64
}

// 1 when %error is at most %bound (0 for NaN).
func.func private @report(%error: f64, %bound: f64) {
  %ok = arith.cmpf ole, %error, %bound : f64
  %bit = arith.extui %ok : i1 to i64
  call @printI64(%bit) : (i64) -> ()
  call @printNewline() : () -> ()
  return
}

func.func private @special(%f: (f32) -> f32, %x: f32) {
  %y = func.call_indirect %f(%x) : (f32) -> f32
  call @printF32(%y) : (f32) -> ()
  call @printNewline() : () -> ()
  return
}

func.func private @exp2_of(%x: f32) -> f32 {
  %y = math.exp2 %x : f32
  return %y : f32
}
func.func private @tanh_of(%x: f32) -> f32 {
  %y = math.tanh %x : f32
  return %y : f32
}
func.func private @log2_of(%x: f32) -> f32 {
  %y = math.log2 %x : f32
  return %y : f32
}

func.func @main() {
  %exp2_error = constant @exp2_error : (f32) -> f64
  %tanh_error = constant @tanh_error : (f32) -> f64
  %log2_error = constant @log2_error : (f32) -> f64
  %plus_zero = arith.constant 0x00000000 : i32
  %minus_zero = arith.constant 0x80000000 : i32
  %plus_128 = arith.constant 0x43000000 : i32
  %minus_126 = arith.constant 0xC2FC0000 : i32
  %plus_inf = arith.constant 0x7F800000 : i32
  %minus_inf = arith.constant 0xFF800000 : i32

  %exp2_bound = arith.constant 8.5e-8 : f64
  %e0 = call @sweep(%exp2_error, %plus_zero, %plus_128) : ((f32) -> f64, i32, i32) -> f64
  // CHECK: 1
  call @report(%e0, %exp2_bound) : (f64, f64) -> ()
  %e1 = call @sweep(%exp2_error, %minus_zero, %minus_126) : ((f32) -> f64, i32, i32) -> f64
  // CHECK-NEXT: 1
  call @report(%e1, %exp2_bound) : (f64, f64) -> ()
  %tanh_bound = arith.constant 2.4e-7 : f64
  %t0 = call @sweep(%tanh_error, %plus_zero, %plus_inf) : ((f32) -> f64, i32, i32) -> f64
  // CHECK-NEXT: 1
  call @report(%t0, %tanh_bound) : (f64, f64) -> ()
  %t1 = call @sweep(%tanh_error, %minus_zero, %minus_inf) : ((f32) -> f64, i32, i32) -> f64
  // CHECK-NEXT: 1
  call @report(%t1, %tanh_bound) : (f64, f64) -> ()
  %log2_bound = arith.constant 2.0e-7 : f64
  %first = arith.constant 0x00000001 : i32
  %l0 = call @sweep(%log2_error, %first, %plus_inf) : ((f32) -> f64, i32, i32) -> f64
  // CHECK-NEXT: 1
  call @report(%l0, %log2_bound) : (f64, f64) -> ()

  %exp2 = constant @exp2_of : (f32) -> f32
  %tanh = constant @tanh_of : (f32) -> f32
  %log2 = constant @log2_of : (f32) -> f32
  %zero = arith.constant 0.0 : f32
  %negative_zero = arith.constant -0.0 : f32
  %one = arith.constant 1.0 : f32
  %small = arith.constant -126.5 : f32
  %large = arith.constant 128.0 : f32
  %tiny = arith.constant 1.0e-30 : f32
  %negative = arith.constant -1.0 : f32
  %inf = arith.constant 0x7F800000 : f32
  %ninf = arith.constant 0xFF800000 : f32
  %nan = arith.constant 0x7FFFFFFF : f32
  // CHECK-NEXT: {{^1$}}
  call @special(%exp2, %zero) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^0$}}
  call @special(%exp2, %ninf) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^0$}}
  call @special(%exp2, %small) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^inf$}}
  call @special(%exp2, %large) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^inf$}}
  call @special(%exp2, %inf) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^-?nan$}}
  call @special(%exp2, %nan) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^1$}}
  call @special(%tanh, %inf) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^-1$}}
  call @special(%tanh, %ninf) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^-0$}}
  call @special(%tanh, %negative_zero) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^1e-30$}}
  call @special(%tanh, %tiny) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^-?nan$}}
  call @special(%tanh, %nan) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^0$}}
  call @special(%log2, %one) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^-inf$}}
  call @special(%log2, %zero) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^inf$}}
  call @special(%log2, %inf) : ((f32) -> f32, f32) -> ()
  // CHECK-NEXT: {{^-?nan$}}
  call @special(%log2, %negative) : ((f32) -> f32, f32) -> ()
  return
}
