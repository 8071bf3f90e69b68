// Level 0 on buffers and on tensors: what the tests of GPU targets compile.
func.func @decode_f16(%q: memref<?x8x128xf16>, %k: memref<?x16x2x128xf16>,
    %v: memref<?x16x2x128xf16>, %table: memref<?x?xi32>, %lens: memref<?xi32>,
    %out: memref<?x8x128xf16>, %lse: memref<?x8xf32>) {
  paged_attn.attention decode query(%q : memref<?x8x128xf16>)
      keys(%k : memref<?x16x2x128xf16>) values(%v : memref<?x16x2x128xf16>)
      table(%table : memref<?x?xi32>) lens(%lens : memref<?xi32>)
      outs(%out : memref<?x8x128xf16>, %lse : memref<?x8xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
  return
}

func.func @prefill_bf16(%q: memref<?x4x64xbf16>, %k: memref<?x2x16x64xbf16>,
    %v: memref<?x2x16x64xbf16>, %indices: memref<?xi32>, %indptr: memref<?xi32>,
    %lens: memref<?xi32>, %starts: memref<?xi32>, %out: memref<?x4x64xbf16>) {
  paged_attn.attention prefill query(%q : memref<?x4x64xbf16>)
      keys(%k : memref<?x2x16x64xbf16>) values(%v : memref<?x2x16x64xbf16>)
      csr(%indices : memref<?xi32>, %indptr : memref<?xi32>)
      lens(%lens : memref<?xi32>) starts(%starts : memref<?xi32>)
      outs(%out : memref<?x4x64xbf16>)
      {key_layout = #paged_attn.layout<"phsd">, mask = #paged_attn.mask<causal, window = 100>,
       softcap = 3.0e+01 : f32}
  return
}

func.func @mixed_f32(%q: tensor<?x5x80xf32>, %k: tensor<?x8x5x80xf32>,
    %v: tensor<?x8x5x80xf32>, %table: tensor<?x?xi64>, %lens: tensor<?xi64>,
    %starts: tensor<?xi64>, %slopes: tensor<5xf32>, %sinks: tensor<5xf32>,
    %out: tensor<?x5x80xf32>) -> tensor<?x5x80xf32> {
  %0 = paged_attn.attention mixed query(%q : tensor<?x5x80xf32>)
      keys(%k : tensor<?x8x5x80xf32>) values(%v : tensor<?x8x5x80xf32>)
      table(%table : tensor<?x?xi64>) lens(%lens : tensor<?xi64>)
      starts(%starts : tensor<?xi64>) alibi(%slopes : tensor<5xf32>)
      sinks(%sinks : tensor<5xf32>) outs(%out : tensor<?x5x80xf32>)
      {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
      -> tensor<?x5x80xf32>
  return %0 : tensor<?x5x80xf32>
}

func.func @append(%kn: memref<?x2x128xf32>, %vn: memref<?x2x128xf32>,
    %table: memref<?x?xi32>, %lens: memref<?xi32>, %starts: memref<?xi32>,
    %k: memref<?x16x2x128xf16>, %v: memref<?x16x2x128xbf16>) {
  paged_attn.append keys(%kn : memref<?x2x128xf32>) values(%vn : memref<?x2x128xf32>)
      table(%table : memref<?x?xi32>) lens(%lens : memref<?xi32>)
      starts(%starts : memref<?xi32>)
      outs(%k : memref<?x16x2x128xf16>, %v : memref<?x16x2x128xbf16>)
      {key_layout = #paged_attn.layout<"pshd">}
  return
}

func.func @merge(%a: memref<?x8x128xf32>, %b: memref<?x8x128xf32>,
    %la: memref<?x8xf32>, %lb: memref<?x8xf32>, %out: memref<?x8x128xf16>,
    %lse: memref<?x8xf32>) {
  paged_attn.merge_states parts(%a, %b : memref<?x8x128xf32>, memref<?x8x128xf32>)
      lses(%la, %lb : memref<?x8xf32>, memref<?x8xf32>)
      outs(%out : memref<?x8x128xf16>, %lse : memref<?x8xf32>)
  return
}
