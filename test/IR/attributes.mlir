// RUN: paged-attn-opt %s | FileCheck %s
// RUN: paged-attn-opt %s | paged-attn-opt | FileCheck %s

// Every property of the attributes is printed as it was read; defaults are
// left out.

// CHECK-LABEL: func.func @layouts()
// CHECK-SAME:    cpshd = #paged_attn.layout<"cpshd">
// CHECK-SAME:    layers = #paged_attn.layout<"lpshd">
// CHECK-SAME:    packed = #paged_attn.layout<"phds", pack = 2>
// CHECK-SAME:    plain = #paged_attn.layout<"pshd">
// CHECK-SAME:    unpacked = #paged_attn.layout<"pshd">
func.func @layouts() attributes {
  plain = #paged_attn.layout<"pshd">,
  packed = #paged_attn.layout<"phds", pack = 2>,
  unpacked = #paged_attn.layout<"pshd", pack = 1>,
  cpshd = #paged_attn.layout<"cpshd">,
  layers = #paged_attn.layout<"lpshd">} {
  return
}

// CHECK-LABEL: func.func @masks()
// CHECK-SAME:    all = #paged_attn.mask<causal, window = 4096, sink_tokens = 4, chunk = 8192>
// CHECK-SAME:    any_order = #paged_attn.mask<causal, window = 2>
// CHECK-SAME:    causal = #paged_attn.mask<causal>
// CHECK-SAME:    full = #paged_attn.mask<>
func.func @masks() attributes {
  full = #paged_attn.mask<>,
  causal = #paged_attn.mask<causal>,
  any_order = #paged_attn.mask<window = 2, causal>,
  all = #paged_attn.mask<causal, window = 4096, sink_tokens = 4, chunk = 8192>} {
  return
}

// CHECK-LABEL: func.func @enums()
// CHECK-SAME:    kind = #paged_attn<mask_kind boundary>
// CHECK-SAME:    mode = #paged_attn<mode decode>
// CHECK-SAME:    part = #paged_attn<part value>
func.func @enums() attributes {
  mode = #paged_attn<mode decode>,
  kind = #paged_attn<mask_kind boundary>,
  part = #paged_attn<part value>} {
  return
}
