#!/usr/bin/env bash
# bench-media.sh [PART...]: how much work sound is for this server, beside a bare mixer and Debian's Janus, in one table; what the
# figures mean is in docs/performance.md. Parts: big small full srtp opus joins (interop/load/compare.py), all of them without one.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh build bench || true  # Janus alone would be missing from the table
cargo build --release --quiet -p confab-server -p confab-load
target=${CARGO_TARGET_DIR:-target}/release
cc -O2 -o "$target/refmix" interop/load/refmix.c
exec python3 interop/load/compare.py "$target/confab" "$target/confab-load" "$target/refmix" "$@"
