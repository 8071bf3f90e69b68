//===- PagedAttnAttrs.td - Modes, layouts and masks --------*- tablegen -*-===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Attributes that the ops of every level share.
//
//===----------------------------------------------------------------------===//

#ifndef PAGED_ATTN_IR_PAGEDATTNATTRS_TD
#define PAGED_ATTN_IR_PAGEDATTNATTRS_TD

include "paged_attn/IR/PagedAttnBase.td"
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/EnumAttr.td"

class PagedAttn_Enum<I32Enum info, string mnemonic>
    : EnumAttr<PagedAttn_Dialect, info, mnemonic> {
  let assemblyFormat = "$value";
}

class PagedAttn_I32Enum<string name, string summary, list<EnumCase> cases>
    : I32Enum<name, summary, cases> {
  let cppNamespace = "::mlir::paged_attn";
}

def PagedAttn_Mode : PagedAttn_I32Enum<"Mode", "how the work of a call is cut", [
  I32EnumCase<"Auto", 0, "auto">,
  I32EnumCase<"Prefill", 1, "prefill">,
  I32EnumCase<"Decode", 2, "decode">,
  I32EnumCase<"Mixed", 3, "mixed">]>;
def PagedAttn_ModeAttr : PagedAttn_Enum<PagedAttn_Mode, "mode">;

def PagedAttn_MaskKind : PagedAttn_I32Enum<"MaskKind",
    "whether a tile lies inside every row's visible range", [
  I32EnumCase<"None", 0, "none">,
  I32EnumCase<"Boundary", 1, "boundary">]>;
def PagedAttn_MaskKindAttr : PagedAttn_Enum<PagedAttn_MaskKind, "mask_kind">;

def PagedAttn_Part : PagedAttn_I32Enum<"Part", "the half of a K/V pair", [
  I32EnumCase<"Key", 0, "key">,
  I32EnumCase<"Value", 1, "value">]>;
def PagedAttn_PartAttr : PagedAttn_Enum<PagedAttn_Part, "part">;

class PagedAttn_Attr<string name, string attrMnemonic>
    : AttrDef<PagedAttn_Dialect, name> {
  let mnemonic = attrMnemonic;
}

def PagedAttn_LayoutAttr : PagedAttn_Attr<"Layout", "layout"> {
  let summary = "names each dimension of a pool by a letter";
  let description = [{
    `p` page, `s` slot, `h` KV head, `d` head dim, `c` the K/V pair (when one
    pool holds both: K at 0, V at 1), `l` layer. With `pack = n` the head dim is
    split: the dimension `d` counts D / n groups and a last dimension of n
    follows, so `<"phds", pack = 2>` is `[P, Hkv, D/2, S, 2]`.

    Known layouts: `pshd` (vLLM, FlashInfer NHD), `phsd` (FlashInfer HND),
    `hpsd` (EasyDeL), `pcshd` (FlashInfer 5-D), `cpshd` (vLLM), `pshcd` (JAX
    ragged paged attention), `phds` (keys transposed inside the page).

    **Constraints**
    - (C1) every letter is one of p, s, h, d, c, l and stands at most once
    - (C2) p, s, h and d are there
    - (C3) the last letter is d or s
    - (C4) pack is at least 1

    Example:
    ```mlir
    #paged_attn.layout<"phds", pack = 2>
    ```
  }];
  let parameters = (ins
    StringRefParameter<"one letter per dimension">:$dims,
    DefaultValuedParameter<"int64_t", "1", "elements of d in the last dimension">:$pack);
  let assemblyFormat = "`<` $dims (`,` `pack` `=` $pack^)? `>`";
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// Dimensions of a pool: one per letter, one more when packed.
    int64_t getRank() const { return getDims().size() + (getPack() > 1); }
    /// True when the layout names `letter`.
    bool hasDim(char letter) const { return getDims().contains(letter); }
    /// Position of `letter`; the layout must have it.
    unsigned getDim(char letter) const { return getDims().find(letter); }
    /// True when the slots of a page vary faster than its head dim.
    bool isTransposed() const { return getDim('d') < getDim('s'); }
  }];
}

def PagedAttn_MaskAttr : PagedAttn_Attr<"Mask", "mask"> {
  let summary = "which key positions a query position may see";
  let description = [{
    Position j is visible from position p when all of these hold:
    - `causal`: j <= p
    - `window = W`: j > p - W (the window counts p itself), or j < sink_tokens
    - `chunk = C`: j / C == p / C (integer division)

    Without any of them every j < kv_len is visible. The mask is structural:
    tile ranges are computed from it and pages outside are never touched.

    **Constraints**
    - (C1) window, sink_tokens and chunk are not negative
    - (C2) sink_tokens needs a window

    Example:
    ```mlir
    #paged_attn.mask<causal, window = 4096, sink_tokens = 4>
    ```
  }];
  let parameters = (ins
    "bool":$causal,
    DefaultValuedParameter<"int64_t", "0", "tokens, 0: no window">:$window,
    DefaultValuedParameter<"int64_t", "0", "tokens">:$sinkTokens,
    DefaultValuedParameter<"int64_t", "0", "tokens, 0: no chunks">:$chunk);
  let hasCustomAssemblyFormat = 1;
  let genVerifyDecl = 1;
  let extraClassDeclaration = [{
    /// True when nothing is masked.
    bool isFull() const { return !getCausal() && !getWindow() && !getChunk(); }
    /// True when the first visible position can be above 0.
    bool hasLowerBound() const { return getWindow() || getChunk(); }
  }];
}

#endif // PAGED_ATTN_IR_PAGEDATTNATTRS_TD
