"""KVCacheManager: pages, prefixes, forks, snapshots, and serving with kernels."""

import numpy as np
import pytest
import reference

import paged_attn
from paged_attn import CacheError, KVCacheManager, OutOfPages

HEADS, DIM, PAGE = 2, 16, 4


def make(num_pages=64, **options):
    return KVCacheManager(num_pages, PAGE, HEADS, DIM, fill="nan", **options)


class Model:
    """Keys, values and queries that are functions of token and position."""

    def __init__(self, seed=0, vocabulary=50, most=200):
        rng = np.random.default_rng(seed)
        self.k, self.v = rng.standard_normal((2, vocabulary, HEADS, DIM)).astype(np.float32)
        self.q = rng.standard_normal((vocabulary, 2 * HEADS, DIM)).astype(np.float32)
        self.position = rng.standard_normal((most, 1, DIM)).astype(np.float32)

    def rows(self, table, tokens, first=0):
        tokens = np.asarray(tokens)
        return table[tokens] + self.position[first : first + len(tokens)]

    def step(self, manager, requests):
        """Appends the tokens of each sequence and attends; returns out."""
        slots = manager.allocate_slots(requests)
        manager.run_pending_work()
        views = manager.views(requests)
        np.testing.assert_array_equal(slots, views.slots)
        firsts = [int(n) - len(t) for n, t in zip(views.kv_lens, requests.values())]
        k, v, q = (
            np.concatenate(
                [self.rows(table, t, first) for t, first in zip(requests.values(), firsts)]
            )
            for table in (self.k, self.v, self.q)
        )
        pools = manager.k_pages(), manager.v_pages()
        paged_attn.append(k, v, *pools, slots)
        out = paged_attn.attention(
            q, *pools, views.page_table, views.kv_lens, views.query_starts
        )
        manager.commit(requests)
        return out

    def expect(self, tokens, new):
        """Dense attention of the last `new` of `tokens`."""
        keys, values = (
            self.rows(table, tokens)[None].astype(np.float64) for table in (self.k, self.v)
        )
        q = self.rows(self.q, tokens)[-new:]
        return reference.attention(q, keys, values, [[0]], [len(tokens)], [0, new])[0]


def test_serving():
    """Chunked prefill, decode, fork and prefix reuse give dense attention."""
    model, manager = Model(), make()
    prompt = list(range(11))
    a = manager.add_sequence()
    model.step(manager, {a: prompt[:7]})
    out = model.step(manager, {a: prompt[7:]})
    np.testing.assert_allclose(out, model.expect(prompt, 4), atol=1e-4)
    b = manager.fork(a)
    out = model.step(manager, {a: [20], b: [30, 31]})
    np.testing.assert_allclose(out[:1], model.expect([*prompt, 20], 1), atol=1e-4)
    np.testing.assert_allclose(out[1:], model.expect([*prompt, 30, 31], 2), atol=1e-4)
    manager.free(a)
    match = manager.match_prefix([*prompt, 20])
    assert match.num_tokens == 12
    c = manager.add_matched_sequence(match)
    out = model.step(manager, {c: [5]})
    np.testing.assert_allclose(out, model.expect([*prompt, 20, 5], 1), atol=1e-4)
    manager.truncate(c, 6)
    out = model.step(manager, {c: [8, 9]})
    np.testing.assert_allclose(out, model.expect([*prompt[:6], 8, 9], 2), atol=1e-4)
    manager.check_invariants()


def test_random_serving():
    rng, model, manager = np.random.default_rng(1), Model(1), make(num_pages=48)
    live = {}
    for _ in range(60):
        if len(live) < 4:
            live[manager.add_sequence()] = []
        requests = {s: rng.integers(0, 50, rng.integers(1, 9)).tolist() for s in live}
        try:
            out = model.step(manager, requests)
        except OutOfPages:
            victim = next(iter(live))
            manager.free(victim)
            del live[victim]
            continue
        at = 0
        for sequence, tokens in requests.items():
            live[sequence] += tokens
            expected = model.expect(live[sequence], len(tokens))
            np.testing.assert_allclose(out[at : at + len(tokens)], expected, atol=1e-4)
            at += len(tokens)
        for sequence in [s for s in live if len(live[s]) > 40]:
            manager.free(sequence)
            del live[sequence]
        manager.check_invariants()


def test_lengths_and_tokens():
    manager = make()
    a = manager.add_sequence()
    slots = manager.allocate_slots({a: [7, 8, 9, 7, 8]})
    assert slots.dtype == np.int64 and len(slots) == 5
    info = manager.info(a)
    assert (info.num_tokens, info.num_committed, info.num_pages) == (5, 0, [2])
    manager.run_pending_work()
    manager.commit(a, 3)
    assert manager.info(a).num_committed == 3
    np.testing.assert_array_equal(manager.tokens(a), [7, 8, 9, 7, 8])
    views = manager.views([a])
    assert views.query_starts.tolist() == [0, 2] and views.slots.tolist() == slots[3:].tolist()
    np.testing.assert_array_equal(views.page_indices, views.page_table[0])


def test_tree_of_drafts():
    model, manager = Model(2), make()
    a = manager.add_sequence()
    model.step(manager, {a: [1, 2, 3]})
    slots = manager.allocate_slots({a: [4, 5, 6]})
    manager.run_pending_work()
    k = np.concatenate([model.rows(model.k, [t], 3 + i) for i, t in enumerate([4, 5, 4])])
    paged_attn.append(k, k, manager.k_pages(), manager.v_pages(), slots)
    manager.commit_tree(a, [1])
    assert manager.tokens(a).tolist() == [1, 2, 3, 5]
    manager.run_pending_work()
    np.testing.assert_array_equal(manager.k_pages().reshape(-1, HEADS, DIM)[slots[0]], k[1])


def test_snapshots(tmp_path):
    model, manager = Model(3), make()
    a = manager.add_sequence()
    model.step(manager, {a: [1, 2, 3, 4, 5]})
    copy = manager.import_sequence(manager.export_sequence(a))
    manager.save(tmp_path / "cache")
    other = make()
    handles = other.load(tmp_path / "cache")
    assert len(handles) == 2
    out = model.step(other, {handles[1]: [6]})
    np.testing.assert_allclose(out, model.expect([1, 2, 3, 4, 5, 6], 1), atol=1e-4)
    manager.swap_out(copy, tmp_path / "swapped")
    assert manager.info(copy).is_swapped
    manager.swap_in(copy)
    out = model.step(manager, {copy: [6]})
    np.testing.assert_allclose(out, model.expect([1, 2, 3, 4, 5, 6], 1), atol=1e-4)
    with pytest.raises(CacheError) as error:
        other.import_sequence(b"no snapshot")
    assert error.value.code == "data loss"


def test_stats_and_events():
    model, manager = Model(), make()
    a = manager.add_sequence()
    model.step(manager, {a: range(9)})
    manager.free(a)
    assert manager.peek_prefix(range(8)) == 8
    manager.release_match(manager.match_prefix(range(8)))
    stats = manager.stats()
    assert stats["hit_rate"] == 1 and stats["groups"][0]["reclaimable_pages"] == 3
    events, following = manager.events()
    assert [event["kind"] for event in events] == ["stored", "stored"] and following == 2
    assert events[1]["parent_hash"] == events[0]["hash"]
    assert "paged_attn" in manager.prometheus()
    assert "3 reclaimable" in manager.dump() and manager.svg().startswith("<svg")
    assert repr(manager) == "KVCacheManager(0 live, 3 cached, 60 free pages)"
    manager.reset_prefix_cache()
    assert manager.peek_prefix(range(8)) == 0


def test_salts_do_not_share():
    model, manager = Model(), make()
    a = manager.add_sequence(salt=b"one")
    model.step(manager, {a: range(8)})
    assert manager.peek_prefix(range(8), salt=b"one") == 8
    assert manager.peek_prefix(range(8), salt=b"two") == 0


def test_work_lists_for_memory_elsewhere():
    manager = KVCacheManager(16, PAGE, HEADS, DIM, own_memory=False, fill="zero")
    a = manager.add_sequence()
    manager.allocate_slots({a: range(6)})
    assert manager.take_pages_to_zero() == [(0, 1), (0, 2)]
    manager.commit(a)
    manager.fork(a)
    manager.allocate_slots({a: [6]})
    assert manager.take_page_copies() == [(0, 2, 3, 2)]
    assert manager.num_common_prefix_pages([a, a]) == 1
    with pytest.raises(CacheError, match="expected memory attached"):
        manager.k_pages()


def test_groups_and_layers():
    groups = [
        dict(num_pages=16, page_size=4, num_kv_heads=2, head_dim=8, num_layers=2),
        dict(num_pages=32, page_size=2, num_kv_heads=2, head_dim=8, window=4, layout="phds"),
    ]
    manager = KVCacheManager(groups=groups)
    a = manager.add_sequence()
    slots = manager.allocate_slots({a: range(10)})
    assert slots.shape == (2, 10)
    assert manager.k_pages(1).shape == (16, 4, 2, 8)
    assert manager.v_pages(group=1).shape == (32, 2, 8, 2)
    assert not np.shares_memory(manager.k_pages(0), manager.k_pages(1))
    manager.run_pending_work()
    manager.commit(a)
    assert manager.release_window(a) == 3
    assert manager.views([a], group=1).page_table[0].tolist()[:3] == [-1, -1, -1]


def test_bfloat16_and_latent_pools():
    manager = KVCacheManager(8, 4, 1, 32, dtype="bfloat16", value_dim=0)
    assert manager.k_pages().dtype.name == "bfloat16" and manager.v_pages() is None


def test_errors_change_nothing():
    manager = make(num_pages=4)
    a = manager.add_sequence()
    manager.allocate_slots({a: range(5)})
    with pytest.raises(OutOfPages, match="has 1 pages left, expected 3") as error:
        manager.allocate_slots({a: range(12)})
    assert error.value.code == "resource exhausted" and isinstance(error.value, CacheError)
    with pytest.raises(CacheError, match="expected a live sequence, got handle 99") as error:
        manager.free(99)
    assert error.value.code == "not found"
    with pytest.raises(ValueError, match="expected a length up to 5, got 6"):
        manager.truncate(a, 6)
    with pytest.raises(ValueError, match="expected tokens to have 1 dimension, got 2"):
        manager.allocate_slots({a: [[1]]})
    assert manager.info(a).num_tokens == 5
    manager.check_invariants()


def test_options_are_checked():
    with pytest.raises(ValueError, match="expected dtype to be one of float32, .*, got 'f64'"):
        KVCacheManager(8, dtype="f64")
    with pytest.raises(ValueError, match="expected num_pages or groups, got neither"):
        KVCacheManager()
    with pytest.raises(ValueError, match="expected a group to have .*, got pages"):
        KVCacheManager(groups=[dict(pages=3)])
    with pytest.raises(TypeError, match="expected page_size to be an integer, got 'many'"):
        KVCacheManager(8, "many")


def test_picture():
    pytest.importorskip("matplotlib").use("agg")
    manager = make(num_pages=20)
    a = manager.add_sequence()
    manager.allocate_slots({a: range(9)})
    manager.run_pending_work()
    manager.commit(a)
    axes = manager.plot([a, manager.fork(a)])
    shared = [patch for patch in axes.patches if patch.get_linewidth() > 1]
    assert len(axes.patches) == 20 and len(shared) == 3
