// RUN: paged-attn-opt %s -verify-diagnostics -split-input-file

// Layout C1: letters.
// expected-error @+1 {{expected a layout of the letters p, s, h, d, c and l, got "pshx"}}
func.func private @layout_letter() attributes {a = #paged_attn.layout<"pshx">}

// -----

// Layout C1: each once.
// expected-error @+1 {{expected each letter of a layout once, got "psshd"}}
func.func private @layout_twice() attributes {a = #paged_attn.layout<"psshd">}

// -----

// Layout C2.
// expected-error @+1 {{expected a layout with p, s, h and d, got "psd"}}
func.func private @layout_missing() attributes {a = #paged_attn.layout<"psd">}

// -----

// Layout C2: nothing at all.
// expected-error @+1 {{expected a layout with p, s, h and d, got ""}}
func.func private @layout_empty() attributes {a = #paged_attn.layout<"">}

// -----

// Layout C3.
// expected-error @+1 {{expected a layout that ends in d or s, got "dsph"}}
func.func private @layout_last() attributes {a = #paged_attn.layout<"dsph">}

// -----

// Layout C4.
// expected-error @+1 {{expected a pack of at least 1, got 0}}
func.func private @layout_pack() attributes {a = #paged_attn.layout<"pshd", pack = 0>}

// -----

// Mask C1.
// expected-error @+1 {{expected a window of at least 0, got -1}}
func.func private @mask_window() attributes {a = #paged_attn.mask<window = -1>}

// -----

// Mask C1.
// expected-error @+1 {{expected a sink_tokens of at least 0, got -4}}
func.func private @mask_sink_tokens() attributes {a = #paged_attn.mask<window = 8, sink_tokens = -4>}

// -----

// Mask C1.
// expected-error @+1 {{expected a chunk of at least 0, got -2}}
func.func private @mask_chunk() attributes {a = #paged_attn.mask<chunk = -2>}

// -----

// Mask C2.
// expected-error @+1 {{expected a window beside sink_tokens = 4, got none}}
func.func private @mask_sink_tokens_alone() attributes {a = #paged_attn.mask<causal, sink_tokens = 4>}

// -----

// Mask syntax.
// expected-error @+1 {{expected causal, window, sink_tokens or chunk, got banded}}
func.func private @mask_keyword() attributes {a = #paged_attn.mask<banded>}

// -----

// Mask syntax.
// expected-error @+1 {{expected each property of a mask once, got causal again}}
func.func private @mask_twice() attributes {a = #paged_attn.mask<causal, causal>}
