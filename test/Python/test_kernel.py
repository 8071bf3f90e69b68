"""compile, inspect, save, describe, and what the package promises as a whole."""

import inspect
import os
import subprocess
import sys

import numpy as np
import problems
import pytest

import paged_attn
from paged_attn import CompileError, KernelSpec

SPEC = KernelSpec(num_heads=4, num_kv_heads=2, head_dim=32, page_size=8)


@pytest.fixture(scope="module")
def kernel():
    return paged_attn.compile(SPEC)


@pytest.mark.parametrize(
    "level, text",
    [
        ("attention", "paged_attn.attention auto"),
        ("tiled", "paged_attn.load_tile"),
        ("vector", "vector<"),
        ("llvm", "llvm.func"),
        ("llvmir", "define"),
        ("asm", ".text"),
        ("header", "_mlir_ciface_attention"),
    ],
)
def test_every_level_can_be_seen(kernel, level, text):
    assert level in kernel.levels()
    assert text in kernel.inspect(level)


def test_linalg_level():
    assert "linalg." in paged_attn.compile(SPEC, via="linalg").inspect("linalg")


def test_a_kernel_is_called_like_attention(kernel):
    problem = problems.make(np.random.default_rng(0), [9, 20], [2, 5])
    problem.check(kernel(*problem.arrays))


def test_save(kernel, tmp_path):
    for suffix, start in [(".mlir", b"func.func"), (".o", b"\x7fELF"), (".ll", b"; ModuleID")]:
        kernel.save(tmp_path / f"kernel{suffix}")
        assert (tmp_path / f"kernel{suffix}").read_bytes().startswith(start)
    with pytest.raises(ValueError, match=r"expected path to end in one of .mlir, .*, got '.*txt'"):
        kernel.save(tmp_path / "kernel.txt")


def test_describe_is_the_spec_of_a_call():
    problem = problems.make(np.random.default_rng(0), [9, 20], [2, 5], dtype="bfloat16")
    spec = paged_attn.describe(*problem.arrays, window=4)
    assert (spec.num_heads, spec.num_kv_heads, spec.head_dim, spec.page_size) == (4, 2, 32, 8)
    assert (spec.key_type, spec.window, spec.mode) == ("bf16", 4, "decode")
    problem.check(paged_attn.compile(spec)(*problem.arrays), window=4)
    longer = problems.make(np.random.default_rng(0), [9, 20], [9, 1])
    assert paged_attn.describe(*longer.arrays).mode == "mixed"


def test_errors():
    with pytest.raises(CompileError, match="expected query to have a multiple of 2 query heads"):
        paged_attn.compile(KernelSpec(num_heads=3, num_kv_heads=2))
    with pytest.raises(TypeError, match="expected spec to be a KernelSpec, got int"):
        paged_attn.compile(3)
    with pytest.raises(ValueError, match="expected target to be cpu, got 'tpu'"):
        paged_attn.compile(SPEC, "tpu")
    with pytest.raises(ValueError, match="got 'z80'"):
        paged_attn.compile(SPEC, cpu="z80")
    with pytest.raises(ValueError, match="expected level to be one of .*, got 'deep'"):
        paged_attn.compile(SPEC).inspect("deep")


def test_everything_public_is_described():
    for name in paged_attn.__all__:
        thing = getattr(paged_attn, name)
        assert thing.__doc__, name
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if inspect.isfunction(value) and not member.startswith("_"):
                    assert value.__doc__, f"{name}.{member}"


def test_import_brings_in_no_framework():
    """Frameworks take seconds to import; only their users pay for them."""
    code = (
        "import sys, paged_attn;"
        "print([m for m in ('torch', 'jax', 'matplotlib', 'ml_dtypes') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_next_process_reads_kernels_from_disk(tmp_path):
    code = (
        "import numpy as np, paged_attn;"
        "q = np.ones((1, 2, 16), np.float32); pages = np.ones((1, 4, 1, 16), np.float32);"
        "paged_attn.attention(q, pages, pages, [[0]], [3]);"
        "info = paged_attn.cache_info(); print(info['misses'], info['from_disk'])"
    )
    environment = {**os.environ, "PAGED_ATTN_CACHE_DIR": str(tmp_path)}
    for expected in ("1 0", "1 1"):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True
        )
        assert done.stdout.strip() == expected
