#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs every bench: the programs bench/*.c of the build and the scripts bench/*.py. Each prints its figure,
# this machine's floor and the rival's figure in the same run. The output is kept in BUILD/bench.txt.
cd "$(dirname "$0")/.." || exit 1
B=${1:-build}
names="$(sed -n "s/^executable('\(bench_[a-z0-9_]*\)'.*/\1/p" bench/meson.build) bench_model_parse_1 bench_model_parse_200"
ninja -C "$B" $(printf 'bench/%s ' $names) src/weftd/weftd agents/bng/weft-bng --quiet || exit 1
work=$(mktemp -d "$PWD/$B/bench-XXXXXX"); trap 'rm -rf "$work"' EXIT
{
    echo "# $(date -u +%Y-%m-%dT%H:%M:%SZ) $(nproc) cores, $(uname -r), load $(cut -d' ' -f1 /proc/loadavg)"
    for n in $names; do
        printf '\n## %s\n' "$n"
        case $n in
        bench_prefix_tree | bench_model_parse_*) args=() ;;
        bench_log_commit) args=(--dir "$work") && command -v etcdctl >/dev/null && args+=(--etcd) ;;
        bench_grpc_unary) continue ;; # grpc_rivals.py runs it beside the others
        *) args=("$work") ;;
        esac
        "$B/bench/$n" "${args[@]}" 2>&1 || echo "$n: status $?"
    done
    for s in bench/*.py; do
        [ "$s" != bench/model_kinds.py ] || continue # makes modules for bench_model_parse
        printf '\n## %s\n' "$s"
        WEFT_BUILD=$B /usr/bin/python3 "$s" 2>&1 || echo "$s: status $?"
    done
} | tee "$B/bench.txt"
