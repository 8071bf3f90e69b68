"""Arrays: no copies, results of the caller's kind, threads, memory that stays."""

import gc
import resource
import threading

import numpy as np
import problems
import pytest

import paged_attn


def small_problem(seed=0, **options):
    return problems.make(np.random.default_rng(seed), [9, 20], [2, 5], **options)


def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_out_is_the_callers_array():
    problem = small_problem()
    out, lse = np.full((7, 4, 32), np.nan, np.float32), np.empty((7, 4), np.float32)
    address = out.ctypes.data
    result = paged_attn.attention(*problem.arrays, out=out, lse=lse, return_lse=True)
    assert result[0] is out and result[1] is lse and out.ctypes.data == address
    problem.check(out, lse)


def test_out_of_another_type():
    problem = small_problem(dtype="bfloat16")
    out = np.empty((7, 4, 32), np.float32)
    problem.check(paged_attn.attention(*problem.arrays, out=out))


def test_a_call_allocates_no_copy_of_the_pool():
    """A pool of 1 GiB that is never touched beyond its first pages: a copy would
    show in the peak of resident memory."""
    pages = np.zeros((2**16, 16, 4, 64), np.float32)
    q = np.ones((1, 4, 64), np.float32)
    table, lens = np.array([[3]], np.int32), np.array([5], np.int32)
    paged_attn.attention(q, pages[:8], pages[:8], table, lens)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    paged_attn.attention(q, pages, pages, table, lens)
    paged_attn.append(q, q, pages, pages, [70])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before  # KiB
    assert pages[4, 6, 0, 0] == 1
    assert grown < pages.nbytes / 1024 / 8


def test_read_only_inputs():
    problem = small_problem()
    for array in problem.arrays:
        array.flags.writeable = False
    problem.check(paged_attn.attention(*problem.arrays))


@pytest.mark.parametrize("threads", [1, 0])
def test_memory_is_flat_over_10000_calls(threads):
    """The bound leaves room for the scheduler's own pools, which settle late; a
    leak of 110 bytes in each of the four calls of a step exceeds it."""
    problem = small_problem()
    slots = np.array([40, -1], np.int64)
    tokens = np.zeros((2, 2, 32), np.float32)
    part = np.zeros((2, 4, 32), np.float32)
    lse = np.zeros((2, 4), np.float32)

    def step():
        paged_attn.attention(*problem.arrays, return_lse=True, num_threads=threads)
        paged_attn.append(tokens, tokens, problem.k_pages, problem.v_pages, slots)
        paged_attn.merge_states([part, part], [lse, lse])
        with pytest.raises(ValueError):
            paged_attn.attention(*problem.arrays, window=-1)

    for _ in range(3000):
        step()
    gc.collect()
    before = resident_bytes()
    kernels = paged_attn.cache_info()["kernels"]
    for _ in range(10000):
        step()
    gc.collect()
    assert resident_bytes() - before < 4 << 20
    assert paged_attn.cache_info()["kernels"] == kernels


def test_managers_are_freed():
    def use():
        manager = paged_attn.KVCacheManager(1024, 16, 8, 128, max_tokens=1024)
        pages = manager.k_pages()
        pages[:] = 1
        sequence = manager.add_sequence()
        manager.allocate_slots({sequence: range(100)})
        return pages[:1]

    for _ in range(3):
        use()
    before = resident_bytes()
    for _ in range(20):
        use()
    assert resident_bytes() - before < 64 << 20  # one pool is 64 MiB


def test_pools_outlive_their_manager():
    pages = paged_attn.KVCacheManager(16, 4, 2, 8).k_pages()
    gc.collect()
    pages[:] = 3
    assert (pages == 3).all()


def test_many_threads():
    """Calls overlap, also the first ones of a signature, which compile once."""
    paged_attn.clear_cache()
    before = paged_attn.cache_info()["misses"]
    problem = problems.make(np.random.default_rng(3), [40, 9, 17], [4, 1, 17], dim=24)
    expected, _ = problem.expect()
    failures = []

    def work(threads):
        try:
            for _ in range(20):
                out = paged_attn.attention(*problem.arrays, num_threads=threads)
                np.testing.assert_allclose(out, expected, atol=1e-3)
        except Exception as error:  # noqa: BLE001 - told in the main thread
            failures.append(error)

    workers = [threading.Thread(target=work, args=(i % 3,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    assert paged_attn.cache_info()["misses"] == before + 1


def test_the_interpreter_runs_while_a_kernel_does():
    """The GIL is released: another thread counts on during a long call."""
    problem = problems.make(np.random.default_rng(4), [1500], [1500], heads=8, dim=64)
    paged_attn.attention(*problem.arrays)
    counted, done = [0], threading.Event()

    def count():
        while not done.is_set():
            counted[0] += 1

    counter = threading.Thread(target=count)
    counter.start()
    before = counted[0]
    for _ in range(3):
        paged_attn.attention(*problem.arrays, num_threads=1)
    during = counted[0] - before
    done.set()
    counter.join()
    assert during > 1000


def test_dlpack():
    """Arrays of other libraries come by DLPack."""

    class Foreign:
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **keywords):
            return self.array.__dlpack__(**keywords)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()

    problem = small_problem()
    out = np.empty((7, 4, 32), np.float32)
    paged_attn.attention(*map(Foreign, problem.arrays), out=Foreign(out))
    problem.check(out)
    with pytest.raises(ValueError, match="expected q to be dense and row-major"):
        paged_attn.attention(Foreign(problem.q[:, :, ::2]), *problem.arrays[1:])


def test_torch():
    torch = pytest.importorskip("torch")
    problem = small_problem()
    tensors = [torch.from_numpy(array) for array in problem.arrays]
    out, lse = paged_attn.attention(*tensors, return_lse=True)
    assert isinstance(out, torch.Tensor) and out.dtype == torch.float32
    problem.check(out.numpy(), lse.numpy())
    target = torch.empty(7, 4, 32)
    assert paged_attn.attention(*tensors, out=target) is target
    half = [t.bfloat16() if t.is_floating_point() else t for t in tensors]
    assert paged_attn.attention(*half).dtype == torch.bfloat16
    with pytest.raises(ValueError, match=r"expected q to be dense and row-major"):
        paged_attn.attention(tensors[0][:, :, ::2], *tensors[1:])
    with pytest.raises(ValueError, match="expected q not to require a gradient"):
        paged_attn.attention(tensors[0].requires_grad_(), *tensors[1:])


def test_jax():
    jax = pytest.importorskip("jax")
    problem = small_problem()
    arrays = [jax.numpy.asarray(array) for array in problem.arrays]
    out, lse = paged_attn.attention(*arrays, return_lse=True)
    assert isinstance(out, jax.Array) and out.dtype == np.float32
    problem.check(np.asarray(out), np.asarray(lse))
    half = [a.astype(jax.numpy.bfloat16) if a.dtype == np.float32 else a for a in arrays]
    assert paged_attn.attention(*half).dtype == jax.numpy.bfloat16
    tokens = np.zeros((2, 2, 32), np.float32)
    with pytest.raises(TypeError, match="got a jax array, which never is; use paged_attn.jax"):
        paged_attn.append(tokens, tokens, arrays[1], arrays[2], [0, 1])
    with pytest.raises(TypeError, match="use paged_attn.jax under jit"):
        jax.jit(lambda q: paged_attn.attention(q, *arrays[1:]))(arrays[0])
