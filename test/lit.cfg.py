# How lit runs the tests of this folder: tools by name, ours first, then
# FileCheck, not, count and split-file of the MLIR that we build against.
import os
import platform
import re
import shutil
import sys

import lit.formats

config.name = "paged_attn"
config.test_format = lit.formats.ShTest(execute_external=False)
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = config.paged_attn_obj_root
config.suffixes = [".mlir", ".test"]
if platform.machine() in ("x86_64", "AMD64"):
    config.available_features.add("x86")
if shutil.which("qemu-aarch64") and shutil.which("aarch64-linux-gnu-gcc"):
    config.available_features.add("aarch64-run")
if os.path.exists(os.path.join(config.llvm_tools_dir, "llvm-mca")):
    config.available_features.add("llvm-mca")
# Instructions of this machine that kernels for named CPUs need to run.
try:
    with open("/proc/cpuinfo") as cpuinfo:
        flags = re.search(r"^flags\s*:(.*)$", cpuinfo.read(), re.MULTILINE)
except OSError:
    flags = None
flags = set(flags.group(1).split()) if flags else set()
if flags >= {"avx2", "fma", "f16c", "bmi2"}:
    config.available_features.add("avx2")
if flags >= {"avx512f", "avx512vl", "avx512bw", "avx512dq", "avx512cd"}:
    config.available_features.add("avx512")
config.excludes = ["CMakeLists.txt", "Inputs"]

# Tools and drivers that only some tests need: without them those are
# unsupported.
for tool in ("spirv-val", "ptxas"):
    if shutil.which(tool):
        config.available_features.add(tool)
# A Vulkan device in software; %vulkan runs a command on it. Its subgroups have
# LP_NATIVE_VECTOR_WIDTH / 32 lanes.
LAVAPIPE = f"/usr/share/vulkan/icd.d/lvp_icd.{platform.machine()}.json"
if os.path.exists(LAVAPIPE):
    config.available_features.add("vulkan")
config.substitutions.append(("%vulkan", f"env VK_ICD_FILENAMES={LAVAPIPE}"))

# %mlir_lib_dir: for mlir-runner -shared-libs=.
config.substitutions.append(("%mlir_lib_dir", config.llvm_lib_dir))
config.substitutions.append(("%python", sys.executable))
config.environment["PATH"] = os.pathsep.join(
    [
        config.paged_attn_tools_dir,
        config.llvm_tools_dir,
        config.environment.get("PATH", ""),
    ]
)
# Tests compile what they test; those of the cache name a folder of their own.
config.environment["PAGED_ATTN_CACHE_DIR"] = "off"
for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"):
    if name in os.environ:
        config.environment[name] = os.environ[name]
