// RUN: paged-attn-opt %s --paged-attn-dispatch-work | FileCheck %s

// The executor is the last argument, of the C wrapper and of callers too.
// CHECK-LABEL: llvm.func @kernel(
// CHECK-SAME:      %[[P:.*]]: !llvm.ptr, %[[N:.*]]: i64, %[[EXECUTOR:.*]]: !llvm.ptr)
// CHECK:         %[[DATA:.*]] = llvm.alloca %{{.*}} x !llvm.struct<(ptr, i64)>
// CHECK:         %[[FIELD:.*]] = llvm.getelementptr %[[DATA]][0, 0]
// CHECK:         llvm.store %[[P]], %[[FIELD]]
// CHECK:         %[[IS_NULL:.*]] = llvm.icmp "eq" %[[EXECUTOR]], %{{.*}}
// CHECK:         llvm.cond_br %[[IS_NULL]], ^[[HERE:.*]], ^[[THERE:.*]]
// CHECK:       ^[[HERE]]:
// CHECK:         llvm.call @kernel_work0_items(%[[DATA]], %{{.*}}, %[[N]])
// CHECK:         llvm.br ^[[END:.*]]
// CHECK:       ^[[THERE]]:
// CHECK:         %[[SLOT:.*]] = llvm.getelementptr %[[EXECUTOR]][0, 1] : (!llvm.ptr) -> !llvm.ptr, !llvm.struct<(ptr, ptr)>
// CHECK:         %[[CONTEXT:.*]] = llvm.load %[[EXECUTOR]]
// CHECK:         %[[CALLEE:.*]] = llvm.load %[[SLOT]]
// CHECK:         %[[WORK:.*]] = llvm.mlir.addressof @kernel_work0_items
// CHECK:         llvm.call %[[CALLEE]](%[[CONTEXT]], %[[WORK]], %[[DATA]], %[[N]])
// CHECK:         llvm.br ^[[END]]
// CHECK:       ^[[END]]:
// CHECK:         llvm.return
llvm.func @kernel(%p: !llvm.ptr, %n: i64) {
  %c0 = llvm.mlir.constant(0 : i64) : i64
  llvm.call @kernel_work0(%p, %n, %c0, %n) {paged_attn.work} : (!llvm.ptr, i64, i64, i64) -> ()
  llvm.return
}

// CHECK: llvm.func internal @kernel_work0(
// CHECK: llvm.func internal @kernel_work0_items(%[[ARG:.*]]: !llvm.ptr, %[[BEGIN:.*]]: i64, %[[LAST:.*]]: i64)
// CHECK:         %[[F0:.*]] = llvm.getelementptr %[[ARG]][0, 0]
// CHECK:         %[[V0:.*]] = llvm.load %[[F0]] : !llvm.ptr -> !llvm.ptr
// CHECK:         %[[F1:.*]] = llvm.getelementptr %[[ARG]][0, 1]
// CHECK:         %[[V1:.*]] = llvm.load %[[F1]] : !llvm.ptr -> i64
// CHECK:         llvm.call @kernel_work0(%[[V0]], %[[V1]], %[[BEGIN]], %[[LAST]])
llvm.func @kernel_work0(%p: !llvm.ptr, %n: i64, %begin: i64, %end: i64) attributes {sym_visibility = "private"} {
  llvm.return
}

// CHECK-LABEL: llvm.func @_mlir_ciface_kernel(
// CHECK-SAME:      %{{.*}}: !llvm.ptr, %{{.*}}: i64, %[[EXECUTOR:.*]]: !llvm.ptr)
// CHECK:         llvm.call @kernel(%{{.*}}, %{{.*}}, %[[EXECUTOR]]) : (!llvm.ptr, i64, !llvm.ptr) -> ()
llvm.func @_mlir_ciface_kernel(%p: !llvm.ptr, %n: i64) {
  llvm.call @kernel(%p, %n) : (!llvm.ptr, i64) -> ()
  llvm.return
}

// CHECK-LABEL: llvm.func @caller(
// CHECK-SAME:      %{{.*}}: !llvm.ptr, %[[EXECUTOR:.*]]: !llvm.ptr) -> i64
// CHECK:         llvm.call @kernel(%{{.*}}, %{{.*}}, %[[EXECUTOR]])
llvm.func @caller(%p: !llvm.ptr) -> i64 {
  %n = llvm.mlir.constant(4 : i64) : i64
  llvm.call @kernel(%p, %n) : (!llvm.ptr, i64) -> ()
  llvm.return %n : i64
}

// CHECK-LABEL: llvm.func @no_work(
// CHECK-SAME:      %{{.*}}: i64) -> i64
llvm.func @no_work(%n: i64) -> i64 {
  llvm.return %n : i64
}
