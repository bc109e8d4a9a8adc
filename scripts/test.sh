#!/usr/bin/env bash
# test.sh: everything that `make test` checks, lane by lane. Each lane logs its seconds; the runners' closing lines and one line of
# our own come last: `N passed, N failed, N not run: WHY`. Ends with 0 only when nothing failed and everything ran; with
# CONFAB_PARTIAL=1 what this machine cannot run is forgiven, unless CI=true.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=target/test-lanes
mkdir -p "$logs"
rm -f "$logs"/*
export CONFAB_NOT_RUN=$PWD/$logs/not-run
export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-never}
: > "$CONFAB_NOT_RUN"
passed=0 failed=0 closing=()

# lane NAME COMMAND...: runs it, shows and keeps its output, notes its seconds and its end.
lane() {
  local name=$1 start=$SECONDS status=0
  shift
  printf '\n== %s: %s\n' "$name" "$*"
  "$@" 2>&1 | tee "$logs/$name.log" || status=$?
  local took=$((SECONDS - start)) word=ok
  [ $status -eq 0 ] || word="FAILED ($status)"
  closing+=("lane $name: $took s, $word")
  return $status
}

# check NAME COMMAND...: a lane that is one test.
check() { if lane "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi; }

# count NAME STATUS: takes the numbers and the closing lines from a runner's log. Knows nextest's and cargo test's.
count() {
  local log=$logs/$1.log status=$2 numbers good bad lines
  numbers=$(sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
    / tests? run: / || /^test result: / {
      line = $0
      if (match(line, /[0-9]+ passed/)) good += substr(line, RSTART, RLENGTH)
      if (match(line, /[0-9]+ failed/)) bad += substr(line, RSTART, RLENGTH)
      if (match(line, /[0-9]+ timed out/)) bad += substr(line, RSTART, RLENGTH)
    }
    END { print good + 0, bad + 0 }')
  read -r good bad <<<"$numbers"
  # A lane that broke before it could count is a failure all the same.
  [ "$status" -eq 0 ] || [ "$bad" -gt 0 ] || bad=1
  passed=$((passed + good)) failed=$((failed + bad))
  mapfile -t lines < <(sed 's/\x1b\[[0-9;]*m//g' "$log" | grep -E '^ *Summary .* tests? run: |^test result: ' | grep -v ' 0 passed; 0 failed' | tail -n 40)
  closing+=("${lines[@]}")
}

runner=cargo-test
cargo nextest --version >/dev/null 2>&1 && runner=nextest

# tests NAME THREADS CARGO-ARGUMENTS...: runs tests with the runner there is; 0 threads: as many as it likes.
tests() {
  local name=$1 threads=$2 status=0
  shift 2
  local command=(cargo test --no-fail-fast "$@")
  [ $runner = nextest ] && command=(cargo nextest run --no-fail-fast --no-tests=pass "$@")
  if [ "$threads" -gt 0 ]; then
    if [ $runner = nextest ]; then command+=(--test-threads "$threads"); else command+=(-- --test-threads "$threads"); fi
  fi
  lane "$name" "${command[@]}" || status=$?
  count "$name" $status
}

not_run=()
setup_status=0
lane setup scripts/setup.sh || setup_status=$?
[ $setup_status -eq 0 ] || grep '^setup: missing' "$logs/setup.log"

check fmt cargo fmt --all --check
check clippy cargo clippy --workspace --all-targets -- -D warnings
if lane build cargo build --workspace; then
  tests unit 0 --workspace --exclude confab-interop
  [ $runner = cargo-test ] || { status=0; lane doc cargo test --doc --workspace --exclude confab-interop || status=$?; count doc $status; }
  tests foreign 2 --package confab-interop
else
  failed=$((failed + 1))
fi

# A scenario that this machine cannot run returns early; the runner has counted it as passed.
mapfile -t not_run < <(sort -u "$CONFAB_NOT_RUN")
passed=$((passed - ${#not_run[@]}))
why=
if [ ${#not_run[@]} -gt 0 ]; then
  printf '\nnot run:\n'
  printf '  %s\n' "${not_run[@]}"
  why=": $(printf '%s\n' "${not_run[@]}" | sed 's/^[^:]*: //' | sort -u | paste -sd ';' | sed 's/;/; /g')"
fi
printf '\n'
printf '%s\n' "${closing[@]}" "all lanes: $SECONDS s" "$passed passed, $failed failed, ${#not_run[@]} not run$why"
[ $failed -eq 0 ] || exit 1
[ ${#not_run[@]} -eq 0 ] || { [ "${CONFAB_PARTIAL:-}" = 1 ] && [ "${CI:-}" != true ]; }
