"""What a caller gets wrong: one line that names the operand, what was expected
and what came, and nothing written."""

import numpy as np
import problems
import pytest

import paged_attn


def arguments():
    problem = problems.make(np.random.default_rng(0), [9, 20], [2, 5])
    names = ["q", "k_pages", "v_pages", "page_table", "kv_lens", "query_starts"]
    return dict(zip(names, problem.arrays))


def changed(name, index, value):
    def change(call):
        call[name] = call[name].copy()
        call[name][index] = value

    return change


def replaced(name, function):
    def change(call):
        call[name] = function(call[name]) if name in call else function(None)

    return change


def f32(*shape):
    return np.zeros(shape, np.float32)


CASES = [
    (replaced("q", lambda q: q[0]), ValueError, "expected q to be [T, Hq, Dk], got 2 dimensions"),
    (
        replaced("q", lambda q: q.astype(np.float64)),
        TypeError,
        "expected q to be of f32, f16 or bf16, got float64",
    ),
    (
        replaced("q", lambda q: q.astype(">f4")),
        TypeError,
        "expected q to be of f32, f16 or bf16, got >f4",
    ),
    (
        replaced("q", lambda q: q[:, :3].copy()),
        ValueError,
        "expected q to have a positive multiple of the 2 KV heads of k_pages, got 3 query heads",
    ),
    (
        replaced("q", lambda q: q[:, :, :16].copy()),
        ValueError,
        "expected q to be [T, Hq, Dk] = [?, ?, 32], got [7, 4, 16]",
    ),
    (
        replaced("q", lambda q: q[:, :, ::2]),
        ValueError,
        "expected q to be dense and row-major, got strides (512, 128, 8) bytes; "
        "make it so with numpy.ascontiguousarray",
    ),
    (
        replaced("q", lambda q: "text"),
        TypeError,
        "expected q to be an array of numpy, torch or jax, got str",
    ),
    (
        replaced("q", lambda q: None),
        TypeError,
        "expected q to be an array of numpy, torch or jax, got NoneType",
    ),
    (
        replaced("k_pages", lambda k: k[0]),
        ValueError,
        "expected k_pages to have 4 dimensions like its layout 'pshd', got [8, 2, 32]",
    ),
    (
        replaced("v_pages", lambda v: v[:, :, :1].copy()),
        ValueError,
        "expected v_pages to have 8 pages of 8 slots and 2 KV heads like k_pages, got [8, 8, 1, 32]",
    ),
    (
        replaced("k_pages", lambda k: np.zeros(k.shape, np.int8)),
        ValueError,
        "expected k_scale with k_pages of i8, got none",
    ),
    (
        replaced("k_pages", lambda k: np.zeros(k.shape, np.int16)),
        TypeError,
        "expected k_pages to be of f32, f16, bf16, i8 or f8E4M3FN, got int16",
    ),
    (
        replaced("page_table", lambda t: t[0]),
        ValueError,
        "expected page_table to have 2 dimensions, got [4]",
    ),
    (
        replaced("page_table", lambda t: t.astype(np.float32)),
        TypeError,
        "expected page_table to be of i32 or i64, got f32",
    ),
    (
        replaced("page_table", lambda t: None),
        ValueError,
        "expected either page_table or page_indices and page_indptr",
    ),
    (
        changed("page_table", (1, 1), 8),
        ValueError,
        "expected page_table[1, 1] to be a page from 0 to 7, got 8",
    ),
    (
        changed("page_table", (0, 0), -1),
        ValueError,
        "expected page_table[0, 0] to be a page from 0 to 7, got -1",
    ),
    (
        changed("kv_lens", 0, 40),
        ValueError,
        "expected kv_lens[0] to be from 0 to the 32 slots of the sequence's pages, got 40",
    ),
    (
        changed("kv_lens", 1, 3),
        ValueError,
        "expected kv_lens[1] to be at least the 5 new tokens of the sequence, got 3",
    ),
    (
        replaced("kv_lens", lambda n: n[:1]),
        ValueError,
        "expected page_table to have 1 entries for 1 sequences, got 2",
    ),
    (
        changed("query_starts", 0, 1),
        ValueError,
        "expected query_starts[0] to be 0, got 1",
    ),
    (
        changed("query_starts", 2, 1),
        ValueError,
        "expected query_starts[2] to be at least 2, got 1",
    ),
    (
        changed("query_starts", 2, 99),
        ValueError,
        "expected query_starts[2] to be at most the 7 tokens of query, got 99",
    ),
    (
        replaced("query_starts", lambda s: None),
        ValueError,
        "expected query to have a multiple of 2 tokens without query_starts, got 7",
    ),
    (
        replaced("window", lambda _: -1),
        ValueError,
        "expected window to be 0 (none) or more tokens, got -1",
    ),
    (
        replaced("window", lambda _: 1.5),
        TypeError,
        "expected window to be an integer, got 1.5",
    ),
    (
        replaced("sink_tokens", lambda _: 2),
        ValueError,
        "expected a window with sink_tokens, got none",
    ),
    (
        replaced("scale", lambda _: float("nan")),
        ValueError,
        "expected scale to be finite, got nan",
    ),
    (
        replaced("scale", lambda _: "large"),
        TypeError,
        "expected scale to be a number, got 'large'",
    ),
    (
        replaced("softcap", lambda _: -2.0),
        ValueError,
        "expected softcap to be 0 (none) or finite and positive, got -2.000000",
    ),
    (
        replaced("mode", lambda _: "fast"),
        ValueError,
        "expected mode to be auto, prefill, decode or mixed, got 'fast'",
    ),
    (
        replaced("layout", lambda _: "pxhd"),
        ValueError,
        "expected the layout of v_pages to name p, s, h and d, and c or l if it has them, "
        "got 'pxhd'",
    ),
    (
        replaced("layout", lambda _: "pshd, pack=0"),
        TypeError,
        "expected layout to be letters and at most ', pack=N', got 'pshd, pack=0'",
    ),
    (
        replaced("layout", lambda _: 4),
        TypeError,
        "expected layout to be a string like 'pshd' or a pair of them, got 4",
    ),
    (
        replaced("layer", lambda _: 0),
        ValueError,
        "expected no layer with a layout without l, got 0",
    ),
    (
        replaced("alibi_slopes", lambda _: f32(3)),
        ValueError,
        "expected alibi_slopes to be [Hq] = [4], got [3]",
    ),
    (
        replaced("sinks", lambda _: np.zeros(4)),
        TypeError,
        "expected sinks to be of f32, got float64",
    ),
    (
        replaced("bias", lambda _: f32(7, 2, 20)),
        ValueError,
        "expected bias to have 1 or 4 heads, got 2",
    ),
    (
        replaced("bias", lambda _: f32(7, 1, 19)),
        ValueError,
        "expected bias to reach kv_lens[1] = 20 keys, got 19",
    ),
    (
        replaced("k_scale", lambda _: 0.5),
        ValueError,
        "expected no k_scale with k_pages of f32",
    ),
    (
        replaced("out", lambda _: f32(7, 4, 16)),
        ValueError,
        "expected the last dimension of out to be 32 like the head dim of the values, got 16",
    ),
    (
        replaced("num_threads", lambda _: -1),
        ValueError,
        "expected num_threads to be 0 (all) or more, got -1",
    ),
    (
        replaced("via", lambda _: "magic"),
        ValueError,
        "expected via to be",
    ),
]


@pytest.mark.parametrize("change, kind, message", CASES, ids=[case[2][:60] for case in CASES])
def test_attention_says_what_is_wrong(change, kind, message):
    call = arguments()
    out = call["out"] = np.full((7, 4, 32), 7, np.float32)
    change(call)
    with pytest.raises(kind) as error:
        paged_attn.attention(**call)
    text = str(error.value)
    assert text == message or (message.endswith("to be") and text.startswith(message))
    assert "\n" not in text
    assert (out == 7).all()


def test_read_only_out():
    call = arguments()
    out = f32(7, 4, 32)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="expected out to be writable, got a read-only numpy"):
        paged_attn.attention(**call, out=out)


def test_decode_takes_few_new_tokens():
    problem = problems.make(np.random.default_rng(0), [80], [70])
    with pytest.raises(ValueError, match="at most 64 new tokens a sequence in mode decode, got 70"):
        paged_attn.attention(*problem.arrays, mode="decode")


def append_arguments():
    k = f32(3, 2, 8)
    return dict(k=k, v=k, k_pages=f32(5, 4, 2, 8), v_pages=f32(5, 4, 2, 8), slots=[0, 1, 2])


APPEND_CASES = [
    (
        replaced("slots", lambda _: [0, 1, 20]),
        ValueError,
        "expected slots[2] to be -1 (skip) or a slot from 0 to 19, got 20",
    ),
    (
        replaced("slots", lambda _: [0, -2, 1]),
        ValueError,
        "expected slots[1] to be -1 (skip) or a slot from 0 to 19, got -2",
    ),
    (replaced("slots", lambda _: [0]), ValueError, "expected slots to be [T] = [3], got [1]"),
    (
        replaced("slots", lambda _: None),
        ValueError,
        "expected either slots or a page table with kv_lens",
    ),
    (
        replaced("k", lambda _: f32(3, 1, 8)),
        ValueError,
        "expected k to be [T, Hkv, Dk] = [?, 2, 8], got [3, 1, 8]",
    ),
    (
        replaced("v", lambda _: None),
        ValueError,
        "expected v for the values of the cache, got none",
    ),
    (
        replaced("k_pages", lambda k: k.astype(np.int8)),
        TypeError,
        "expected k_pages to be of f32, f16 or bf16, got i8",
    ),
]


@pytest.mark.parametrize(
    "change, kind, message", APPEND_CASES, ids=[case[2][:60] for case in APPEND_CASES]
)
def test_append_says_what_is_wrong(change, kind, message):
    call = append_arguments()
    call["k"] += 1
    change(call)
    with pytest.raises(kind) as error:
        paged_attn.append(**call)
    assert str(error.value) == message
    assert (call["k_pages"] == 0).all() and (call["v_pages"] == 0).all()


def test_append_checks_every_page_first():
    call = append_arguments()
    call.pop("slots")
    call["k"] += 1
    with pytest.raises(ValueError, match=r"page_table\[0, 1\] to be a page from 0 to 4, got 9"):
        paged_attn.append(**call, page_table=[[0, 9]], kv_lens=[6])
    assert (call["k_pages"] == 0).all()


def test_merge_says_what_is_wrong():
    part, lse = f32(3, 2, 8), f32(3, 2)
    with pytest.raises(ValueError, match="at least 2 parts and as many lses, got 1 and 1"):
        paged_attn.merge_states([part], [lse])
    with pytest.raises(ValueError, match=r"lses\[1\] to be \[T, Hq\] = \[3, 2\], got \[2, 2\]"):
        paged_attn.merge_states([part, part], [lse, lse[:2]])
