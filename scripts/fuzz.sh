#!/usr/bin/env bash
# fuzz.sh [TARGET...]: the fuzz targets of crates/sim (all of them, or those named), longer than `make test` runs them. With a nightly
# compiler and cargo-fuzz under libFuzzer, TIME seconds each; else the seeded mutator on stable, N rounds each from seed SEED on.
# What panics goes into a file of crates/sim/corpus/TARGET, where it stays.
set -euo pipefail
cd "$(dirname "$0")/.."
targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(ls crates/sim/corpus)
if cargo +nightly fuzz --version >/dev/null 2>&1; then
  for target in "${targets[@]}"; do
    echo "== $target: libFuzzer, ${TIME:-60} s"
    mkdir -p "target/fuzz/corpus/$target" "target/fuzz/found/$target"
    # There is no unsafe code to look after, so no sanitizer slows it down.
    CONFAB_FUZZ_TARGET=$target cargo +nightly fuzz run --sanitizer none --debug-assertions --target-dir target/fuzz/build any \
      "target/fuzz/corpus/$target" "crates/sim/corpus/$target" -- -max_total_time="${TIME:-60}" -timeout=20 \
      -artifact_prefix="target/fuzz/found/$target/"
  done
else
  echo "There is no cargo-fuzz with a nightly compiler here (rustup toolchain install nightly; cargo install cargo-fuzz):"
  echo "the seeded mutator runs instead, ${N:-1000000} rounds for each target."
  for target in "${targets[@]}"; do
    CONFAB_FUZZ_SEED=${SEED:-20000} CONFAB_FUZZ_ROUNDS=${N:-1000000} cargo test -p confab-sim --test fuzz -- --exact "$target"
  done
fi
