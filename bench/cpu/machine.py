# ===- machine.py - What the figures were taken on -------------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# The kind of the machine, never its name.
#
# ===----------------------------------------------------------------------=== #
"""Description of the machine, and the environment of measured processes."""

import datetime
import os
import pathlib
import platform

CPU = pathlib.Path("/sys/devices/system/cpu/cpu0/cache")
# What decides about kernels here; the whole list of a CPU has a hundred more.
FLAGS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl", "avx512_vnni",
         "avx512_bf16", "avx512_fp16", "avx_vnni", "amx_tile", "amx_bf16", "amx_int8", "asimd",
         "sve", "i8mm", "bf16")
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def cpu_field(*names):
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in names:
            return value.strip()
    return ""


def cache_bytes():
    """Bytes by level, of the first core."""
    result = {}
    for index in sorted(CPU.glob("index*")):
        if (index / "type").read_text().strip() == "Instruction":
            continue
        size = (index / "size").read_text().strip()
        result["l" + (index / "level").read_text().strip()] = int(size[:-1]) * UNITS[size[-1]]
    return result


def eviction_bytes():
    """Bytes to read so that no cache keeps anything else."""
    return max(4 * max(cache_bytes().values(), default=0), 256 << 20)


def describe(threads):
    found = set(cpu_field("flags", "Features").split())
    huge = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return {
        "cpu": cpu_field("model name") or platform.processor(),
        "family": cpu_field("cpu family"), "model": cpu_field("model"),
        "flags": [flag for flag in FLAGS if flag in found],
        "cores": os.cpu_count(), "threads": threads, "cache_bytes": cache_bytes(),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "huge_pages": huge.read_text().split("[")[-1].split("]")[0] if huge.exists() else "none",
        "system": platform.system(), "python": platform.python_version(),
        "date": datetime.date.today().isoformat(),
    }


def limit_threads(threads):
    """Keeps this process and its children on the first `threads` CPUs."""
    allowed = sorted(os.sched_getaffinity(0))
    if threads > len(allowed):
        raise ValueError(f"expected at most {len(allowed)} threads, got {threads}")
    os.sched_setaffinity(0, set(allowed[:threads]))


def worker_environment(threads):
    """The same number of threads and the same huge pages for every peer."""
    count = str(threads)
    return {**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count,
            "OPENBLAS_NUM_THREADS": count, "NPROC": count,
            # Intel's OpenMP threads spin for 200 ms, into the next system's time.
            "KMP_BLOCKTIME": "1",
            # Our pools ask for huge pages; so do torch's and malloc's.
            "THP_MEM_ALLOC_ENABLE": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
            "JAX_PLATFORMS": "cpu"}
