#!/usr/bin/env bash
# Runs fuzz targets, one after the other. What they find is kept in FOLDER/work, an input that fails in FOLDER/artifacts.
# Usage: fuzz.sh FOLDER SECONDS TARGET...
# SANITIZER=none instead of `address` makes several times as many runs: our own code has no `unsafe` to find faults in.
set -euo pipefail
folder=$1 seconds=$2
shift 2
cd "$folder"
for target in "$@"; do
  echo "== $folder: $target"
  mkdir -p "work/$target"
  cargo +nightly fuzz run --fuzz-dir . -O -s "${SANITIZER:-address}" "$target" "work/$target" "corpus/$target" -- \
    -max_total_time="$seconds" -max_len=4096 -timeout=10 -dict="$(echo ./*.dict)" -print_final_stats=1
done
