# Helpers of the scripts in this folder; sourced, not run.
# Sets ROOT (the repository) and BUILD_DIR (PAGED_ATTN_BUILD_DIR, or build).

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
BUILD_DIR="${PAGED_ATTN_BUILD_DIR:-$ROOT/build}"
BIN="$BUILD_DIR/bin"

# Two compile jobs: one file that includes MLIR takes up to 1 GB.
JOBS="${PAGED_ATTN_JOBS:-2}"

# step TEXT: one line of progress.
step() { printf '== %s\n' "$*"; }

# note TEXT: a detail of the step.
note() { printf '   %s\n' "$*"; }

# die TEXT...: why the step cannot work; every argument is one line.
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do
    printf '       %s\n' "$line" >&2
  done
  exit 1
}

# run_logged LOG COMMAND...: quiet when it works, the end of the log when not.
run_logged() {
  local log="$1"
  shift
  mkdir -p "$(dirname "$log")"
  if ! "$@" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    die "failed: $*" "the whole output is in $log"
  fi
}
