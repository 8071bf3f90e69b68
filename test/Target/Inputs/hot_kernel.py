#!/usr/bin/env python3
"""Writes a kernel of 8 query heads, 2 KV heads and head dim 64 to stdout.

usage: hot_kernel.py MODE TYPE LAYOUT, where LAYOUT is that of the keys: phsd,
phds or phds4 (packed by 4). Values are phsd; pools of i8 have a factor for
each token and KV head.
"""
import sys

SHAPES = {"phsd": "2x16x64", "phds": "2x64x16", "phds4": "2x16x16x4"}

mode, kind, layout = sys.argv[1:]
pack = ", pack = 4" if layout == "phds4" else ""
keys = f"memref<?x{SHAPES[layout]}x{kind}>"
values = f"memref<?x2x16x64x{kind}>"
scale = "memref<?x16x2xf32>"
parameters = scales = ""
if kind == "i8":
    parameters = f"%ks: {scale}, %vs: {scale},"
    scales = f"k_scale(%ks : {scale}) v_scale(%vs : {scale})"
print(
    f"""func.func @kernel(%q: memref<?x8x64xf32>, %k: {keys}, %v: {values},
    %t: memref<?x?xi32>, %n: memref<?xi32>, %s: memref<?xi32>, {parameters}
    %o: memref<?x8x64xf32>) {{
  paged_attn.attention {mode} query(%q : memref<?x8x64xf32>) keys(%k : {keys})
      values(%v : {values}) table(%t : memref<?x?xi32>)
      lens(%n : memref<?xi32>) starts(%s : memref<?xi32>) {scales}
      outs(%o : memref<?x8x64xf32>)
      {{key_layout = #paged_attn.layout<"{layout[:4]}"{pack}>,
       value_layout = #paged_attn.layout<"phsd">, mask = #paged_attn.mask<causal>}}
  return
}}"""
)
