// RUN: paged-attn-opt %s -split-input-file -verify-diagnostics \
// RUN:   -pass-pipeline='builtin.module(func.func(convert-paged-attn-to-loops,canonicalize,cse))' \
// RUN:   | FileCheck %s

// CHECK-LABEL: func @decode
// CHECK-SAME: %[[Q:.*]]: memref<?x4x16xf32>, %[[K:.*]]: memref<?x16x2x16xbf16>, %[[V:.*]]: memref<?x16x2x16xbf16>, %[[T:.*]]: memref<?x?xi32>, %[[LENS:.*]]: memref<?xi64>, %[[O:.*]]: memref<?x4x16xf32>
func.func @decode(%q : memref<?x4x16xf32>, %k : memref<?x16x2x16xbf16>,
    %v : memref<?x16x2x16xbf16>, %t : memref<?x?xi32>, %n : memref<?xi64>,
    %o : memref<?x4x16xf32>) {
  // CHECK-DAG: %[[SCALE:.*]] = arith.constant 2.500000e-01 : f32
  // CHECK-DAG: %[[MINUS_INF:.*]] = arith.constant 0xFF800000 : f32
  // CHECK: %[[SCRATCH:.*]] = memref.alloca() : memref<16xf32>
  // Sequences, rows, heads.
  // CHECK: scf.for %[[B:[a-z0-9]+]] =
  // CHECK: %[[L:.*]] = memref.load %[[LENS]][%[[B]]]
  // CHECK: %[[KVLEN:.*]] = arith.index_cast %[[L]] : i64 to index
  // CHECK: scf.for %[[TOKEN:[a-z0-9]+]] =
  // CHECK: scf.for %[[H:[a-z0-9]+]] =
  // CHECK: %[[HKV:.*]] = arith.divsi %[[H]]
  // The causal end of the keys.
  // CHECK: %[[END:.*]] = arith.minsi %[[KVLEN]]
  // CHECK: %[[M:.*]] = scf.for %[[J:[a-z0-9]+]] = %c0 to %[[END]] {{.*}} iter_args(%{{.*}} = %[[MINUS_INF]])
  // CHECK: %[[PAGE:.*]] = memref.load %[[T]][%[[B]], %{{.*}}] : memref<?x?xi32>
  // CHECK: %[[PAGE_INDEX:.*]] = arith.index_cast %[[PAGE]]
  // CHECK: memref.load %[[K]][%[[PAGE_INDEX]], %{{.*}}, %[[HKV]], %{{.*}}] : memref<?x16x2x16xbf16>
  // CHECK: arith.extf
  // CHECK: arith.mulf %{{.*}}, %[[SCALE]] : f32
  // CHECK: arith.maximumf
  // CHECK: scf.for %{{.*}} = %c0 to %[[END]]
  // CHECK: math.exp
  // CHECK: memref.load %[[V]]
  // CHECK: memref.store %{{.*}}, %[[SCRATCH]]
  // CHECK: arith.divf
  // CHECK: memref.store %{{.*}}, %[[O]]
  paged_attn.attention auto query(%q : memref<?x4x16xf32>)
      keys(%k : memref<?x16x2x16xbf16>) values(%v : memref<?x16x2x16xbf16>)
      table(%t : memref<?x?xi32>) lens(%n : memref<?xi64>)
      outs(%o : memref<?x4x16xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  return
}

// -----

// Latent values of unknown size: the scratch row is on the heap, keys and
// values are read from one pool, the pack splits the head dim.
// CHECK-LABEL: func @latent_packed_csr
// CHECK-SAME: %{{.*}}: memref<?x4x?xf32>, %[[K:[a-z0-9]+]]: memref<?x1x?x?x2xf16>, %[[I:[a-z0-9]+]]: memref<?xi64>, %[[P:[a-z0-9]+]]: memref<?xi64>
func.func @latent_packed_csr(%q : memref<?x4x?xf32>,
    %k : memref<?x1x?x?x2xf16>, %i : memref<?xi64>, %p : memref<?xi64>,
    %n : memref<?xi64>, %o : memref<?x4x?xf32>) {
  // CHECK: math.sqrt
  // CHECK: %[[SCRATCH:.*]] = memref.alloc(%{{.*}}) : memref<?xf32>
  // CHECK: %[[FIRST:.*]] = memref.load %[[P]]
  // CHECK: memref.load %[[I]]
  // CHECK: %[[GROUP:.*]] = arith.divsi %[[D:.*]], %c2
  // CHECK: %[[LAST:.*]] = arith.remsi %[[D]], %c2
  // CHECK: memref.load %[[K]][%{{.*}}, %{{.*}}, %[[GROUP]], %{{.*}}, %[[LAST]]]
  // CHECK: memref.dealloc %[[SCRATCH]]
  paged_attn.attention auto query(%q : memref<?x4x?xf32>)
      keys(%k : memref<?x1x?x?x2xf16>)
      csr(%i : memref<?xi64>, %p : memref<?xi64>) lens(%n : memref<?xi64>)
      outs(%o : memref<?x4x?xf32>)
      {key_layout = #paged_attn.layout<"phds", pack = 2>}
  return
}

// -----

// Sink tokens stay in front of the window: one loop that skips the gap.
// CHECK-LABEL: func @sink_tokens
func.func @sink_tokens(%q : memref<1x1x4xf32>, %k : memref<9x8x1x4xf32>,
    %t : memref<1x9xi32>, %n : memref<1xi32>, %o : memref<1x1x4xf32>) {
  // CHECK: %[[GAP_BEGIN:.*]] = arith.minsi %{{.*}}, %c4 : index
  // CHECK: %[[GAP:.*]] = arith.subi %{{.*}}, %[[GAP_BEGIN]] : index
  // CHECK: %[[END:.*]] = arith.subi %{{.*}}, %[[GAP]] : index
  // CHECK: scf.for %[[J:.*]] = %c0 to %[[END]]
  // CHECK: %[[BEYOND:.*]] = arith.cmpi sge, %[[J]], %[[GAP_BEGIN]]
  // CHECK: %[[SHIFTED:.*]] = arith.addi %[[J]], %[[GAP]]
  // CHECK: arith.select %[[BEYOND]], %[[SHIFTED]], %[[J]]
  paged_attn.attention auto query(%q : memref<1x1x4xf32>)
      keys(%k : memref<9x8x1x4xf32>) values(%k : memref<9x8x1x4xf32>)
      table(%t : memref<1x9xi32>) lens(%n : memref<1xi32>)
      outs(%o : memref<1x1x4xf32>)
      {key_layout = #paged_attn.layout<"pshd">,
       mask = #paged_attn.mask<causal, window = 16, sink_tokens = 4>}
  return
}

// -----

// The score region is written out; values of hidden keys are not read.
// CHECK-LABEL: func @score_region
// CHECK-SAME: %[[CAPTURE:[a-z0-9]+]]: f32
func.func @score_region(%c : f32, %q : memref<1x1x4xf32>,
    %k : memref<9x8x1x4xf32>, %v : memref<9x8x1x2xf32>, %t : memref<1x9xi32>,
    %n : memref<1xi32>, %o : memref<1x1x2xf32>) {
  // CHECK: arith.mulf %{{.*}}, %[[CAPTURE]]
  // CHECK: arith.maximumf
  // CHECK: %[[SCORE:.*]] = arith.mulf %{{.*}}, %[[CAPTURE]]
  // CHECK: %[[VISIBLE:.*]] = arith.cmpi slt
  // CHECK: scf.if %[[VISIBLE]]
  // CHECK-NEXT: arith.subf %[[SCORE]]
  // CHECK-NEXT: math.exp
  // CHECK: memref.load %{{.*}} : memref<9x8x1x2xf32>
  // CHECK: else
  // CHECK-NOT: paged_attn.yield
  paged_attn.attention auto query(%q : memref<1x1x4xf32>)
      keys(%k : memref<9x8x1x4xf32>) values(%v : memref<9x8x1x2xf32>)
      table(%t : memref<1x9xi32>) lens(%n : memref<1xi32>) captures(%c : f32)
      outs(%o : memref<1x1x2xf32>) {key_layout = #paged_attn.layout<"pshd">}
      score(%s, %seq, %head, %p, %j, %factor) {
        %s1 = arith.mulf %s, %factor : f32
        %visible = arith.cmpi slt, %j, %p : index
        paged_attn.yield %s1, %visible : f32, i1
      }
  return
}

// -----

// Keys and values go to the halves of one pool; slot -1 is skipped.
// CHECK-LABEL: func @append
// CHECK-SAME: %[[KN:[a-z0-9]+]]: memref<?x2x4xf32>, %[[VN:[a-z0-9]+]]: memref<?x2x4xf32>, %[[S:[a-z0-9]+]]: memref<?xi64>, %[[POOL:[a-z0-9]+]]: memref<?x2x16x2x4xbf16>
func.func @append(%kn : memref<?x2x4xf32>, %vn : memref<?x2x4xf32>,
    %s : memref<?xi64>, %pool : memref<?x2x16x2x4xbf16>) {
  // CHECK: %[[SLOT:.*]] = arith.index_cast
  // CHECK: %[[TAKEN:.*]] = arith.cmpi sge, %[[SLOT]], %c0
  // CHECK: scf.if %[[TAKEN]]
  // CHECK: %[[PAGE:.*]] = arith.divsi %[[SLOT]], %c16
  // CHECK: %[[IN_PAGE:.*]] = arith.remsi %[[SLOT]], %c16
  // CHECK: arith.truncf %{{.*}} : f32 to bf16
  // CHECK: memref.store %{{.*}}, %[[POOL]][%[[PAGE]], %c0, %[[IN_PAGE]]
  // CHECK: memref.store %{{.*}}, %[[POOL]][%[[PAGE]], %c1, %[[IN_PAGE]]
  paged_attn.append keys(%kn : memref<?x2x4xf32>) values(%vn : memref<?x2x4xf32>)
      slots(%s : memref<?xi64>) outs(%pool : memref<?x2x16x2x4xbf16>)
      {key_layout = #paged_attn.layout<"pcshd">}
  return
}

// -----

// CHECK-LABEL: func @append_by_table
// CHECK-SAME: %{{.*}}: memref<?x2x4xf32>, %[[T:[a-z0-9]+]]: memref<?x?xi32>, %[[N:[a-z0-9]+]]: memref<?xi32>, %[[STARTS:[a-z0-9]+]]: memref<?xi32>
func.func @append_by_table(%kn : memref<?x2x4xf32>, %t : memref<?x?xi32>,
    %n : memref<?xi32>, %starts : memref<?xi32>,
    %pool : memref<?x16x2x4xf32>) {
  // CHECK: scf.for
  // CHECK: memref.load %[[STARTS]]
  // CHECK: memref.load %[[STARTS]]
  // CHECK: memref.load %[[N]]
  // CHECK: scf.for
  // CHECK: memref.load %[[T]]
  paged_attn.append keys(%kn : memref<?x2x4xf32>) table(%t : memref<?x?xi32>)
      lens(%n : memref<?xi32>) starts(%starts : memref<?xi32>)
      outs(%pool : memref<?x16x2x4xf32>) {key_layout = #paged_attn.layout<"pshd">}
  return
}

// -----

// CHECK-LABEL: func @gather
// CHECK-SAME: %[[K:[a-z0-9]+]]: memref<3x?x16x2x8xbf16>, {{.*}}, %[[LAYER:[a-z0-9]+]]: index
func.func @gather(%k : memref<3x?x16x2x8xbf16>, %t : memref<?x?xi32>,
    %n : memref<?xi32>, %layer : index, %o : memref<?x?x2x8xf32>) {
  // CHECK: memref.load %[[K]][%[[LAYER]],
  // CHECK: memref.store %{{.*}}, %[[O:.*]][
  // CHECK: memref.store %cst, %[[O]][
  paged_attn.gather key pool(%k : memref<3x?x16x2x8xbf16>)
      table(%t : memref<?x?xi32>) lens(%n : memref<?xi32>) layer(%layer)
      outs(%o : memref<?x?x2x8xf32>) {layout = #paged_attn.layout<"lpshd">}
  return
}

// -----

// CHECK-LABEL: func @copy_pages
// CHECK-SAME: %{{.*}}: memref<?x2xi64>, %[[K:[a-z0-9]+]]: memref<2x?x16x2x8xi8>
func.func @copy_pages(%pairs : memref<?x2xi64>, %k : memref<2x?x16x2x8xi8>) {
  // CHECK: %[[SOURCE:.*]] = arith.index_cast
  // CHECK: %[[TARGET:.*]] = arith.index_cast
  // CHECK: scf.if
  // CHECK-COUNT-4: scf.for
  // CHECK: memref.load %[[K]][%{{.*}}, %[[SOURCE]],
  // CHECK: memref.store %{{.*}}, %[[K]][%{{.*}}, %[[TARGET]],
  paged_attn.copy_pages pairs(%pairs : memref<?x2xi64>)
      outs(%k : memref<2x?x16x2x8xi8>) {layout = #paged_attn.layout<"cpshd">}
  return
}

// -----

// CHECK-LABEL: func @merge_states
func.func @merge_states(%a : memref<?x4x8xf32>, %b : memref<?x4x8xf32>,
    %la : memref<?x4xf32>, %lb : memref<?x4xf32>, %o : memref<?x4x8xf16>,
    %l : memref<?x4xf32>) {
  // CHECK: arith.maximumf
  // CHECK-COUNT-2: math.exp
  // CHECK: arith.truncf
  // CHECK: math.log
  paged_attn.merge_states
      parts(%a, %b : memref<?x4x8xf32>, memref<?x4x8xf32>)
      lses(%la, %lb : memref<?x4xf32>, memref<?x4xf32>)
      outs(%o : memref<?x4x8xf16>, %l : memref<?x4xf32>)
  return
}

// -----

func.func @tensors(%pairs : tensor<?x2xi64>, %k : tensor<?x16x2x8xf32>)
    -> tensor<?x16x2x8xf32> {
  // expected-error @below {{'paged_attn.copy_pages' op expected memrefs, got tensors; run one-shot-bufferize first}}
  %0 = paged_attn.copy_pages pairs(%pairs : tensor<?x2xi64>)
      outs(%k : tensor<?x16x2x8xf32>) {layout = #paged_attn.layout<"pshd">}
      -> tensor<?x16x2x8xf32>
  return %0 : tensor<?x16x2x8xf32>
}

// -----

func.func @tile_op(%q : memref<?x4x8xf32>, %o : memref<32x8xf32>) {
  // expected-error @below {{'paged_attn.load_query' op expected an op of level 0 or 1, got a tile op; loops are made before tiling}}
  paged_attn.load_query query(%q : memref<?x4x8xf32>)
      outs(%o : memref<32x8xf32>) {factor = 1.0 : f32}
  return
}
