#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs every bench: the programs bench/*.c of the build and the scripts bench/*.py. Each prints its figure,
# this machine's floor and the rival's figure in the same run. The output is kept in BUILD/bench.txt.
cd "$(dirname "$0")/.." || exit 1
B=${1:-build}
names=$(sed -n "s/^executable('\(bench_[a-z0-9_]*\)'.*/\1/p" bench/meson.build)
ninja -C "$B" $(printf 'bench/%s ' $names) --quiet || exit 1
work=$(mktemp -d "$PWD/$B/bench-XXXXXX"); trap 'rm -rf "$work"' EXIT
{
    echo "# $(date -u +%Y-%m-%dT%H:%M:%SZ) $(nproc) cores, $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"
    for n in $names; do
        printf '\n## %s\n' "$n"
        "$B/bench/$n" "$work" 2>&1 || echo "$n: status $?"
    done
    for s in bench/*.py; do
        [ -e "$s" ] || continue
        printf '\n## %s\n' "$s"
        WEFT_BUILD=$B /usr/bin/python3 "$s" 2>&1 || echo "$s: status $?"
    done
} | tee "$B/bench.txt"
