#!/usr/bin/env bash
# The cluster suite again and again, beside processes that keep the processors busy: what fails then fails by chance.
#
#   hack/soak.sh [FILTER…]    RUNS=5 runs beside NEIGHBOURS=2 busy processes, each of which ends after LIMIT=14400 s at most
#
# Prints a table, and the failures. Ends with 1 where there were any. What each run printed is kept in the folder that it names.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runs=${RUNS:-5}
neighbours=${NEIGHBOURS:-2}
limit=${LIMIT:-14400}
logs=${CARGO_TARGET_DIR:-$PWD/target}/soak
busy=()

main() {
  cargo test --test cluster --no-run
  mkdir -p "$logs"
  rm -f "$logs"/run-*.log
  trap stop_neighbours EXIT
  trap 'exit 130' INT TERM
  local i
  for ((i = 0; i < neighbours; i++)); do
    timeout "$limit" bash -c 'while :; do :; done' &
    busy+=($!)
  done
  echo "$runs runs beside $neighbours busy processes; what they print is in $logs"
  echo
  echo "| run | passed | failed | seconds | |"
  echo "|---:|---:|---:|---:|---|"
  local run bad=0
  for ((run = 1; run <= runs; run++)); do
    once "$run" "$@" || bad=$((bad + 1))
  done
  echo
  if [ "$bad" != 0 ]; then
    echo "$bad of $runs runs failed:"
    grep -H -A 3 -E '^test .* FAILED|^cluster tests:' "$logs"/run-*.log || true
    return 1
  fi
  echo "None failed."
}

# Runs the suite and prints a row of the table.
once() {
  local run=$1 log=$logs/run-$1.log begin=$SECONDS code=0 result passed failed
  shift
  cargo test --quiet --test cluster -- "$@" >"$log" 2>&1 || code=$?
  result=$(grep -E '^test result: ' "$log" || true)
  passed=$(sed -nE 's/.* ([0-9]+) passed;.*/\1/p' <<<"$result")
  failed=$(sed -nE 's/.* ([0-9]+) failed;.*/\1/p' <<<"$result")
  # A run that broke off has no result.
  echo "| $run | ${passed:--} | ${failed:--} | $((SECONDS - begin)) | $(neighbours_left) |"
  [ "$code" = 0 ] && [ "${failed:-1}" = 0 ]
}

# A run beside nobody shows nothing.
neighbours_left() {
  local pid left=0
  for pid in "${busy[@]}"; do
    kill -0 "$pid" 2>/dev/null && left=$((left + 1))
  done
  [ "$left" = "$neighbours" ] || echo "only $left neighbours at the end"
}

stop_neighbours() {
  [ "${#busy[@]}" != 0 ] || return 0
  kill "${busy[@]}" 2>/dev/null || true
  wait "${busy[@]}" 2>/dev/null || true
}

main "$@"
