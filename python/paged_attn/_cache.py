"""KVCacheManager: sequences over a paged KV cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from . import _core
from ._indices import as_indices

Tokens = Union[Sequence[int], np.ndarray]
Requests = Union[Mapping[int, Tokens], Iterable[Tuple[int, Tokens]]]

_PAGE_SHAPES = {"pshd": "shd", "phsd": "hsd", "phds": "hds"}


class PrefixMatch(NamedTuple):
    """A cached prefix whose pages are held until it is used or released."""

    handle: int
    num_tokens: int
    copied_tokens: int


class SequenceInfo(NamedTuple):
    """Lengths of a sequence, in tokens, and its pages per group."""

    num_tokens: int
    num_committed: int
    is_swapped: bool
    num_pages: list


class BatchViews(NamedTuple):
    """What kernels take for a batch of sequences, as numpy arrays.

    ``page_table`` [B, N] int32 (-1 past the pages of a sequence), ``kv_lens``
    [B] int32 (new tokens included), ``query_starts`` [B + 1] int32 (new
    tokens), ``slots`` [new tokens] int64, and the table in CSR form:
    ``page_indices`` [nnz] and ``page_indptr`` [B + 1], int32.
    """

    page_table: np.ndarray
    kv_lens: np.ndarray
    query_starts: np.ndarray
    slots: np.ndarray
    page_indices: np.ndarray
    page_indptr: np.ndarray


def _tokens(tokens):
    array = as_indices(tokens, "tokens", "int32")
    if array.ndim != 1:
        raise ValueError(f"expected tokens to have 1 dimension, got {array.ndim}")
    return array


def _dtype(name):
    if name in ("bfloat16", "float8_e4m3fn"):
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(name)


class KVCacheManager:
    """Sequences of tokens on pages: prefix reuse, slots, forks, windows.

    The life of a request: `match_prefix` and `add_matched_sequence` (or
    `add_sequence`), then per step `allocate_slots`, `run_pending_work`,
    `views`, the kernels, `commit`; at the end `free`. docs/PageTable.md draws
    the model. A call that fails changes nothing.

    Parameters
    ----------
    num_pages : int
        Pages of the pool, page 0 (the null page) included.
    page_size : int
        Slots of a page (tokens).
    num_kv_heads, head_dim : int
    value_dim : int, optional
        Head dim of the values, `head_dim` by default; 0: latent attention.
    num_layers : int
        Layers that share the page table.
    dtype : {"float32", "float16", "bfloat16", "float8_e4m3fn", "int8"}
        Storage type of the pools (bfloat16 and float8 need ml_dtypes).
    layout : {"pshd", "phsd", "phds"}
        Order of the dimensions of a pool, as `attention` takes it.
    window : int
        Tokens that a row sees, its own counted; 0: all of them.
    sink_tokens : int
        First tokens that stay beside the window.
    groups : list of dict, optional
        Several groups of layers, each with the parameters above.
    max_sequences : int
        Sequences and held matches at a time.
    max_tokens : int
        Longest sequence (tokens).
    prefix_cache : bool
        Keep the pages of freed sequences for prompts that begin alike.
    policy : {"lru", "lfu", "slru", "fifo", "priority"}
        Which cached page is reclaimed first.
    fill : {"none", "zero", "nan"}
        What fresh pages are filled with by `run_pending_work`.
    own_memory : bool
        Allocate the pools in host memory (`k_pages`, `v_pages`).
    max_events : int
        Length of the event log.

    Raises
    ------
    ValueError
        An argument does not fit; the text names it.
    OutOfPages
        Pages, sequences or memory ended; a subclass of CacheError.
    CacheError
        Everything else; its ``code`` says what.
    """

    def __init__(
        self,
        num_pages: Optional[int] = None,
        page_size: int = 16,
        num_kv_heads: int = 1,
        head_dim: int = 64,
        *,
        value_dim: Optional[int] = None,
        num_layers: int = 1,
        dtype: str = "float32",
        layout: str = "pshd",
        window: int = 0,
        sink_tokens: int = 0,
        groups: Optional[Sequence[Mapping[str, Any]]] = None,
        max_sequences: int = 256,
        max_tokens: int = 8192,
        prefix_cache: bool = True,
        policy: str = "lru",
        fill: str = "none",
        own_memory: bool = True,
        max_events: int = 4096,
    ) -> None:
        if groups is None:
            if num_pages is None:
                raise ValueError("expected num_pages or groups, got neither")
            groups = [
                dict(
                    num_pages=num_pages,
                    page_size=page_size,
                    num_kv_heads=num_kv_heads,
                    head_dim=head_dim,
                    value_dim=value_dim,
                    num_layers=num_layers,
                    dtype=dtype,
                    layout=layout,
                    window=window,
                    sink_tokens=sink_tokens,
                )
            ]
        self._groups = [self._complete(group) for group in groups]
        self._manager = _core.Manager(
            dict(
                groups=self._groups,
                max_sequences=max_sequences,
                max_tokens=max_tokens,
                prefix_cache=prefix_cache,
                policy=policy,
                fill=fill,
                own_memory=own_memory,
                max_events=max_events,
            )
        )

    @staticmethod
    def _complete(group):
        known = dict(
            num_pages=None, page_size=16, num_kv_heads=1, head_dim=64, value_dim=None,
            num_layers=1, dtype="float32", layout="pshd", window=0, sink_tokens=0,
        )  # fmt: skip
        unknown = set(group) - set(known)
        if unknown:
            raise ValueError(
                f"expected a group to have {', '.join(known)}, got {sorted(unknown)[0]}"
            )
        spec = {**known, **group}
        for name in ("num_pages", "page_size", "num_kv_heads", "head_dim", "num_layers"):
            if not isinstance(spec[name], (int, np.integer)):
                raise TypeError(f"expected {name} to be an integer, got {spec[name]!r}")
        if spec["value_dim"] is None:
            spec["value_dim"] = spec["head_dim"]
        if spec["window"]:
            spec["window_kind"] = "sink" if spec["sink_tokens"] else "sliding"
        return spec

    # Sequences

    def add_sequence(self, *, salt: bytes = b"") -> int:
        """Start an empty sequence; returns its handle (int).

        Only sequences of the same `salt` (bytes) share pages.
        """
        return self._manager.add_sequence(salt)

    def match_prefix(self, tokens: Tokens, *, salt: bytes = b"") -> PrefixMatch:
        """Find the longest cached prefix of `tokens` and hold its pages.

        Pass one token less than the prompt, so that one is left to compute.
        Returns a `PrefixMatch` for `add_matched_sequence` or `release_match`.
        """
        return PrefixMatch(*self._manager.match_prefix(_tokens(tokens), salt))

    def peek_prefix(self, tokens: Tokens, *, salt: bytes = b"") -> int:
        """Length of the longest cached prefix (tokens); holds nothing."""
        return self._manager.peek_prefix(_tokens(tokens), salt)

    def add_matched_sequence(self, match: PrefixMatch) -> int:
        """Start a sequence that holds the tokens of a match; returns its handle."""
        return self._manager.add_matched_sequence(match.handle)

    def release_match(self, match: PrefixMatch) -> None:
        """Give a match back that no sequence is made of."""
        self._manager.release_match(match.handle)

    def fork(self, sequence: int, position: int = -1) -> int:
        """New sequence of the first `position` tokens (-1: all), on the same pages.

        Whoever writes a shared page first gets a copy, see `run_pending_work`.
        """
        return self._manager.fork(sequence, position)

    def truncate(self, sequence: int, num_tokens: int) -> None:
        """Forget the tokens from `num_tokens` on."""
        self._manager.truncate(sequence, num_tokens)

    def free(self, sequence: int, *, keep: bool = True) -> None:
        """End a sequence; with `keep` its committed pages stay in the prefix cache."""
        self._manager.free_sequence(sequence, keep)

    def release_window(self, sequence: int) -> int:
        """Unmap the pages that no later token sees; returns how many."""
        return self._manager.release_window(sequence)

    def set_priority(
        self, sequence: int, begin: int, end: int, priority: int, *, ttl_ms: int = 0
    ) -> None:
        """Priority 0 to 100 of the pages of tokens [begin, end), for `ttl_ms` ms (0: ever)."""
        self._manager.set_priority(sequence, begin, end, priority, ttl_ms)

    def info(self, sequence: int) -> SequenceInfo:
        """Lengths of a sequence, as `SequenceInfo`."""
        return SequenceInfo(**self._manager.sequence_info(sequence))

    def tokens(self, sequence: int) -> np.ndarray:
        """Tokens of a sequence, [num_tokens] int32."""
        return self._manager.sequence_tokens(sequence)

    # A step

    def allocate_slots(
        self, requests: Requests, *, lookahead: int = 0, reserve_pages: int = 0
    ) -> np.ndarray:
        """Append tokens to sequences and map pages for them: all or nothing.

        Parameters
        ----------
        requests : dict or list of (sequence, tokens)
        lookahead : int
            Slots to have ready past the tokens of each sequence.
        reserve_pages : int
            Pages that stay available in every group.

        Returns
        -------
        slots : [tokens] of int64, or [groups, tokens] with several groups
            ``page * page_size + slot`` of each token, in the order of `requests`.

        Raises
        ------
        OutOfPages
            There are not enough pages; nothing was changed.
        """
        pairs = list(requests.items() if isinstance(requests, dict) else requests)
        slots = self._manager.allocate_slots(
            [sequence for sequence, _ in pairs],
            [_tokens(tokens) for _, tokens in pairs],
            [lookahead] * len(pairs),
            reserve_pages,
        )
        return slots[0] if len(self._groups) == 1 else slots

    def run_pending_work(self) -> None:
        """Run the copies and fills that the next kernels rely on, on own memory."""
        self._manager.run_pending_work()

    def take_page_copies(self) -> List[Tuple[int, int, int, int]]:
        """Copies to run on memory elsewhere: list of (group, source, target, num_tokens)."""
        return self._manager.take_page_copies()

    def take_pages_to_zero(self) -> List[Tuple[int, int]]:
        """Pages to fill on memory elsewhere: list of (group, page)."""
        return self._manager.take_pages_to_zero()

    def take_slot_copies(self) -> List[Tuple[int, int, int]]:
        """Slots to copy on memory elsewhere, first: list of (group, source, target)."""
        return self._manager.take_slot_copies()

    def views(self, sequences: Iterable[int], *, group: int = 0) -> BatchViews:
        """Page table, lengths and slots of a batch, as `BatchViews`."""
        return BatchViews(**self._manager.fill_views(list(sequences), group))

    def num_common_prefix_pages(self, sequences: Iterable[int], *, group: int = 0) -> int:
        """Leading pages that all sequences share, for cascade attention."""
        return self._manager.num_common_prefix_pages(list(sequences), group)

    def commit(
        self, sequences: Union[int, Iterable[int]], num_tokens: Optional[int] = None
    ) -> None:
        """Tell that the keys and values of the new tokens are written.

        `sequences` is a handle or a list of them; with `num_tokens` only the
        first new tokens of one sequence are committed.
        """
        if num_tokens is not None:
            if not isinstance(sequences, (int, np.integer)) or not isinstance(
                num_tokens, (int, np.integer)
            ):
                raise TypeError(
                    "expected one sequence and a number with num_tokens, got "
                    f"{type(sequences).__name__} and {type(num_tokens).__name__}"
                )
            self._manager.commit_tokens(int(sequences), int(num_tokens))
        elif isinstance(sequences, (int, np.integer)):
            self._manager.commit([int(sequences)])
        else:
            self._manager.commit(list(sequences))

    def commit_tree(self, sequence: int, path: Sequence[int]) -> None:
        """Keep the new tokens at `path` (ascending), forget the others."""
        self._manager.commit_tree(sequence, list(path))

    # Memory

    def _pages(self, layer, group, values):
        pages = self._manager.pool(group, layer, values)
        if pages is None:
            return None
        spec = self._groups[group]
        sizes = dict(
            s=spec["page_size"],
            h=spec["num_kv_heads"],
            d=spec["value_dim" if values else "head_dim"],
        )
        shape = [sizes[letter] for letter in _PAGE_SHAPES[spec["layout"]]]
        return pages.view(_dtype(spec["dtype"])).reshape(pages.shape[0], *shape)

    def k_pages(self, layer: int = 0, *, group: int = 0) -> np.ndarray:
        """Key pool of a layer as a numpy array over the manager's own memory."""
        return self._pages(layer, group, False)

    def v_pages(self, layer: int = 0, *, group: int = 0) -> Optional[np.ndarray]:
        """Value pool of a layer, or None for latent attention."""
        return self._pages(layer, group, True)

    def compact(self, *, group: int = 0) -> dict:
        """Move pages so that sequences lie on consecutive ones; returns a report (dict)."""
        return self._manager.compact(group)

    def pin_page(self, page: int, *, group: int = 0) -> None:
        """Keep a cached page from being reclaimed until `unpin_page`."""
        self._manager.pin_page(group, page)

    def unpin_page(self, page: int, *, group: int = 0) -> None:
        """Undo `pin_page`."""
        self._manager.unpin_page(group, page)

    def reset_prefix_cache(self) -> None:
        """Drop every cached page that no sequence uses."""
        self._manager.reset_prefix_cache()

    # Tiers and snapshots

    def swap_out(self, sequence: int, path: Union[str, Path, None] = None) -> None:
        """Move a sequence's pages to host memory, or to the file `path`."""
        self._manager.swap_out(sequence, "" if path is None else str(path))

    def swap_in(self, sequence: int) -> None:
        """Bring them back."""
        self._manager.swap_in(sequence)

    def save(self, path: Union[str, Path]) -> None:
        """Write all sequences and the prefix cache to a file, atomically."""
        self._manager.save(str(path))

    def load(self, path: Union[str, Path]) -> List[int]:
        """Read the file of `save` into a manager without sequences; returns their handles."""
        return self._manager.load(str(path))

    def export_sequence(self, sequence: int) -> bytes:
        """One sequence, its pages included, as bytes."""
        return self._manager.export_sequence(sequence)

    def import_sequence(self, data: bytes) -> int:
        """A new sequence from the bytes of `export_sequence`; returns its handle."""
        return self._manager.import_sequence(data)

    # Observing

    def stats(self) -> dict:
        """Counters of now (dict); ``groups`` holds one dict per group."""
        return self._manager.stats()

    def events(self, first: int = 0) -> Tuple[List[dict], int]:
        """Events of the prefix cache numbered `first` and later.

        Returns (list of dict, number to ask for next time); ValueError when some
        of them were overwritten.
        """
        return self._manager.read_events(first)

    def prometheus(self) -> str:
        """All counters in the text format of Prometheus."""
        return self._manager.prometheus_text()

    def dump(self, *, group: int = 0) -> str:
        """The page table as text, one line per sequence."""
        return self._manager.dump_text(group)

    def svg(self, *, group: int = 0) -> str:
        """A drawing of the page table, as the text of an SVG."""
        return self._manager.dump_svg(group)

    def plot(self, sequences: Sequence[int], *, group: int = 0, ax: Any = None) -> Any:
        """Draw the pool and who holds which page with matplotlib; returns the axes."""
        from ._plot import plot_page_table

        return plot_page_table(self, sequences, group=group, ax=ax)

    def check_invariants(self) -> None:
        """Check every structure of the manager; raises CacheError when one is broken."""
        self._manager.check_invariants()

    def __repr__(self):
        stats = self.stats()["groups"][0]
        return (
            f"KVCacheManager({stats['live_pages']} live, {stats['reclaimable_pages']} cached, "
            f"{stats['free_pages']} free pages)"
        )
