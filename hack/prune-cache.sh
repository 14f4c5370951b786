#!/usr/bin/env bash
# Removes the Rust builds of other toolchains from the cache that were not used for a week.
# Usage: prune-cache.sh CACHE CURRENT_TARGET
set -euo pipefail
cache=$1 target=$2
[ -d "$cache" ] || exit 0
# The build in use says so, here, each time that make runs.
if [ -d "$target" ]; then touch "$target/.used"; fi
for build in "$cache"/target-*; do
  [ -d "$build" ] && [ "$build" != "$target" ] || continue
  mark=$build
  if [ -e "$build/.used" ]; then mark=$build/.used; fi
  [ -z "$(find "$mark" -maxdepth 0 -mtime +7)" ] || rm -rf "$build"
done
