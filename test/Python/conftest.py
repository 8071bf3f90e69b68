"""Settings of all tests: the same examples in every run, no files left; JAX on the CPU, as
four devices.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # XLA compiles, more than it runs

try:
    from hypothesis import settings
except ImportError:  # environments of one optional package run its tests without
    pass
else:
    settings.register_profile("project", derandomize=True, database=None, deadline=None)
    settings.load_profile("project")
