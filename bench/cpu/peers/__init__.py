# ===- peers - The systems that we are compared with ----------------------=== #
#
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#
# One module for each peer. A module is imported in the peer's own process only,
# so this list imports none of them.
#
# ===----------------------------------------------------------------------=== #
"""Names of the peers and where their modules are."""

import importlib

# name -> (module, whether it reads a paged cache)
PEERS = {
    "sdpa": ("torch_sdpa", False),
    "sdpa-fold": ("torch_sdpa", False),
    "gather-sdpa": ("torch_sdpa", True),
    "flex": ("torch_flex", True),
    "openvino": ("openvino_pa", True),
    "vllm": ("vllm_cpu", True),
    "ipex": ("ipex_pa", True),
    "ggml": ("ggml_fa", False),
    "jax": ("jax_gather", True),
}


def load_peer(name):
    """The peer `name`; raises ImportError or common.Skip when it is absent."""
    module = importlib.import_module("." + PEERS[name][0], __package__)
    return module.make(name)
