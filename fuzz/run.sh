#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds the fuzz targets (clang, libFuzzer, ASan, UBSan) and runs each over its kept corpus.
#   fuzz/run.sh SECONDS [TARGET...]     or: fuzz/run.sh build
# New findings stay in build-fuzz/crashes; the kept corpus is only read. Ends with "N passed, N failed".
cd "$(dirname "$0")/.." || exit 1
seconds=${1:-600}; shift
B=build-fuzz
[ -f $B/build.ninja ] || CC="ccache clang" meson setup $B -Dfuzz=true \
    -Db_sanitize=address,undefined -Db_lundef=false >/dev/null || exit 1
ninja -C $B --quiet $(ninja -C $B -t targets all | sed -n 's/^\(fuzz\/fuzz_[a-z0-9_]*\): .*/\1/p') || exit 1
[ "$seconds" != build ] || exit 0
mkdir -p $B/crashes
passed=0 failed=0
one() {
    local t=$1 name=${1##*/fuzz_} log work
    log=$B/fuzz-$name.log; work=$B/corpus-$name
    mkdir -p "$work"
    timeout $((seconds + 60)) "$t" "$work" fuzz/corpus/"$name" -max_total_time="$seconds" -timeout=10 \
        -rss_limit_mb=2048 -close_fd_mask=3 -print_final_stats=1 \
        -artifact_prefix="$B/crashes/$name-" >"$log" 2>&1
}
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=($(find $B/fuzz -maxdepth 1 -type f -executable -name 'fuzz_*' | sort))
for ((i = 0; i < ${#targets[@]}; i += 2)); do # two at a time: one for each core
    pids=()
    for t in "${targets[@]:i:2}"; do one "$t" & pids+=($!); done
    for j in "${!pids[@]}"; do
        t=${targets[i + j]}; name=${t##*/fuzz_}
        if wait "${pids[j]}"; then
            passed=$((passed + 1))
            echo "clean  $name: $(sed -n 's/stat::number_of_executed_units: *//p' "$B/fuzz-$name.log") runs"
        else
            failed=$((failed + 1)); echo "FOUND  $name: see $B/fuzz-$name.log"; tail -n 12 "$B/fuzz-$name.log"
        fi
    done
done
echo "$passed passed, $failed failed"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
