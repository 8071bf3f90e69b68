"""What must be set before JAX is imported: the CPU, as four devices.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
