//===- PagedAttnOps.td - The ops of the dialect ------------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Level 0 and 1: attention, append, gather, copy_pages, merge_states.
// Level 2: the tile ops, which every target lowers.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_IR_PAGEDATTNOPS_TD
#define PAGED_ATTN_IR_PAGEDATTNOPS_TD

include "paged_attn/IR/PagedAttnAttrs.td"
include "mlir/Interfaces/ControlFlowInterfaces.td"
include "mlir/Interfaces/DestinationStyleOpInterface.td"
include "mlir/Interfaces/InferTypeOpInterface.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

class PagedAttn_Op<string mnemonic, list<Trait> traits = []>
    : Op<PagedAttn_Dialect, mnemonic, traits>;

/// An op that writes its `outs`: on tensors each out has a result tied to it,
/// on memrefs there are no results. Reads and writes are its memory effects.
class PagedAttn_DestinationOp<string mnemonic, list<Trait> traits = []>
    : PagedAttn_Op<mnemonic, !listconcat(traits, [
        DestinationStyleOpInterface,
        DeclareOpInterfaceMethods<ReifyRankedShapedTypeOpInterface, ["reifyResultShapes"]>,
        DeclareOpInterfaceMethods<MemoryEffectsOpInterface>])> {
  let hasFolder = 1;
}

/// A tensor or a memref of a fixed rank.
class PagedAttn_Buffer<list<int> ranks, list<Type> types, string summary>
    : AnyTypeOf<[TensorRankOf<types, ranks>, MemRefRankOf<types, ranks>], summary>;

def PagedAttn_Float : AnyTypeOf<[F32, F16, BF16]>;
def PagedAttn_Stored : AnyTypeOf<[F32, F16, BF16, I8, F8E4M3FN]>;
def PagedAttn_Integer : AnyTypeOf<[I32, I64]>;
def PagedAttn_Pool : PagedAttn_Buffer<[4, 5, 6, 7],
    [F32, F16, BF16, I8, F8E4M3FN], "a pool of 4 to 7 dimensions of f32, f16, bf16, i8 or f8E4M3FN">;
class PagedAttn_IndexBuffer<int rank, string shape>
    : PagedAttn_Buffer<[rank], [I32, I64], shape # " of i32 or i64">;
class PagedAttn_FloatBuffer<int rank, string shape>
    : PagedAttn_Buffer<[rank], [F32, F16, BF16], shape # " of f32, f16 or bf16">;
class PagedAttn_F32Buffer<int rank, string shape>
    : PagedAttn_Buffer<[rank], [F32], shape # " of f32">;
def PagedAttn_Scales : PagedAttn_Buffer<[0, 1, 3], [F32],
    "one scale, [Hkv] or [P, S, Hkv] of f32">;

//===----------------------------------------------------------------------===//
// Level 0 and 1
//===----------------------------------------------------------------------===//

def PagedAttn_AttentionOp : PagedAttn_DestinationOp<"attention",
    [AttrSizedOperandSegments, IsolatedFromAbove]> {
  let summary = "attention of packed queries over a paged KV cache";
  let description = [{
    For sequence b with n = q_len[b] new tokens and L = kv_len[b], row i of its
    queries stands at position p = L - n + i (with `offsets`: offsets[b] + i).
    For query head h, KV head h / G, and every visible key position j < L:

        s = scale * dot(q[i, h], k[j])
        s = softcap > 0 ? softcap * tanh(s / softcap) : s
        s = s + alibi[h] * (j - p)
        s = s + bias[i, h, j]
        s = score_region(s, b, h, p, j)
        out = sum_j exp(s_j - m) v_j / (sum_j exp(s_j - m) + exp(sinks[h] - m))
        lse = m + log(denominator)

    `mask` says which j are visible. A row that sees no key gives 0 and lse
    -inf (with sinks: lse = sinks[h]). Slots at or past kv_len, pages past
    ceil(L / S) and page-table entries past that are never read into
    arithmetic. Rows past query_starts[B] are written as 0 (lse -inf); a
    sequence of q_len 0 writes nothing. Accumulation is float32.

    Operands:
    - `query` [T, Hq, Dk]; `keys`, `values`: pools as the layouts say. Without
      `values` the key pool holds both (layout with `c`), or V is the first Dv
      entries of each key (latent attention).
    - `table` [B, N], or `csr` page indices [nnz] and their starts [B + 1]
    - `lens` [B] kv_len in tokens; `starts` [B + 1] first row of each sequence
      (absent: every q_len is T / B); `offsets` [B] position of each sequence's
      first row
    - `layer`: index into the dimension `l` of the pools
    - `k_scale`, `v_scale`: factors of quantised pools
    - `alibi` [Hq], `sinks` [Hq], `bias` [T, 1 or Hq, most kv_len]
    - `captures`: values that the score region sees as further arguments

    The score region takes score (f32), sequence, query head, query position,
    key position (index) and the captures, and yields the new score and
    optionally an i1 that says whether the position stays visible.

    **Constraints**
    - (C1) query has rank 3 and a float element type; out is [T, Hq, Dv], lse [T, Hq] f32; no head or head dim is missing
    - (C2) each pool has as many dimensions as its layout, fits its pack and has slots, heads and a head dim; without `values`, value_layout is absent or key_layout
    - (C3) a layout with `c` has size 2 there and excludes `values`; `layer` is given exactly when a layout has `l`
    - (C4) Hq is a positive multiple of Hkv
    - (C5) the head dim of keys is Dk; that of values is Dv (latent: Dv at most Dk)
    - (C6) key and value pools agree on pages, slots and KV heads
    - (C7) exactly one of `table` and `csr` is given
    - (C8) table rows, lens, starts - 1, indptr - 1 and offsets agree on B
    - (C9) without starts, B is at least 1 and T a multiple of B
    - (C10) alibi and sinks have Hq entries; bias is [T, 1 or Hq, K]
    - (C11) scale is finite, softcap finite and positive
    - (C12) accumulation is f32
    - (C13) integer pools need scales; float pools of 16 bits and more take none, nor does `v_scale` stand with latent attention
    - (C14) the score region has the arguments named above and yields f32 [, i1]
    - (C15) captures need a score region
    - (C16) all operands are tensors with one result per out, or all are memrefs without results
    - (C17) in mode decode, static T and B leave at most 64 new tokens a sequence
    - (C18) scales are one, [Hkv] or [P, S, Hkv] like their pool

    Example:
    ```mlir
    %out, %lse = paged_attn.attention auto
        query(%q : tensor<?x32x128xbf16>) keys(%k : tensor<?x16x8x128xbf16>)
        values(%v : tensor<?x16x8x128xbf16>) table(%pages : tensor<?x?xi32>)
        lens(%kv_lens : tensor<?xi32>) starts(%query_starts : tensor<?xi32>)
        outs(%o : tensor<?x32x128xbf16>, %l : tensor<?x32xf32>)
        {key_layout = #paged_attn.layout<"pshd">, mask = #paged_attn.mask<causal>}
        -> tensor<?x32x128xbf16>, tensor<?x32xf32>
    ```
  }];
  let arguments = (ins
    PagedAttn_ModeAttr:$mode,
    PagedAttn_FloatBuffer<3, "[T, Hq, Dk]">:$query,
    PagedAttn_Pool:$keys,
    Optional<PagedAttn_Pool>:$values,
    Optional<PagedAttn_IndexBuffer<2, "[B, N]">>:$page_table,
    Optional<PagedAttn_IndexBuffer<1, "[nnz]">>:$page_indices,
    Optional<PagedAttn_IndexBuffer<1, "[B + 1]">>:$page_indptr,
    PagedAttn_IndexBuffer<1, "[B]">:$kv_lens,
    Optional<PagedAttn_IndexBuffer<1, "[B + 1]">>:$query_starts,
    Optional<PagedAttn_IndexBuffer<1, "[B]">>:$query_offsets,
    Optional<Index>:$layer,
    Optional<PagedAttn_Scales>:$key_scale,
    Optional<PagedAttn_Scales>:$value_scale,
    Optional<PagedAttn_F32Buffer<1, "[Hq]">>:$alibi_slopes,
    Optional<PagedAttn_F32Buffer<1, "[Hq]">>:$sinks,
    Optional<PagedAttn_FloatBuffer<3, "[T, 1 or Hq, K]">>:$bias,
    Variadic<AnyType>:$captures,
    PagedAttn_FloatBuffer<3, "[T, Hq, Dv]">:$out,
    Optional<PagedAttn_F32Buffer<2, "[T, Hq]">>:$lse,
    PagedAttn_LayoutAttr:$key_layout,
    OptionalAttr<PagedAttn_LayoutAttr>:$value_layout,
    OptionalAttr<PagedAttn_MaskAttr>:$mask,
    OptionalAttr<F32Attr>:$scale,
    OptionalAttr<F32Attr>:$softcap,
    OptionalAttr<TypeAttr>:$accumulation);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let regions = (region MaxSizedRegion<1>:$score);
  let assemblyFormat = [{
    $mode `query` `(` $query `:` type($query) `)` `keys` `(` $keys `:` type($keys) `)`
    (`values` `(` $values^ `:` type($values) `)`)?
    (`table` `(` $page_table^ `:` type($page_table) `)`)?
    (`csr` `(` $page_indices^ `:` type($page_indices) `,` $page_indptr `:` type($page_indptr) `)`)?
    `lens` `(` $kv_lens `:` type($kv_lens) `)`
    (`starts` `(` $query_starts^ `:` type($query_starts) `)`)?
    (`offsets` `(` $query_offsets^ `:` type($query_offsets) `)`)?
    (`layer` `(` $layer^ `)`)?
    (`k_scale` `(` $key_scale^ `:` type($key_scale) `)`)?
    (`v_scale` `(` $value_scale^ `:` type($value_scale) `)`)?
    (`alibi` `(` $alibi_slopes^ `:` type($alibi_slopes) `)`)?
    (`sinks` `(` $sinks^ `:` type($sinks) `)`)?
    (`bias` `(` $bias^ `:` type($bias) `)`)?
    (`captures` `(` $captures^ `:` type($captures) `)`)?
    `outs` `(` $out `:` type($out) (`,` $lse^ `:` type($lse))? `)`
    attr-dict custom<ScoreRegion>($score, ref(type($captures)))
    (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let hasRegionVerifier = 1;
  let hasCanonicalizer = 1;
  let extraClassDeclaration = [{
    MutableOperandRange getDpsInitsMutable();

    bool hasPureTensors() { return isa<RankedTensorType>(getQuery().getType()); }
    /// Layout of the values; the keys' where none is given.
    LayoutAttr getValueLayoutOrDefault();
    /// The mask; a full one where none is given.
    MaskAttr getMaskOrDefault();
    /// The scale; 1 / sqrt(Dk) where none is given (needs a static Dk).
    float getScaleOrDefault();
    /// The pool that holds V: `values`, or `keys` when one pool holds both.
    Value getValuePool();
    /// True when V is the first Dv entries of each key.
    bool isLatent();
    /// Sizes; ShapedType::kDynamic where unknown.
    int64_t getNumSequences();
    int64_t getNumTokens();
    int64_t getNumQueryHeads();
    int64_t getNumKVHeads();
    int64_t getGroupSize();
    int64_t getKeyDim();
    int64_t getValueDim();
    int64_t getPageSize();
  }];
}

def PagedAttn_YieldOp : PagedAttn_Op<"yield",
    [Pure, Terminator, HasParent<"AttentionOp">]> {
  let summary = "ends a score region";
  let description = [{
    Gives the new score and, optionally, whether the position stays visible.

    Example:
    ```mlir
    paged_attn.yield %score, %visible : f32, i1
    ```
  }];
  let arguments = (ins F32:$score, Optional<I1>:$visible);
  let assemblyFormat = "$score (`,` $visible^)? attr-dict `:` type($score) (`,` type($visible)^)?";
}

def PagedAttn_AppendOp : PagedAttn_DestinationOp<"append", [AttrSizedOperandSegments]> {
  let summary = "writes new keys and values into their slots";
  let description = [{
    Token t goes to slot `slots[t]` (page * S + slot; -1 = skip), or, with a
    page table, to position L - n + i of its sequence. Values are converted to
    the pool's element type. Nothing else in the pools changes.

    **Constraints**
    - (C1) keys are [T, Hkv, Dk]; values [T, Hkv, Dv]
    - (C2) each pool has as many dimensions as its layout, fits its pack and has slots, heads and a head dim; without a value pool, value_layout is absent or key_layout
    - (C3) a layout with `c` has size 2 there and one pool takes keys and values; without `c`, values stand with a value pool; `layer` is given exactly when a layout has `l`
    - (C4) pools and new tokens agree on KV heads and head dims
    - (C5) exactly one of `slots`, `table` and `csr` is given; `lens` stands with table or csr, and only there; `starts` needs `lens`
    - (C6) slots has T entries; table rows, lens, starts - 1 and indptr - 1 agree on B
    - (C7) with a table and without starts, B is at least 1 and T a multiple of B
    - (C8) all operands are tensors with one result per pool, or all are memrefs without results
    - (C9) the pools are of a float type (quantised pools: not yet)

    Example:
    ```mlir
    %k1, %v1 = paged_attn.append keys(%kn : tensor<?x8x128xf32>)
        values(%vn : tensor<?x8x128xf32>) slots(%slots : tensor<?xi64>)
        outs(%k : tensor<?x16x8x128xbf16>, %v : tensor<?x16x8x128xbf16>)
        {key_layout = #paged_attn.layout<"pshd">}
        -> tensor<?x16x8x128xbf16>, tensor<?x16x8x128xbf16>
    ```
  }];
  let arguments = (ins
    PagedAttn_FloatBuffer<3, "[T, Hkv, Dk]">:$keys,
    Optional<PagedAttn_FloatBuffer<3, "[T, Hkv, Dv]">>:$values,
    Optional<PagedAttn_IndexBuffer<1, "[T]">>:$slots,
    Optional<PagedAttn_IndexBuffer<2, "[B, N]">>:$page_table,
    Optional<PagedAttn_IndexBuffer<1, "[nnz]">>:$page_indices,
    Optional<PagedAttn_IndexBuffer<1, "[B + 1]">>:$page_indptr,
    Optional<PagedAttn_IndexBuffer<1, "[B]">>:$kv_lens,
    Optional<PagedAttn_IndexBuffer<1, "[B + 1]">>:$query_starts,
    Optional<Index>:$layer,
    PagedAttn_Pool:$key_pool,
    Optional<PagedAttn_Pool>:$value_pool,
    PagedAttn_LayoutAttr:$key_layout,
    OptionalAttr<PagedAttn_LayoutAttr>:$value_layout);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `keys` `(` $keys `:` type($keys) `)` (`values` `(` $values^ `:` type($values) `)`)?
    (`slots` `(` $slots^ `:` type($slots) `)`)?
    (`table` `(` $page_table^ `:` type($page_table) `)`)?
    (`csr` `(` $page_indices^ `:` type($page_indices) `,` $page_indptr `:` type($page_indptr) `)`)?
    (`lens` `(` $kv_lens^ `:` type($kv_lens) `)`)?
    (`starts` `(` $query_starts^ `:` type($query_starts) `)`)?
    (`layer` `(` $layer^ `)`)?
    `outs` `(` $key_pool `:` type($key_pool) (`,` $value_pool^ `:` type($value_pool))? `)`
    attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    MutableOperandRange getDpsInitsMutable();
    bool hasPureTensors() { return isa<RankedTensorType>(getKeys().getType()); }
    LayoutAttr getValueLayoutOrDefault();
    /// The pool that takes the values: `value_pool`, or `key_pool` when one pool holds both.
    Value getValueTarget();
  }];
}

def PagedAttn_GatherOp : PagedAttn_DestinationOp<"gather", [AttrSizedOperandSegments]> {
  let summary = "copies the pages of each sequence into a dense tensor";
  let description = [{
    out[b, j] = pool at position j of sequence b for j < kv_len[b], 0 for the
    rest: for import, export and references.

    **Constraints**
    - (C1) the pool has as many dimensions as its layout and fits its pack; with `c` it has size 2 there, with `l` it needs `layer`
    - (C2) exactly one of `table` and `csr` is given
    - (C3) out is [B, M, Hkv, D] like the table and the pool
    - (C4) table rows, lens and indptr - 1 agree on B
    - (C5) all operands are tensors with one result, or all are memrefs without results
    - (C6) the pool is of a float type (quantised pools: not yet)

    Example:
    ```mlir
    %dense = paged_attn.gather key pool(%k : tensor<?x16x8x128xbf16>)
        table(%pages : tensor<?x?xi32>) lens(%kv_lens : tensor<?xi32>)
        outs(%o : tensor<?x?x8x128xf32>)
        {layout = #paged_attn.layout<"pshd">} -> tensor<?x?x8x128xf32>
    ```
  }];
  let arguments = (ins
    PagedAttn_PartAttr:$part,
    PagedAttn_Pool:$pool,
    Optional<PagedAttn_IndexBuffer<2, "[B, N]">>:$page_table,
    Optional<PagedAttn_IndexBuffer<1, "[nnz]">>:$page_indices,
    Optional<PagedAttn_IndexBuffer<1, "[B + 1]">>:$page_indptr,
    PagedAttn_IndexBuffer<1, "[B]">:$kv_lens,
    Optional<Index>:$layer,
    PagedAttn_FloatBuffer<4, "[B, M, Hkv, D]">:$out,
    PagedAttn_LayoutAttr:$layout);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $part `pool` `(` $pool `:` type($pool) `)`
    (`table` `(` $page_table^ `:` type($page_table) `)`)?
    (`csr` `(` $page_indices^ `:` type($page_indices) `,` $page_indptr `:` type($page_indptr) `)`)?
    `lens` `(` $kv_lens `:` type($kv_lens) `)` (`layer` `(` $layer^ `)`)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    MutableOperandRange getDpsInitsMutable() { return getOutMutable(); }
    bool hasPureTensors() { return isa<RankedTensorType>(getPool().getType()); }
  }];
}

def PagedAttn_CopyPagesOp : PagedAttn_DestinationOp<"copy_pages"> {
  let summary = "copies whole pages inside a pool";
  let description = [{
    For each row (source, target) of `pairs` [n, 2], in order: page target
    becomes a copy of page source. A negative source skips the row. Serves
    copy-on-write and compaction.

    **Constraints**
    - (C1) the pool has as many dimensions as its layout and fits its pack
    - (C2) pairs is [n, 2]
    - (C3) all operands are tensors with one result, or all are memrefs without results

    Example:
    ```mlir
    %k1 = paged_attn.copy_pages pairs(%pairs : tensor<?x2xi64>)
        outs(%k : tensor<?x16x8x128xbf16>)
        {layout = #paged_attn.layout<"pshd">} -> tensor<?x16x8x128xbf16>
    ```
  }];
  let arguments = (ins
    PagedAttn_IndexBuffer<2, "[n, 2]">:$pairs,
    PagedAttn_Pool:$pool,
    PagedAttn_LayoutAttr:$layout);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `pairs` `(` $pairs `:` type($pairs) `)` `outs` `(` $pool `:` type($pool) `)`
    attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    MutableOperandRange getDpsInitsMutable() { return getPoolMutable(); }
    bool hasPureTensors() { return isa<RankedTensorType>(getPool().getType()); }
  }];
}

def PagedAttn_MergeStatesOp : PagedAttn_DestinationOp<"merge_states",
    [AttrSizedOperandSegments]> {
  let summary = "merges attention over disjoint parts of the keys";
  let description = [{
    With m = max_i lse_i: lse = m + log(sum_i exp(lse_i - m)) and
    out = sum_i exp(lse_i - lse) parts_i. Parts with lse -inf add nothing,
    whatever they hold; when all are -inf, out is 0 and lse -inf. Serves
    cascade and context-parallel attention.

    **Constraints**
    - (C1) there are at least two parts and as many lses
    - (C2) all parts are [T, Hq, Dv] like out
    - (C3) all lses are [T, Hq] like the parts
    - (C4) all operands are tensors with one result per out, or all are memrefs without results

    Example:
    ```mlir
    %o, %l = paged_attn.merge_states
        parts(%a, %b : tensor<?x32x128xf32>, tensor<?x32x128xf32>)
        lses(%la, %lb : tensor<?x32xf32>, tensor<?x32xf32>)
        outs(%out : tensor<?x32x128xf32>, %lse : tensor<?x32xf32>)
        -> tensor<?x32x128xf32>, tensor<?x32xf32>
    ```
  }];
  let arguments = (ins
    Variadic<PagedAttn_FloatBuffer<3, "[T, Hq, Dv]">>:$parts,
    Variadic<PagedAttn_F32Buffer<2, "[T, Hq]">>:$lses,
    PagedAttn_FloatBuffer<3, "[T, Hq, Dv]">:$out,
    Optional<PagedAttn_F32Buffer<2, "[T, Hq]">>:$lse);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `parts` `(` $parts `:` type($parts) `)` `lses` `(` $lses `:` type($lses) `)`
    `outs` `(` $out `:` type($out) (`,` $lse^ `:` type($lse))? `)`
    attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    MutableOperandRange getDpsInitsMutable();
    bool hasPureTensors() { return isa<RankedTensorType>(getOut().getType()); }
  }];
}

//===----------------------------------------------------------------------===//
// Level 2: tile ops. R rows (row = token * G + head), W keys of a tile.
//===----------------------------------------------------------------------===//

def PagedAttn_LoadQueryOp : PagedAttn_DestinationOp<"load_query"> {
  let summary = "reads the query rows of a tile, scaled";
  let description = [{
    out[t * G + g, :] = factor * query[t, g, :] for t below the number of tokens
    of `query` [nt, G, Dk]; the rows after that are 0.

    **Constraints**
    - (C1) query is [nt, G, Dk], out [R, Dk] with static R and Dk, R at least nt * G
    - (C2) all operands are tensors with one result, or all are memrefs without results

    Example:
    ```mlir
    %rows = paged_attn.load_query query(%slice : tensor<?x4x128xbf16>)
        outs(%init : tensor<32x128xf32>) {factor = 1.275174e-01 : f32} -> tensor<32x128xf32>
    ```
  }];
  let arguments = (ins
    PagedAttn_FloatBuffer<3, "[nt, G, Dk]">:$query,
    PagedAttn_F32Buffer<2, "[R, Dk]">:$out,
    F32Attr:$factor);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `query` `(` $query `:` type($query) `)` `outs` `(` $out `:` type($out) `)`
    attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    MutableOperandRange getDpsInitsMutable() { return getOutMutable(); }
    bool hasPureTensors() { return isa<RankedTensorType>(getQuery().getType()); }
  }];
}

def PagedAttn_LoadTileOp : PagedAttn_DestinationOp<"load_tile", [AttrSizedOperandSegments]> {
  let summary = "reads the keys or values of W consecutive positions";
  let description = [{
    Reads positions [pos, pos + W) of one sequence and KV head through
    `pages` [n], the sequence's row of the page table, and widens them to f32.
    A key tile is [Dk, W] (keys are columns), a value tile [W, Dv]. With
    `scale` every entry is multiplied by the factor of its pool, KV head, or
    token and KV head.

    `none` promises that the whole tile lies in [begin, end). With `boundary`
    only pages that hold a position in [begin, end) are touched; outside it a
    value tile is 0 and a key tile unspecified (its scores are masked).

    **Constraints**
    - (C1) the pool has as many dimensions as its layout and fits its pack; `layer` is given exactly when the layout has `l`
    - (C2) a key tile is [D, W] with the pool's head dim D; a value tile [W, Dv] with Dv at most D; both are static
    - (C3) W is a multiple of the page size, or divides it
    - (C4) all operands are tensors with one result, or all are memrefs without results
    - (C5) an integer pool needs `scale`, a float pool of 16 bits and more takes none; it is one, [Hkv] or [P, S, Hkv] like the pool

    Example:
    ```mlir
    %k = paged_attn.load_tile key boundary pool(%pool : tensor<?x16x8x128xbf16>)
        pages(%row : tensor<?xi32>) at(%head, %pos) range(%begin, %end)
        outs(%init : tensor<128x64xf32>) {layout = #paged_attn.layout<"pshd">} -> tensor<128x64xf32>
    ```
  }];
  let arguments = (ins
    PagedAttn_PartAttr:$part,
    PagedAttn_MaskKindAttr:$mask_kind,
    PagedAttn_Pool:$pool,
    PagedAttn_IndexBuffer<1, "[n]">:$pages,
    Index:$head,
    Index:$pos,
    Index:$begin,
    Index:$end,
    Optional<Index>:$layer,
    Optional<PagedAttn_Scales>:$scale,
    PagedAttn_F32Buffer<2, "[D, W] or [W, D]">:$out,
    PagedAttn_LayoutAttr:$layout);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $part $mask_kind `pool` `(` $pool `:` type($pool) `)` `pages` `(` $pages `:` type($pages) `)`
    `at` `(` $head `,` $pos `)` `range` `(` $begin `,` $end `)` (`layer` `(` $layer^ `)`)?
    (`scale` `(` $scale^ `:` type($scale) `)`)?
    `outs` `(` $out `:` type($out) `)` attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    MutableOperandRange getDpsInitsMutable() { return getOutMutable(); }
    bool hasPureTensors() { return isa<RankedTensorType>(getOut().getType()); }
  }];
}

def PagedAttn_OnlineUpdateOp : PagedAttn_DestinationOp<"online_update"> {
  let summary = "one step of online softmax over a tile of keys";
  let description = [{
    With x[r, c] = dot(query[r, :], keys[:, c]), or with softcap
    x = softcap * log2(e) * tanh(dot), plus slopes[r] * (j - p):

        m' = max(m, max_c x)
        a  = 2 ^ (m - m')
        w  = 2 ^ (x - m')
        l' = a * l + sum_c w
        acc' = a * acc + w V

    Column c stands at position j = pos + c, row r at p = q_positions[r].
    `boundary` drops positions outside [begin, end) and those that `mask` hides
    from a row; `none` promises that there are none. Scores are in the log2
    domain: the query is scaled by scale * log2(e) (with softcap: scale /
    softcap) and slopes by log2(e). m starts at -inf: 2 ^ (-inf - -inf) counts
    as 0. Rows at or past `rows` need no update; rows are taken `row_block` at
    a time.

    **Constraints**
    - (C1) query [R, Dk], keys [Dk, W], values [W, Dv], acc [R, Dv], m and l [R], q_positions and slopes [R], all static
    - (C2) softcap is finite and positive
    - (C3) all operands are tensors with one result per out, or all are memrefs without results
    - (C4) row_block is positive and divides R

    Example:
    ```mlir
    %acc1, %m1, %l1 = paged_attn.online_update boundary query(%q : tensor<4x128xf32>)
        keys(%k : tensor<128x64xf32>) values(%v : tensor<64x128xf32>)
        at(%pos) range(%begin, %end) rows(%n) q_positions(%p : tensor<4xi32>)
        outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
        {mask = #paged_attn.mask<causal>} -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
    ```
  }];
  let arguments = (ins
    PagedAttn_MaskKindAttr:$mask_kind,
    PagedAttn_F32Buffer<2, "[R, Dk]">:$query,
    PagedAttn_F32Buffer<2, "[Dk, W]">:$keys,
    PagedAttn_F32Buffer<2, "[W, Dv]">:$values,
    Index:$pos,
    Index:$begin,
    Index:$end,
    Index:$rows,
    PagedAttn_Buffer<[1], [I32], "[R] of i32">:$q_positions,
    Optional<PagedAttn_F32Buffer<1, "[R]">>:$slopes,
    PagedAttn_F32Buffer<2, "[R, Dv]">:$acc,
    PagedAttn_F32Buffer<1, "[R]">:$m,
    PagedAttn_F32Buffer<1, "[R]">:$l,
    OptionalAttr<PagedAttn_MaskAttr>:$mask,
    OptionalAttr<F32Attr>:$softcap,
    DefaultValuedAttr<I64Attr, "1">:$row_block);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    $mask_kind `query` `(` $query `:` type($query) `)` `keys` `(` $keys `:` type($keys) `)`
    `values` `(` $values `:` type($values) `)` `at` `(` $pos `)` `range` `(` $begin `,` $end `)`
    `rows` `(` $rows `)` `q_positions` `(` $q_positions `:` type($q_positions) `)`
    (`slopes` `(` $slopes^ `:` type($slopes) `)`)?
    `outs` `(` $acc `:` type($acc) `,` $m `:` type($m) `,` $l `:` type($l) `)`
    attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    MutableOperandRange getDpsInitsMutable();
    bool hasPureTensors() { return isa<RankedTensorType>(getAcc().getType()); }
  }];
}

def PagedAttn_CombineOp : PagedAttn_DestinationOp<"combine"> {
  let summary = "merges partial softmax states";
  let description = [{
    Merges K states over disjoint keys into the state in `outs`, in order:
    m' = max(m, m_k), l' = 2^(m - m') l + 2^(m_k - m') l_k, acc likewise.

    **Constraints**
    - (C1) states are [K, R, Dv], [K, R], [K, R]; outs [R, Dv], [R], [R], static
    - (C2) all operands are tensors with one result per out, or all are memrefs without results

    Example:
    ```mlir
    %acc1, %m1, %l1 = paged_attn.combine
        states(%accs : tensor<8x4x128xf32>, %ms : tensor<8x4xf32>, %ls : tensor<8x4xf32>)
        outs(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
        -> tensor<4x128xf32>, tensor<4xf32>, tensor<4xf32>
    ```
  }];
  let arguments = (ins
    PagedAttn_F32Buffer<3, "[K, R, Dv]">:$accs,
    PagedAttn_F32Buffer<2, "[K, R]">:$ms,
    PagedAttn_F32Buffer<2, "[K, R]">:$ls,
    PagedAttn_F32Buffer<2, "[R, Dv]">:$acc,
    PagedAttn_F32Buffer<1, "[R]">:$m,
    PagedAttn_F32Buffer<1, "[R]">:$l);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `states` `(` $accs `:` type($accs) `,` $ms `:` type($ms) `,` $ls `:` type($ls) `)`
    `outs` `(` $acc `:` type($acc) `,` $m `:` type($m) `,` $l `:` type($l) `)`
    attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    MutableOperandRange getDpsInitsMutable();
    bool hasPureTensors() { return isa<RankedTensorType>(getAcc().getType()); }
  }];
}

def PagedAttn_FinalizeOp : PagedAttn_DestinationOp<"finalize", [AttrSizedOperandSegments]> {
  let summary = "turns a softmax state into outputs";
  let description = [{
    For token t below the first size of `out` [nt, G, Dv] and head g, row
    r = t * G + g: out[t, g] = acc[r] / l[r], lse[t, g] = ln(2) (m[r] + log2(l[r])).
    With sinks (log2 domain) 2^(sinks[r] - m) joins l. A row with l = 0 gives 0
    and lse -inf (with sinks: lse = ln(2) sinks[r]).

    **Constraints**
    - (C1) acc is [R, Dv], m, l and sinks [R], static; out [nt, G, Dv], lse [nt, G] with nt * G at most R
    - (C2) all operands are tensors with one result per out, or all are memrefs without results

    Example:
    ```mlir
    %o1, %l1 = paged_attn.finalize state(%acc : tensor<4x128xf32>, %m : tensor<4xf32>, %l : tensor<4xf32>)
        outs(%o : tensor<?x4x128xbf16>, %lse : tensor<?x4xf32>)
        -> tensor<?x4x128xbf16>, tensor<?x4xf32>
    ```
  }];
  let arguments = (ins
    PagedAttn_F32Buffer<2, "[R, Dv]">:$acc,
    PagedAttn_F32Buffer<1, "[R]">:$m,
    PagedAttn_F32Buffer<1, "[R]">:$l,
    Optional<PagedAttn_F32Buffer<1, "[R]">>:$sinks,
    PagedAttn_FloatBuffer<3, "[nt, G, Dv]">:$out,
    Optional<PagedAttn_F32Buffer<2, "[nt, G]">>:$lse);
  let results = (outs Variadic<AnyRankedTensor>:$results);
  let assemblyFormat = [{
    `state` `(` $acc `:` type($acc) `,` $m `:` type($m) `,` $l `:` type($l) `)`
    (`sinks` `(` $sinks^ `:` type($sinks) `)`)?
    `outs` `(` $out `:` type($out) (`,` $lse^ `:` type($lse))? `)`
    attr-dict (`->` type($results)^)?
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    MutableOperandRange getDpsInitsMutable();
    bool hasPureTensors() { return isa<RankedTensorType>(getAcc().getType()); }
  }];
}

#endif // PAGED_ATTN_IR_PAGEDATTNOPS_TD
