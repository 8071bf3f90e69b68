// RUN: paged-attn-opt %s --split-input-file --paged-attn-outline-work | FileCheck %s

// CHECK-LABEL: func.func @one_dimension(
// CHECK-SAME:      %[[IN:.*]]: memref<?xf32>, %[[OUT:.*]]: memref<?xf32>, %[[N:.*]]: index)
// CHECK-SAME:      attributes {llvm.emit_c_interface}
// CHECK:         %[[ZERO:.*]] = arith.constant 0 : index
// CHECK:         call @one_dimension_work0({{.*}}, %[[ZERO]], %[[N]]) {paged_attn.work}
// CHECK-NOT:     scf.forall
// CHECK:         return
// CHECK-LABEL: func.func private @one_dimension_work0(
// CHECK-SAME:      %[[BEGIN:[a-z0-9]+]]: index, %[[END:[a-z0-9]+]]: index) {
// The constant is cloned, not passed.
// CHECK:         %[[TWO:.*]] = arith.constant 2.000000e+00 : f32
// CHECK:         scf.for %[[I:.*]] = %[[BEGIN]] to %[[END]]
// CHECK:           %[[X:.*]] = memref.load %{{.*}}[%[[I]]]
// CHECK:           %[[Y:.*]] = arith.mulf %[[X]], %[[TWO]]
// CHECK:           memref.store %[[Y]], %{{.*}}[%[[I]]]
func.func @one_dimension(%in: memref<?xf32>, %out: memref<?xf32>, %n: index) {
  %two = arith.constant 2.0 : f32
  scf.forall (%i) in (%n) {
    %x = memref.load %in[%i] : memref<?xf32>
    %y = arith.mulf %x, %two : f32
    memref.store %y, %out[%i] : memref<?xf32>
  }
  return
}

// -----

// CHECK-LABEL: func.func @row_major_items(
// CHECK:         %[[EIGHT:.*]] = arith.constant 8 : index
// CHECK:         %[[TOTAL:.*]] = arith.muli %{{.*}}, %[[EIGHT]] : index
// CHECK:         call @row_major_items_work0({{.*}}, %[[TOTAL]]) {paged_attn.work}
// CHECK-LABEL: func.func private @row_major_items_work0(
// CHECK:         %[[HEADS:.*]] = arith.constant 8 : index
// CHECK:         scf.for %[[ITEM:.*]] =
// CHECK:           %[[H:.*]] = arith.remui %[[ITEM]], %[[HEADS]]
// CHECK:           %[[B:.*]] = arith.divui %[[ITEM]], %[[HEADS]]
// CHECK:           memref.store %{{.*}}, %{{.*}}[%[[B]], %[[H]]]
func.func @row_major_items(%out: memref<?x8xf32>, %n: index, %x: f32) {
  scf.forall (%b, %h) in (%n, 8) {
    memref.store %x, %out[%b, %h] : memref<?x8xf32>
  }
  return
}

// -----

// CHECK-LABEL: func.func @bounds_and_step(
// CHECK:         %[[SIZE:.*]] = arith.subi %{{.*}}, %{{.*}} : index
// CHECK:         %[[COUNT:.*]] = arith.ceildivsi %[[SIZE]], %{{.*}} : index
// CHECK:         arith.maxsi %[[COUNT]], %{{.*}} : index
// CHECK-LABEL: func.func private @bounds_and_step_work0(
// CHECK:         scf.for %[[ITEM:.*]] =
// CHECK:           %[[SCALED:.*]] = arith.muli %[[ITEM]], %{{.*}}
// CHECK:           %[[I:.*]] = arith.addi %[[SCALED]], %{{.*}}
// CHECK:           memref.store %{{.*}}, %{{.*}}[%[[I]]]
func.func @bounds_and_step(%out: memref<?xf32>, %lo: index, %n: index, %x: f32) {
  scf.forall (%i) = (%lo) to (%n) step (4) {
    memref.store %x, %out[%i] : memref<?xf32>
  }
  return
}

// -----

// Static scratch goes to the frame, out of every loop; a buffer of unknown
// size is freed at the end of its block.
// CHECK-LABEL: func.func private @scratch_in_the_frame_work0(
// CHECK:         memref.alloca() {alignment = 64 : i64} : memref<16xf32>
// CHECK-NOT:     memref.alloc()
// CHECK:         scf.for
// CHECK:           memref.alloc(%{{.*}}) : memref<?xf32>
// CHECK:           memref.store
// CHECK:           memref.dealloc %{{.*}} : memref<?xf32>
// CHECK-NOT:       memref.dealloc
func.func @scratch_in_the_frame(%in: memref<?xf32>, %out: memref<?xf32>, %n: index) {
  scf.forall (%i) in (%n) {
    %c0 = arith.constant 0 : index
    %x = memref.load %in[%i] : memref<?xf32>
    %scratch = memref.alloc() : memref<16xf32>
    %dynamic = memref.alloc(%n) : memref<?xf32>
    memref.store %x, %scratch[%c0] : memref<16xf32>
    memref.store %x, %dynamic[%c0] : memref<?xf32>
    %y = memref.load %scratch[%c0] : memref<16xf32>
    memref.store %y, %out[%i] : memref<?xf32>
    memref.dealloc %scratch : memref<16xf32>
  }
  return
}

// -----

// CHECK-LABEL: func.func @results_that_are_arguments(
// CHECK-SAME:      %{{.*}}: memref<?xf32>, %{{.*}}: i32) -> i32
// CHECK:         return %{{.*}} : i32
func.func @results_that_are_arguments(%out: memref<?xf32>, %x: i32) -> (memref<?xf32>, i32) {
  return %out, %x : memref<?xf32>, i32
}

// CHECK-LABEL: func.func @caller(
// CHECK-SAME:      %[[OUT:.*]]: memref<?xf32>, %[[X:.*]]: i32)
// CHECK:         %[[R:.*]] = call @results_that_are_arguments(%[[OUT]], %[[X]]) : (memref<?xf32>, i32) -> i32
// CHECK:         memref.store %{{.*}}, %[[OUT]]
func.func @caller(%out: memref<?xf32>, %x: i32) -> i32 {
  %r:2 = call @results_that_are_arguments(%out, %x) : (memref<?xf32>, i32) -> (memref<?xf32>, i32)
  %c0 = arith.constant 0 : index
  %f = arith.constant 1.0 : f32
  memref.store %f, %r#0[%c0] : memref<?xf32>
  return %r#1 : i32
}

// -----

// Two loops of one function are two work functions; a private function gets
// no C interface.
// CHECK-LABEL: func.func private @two_loops(
// CHECK-NOT:     llvm.emit_c_interface
// CHECK:         call @two_loops_work0
// CHECK:         call @two_loops_work1
// CHECK-DAG:   func.func private @two_loops_work0(
// CHECK-DAG:   func.func private @two_loops_work1(
func.func private @two_loops(%out: memref<?xf32>, %n: index, %x: f32) {
  scf.forall (%i) in (%n) {
    memref.store %x, %out[%i] : memref<?xf32>
  }
  scf.forall (%i) in (%n) {
    memref.store %x, %out[%i] : memref<?xf32>
  }
  return
}

// Loops that follow each other share scratch; a loop inside keeps its own.
// CHECK-LABEL: func.func private @shared_scratch_work0
// CHECK:         memref.alloca() {alignment = 64 : i64} : memref<8xf32>
// CHECK:         memref.alloca() {alignment = 64 : i64} : memref<8xf32>
// CHECK-NOT:     memref.alloc
// CHECK:         return
func.func @shared_scratch(%out: memref<8xf32>, %x: f32, %n: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  scf.forall (%i) in (%n) {
    scf.for %j = %c0 to %n step %c1 {
      %outer = memref.alloc() : memref<8xf32>
      memref.store %x, %outer[%j] : memref<8xf32>
      scf.for %k = %c0 to %n step %c1 {
        %inner = memref.alloc() : memref<8xf32>
        memref.store %x, %inner[%k] : memref<8xf32>
        %y = memref.load %inner[%c0] : memref<8xf32>
        memref.store %y, %out[%k] : memref<8xf32>
      }
    }
    scf.for %j = %c0 to %n step %c1 {
      %next = memref.alloc() : memref<8xf32>
      memref.store %x, %next[%j] : memref<8xf32>
      %y = memref.load %next[%c0] : memref<8xf32>
      memref.store %y, %out[%j] : memref<8xf32>
    }
  }
  return
}
