"""The code of docs/JAX.md, docs/PyTorch.md and docs/EasyDeL.md, where the package is there.

SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""

import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize(
    "document, package", [("JAX", "jax"), ("PyTorch", "torch"), ("EasyDeL", "easydel")]
)
def test_code_runs(document, package):
    module = pytest.importorskip(
        package, reason=f"{package} is not installed", exc_type=ImportError
    )
    if document == "JAX" and tuple(map(int, module.__version__.split(".")[:2])) < (0, 7):
        pytest.skip("the page is written for jax 0.7 and later")
    blocks = re.findall(
        r"^```python\n(.*?)^```$", (DOCS / f"{document}.md").read_text(), re.M | re.S
    )
    assert blocks
    namespace = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{document}.md, block {number}", "exec"), namespace)  # noqa: S102
