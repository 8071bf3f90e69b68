"""paged_attn.easydel in EasyDeL 0.3: ragged page attention, versions 2 and 3.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""

import importlib.util
import pathlib

import numpy as np
import pytest

easydel = pytest.importorskip("easydel", reason="easydel is not installed", exc_type=ImportError)
pytest.importorskip("easydel.operations", reason="not an easydel 0.3")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import paged_attn.easydel  # noqa: E402
from canonical import attention, make_problem  # noqa: E402
from easydel.caching import RaggedPagesCacheView, RaggedPagesMetadata  # noqa: E402
from easydel.caching.ragged_page.cache import RaggedPagesCacheConfig  # noqa: E402
from easydel.infra.etils import EasyDeLBackends, EasyDeLPlatforms  # noqa: E402
from easydel.operations import OperationMetadata, OperationRegistry  # noqa: E402

KV_HEADS, PAGE = 2, 4
TOLERANCE = 5e-6
NAMES = ("ragged_page_attention_v2", "ragged_page_attention_v3")


@pytest.fixture(scope="module", autouse=True)
def registered():
    assert paged_attn.easydel.register() == NAMES


def make_operator(name):
    devices = np.array(jax.devices()[:1]).reshape(1, 1, 1, 1, 1)
    mesh = jax.sharding.Mesh(devices, ("dp", "fsdp", "ep", "tp", "sp"))
    with mesh:
        metadata = OperationMetadata(
            runtime_dtype=jnp.float32,
            runtime_softmax_dtype=jnp.float32,
            platform=EasyDeLPlatforms.JAX,
            backend=EasyDeLBackends.CPU,
        )
    return OperationRegistry.create(name, metadata)


def make_view(pool, depth, version):
    config = RaggedPagesCacheConfig(
        num_hidden_layers=1,
        max_model_length=64,
        num_kv_heads=KV_HEADS,
        k_headdim=depth,
        v_headdim=depth,
        page_size=PAGE,
        num_pages=pool.shape[0],
        version=version,
    )
    return RaggedPagesCacheView(metadata=config, layer_index=0, kv_pages=jnp.asarray(pool))


def combined(keys, values):
    """[P, S, 2 * Hkv, D]: keys at even heads, values at odd ones."""
    return np.stack([keys, values], 3).reshape(*keys.shape[:2], -1, keys.shape[3])


def make_metadata(problem, version, spare=2):
    """The lengths with `spare` rows past num_seqs, which hold nonsense."""
    count = len(problem.kv_lens)
    table = np.concatenate([problem.table, np.full((spare, problem.table.shape[1]), 77)])
    lens = np.concatenate([problem.kv_lens, np.full(spare, 1234)])
    starts = np.concatenate([problem.starts, np.full(spare, 9999)])
    arrays = (jnp.asarray(x, jnp.int32) for x in (table, lens, starts, [count]))
    distribution = jnp.array([0, 0, count], jnp.int32)
    return RaggedPagesMetadata(
        *arrays, request_distribution=distribution, version=version, page_size=PAGE
    )


def new_rows(problem):
    """The keys and values of the new tokens [T, Hkv, D], taken out of the pools."""
    depth = problem.keys.shape[-1]
    key, value = (np.zeros((problem.q.shape[0], KV_HEADS, depth), np.float32) for _ in range(2))
    for b, length in enumerate(problem.kv_lens):
        first, last = problem.starts[b], problem.starts[b + 1]
        for row in range(first, last):
            j = length - (last - row)
            page, slot = problem.table[b, j // PAGE], j % PAGE
            key[row], value[row] = problem.keys[page, slot], problem.values[page, slot]
            problem.keys[page, slot] = problem.values[page, slot] = np.nan
    return key, value


OPTIONS = [
    {},
    {"sliding_window": 5},
    {"logits_soft_cap": 3.0, "softmax_scale": 0.5},
    {"softmax_aux": True},
]


def reference_options(options, problem):
    if "softmax_aux" in options:
        problem.sinks = np.array([0.5, -1, 2, 0.25], np.float32)
        options["softmax_aux"] = jnp.asarray(problem.sinks)
    names = {"sliding_window": "window", "logits_soft_cap": "softcap", "softmax_scale": "scale"}
    return {names[name]: value for name, value in options.items() if name in names}


@pytest.mark.parametrize("options", [dict(one) for one in OPTIONS], ids=str)
def test_version_2(options):
    problem = make_problem(np.random.default_rng(1), [7, 1, 12], [7, 30, 33], padding=3)
    wanted = reference_options(options, problem)
    view = make_view(combined(problem.keys, problem.values), 16, "v2")
    operator, rows = make_operator(NAMES[0]), np.zeros((23, KV_HEADS, 16), np.float32)
    assert type(operator).__module__ == "paged_attn.easydel._ragged"
    metadata = make_metadata(problem, "v2")
    output = operator(problem.q, rows, rows, cache_view=view, cache_metadata=metadata, **options)
    expected = attention(problem, **wanted)[0]
    np.testing.assert_allclose(output.attention_outputs, expected, atol=TOLERANCE)
    assert not np.asarray(output.attention_outputs)[20:].any(), "padding rows are 0"


def test_version_2_under_jit_with_four_dimensions():
    problem = make_problem(np.random.default_rng(2), [7, 1], [7, 30])
    view = make_view(combined(problem.keys, problem.values), 16, "v2")
    operator, rows = make_operator(NAMES[0]), np.zeros((1, 8, KV_HEADS, 16), np.float32)

    @jax.jit
    def step(q, view, metadata):
        return operator(q, rows, rows, cache_view=view, cache_metadata=metadata).attention_outputs

    out = step(problem.q[None], view, make_metadata(problem, "v2"))
    assert out.shape == (1, 8, 4, 16)
    np.testing.assert_allclose(out[0], attention(problem)[0], atol=TOLERANCE)


@pytest.mark.parametrize("pack, depth", [(1, 16), (2, 16), (4, 32)])
def test_version_3_writes_then_attends(pack, depth):
    """The stored pool packs combined heads and pads the head dim."""
    problem = make_problem(np.random.default_rng(3), [7, 1, 12], [7, 30, 33], padding=3)
    expected = attention(problem)[0]
    whole = combined(problem.keys, problem.values)
    key, value = new_rows(problem)
    pool = np.zeros((*whole.shape[:3], depth), np.float32)
    pool[..., :16] = combined(problem.keys, problem.values)
    stored = pool.reshape(*pool.shape[:2], -1, pack, depth)
    operator = make_operator(NAMES[1])
    output = operator(
        problem.q,
        key,
        value,
        cache_view=make_view(stored, 16, "v3"),
        cache_metadata=make_metadata(problem, "v3"),
    )
    np.testing.assert_allclose(output.attention_outputs, expected, atol=TOLERANCE)
    written = np.asarray(output.cache_view.kv_pages)
    assert written.shape == stored.shape
    np.testing.assert_array_equal(written.reshape(pool.shape)[..., :16], whole)


def test_float32_inputs_are_not_rounded():
    """EasyDeL's default compute type, bfloat16, is a lower bound."""
    problem = make_problem(np.random.default_rng(4), [20], [20])
    view = make_view(combined(problem.keys, problem.values), 16, "v2")
    rows = np.zeros((20, KV_HEADS, 16), np.float32)
    metadata = make_metadata(problem, "v2")
    output = make_operator(NAMES[0])(
        problem.q, rows, rows, cache_view=view, cache_metadata=metadata
    )
    np.testing.assert_allclose(output.attention_outputs, attention(problem)[0], atol=TOLERANCE)


@pytest.mark.parametrize("name", NAMES)
def test_tpu_keeps_easydels_kernel(name, monkeypatch):
    operator = make_operator(name)
    theirs = next(one for one in type(operator).__mro__ if one.__module__.startswith("easydel."))
    monkeypatch.setattr(theirs, "forward_native", lambda self, *args: args, raising=False)
    assert operator.forward_tpu(1, 2) == (1, 2)


def load_serve():
    path = pathlib.Path(__file__).parents[2] / "examples" / "serve.py"
    spec = importlib.util.spec_from_file_location("serve", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Cache:
    """Sequences of a model on pages, fed through an operator of EasyDeL."""

    def __init__(self, shape, name):
        self.version = name[-2:]
        pool = np.zeros((40, PAGE, 2 * KV_HEADS, shape.head_dim), np.float32)
        pool = pool if self.version == "v2" else pool.reshape(40, PAGE, KV_HEADS, 2, shape.head_dim)
        self.views = [make_view(pool, shape.head_dim, self.version) for _ in range(shape.layers)]
        self.operator = make_operator(name)
        self.tables = (
            np.random.default_rng(5).permutation(np.arange(1, 39)).reshape(2, 19).astype(np.int32)
        )

    def metadata(self, lens, counts):
        """Slices of the cache that a step writes never cross a page."""
        starts = np.concatenate([[0], np.cumsum(counts)])
        slices = [
            (self.tables[b, j // PAGE] * PAGE + j % PAGE, starts[b] + j - (lens[b] - counts[b]), 1)
            for b in range(len(lens))
            for j in range(lens[b] - counts[b], lens[b])
        ]
        arrays = (jnp.asarray(x, jnp.int32) for x in (self.tables, lens, starts, [len(lens)]))
        return RaggedPagesMetadata(
            *arrays,
            slot_mapping=jnp.asarray(np.array(slices, np.int32).T),
            num_kv_update_slices=jnp.array([len(slices)], jnp.int32),
            request_distribution=jnp.array([0, 0, len(lens)], jnp.int32),
            version=self.version,
            page_size=PAGE,
        )

    def attend_with(self, lens, counts):
        metadata = self.metadata(lens, counts)

        def attend(layer, q, k, v):
            view = self.views[layer]
            if self.version == "v2":
                view = view.concatenate_to_cache(
                    jnp.asarray(k[None]), jnp.asarray(v[None]), metadata
                )
            output = self.operator(jnp.asarray(q), jnp.asarray(k), jnp.asarray(v), view, metadata)
            self.views[layer] = view if self.version == "v2" else output.cache_view
            return np.asarray(output.attention_outputs)

        return attend


@pytest.mark.parametrize("name", NAMES)
def test_model_generates_the_same_tokens_as_dense_attention(name):
    """Two prompts, one of them in two chunks, the second beside a decoding sequence."""
    serve = load_serve()
    shape = serve.Shape(heads=4, kv_heads=KV_HEADS, head_dim=16, vocabulary=97)
    model, cache = serve.Model(shape, seed=3), Cache(shape, name)
    prompts = [[5, 17, 80, 3, 44, 9, 61, 12, 33], [90, 4, 4, 51, 23, 7, 88, 19, 60, 2, 71]]
    known, cached = [list(prompt) for prompt in prompts], [0, 0]

    def step(counts):
        new = [known[b][cached[b] : cached[b] + n] for b, n in enumerate(counts)]
        positions = np.concatenate([cached[b] + np.arange(n) for b, n in enumerate(counts)])
        for b, n in enumerate(counts):
            cached[b] += n
        attend = cache.attend_with(list(cached), counts)
        rows = np.cumsum(counts) - 1
        logits = model.forward(np.concatenate(new).astype(int), positions, attend, rows)
        for b in range(2):
            if counts[b] and cached[b] == len(known[b]):
                known[b].append(int(logits[b].argmax()))

    for counts in ([9, 6], [1, 5], *(4 * [[1, 1]])):
        step(counts)
    for prompt, tokens in zip(prompts, known):
        assert len(tokens) >= len(prompt) + 5
        assert tokens[len(prompt) :] == serve.generate_plainly(
            model, prompt, len(tokens) - len(prompt)
        )
