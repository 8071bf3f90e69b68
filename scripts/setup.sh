#!/usr/bin/env bash
# Installs what the build needs on Debian 12. Does nothing when all is there.
#
#   ./scripts/setup.sh          as root, or as a user with sudo
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

REQUIRED=(
  cmake ninja-build g++ python3 # to build
  libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools # MLIR, lit, FileCheck
  clang-22 lld-22
  libtbb-dev libxxhash-dev # the executor and the runtime
  libvulkan-dev            # headers of the Vulkan driver of the runtime
  libgtest-dev             # tests
  python3-numpy            # the benchmark's driver and its test
)
# Faster rebuilds, formatting, benchmarks, the Python package, kernels for AArch64 run by qemu, a
# Vulkan device in software and a validator of SPIR-V (what needs them is skipped without):
# installed beside the others when that can be done, never a reason to stop.
OPTIONAL=(ccache clang-format-22 libbenchmark-dev python3-dev python3-venv
  qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
  libvulkan1 mesa-vulkan-drivers spirv-tools)

is_installed() {
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# missing_packages PACKAGE...: prints those that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    is_installed "$package" || printf '%s ' "$package"
  done
}

has_candidate() {
  local candidate
  candidate="$(apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p')"
  [ -n "$candidate" ] && [ "$candidate" != '(none)' ]
}

# as_root COMMAND...
as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

check_system() {
  command -v apt-get >/dev/null && command -v dpkg-query >/dev/null ||
    die "expected a Debian system with apt-get" \
      "elsewhere: install MLIR and LLVM 22.1 with clang 22, cmake 3.22, ninja, oneTBB, xxhash" \
      "and GoogleTest by hand, then run ./scripts/build.sh"
  local name
  name="$(. /etc/os-release && echo "${PRETTY_NAME:-unknown}")"
  case "$name" in
  *'GNU/Linux 12'*) ;;
  *) note "expected Debian 12, got $name: going on, packages may be missing" ;;
  esac
}

has_rights() {
  [ "$(id -u)" -eq 0 ] || command -v sudo >/dev/null
}

check_rights() {
  has_rights ||
    die "cannot install: not root and sudo is not there" "missing: $*"
}

check_candidates() {
  local package
  has_candidate libmlir-22-dev || is_installed libmlir-22-dev || die \
    "libmlir-22-dev is not on offer: enable the suite bookworm-security" \
    "put this line into /etc/apt/sources.list and run again:" \
    "deb http://security.debian.org/debian-security bookworm-security main"
  for package in "$@"; do
    has_candidate "$package" || die "package $package is not on offer" \
      "expected the suites bookworm, bookworm-updates and bookworm-security in /etc/apt"
  done
}

step "setup: checking ${#REQUIRED[@]} packages and ${#OPTIONAL[@]} optional ones"
check_system
read -r -a missing <<<"$(missing_packages "${REQUIRED[@]}")"
read -r -a wanted <<<"$(missing_packages "${OPTIONAL[@]}")"
if [ "${#missing[@]}" -eq 0 ]; then
  if [ "${#wanted[@]}" -eq 0 ]; then
    note "all installed"
    exit 0
  elif ! has_rights; then
    note "going on without ${wanted[*]}"
    exit 0
  fi
fi
check_rights "${missing[*]}"

LOGS="$BUILD_DIR/logs"
step "setup: reading the package lists"
mkdir -p "$LOGS"
if ! as_root apt-get update >"$LOGS/apt-update.log" 2>&1; then
  note "apt-get update failed ($LOGS/apt-update.log): using the lists that are there"
fi
check_candidates "${missing[@]}"

for package in "${wanted[@]}"; do
  if has_candidate "$package"; then
    missing+=("$package")
  else
    note "going on without $package: not on offer"
  fi
done
[ "${#missing[@]}" -gt 0 ] || exit 0

step "setup: installing ${#missing[@]} packages: ${missing[*]}"
run_logged "$LOGS/apt-install.log" as_root env DEBIAN_FRONTEND=noninteractive \
  apt-get install -y --no-install-recommends "${missing[@]}"
note "done"
