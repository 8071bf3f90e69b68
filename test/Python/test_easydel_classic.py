"""paged_attn.easydel in EasyDeL 0.1: the operator, the cache writers, a whole model.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception

Each test of a fault names what EasyDeL 0.1.4 does wrong on its own.
"""

import numpy as np
import pytest

easydel = pytest.importorskip("easydel", reason="easydel is not installed", exc_type=ImportError)
pytest.importorskip("easydel.layers.attention_operator", reason="not an easydel 0.1")

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import paged_attn.easydel  # noqa: E402
from canonical import Problem, attention  # noqa: E402
from easydel.infra.etils import EasyDeLBackends, EasyDeLPlatforms  # noqa: E402
from easydel.layers.attention_operator._attention_impl import AttentionMetadata, AttentionRegistry  # noqa: E402
from easydel.layers.caching.paged_attention import paged_attention_cache as caching  # noqa: E402
from eformer import escale  # noqa: E402
from flax import nnx  # noqa: E402

HEADS, KV_HEADS, DIM, PAGE, COLUMNS, PAGES, SLOTS = 4, 2, 8, 4, 5, 16, 3
TOLERANCE = 5e-6


@pytest.fixture(scope="module", autouse=True)
def registered():
    assert paged_attn.easydel.register() == ("paged_attention",)


def make_mesh(tensor_parallel=1):
    devices = np.array(jax.devices()[:tensor_parallel]).reshape(1, 1, tensor_parallel, 1)
    return jax.sharding.Mesh(devices, ("dp", "fsdp", "tp", "sp"))


def make_operator(mesh, **options):
    with mesh:
        metadata = AttentionMetadata(
            runtime_dtype=jnp.float32,
            mesh=mesh,
            backend=EasyDeLBackends.CPU,
            platform=EasyDeLPlatforms.JAX,
            softmax_scale=None,
            **options,
        )
        return AttentionRegistry.create("paged_attention", metadata)


def make_view(dtype=jnp.float32, fill=np.nan, sharding=None):
    metadata = caching.PagedAttentionCacheMetaData(
        SLOTS, 1, PAGES, COLUMNS, PAGE * COLUMNS, PAGE, KV_HEADS, DIM, hbm_utilization=0.5
    )
    pools = (jnp.full((KV_HEADS, PAGES, PAGE, DIM), fill, dtype, device=sharding) for _ in range(2))
    return caching.PagedAttentionCacheView(metadata, 0, *pools)


ABSENT = jnp.int32(1_000_000)


def make_metadata(prefill=None, decode=None):
    """prefill: (length, positions, table); decode: (positions, tables); either may be None."""
    parts = [jnp.asarray(x, jnp.int32) for x in prefill] if prefill else 3 * [ABSENT]
    parts += [jnp.asarray(x, jnp.int32) for x in decode] if decode else 2 * [ABSENT]
    return caching.PagedAttentionMetadata(*parts)


def tokens(seed, count, heads=KV_HEADS, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal((count, heads, DIM)).astype(dtype)


def pool_of(view, name):
    """A pool as [P, S, Hkv, D]."""
    return np.asarray(getattr(view, name)).transpose(1, 2, 0, 3)


def expected(view, q, table, kv_lens, starts):
    problem = Problem(
        np.asarray(q),
        pool_of(view, "key_pages").astype(np.float32),
        pool_of(view, "value_pages").astype(np.float32),
        np.asarray(table, np.int32),
        np.asarray(kv_lens),
        np.asarray(starts),
    )
    return attention(problem)[0]


def write_prompt(view, keys, values, table, chunk=8):
    """A prompt chunk by chunk, as the engine does: padded chunks, absolute positions."""
    length = keys.shape[0]
    for first in range(0, length, chunk):
        rows = np.zeros((2, chunk, KV_HEADS, DIM), np.float32)
        used = min(chunk, length - first)
        rows[:, :used] = keys[first : first + used], values[first : first + used]
        rows[:, used:] = np.nan
        metadata = make_metadata(
            (min(first + chunk, length), np.arange(first, first + chunk), table)
        )
        view = view.write_prefill_to_cache(jnp.asarray(rows[0]), jnp.asarray(rows[1]), metadata)
    return view


TABLE = [3, 7, 9, 2, 0]


def test_operator_is_ours_under_easydels_name():
    operator = make_operator(make_mesh())
    assert type(operator).__module__ == "paged_attn.easydel._classic"
    assert operator.get_impl_name() == "paged_attention"
    assert type(operator).forward_tpu.__module__.startswith("easydel.")


def test_prefill_chunks_under_jit():
    mesh, keys, values = make_mesh(), tokens(1, 13), tokens(2, 13)
    view = write_prompt(make_view(), keys, values, TABLE)
    operator = make_operator(mesh)
    q = tokens(3, 8, HEADS)
    metadata = make_metadata((13, np.arange(8, 16), TABLE))
    out = jax.jit(
        lambda q, view, metadata: operator.forward_native(q, q, q, view, metadata).attention_outputs
    )(q, view, metadata)
    np.testing.assert_allclose(out, expected(view, q, [TABLE], [13], [0, 5]), atol=TOLERANCE)
    assert not np.asarray(out)[5:].any(), "padding rows are 0"


def test_decode_with_idle_slots():
    view = write_prompt(make_view(), tokens(1, 13), tokens(2, 13), TABLE)
    q = tokens(4, SLOTS, HEADS)
    metadata = make_metadata(decode=([12, -1, 5], [TABLE, [99, -5, 0, 0, 0], TABLE]))
    out = make_operator(make_mesh()).forward_native(q, q, q, view, metadata).attention_outputs
    np.testing.assert_allclose(
        np.asarray(out)[[0, 2]],
        expected(view, q[[0, 2]], [TABLE, TABLE], [13, 6], [0, 1, 2]),
        atol=TOLERANCE,
    )
    assert not np.asarray(out)[1].any()


@pytest.mark.parametrize("jitted", [False, True])
def test_mixed_step_writes_and_attends(jitted):
    """In a mixed step nobody but the operator writes the cache."""
    other = [5, 6, 0, 0, 0]
    view = write_prompt(make_view(), tokens(1, 6), tokens(2, 6), other)
    operator = make_operator(make_mesh())
    q, k, v = tokens(5, 8 + SLOTS, HEADS), tokens(6, 8 + SLOTS), tokens(7, 8 + SLOTS)
    metadata = make_metadata(
        (7, np.arange(8), TABLE), ([6, -1, -1], [other, COLUMNS * [0], COLUMNS * [0]])
    )

    def step(q, k, v, view, metadata):
        return operator.forward_native(q, k, v, view, metadata).attention_outputs, view

    out, view = (jax.jit(step) if jitted else step)(q, k, v, view, metadata)
    rows = np.concatenate([np.arange(7), [8]])
    answer = expected(view, q[rows], [TABLE, other], [7, 7], [0, 7, 8])
    np.testing.assert_allclose(np.asarray(out)[rows], answer, atol=TOLERANCE)
    assert not np.asarray(out)[[7, 9, 10]].any()
    np.testing.assert_array_equal(
        pool_of(view, "key_pages")[[3, 7]].reshape(8, KV_HEADS, DIM)[:7], k[:7]
    )
    np.testing.assert_array_equal(pool_of(view, "key_pages")[6, 2], k[8])


def test_call_of_the_registry_keeps_shapes():
    """EasyDeL's __call__ takes [1, chunk, Hq, D], or [rows, 1, Hq, D] in decode steps."""
    view = write_prompt(make_view(), tokens(1, 8), tokens(2, 8), TABLE)
    operator, mesh = make_operator(make_mesh()), make_mesh()
    q = tokens(3, 8, HEADS)
    with mesh:
        prefill = make_metadata((8, np.arange(8), TABLE))
        out = operator(q=q[None], k=q[None], v=q[None], cache_view=view, cache_metadata=prefill)
        assert out.attention_outputs.shape == (1, 8, HEADS, DIM) and out.attention_weights is None
        decode = make_metadata(decode=([7, -1, -1], 3 * [TABLE]))
        out = operator(
            q=q[:3, None], k=q[:3, None], v=q[:3, None], cache_view=view, cache_metadata=decode
        )
        assert out.attention_outputs.shape == (SLOTS, 1, HEADS, DIM)


@pytest.mark.skipif(
    len(jax.devices()) < 2, reason="expected 2 devices: XLA_FLAGS was set to something else"
)
@pytest.mark.parametrize("jitted", [False, True])
def test_kv_heads_over_two_devices(jitted):
    """Pools stay where they are: each device writes and reads its own KV heads."""
    mesh = make_mesh(2)
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("tp"))
    view = write_prompt(make_view(sharding=place), tokens(1, 13), tokens(2, 13), TABLE)
    assert view.key_pages.sharding.is_equivalent_to(place, 4)
    manager = escale.PartitionManager(escale.PartitionAxis())
    operator = make_operator(mesh, partition_manager=manager)
    q, k, v = tokens(4, SLOTS, HEADS), tokens(5, SLOTS), tokens(6, SLOTS)
    metadata = make_metadata(decode=([13, -1, -1], 3 * [TABLE]))

    def step(q, k, v, view, metadata):
        view = view.write_decodes_to_cache(k, v, metadata)
        return operator.forward_native(q, k, v, view, metadata).attention_outputs, view

    with mesh:
        out, view = (jax.jit(step) if jitted else step)(q, k, v, view, metadata)
    assert len(out.sharding.device_set) == 2
    assert view.key_pages.sharding.is_equivalent_to(place, 4)
    np.testing.assert_array_equal(pool_of(view, "key_pages")[2, 1], k[0])
    answer = expected(view, q[:1], [TABLE], [14], [0, 1])
    np.testing.assert_allclose(np.asarray(out)[:1], answer, atol=TOLERANCE)


def test_options_of_register():
    view = write_prompt(make_view(), tokens(1, 13), tokens(2, 13), TABLE)
    q = tokens(4, 1, HEADS)
    metadata = make_metadata(decode=([12], [TABLE]))
    try:
        paged_attn.easydel.register(window=3)
        out = make_operator(make_mesh()).forward_native(q, q, q, view, metadata).attention_outputs
    finally:
        paged_attn.easydel.register()
    problem = Problem(
        q, pool_of(view, "key_pages"), pool_of(view, "value_pages"), np.array([TABLE]), [13], [0, 1]
    )
    np.testing.assert_allclose(out, attention(problem, window=3)[0], atol=TOLERANCE)


# Faults of EasyDeL 0.1.4 that ours does not have.


def test_fault_1_later_chunks_overwrite_the_first():
    keys, values = tokens(1, 13), tokens(2, 13)
    view = write_prompt(make_view(), keys, values, TABLE)
    for name, rows in (("key_pages", keys), ("value_pages", values)):
        stored = pool_of(view, name)[TABLE[:4]].reshape(-1, KV_HEADS, DIM)
        np.testing.assert_array_equal(stored[:13], rows)


def test_fault_2_an_idle_slot_writes_through_the_last_entry():
    view = make_view(fill=0)
    new = tokens(1, SLOTS)
    full = [3, 7, 9, 2, 8]
    metadata = make_metadata(decode=([-1, -1, 2], [full, full, [5, 0, 0, 0, 0]]))
    view = view.write_decodes_to_cache(new, new, metadata)
    stored = pool_of(view, "key_pages")
    np.testing.assert_array_equal(stored[5, 2], new[2])
    assert np.count_nonzero(stored.any((2, 3))) == 1


def test_fault_3_a_position_past_the_capacity_wraps_into_the_last_page():
    view = make_view(fill=0)
    new = tokens(1, 2)
    metadata = make_metadata(decode=([COLUMNS * PAGE, COLUMNS * PAGE + 7], 2 * [[3, 7, 9, 2, 8]]))
    view = view.write_decodes_to_cache(new, new, metadata)
    assert not pool_of(view, "key_pages").any() and not pool_of(view, "value_pages").any()


def test_fault_4_padding_lands_in_the_tail_of_the_last_page():
    view = write_prompt(make_view(fill=0), tokens(1, 5), tokens(2, 5), TABLE)
    stored = pool_of(view, "key_pages")
    assert stored[3].all() and stored[7, 0].all() and not stored[7, 1:].any()
    assert not np.delete(stored, [3, 7], 0).any()


def test_fault_5_keys_past_the_length_are_read_in_prefill():
    """Everything past the length holds NaN here, and padding rows come out as 0."""
    view = write_prompt(make_view(fill=np.nan), tokens(1, 5), tokens(2, 5), TABLE)
    q = np.full((8, HEADS, DIM), np.nan, np.float32)
    q[:5] = tokens(3, 5, HEADS)
    metadata = make_metadata((5, np.arange(8), TABLE))
    out = np.asarray(
        make_operator(make_mesh()).forward_native(q, q, q, view, metadata).attention_outputs
    )
    np.testing.assert_allclose(out[:5], expected(view, q[:5], [TABLE], [5], [0, 5]), atol=TOLERANCE)
    assert not out[5:].any()


def test_fault_6_prefill_accumulates_in_bfloat16():
    keys, values = tokens(1, 20), tokens(2, 20)
    table = [3, 7, 9, 2, 8]
    view = write_prompt(make_view(jnp.bfloat16), keys, values, table)
    q = jnp.asarray(tokens(3, 20, HEADS), jnp.bfloat16)
    metadata = make_metadata((20, np.arange(20), table))
    out = make_operator(make_mesh()).forward_native(q, q, q, view, metadata).attention_outputs
    assert out.dtype == jnp.bfloat16
    answer = expected(view, np.asarray(q, np.float32), [table], [20], [0, 20])
    rounding = np.abs(answer) * 2.0**-8 + 1e-5  # half a unit in the last place, and float32 sums
    assert (np.abs(np.asarray(out, np.float32) - answer) <= rounding).all()


def test_fault_7_sizes_must_be_multiples():
    """5 table entries (not 8), and a chunk of 6 on pages of 4."""
    keys, values = tokens(1, 11), tokens(2, 11)
    view = write_prompt(make_view(), keys, values, TABLE, chunk=6)
    np.testing.assert_array_equal(
        pool_of(view, "key_pages")[TABLE[:4]].reshape(-1, KV_HEADS, DIM)[:11], keys
    )


def test_fault_8_rows_of_freed_slots_reach_pages_of_others():
    """A slot whose row has been reset to the null page neither writes nor fails."""
    view = make_view(fill=0)
    new = tokens(1, SLOTS)
    metadata = make_metadata(decode=([3, 4, 0], SLOTS * [COLUMNS * [0]]))
    view = view.write_decodes_to_cache(new, new, metadata)
    assert not pool_of(view, "key_pages").any()


def test_quantised_views_are_refused():
    view = make_view()
    view.key_pages = "compressed"
    metadata = make_metadata(decode=([1], [TABLE]))
    with pytest.raises(TypeError, match="expected key_pages to be an array, got str"):
        make_operator(make_mesh()).forward_native(*3 * [tokens(1, 1, HEADS)], view, metadata)


class Model:
    """A small Llama of EasyDeL, twice with the same weights: paged and dense attention."""

    def __init__(self):
        self.paged = self.make("paged_attention")
        self.dense = self.make("vanilla")

    @staticmethod
    def make(mechanism):
        config = easydel.LlamaConfig(
            vocab_size=97,
            hidden_size=HEADS * DIM,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=HEADS,
            num_key_value_heads=KV_HEADS,
            max_position_embeddings=64,
            attn_mechanism=mechanism,
            attn_dtype=jnp.float32,
            sharding_axis_dims=(1, 1, 1, 1),
        )
        return easydel.LlamaForCausalLM(
            config=config, dtype=jnp.float32, param_dtype=jnp.float32, rngs=nnx.Rngs(0)
        )

    def next_dense(self, ids):
        with self.dense.mesh:
            return int(self.dense(input_ids=jnp.asarray([ids])).logits[0, -1].argmax())

    def new_cache(self):
        with self.paged.mesh:
            metadata = caching.PagedAttentionCacheMetaData(
                SLOTS, 2, PAGES, COLUMNS, PAGE * COLUMNS, PAGE, KV_HEADS, DIM, hbm_utilization=0.5
            )
            return caching.PagedAttentionCache.init_cache(
                mesh=self.paged.mesh,
                dtype=jnp.float32,
                metadata=metadata,
                partition_manager=self.paged.config.partition_manager,
            )

    def step(self, ids, positions, cache, metadata):
        with self.paged.mesh:
            return self.paged(
                input_ids=jnp.asarray(ids),
                position_ids=jnp.asarray(positions),
                past_key_values=cache,
                cache_metadata=metadata,
            )


CHUNK = 8


class Server:
    """Prompts in chunks, one step holding a chunk and all decoding slots."""

    def __init__(self, model):
        self.model, self.cache = model, model.new_cache()
        self.ids, self.tables = {}, {}
        self.free = list(range(1, PAGES))

    def table(self, slot, length):
        table = self.tables.setdefault(slot, [])
        while len(table) * PAGE < length:
            table.append(self.free.pop(3 % len(self.free)))
        return table + (COLUMNS - len(table)) * [0]

    def chunk_of(self, slot, prompt, first):
        used = prompt[first : first + CHUNK]
        ids = used + (CHUNK - len(used)) * [0]
        length = first + len(used)
        return (
            ids,
            (length, np.arange(first, first + CHUNK), self.table(slot, length)),
            len(used) - 1,
        )

    def decodes(self):
        """The last token of each slot, to be decoded: ids, (positions, tables)."""
        ids, positions, tables = [], [], []
        for slot in range(SLOTS):
            known = self.ids.get(slot)
            ids.append(known[-1] if known else 0)
            positions.append(len(known) - 1 if known else -1)
            tables.append(self.table(slot, len(known)) if known else COLUMNS * [0])
        return ids, (positions, tables)

    def run(self, prefill=None, decode=True):
        """One step; prefill: (slot, prompt, first). Returns {slot: next token}."""
        chunk, place, last = self.chunk_of(*prefill) if prefill else ([], None, None)
        decode_ids, decode_place = self.decodes() if decode else ([], None)
        metadata = make_metadata(place, decode_place)
        ids = np.array(chunk + decode_ids)
        positions = np.concatenate(
            [place[1] if place else [], np.maximum(decode_place[0], 0) if decode else []]
        )
        shape = (1, -1) if not decode else (-1, 1)
        output = self.model.step(
            ids.reshape(shape), positions.astype(int).reshape(shape), self.cache, metadata
        )
        self.cache = output.past_key_values
        logits = np.asarray(output.logits).reshape(len(ids), -1)
        # The row of the next token counts from the start of the chunk, not of the prompt.
        answer = (
            {slot: int(logits[len(chunk) + slot].argmax()) for slot in self.ids} if decode else {}
        )
        if prefill:
            slot, prompt, first = prefill
            if first + CHUNK >= len(prompt):
                answer[slot] = int(logits[last].argmax())
        return answer


def test_model_generates_the_same_tokens_as_dense_attention():
    """A prompt of two chunks alone, a second one beside it in mixed steps, then decoding."""
    model = Model()
    server = Server(model)
    prompts = {0: [5, 17, 80, 3, 44, 9, 61, 12, 33, 70, 2], 2: [90, 4, 4, 51, 23, 7, 88, 19, 60]}
    for first in (0, CHUNK):
        answer = server.run((0, prompts[0], first), decode=False)
    server.ids[0] = prompts[0] + [answer[0]]
    for first in (0, CHUNK):
        answer = server.run((2, prompts[2], first))
        server.ids[0].append(answer[0])
    server.ids[2] = prompts[2] + [answer[2]]
    for _ in range(4):
        for slot, token in server.run().items():
            server.ids[slot].append(token)
    assert len(server.ids[0]) == 11 + 7 and len(server.ids[2]) == 9 + 5
    for slot, prompt in prompts.items():
        known = list(prompt)
        while len(known) < len(server.ids[slot]):
            known.append(model.next_dense(known))
        assert server.ids[slot] == known
