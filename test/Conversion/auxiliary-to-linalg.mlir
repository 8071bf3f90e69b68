// RUN: paged-attn-opt %s \
// RUN:   -pass-pipeline='builtin.module(func.func(convert-paged-attn-to-linalg,canonicalize,cse))' \
// RUN:   | FileCheck %s
// RUN: paged-attn-opt %s \
// RUN:   -pass-pipeline='builtin.module(func.func(convert-paged-attn-to-linalg),canonicalize,cse,one-shot-bufferize{bufferize-function-boundaries function-boundary-type-conversion=identity-layout-map},cse,canonicalize)' \
// RUN:   | FileCheck %s --check-prefix=BUFFER --implicit-check-not=memref.alloc --implicit-check-not=memref.copy

// Each half has its own layout; the packed one splits the head dim.
// CHECK-DAG: #[[$ROW:.*]] = affine_map<(d0, d1) -> (d0, d1)>
// CHECK-DAG: #[[$PACKED_ROW:.*]] = affine_map<(d0, d1, d2) -> (d0, d1 * 2 + d2)>
// CHECK-DAG: #[[$SLOT:.*]] = affine_map<(d0, d1) -> (0, 0, d0, d1)>
// CHECK-DAG: #[[$PACKED:.*]] = affine_map<(d0, d1, d2) -> (0, d0, d1, 0, d2)>
// CHECK-DAG: #[[$TRANSPOSED_ROW:.*]] = affine_map<(d0, d1) -> (d1, d0)>
// CHECK-DAG: #[[$TRANSPOSED:.*]] = affine_map<(d0, d1) -> (0, 0, d0, d1, 0)>

// CHECK-LABEL: func @append_by_slots
// CHECK: scf.for %[[T:.*]] = {{.*}} iter_args(%[[K:.*]] = %{{.*}}, %[[V:.*]] = %{{.*}})
// CHECK: %[[TAKEN:.*]] = arith.cmpi sge, %[[SLOT:.*]], %c0
// CHECK: scf.if %[[TAKEN]]
// CHECK: %[[PAGE:.*]] = arith.divsi %[[SLOT]], %c16
// CHECK: %[[IN_PAGE:.*]] = arith.remsi %[[SLOT]], %c16
// CHECK: tensor.extract_slice %[[K]][%[[PAGE]], %[[IN_PAGE]], 0, 0] [1, 1, 2, 4]
// CHECK: linalg.generic {indexing_maps = [#[[$ROW]], #[[$SLOT]]]
// CHECK: arith.truncf {{.*}} : f32 to bf16
// CHECK: tensor.insert_slice {{.*}} into %[[K]][%[[PAGE]], %[[IN_PAGE]], 0, 0]
// CHECK: tensor.extract_slice %[[V]][%[[PAGE]], 0, 0, %[[IN_PAGE]], 0] [1, 2, 2, 1, 2]
// CHECK: linalg.generic {indexing_maps = [#[[$PACKED_ROW]], #[[$PACKED]]]
// CHECK: tensor.insert_slice {{.*}} into %[[V]]
// CHECK: else
// CHECK-NEXT: scf.yield %[[K]], %[[V]]
// BUFFER-LABEL: func @append_by_slots
// BUFFER: scf.if
// BUFFER: linalg.generic
// BUFFER: linalg.generic
func.func @append_by_slots(%kn : tensor<?x2x4xf32>, %vn : tensor<?x2x4xf32>,
    %s : tensor<?xi64>, %k : tensor<?x16x2x4xbf16>,
    %v : tensor<?x2x2x16x2xf16>)
    -> (tensor<?x16x2x4xbf16>, tensor<?x2x2x16x2xf16>) {
  %0:2 = paged_attn.append keys(%kn : tensor<?x2x4xf32>)
      values(%vn : tensor<?x2x4xf32>) slots(%s : tensor<?xi64>)
      outs(%k : tensor<?x16x2x4xbf16>, %v : tensor<?x2x2x16x2xf16>)
      {key_layout = #paged_attn.layout<"pshd">,
       value_layout = #paged_attn.layout<"phds", pack = 2>}
      -> tensor<?x16x2x4xbf16>, tensor<?x2x2x16x2xf16>
  return %0#0, %0#1 : tensor<?x16x2x4xbf16>, tensor<?x2x2x16x2xf16>
}

// One pool on a memref takes both halves; it is written in place.
// CHECK-LABEL: func @append_by_table
// CHECK-SAME: %[[POOL:[a-z0-9]+]]: memref<2x?x4x2x16xf32>
// CHECK: %[[TENSOR:.*]] = bufferization.to_tensor %[[POOL]] restrict writable
// CHECK: %[[RESULT:.*]] = scf.for {{.*}} iter_args(%{{.*}} = %[[TENSOR]])
// CHECK: scf.for
// CHECK: linalg.generic {indexing_maps = [#[[$TRANSPOSED_ROW]], #[[$TRANSPOSED]]]
// CHECK: tensor.insert_slice {{.*}}[0, %[[PAGE:.*]], 0, 0, %[[SLOT:.*]]] [1, 1, 4, 2, 1]
// CHECK: tensor.insert_slice {{.*}}[1, %[[PAGE]], 0, 0, %[[SLOT]]] [1, 1, 4, 2, 1]
// CHECK: bufferization.materialize_in_destination %[[RESULT]] in restrict writable %[[POOL]]
// BUFFER-LABEL: func @append_by_table
// BUFFER: linalg.generic
// BUFFER: linalg.generic
func.func @append_by_table(%kn : memref<?x2x4xf32>, %vn : memref<?x2x4xf32>,
    %t : memref<?x?xi32>, %n : memref<?xi32>, %starts : memref<?xi32>,
    %pool : memref<2x?x4x2x16xf32>) {
  paged_attn.append keys(%kn : memref<?x2x4xf32>)
      values(%vn : memref<?x2x4xf32>) table(%t : memref<?x?xi32>)
      lens(%n : memref<?xi32>) starts(%starts : memref<?xi32>)
      outs(%pool : memref<2x?x4x2x16xf32>)
      {key_layout = #paged_attn.layout<"cpdhs">}
  return
}

// CHECK-LABEL: func @gather
// CHECK-SAME: %[[POOL:[a-z0-9]+]]: tensor<3x?x16x2x8xbf16>
// CHECK-SAME: %[[LAYER:[a-z0-9]+]]: index
// CHECK: %[[END:.*]] = arith.minsi
// CHECK: scf.for %[[J:.*]] = %c0 to %[[END]]
// CHECK: tensor.extract_slice %[[POOL]][%[[LAYER]], %{{.*}}, %{{.*}}, 0, 0] [1, 1, 1, 2, 8]
// CHECK: linalg.generic
// CHECK: arith.extf
// CHECK: tensor.extract_slice %{{.*}}[%{{.*}}, %[[END]], 0, 0]
// CHECK: linalg.fill
// BUFFER-LABEL: func @gather
// BUFFER: linalg.generic
// BUFFER: linalg.fill
func.func @gather(%pool : tensor<3x?x16x2x8xbf16>, %i : tensor<?xi32>,
    %p : tensor<?xi32>, %n : tensor<?xi32>, %layer : index,
    %o : tensor<?x?x2x8xf32>) -> tensor<?x?x2x8xf32> {
  %0 = paged_attn.gather key pool(%pool : tensor<3x?x16x2x8xbf16>)
      csr(%i : tensor<?xi32>, %p : tensor<?xi32>) lens(%n : tensor<?xi32>)
      layer(%layer) outs(%o : tensor<?x?x2x8xf32>)
      {layout = #paged_attn.layout<"lpshd">} -> tensor<?x?x2x8xf32>
  return %0 : tensor<?x?x2x8xf32>
}

// Source and target may be any pages of one pool: no slices, no second buffer.
// CHECK-LABEL: func @copy_pages
// CHECK: scf.if
// CHECK-COUNT-4: scf.for
// CHECK: %[[VALUE:.*]] = tensor.extract %[[POOL:.*]][%[[C:[a-z0-9]+]], %[[SOURCE:[a-z0-9]+]], %[[REST:.*]]]
// CHECK: tensor.insert %[[VALUE]] into %[[POOL]][%[[C]], %[[TARGET:.*]], %[[REST]]]
// BUFFER-LABEL: func @copy_pages
// BUFFER: memref.load %[[POOL:.*]][{{.*}} : memref<2x?x16x2x8xi8>
// BUFFER: memref.store %{{.*}}, %[[POOL]][
func.func @copy_pages(%pairs : tensor<?x2xi64>, %k : tensor<2x?x16x2x8xi8>)
    -> tensor<2x?x16x2x8xi8> {
  %0 = paged_attn.copy_pages pairs(%pairs : tensor<?x2xi64>)
      outs(%k : tensor<2x?x16x2x8xi8>) {layout = #paged_attn.layout<"cpshd">}
      -> tensor<2x?x16x2x8xi8>
  return %0 : tensor<2x?x16x2x8xi8>
}

// CHECK-LABEL: func @merge_states
// CHECK: arith.maximumf
// CHECK-COUNT-2: math.exp2
// CHECK: math.log2
// CHECK: linalg.generic
// CHECK: arith.select
// CHECK: arith.truncf
// CHECK: tensor.insert_slice
// CHECK: tensor.insert
// CHECK-COUNT-2: bufferization.materialize_in_destination
// BUFFER-LABEL: func @merge_states
// BUFFER: linalg.generic
// BUFFER: memref.store
func.func @merge_states(%a : memref<?x4x8xf32>, %b : memref<?x4x8xf32>,
    %la : memref<?x4xf32>, %lb : memref<?x4xf32>, %o : memref<?x4x8xf16>,
    %l : memref<?x4xf32>) {
  paged_attn.merge_states
      parts(%a, %b : memref<?x4x8xf32>, memref<?x4x8xf32>)
      lses(%la, %lb : memref<?x4xf32>, memref<?x4xf32>)
      outs(%o : memref<?x4x8xf16>, %l : memref<?x4xf32>)
  return
}

// One head and entries of one: the slice of a slot keeps all dimensions, so
// that folding the casts cannot mistake one for the other.
// BUFFER-LABEL: func @sizes_of_one
// BUFFER: memref.subview {{.*}} : memref<1x3x5x2x1xf32> to memref<1x3x1x1x1xf32
func.func @sizes_of_one(%kn : memref<1x1x3xf32>, %s : memref<1xi64>, %layer : index,
    %pool : memref<1x3x5x2x1xf32>) {
  %dynamic = memref.cast %pool : memref<1x3x5x2x1xf32> to memref<?x?x?x?x?xf32>
  paged_attn.append keys(%kn : memref<1x1x3xf32>) slots(%s : memref<1xi64>)
      layer(%layer)
      outs(%dynamic : memref<?x?x?x?x?xf32>)
      {key_layout = #paged_attn.layout<"hdpls">}
  return
}
