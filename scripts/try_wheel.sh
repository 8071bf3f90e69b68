#!/usr/bin/env bash
# Installs a wheel into a fresh environment and runs the quickstart's first call
# there; fails when a library of the system's MLIR, LLVM or oneTBB is loaded.
#
#   ./scripts/try_wheel.sh dist/paged_attn-....whl
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[ $# -eq 1 ] && [ -f "$1" ] || die "expected a wheel, got '${1:-nothing}'"
WHEEL="$(realpath "$1")"
WORK="$(mktemp -d)"
trap 'rm -rf "$WORK"' EXIT

run_logged "$WORK/venv.log" python3 -m venv "$WORK/venv"
run_logged "$WORK/install.log" "$WORK/venv/bin/pip" install --disable-pip-version-check "$WHEEL"

cat >"$WORK/try.py" <<'PYTHON'
import numpy as np
import paged_attn

pages = np.zeros((4, 16, 2, 64), np.float32)
q = np.ones((1, 8, 64), np.float32)
paged_attn.append(q[:, :2], q[:, :2], pages, pages, [20])
out = paged_attn.attention(q, pages, pages, [[1]], [5])
np.testing.assert_allclose(out, 0.2 * np.exp(8) / (0.2 * np.exp(8) + 0.8), rtol=1e-5)
manager = paged_attn.KVCacheManager(8)
manager.allocate_slots({manager.add_sequence(): [1, 2, 3]})
with open("/proc/self/maps") as maps:
    files = {line.split()[-1] for line in maps if ".so" in line}
foreign = [f for f in files if any(n in f for n in ("LLVM", "MLIR", "tbb")) and "venv" not in f]
assert not foreign, foreign
print("   works, and loads none of the system's libraries")
PYTHON
(cd "$WORK" && "$WORK/venv/bin/python" try.py)
