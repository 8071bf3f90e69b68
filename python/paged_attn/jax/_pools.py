"""Pools of any layout, read and written page by page with plain JAX operations.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

A layout is a string of dimension letters, outermost first (p page, s slot, h KV head,
d head dim, c key/value pair, l layer), and a pack factor that splits d. Nothing here
transposes a whole pool: pages are gathered first, then brought into the order
[page, slot, head, depth]; writes are scatters into the pool as it lies.
"""

from __future__ import annotations

import dataclasses
from typing import Optional

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Layout:
    """The order of a pool's dimensions and the pack factor of d."""

    dims: str = "pshd"
    pack: int = 1

    @staticmethod
    def parse(text: "str | Layout") -> "Layout":
        """Reads ``pshd`` or ``phds, pack = 2``.

        Raises
        ------
        ValueError
            When the text names no layout.
        """
        if isinstance(text, Layout):
            return text
        dims, _, rest = text.partition(",")
        name, _, value = rest.partition("=")
        dims, value = dims.strip(), value.strip() or "1"
        good = set("pshd") <= set(dims) <= set("pshdcl") and len(set(dims)) == len(dims)
        if (
            not good
            or dims[-1] not in "ds"
            or name.strip() not in ("", "pack")
            or not value.isdigit()
        ):
            raise ValueError(
                "expected a layout such as 'pshd' or 'phds, pack = 2' of the letters "
                f"p, s, h, d, c and l that ends in d or s, got '{text}'"
            )
        return Layout(dims, int(value))

    @property
    def rank(self) -> int:
        """Dimensions of a pool."""
        return len(self.dims) + (self.pack > 1)

    def extent(self, pool, letter: str) -> int:
        """Extent of one letter; 1 where the layout lacks it. For d, all packs."""
        if letter not in self.dims:
            return 1
        size = pool.shape[self.dims.index(letter)]
        return size * self.pack if letter == "d" else size

    def check(self, pool, name: str) -> None:
        """Raises ValueError when `pool` has another rank, or a wrong c or pack."""
        if pool.ndim != self.rank:
            raise ValueError(
                f"expected {name} of rank {self.rank} for layout '{self.dims}', got {pool.ndim}"
            )
        if "c" in self.dims and self.extent(pool, "c") != 2:
            raise ValueError(f"expected 2 entries of c in {name}, got {self.extent(pool, 'c')}")
        if self.pack > 1 and pool.shape[-1] != self.pack:
            raise ValueError(
                f"expected a last dimension of {self.pack} in {name}, got {pool.shape[-1]}"
            )


def _index(layout: Layout, places: dict):
    """The numpy index with arrays at `places`, and where their dimension lands."""
    index = tuple(places.get(letter, slice(None)) for letter in layout.dims)
    taken = [i for i, letter in enumerate(layout.dims) if letter in places]
    adjacent = taken[-1] - taken[0] == len(taken) - 1
    return index, taken[0] if adjacent else 0


def take_pages(pool, layout: Layout, pages, layer=None):
    """Pages of a pool.

    Parameters
    ----------
    pages : [C]
        Physical pages, any values: ids outside [0, P) read some page.
    layer : scalar, optional
        For layouts with l.

    Returns
    -------
    [C, S, Hkv, D], or [2, C, S, Hkv, D] for a layout with c.
    """
    places = {"p": jnp.clip(pages, 0, max(layout.extent(pool, "p") - 1, 0))}
    if "l" in layout.dims:
        places["l"] = jnp.broadcast_to(jnp.asarray(layer, places["p"].dtype), places["p"].shape)
    index, position = _index(layout, places)
    tile = pool[index]
    rest = [letter for letter in layout.dims if letter not in places]
    order = rest[:position] + ["p"] + rest[position:]
    wanted = [letter for letter in "cpshd" if letter in order]
    axes = [order.index(letter) for letter in wanted]
    if layout.pack == 1:
        return tile.transpose(axes)
    tile = tile.transpose(axes + [len(order)])
    return tile.reshape(*tile.shape[:-2], -1)


def put_rows(pool, layout: Layout, rows, pages, slots, pair: Optional[int] = None, layer=None):
    """Writes `rows` [T, Hkv, D] to slot `slots[t]` of page `pages[t]`, converted to the
    pool's type. Tokens whose page lies outside [0, P) are left out."""
    num_pages = layout.extent(pool, "p")
    places = {"p": jnp.where(pages < 0, num_pages, pages), "s": slots}
    if "l" in layout.dims:
        places["l"] = jnp.broadcast_to(jnp.asarray(layer, places["p"].dtype), places["p"].shape)
    if "c" in layout.dims:
        places["c"] = jnp.full_like(places["p"], pair)
    index, position = _index(layout, places)
    rest = [letter for letter in layout.dims if letter not in places]
    order = rest[:position] + ["t"] + rest[position:]
    names = "thd"
    if layout.pack > 1:
        rows = rows.reshape(*rows.shape[:-1], -1, layout.pack)
        order, names = order + ["k"], names + "k"
    rows = rows.transpose([names.index(letter) for letter in order])
    return pool.at[index].set(rows.astype(pool.dtype), mode="drop")
