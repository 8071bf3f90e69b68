"""Integers are never cut: lists of other numbers are refused by name."""

import numpy as np
import pytest

import paged_attn
from paged_attn import KVCacheManager


def call(**changes):
    arguments = dict(
        q=np.zeros((2, 2, 8), np.float32),
        k_pages=np.zeros((4, 4, 1, 8), np.float32),
        v_pages=np.zeros((4, 4, 1, 8), np.float32),
        page_table=[[0, 1], [2, 3]],
        kv_lens=[5, 3],
    )
    arguments.update(changes)
    return paged_attn.attention(**arguments)


@pytest.mark.parametrize(
    "changes, error, text",
    [
        (dict(kv_lens=[4.9, 3.0]), TypeError, "expected kv_lens to be integers, got float64"),
        (
            dict(page_table=[[0.5, 1], [2, 3]]),
            TypeError,
            "expected page_table to be integers, got float64",
        ),
        (
            dict(page_table=[[0, 1], [2]]),
            ValueError,
            "expected page_table to be lists of equal lengths, got unequal ones",
        ),
        (dict(kv_lens=[2**40, 3]), ValueError, "expected kv_lens to fit int32, got 1099511627776"),
    ],
)
def test_lists_of_indices(changes, error, text):
    with pytest.raises(error) as caught:
        call(**changes)
    assert str(caught.value) == text


def test_plain_lists_work():
    assert call().shape == (2, 2, 8)


def test_slots_are_not_cut():
    pages = np.zeros((4, 4, 1, 8), np.float32)
    rows = np.ones((1, 1, 8), np.float32)
    with pytest.raises(TypeError, match="^expected slots to be integers, got float64$"):
        paged_attn.append(rows, rows, pages, pages.copy(), [3.7])
    with pytest.raises(ValueError, match="slots"):
        paged_attn.append(rows, rows, pages, pages.copy(), [2**40])
    assert not pages.any()


def test_manager():
    manager = KVCacheManager(8, 4, 1, 8, dtype=np.float16)
    assert manager.k_pages().dtype == np.float16
    sequence = manager.add_sequence()
    with pytest.raises(TypeError, match="^expected tokens to be integers, got float64$"):
        manager.allocate_slots({sequence: [1.5]})
    with pytest.raises(ValueError, match="^expected tokens to fit int32, got 1099511627776$"):
        manager.allocate_slots({sequence: [2**40]})
    with pytest.raises(TypeError, match="^expected one sequence and a number"):
        manager.commit({sequence: [1]}, [50])
    with pytest.raises(TypeError, match="^expected layout to be a string, got int$"):
        KVCacheManager(8, 4, 1, 8, layout=3)


def test_merge_states():
    with pytest.raises(TypeError, match="^expected parts to be a list of arrays, got int$"):
        paged_attn.merge_states(3, 4)
