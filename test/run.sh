#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# All tests, cheapest failures first. Ends with "N passed, N failed".
#   test/run.sh [build] [lint] [unit] [tsan] [e2e] [packages] [tour] [fuzz]     (none: all of them)
cd "$(dirname "$0")/.." || exit 1
# Everything that tests write to /tmp and /dev/shm stays inside the tree, and goes with it: they get folders
# of the tree there, in a mount namespace of their own. (Not when the tree itself lies under /tmp.)
if [ -z "${WEFT_TEST_INSIDE:-}" ] && [ "$(id -u)" -eq 0 ] && [[ $PWD/ != /tmp/* && $PWD/ != /dev/shm/* ]]; then
    scratch=$PWD/${WEFT_TEST_BUILD:-build-test}-tmp
    mkdir -p "$scratch/tmp" "$scratch/shm" && chmod 1777 "$scratch"/*
    WEFT_TEST_INSIDE=1 unshare -m bash -c 'mount -n --bind "$1/tmp" /tmp && { [ ! -d /dev/shm ] ||
        mount -n --bind "$1/shm" /dev/shm; } && shift && exec "$@"' - "$scratch" "$PWD/test/run.sh" "$@"
    rc=$?
    rm -rf "$scratch"
    exit $rc
fi
B=${WEFT_TEST_BUILD:-build-test}
FUZZ_SECONDS=${FUZZ_SECONDS:-30}
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1
passed=0 failed=0 started=$SECONDS
wanted=" ${*:-build lint unit tsan e2e packages tour fuzz} "
want() { [[ $wanted == *" $1 "* ]]; }
step() { printf '\n== %s (%d min)\n' "$*" $(((SECONDS - started) / 60)); }
count() { # name, exit status
    if [ "$2" -eq 0 ]; then passed=$((passed + 1)); echo "ok      $1"; else failed=$((failed + 1)); echo "FAILED  $1"; fi
}
close() {
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}
# Adds the closing line "N passed, N failed" of a log to the sums.
sums() {
    local p f
    p=$(grep -oE '[0-9]+ passed' "$1" | tail -1 | cut -d' ' -f1)
    f=$(tail -5 "$1" | grep -oE '[0-9]+ (failed|errors?)' | awk '{s += $1} END {print s + 0}')
    passed=$((passed + ${p:-0})); failed=$((failed + ${f:-0}))
    [ -n "$p" ] || [ "${f:-0}" -gt 0 ] || count "$1 (no test was run)" 1
}
meson_tests() { # build folder, log, arguments of meson test
    local dir=$1 log=$2 ok bad
    shift 2
    meson test -C "$dir" --no-rebuild --print-errorlogs --num-processes 2 "$@" >"$log" 2>&1
    grep -vE '^(ninja|Full log|$)' "$log" | tail -n 80
    ok=$(sed -n 's/^Ok: *\([0-9]*\).*/\1/p' "$log")
    bad=$(sed -n 's/^\(Fail\|Timeout\): *\([0-9]*\).*/\2/p' "$log" | awk '{s += $1} END {print s + 0}')
    passed=$((passed + ${ok:-0})); failed=$((failed + bad))
    [ -n "$ok" ] || count "meson test in $dir" 1
}

step "build: gcc with ASan and UBSan"
[ -f $B/build.ninja ] || CC="ccache gcc" meson setup $B -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
ninja -C $B --quiet; rc=$?; count "build with gcc" $rc
[ $rc -eq 0 ] || close

if want lint; then
    step "build: clang"
    [ -f build-clang/build.ninja ] || CC="ccache clang" meson setup build-clang >/dev/null
    ninja -C build-clang --quiet; count "build with clang" $?
    fuzz/run.sh build; count "build of the fuzz targets" $?
    step "clang-format, clang-tidy, requirement table"
    git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror; count clang-format $?
    git ls-files 'src/*.c' 'agents/*.c' 'cli/*.c' | grep -v _test.c |
        xargs -P2 -n6 clang-tidy -p build-clang --quiet --checks='-clang-analyzer-*' \
            >build-clang/tidy.log 2>build-clang/tidy.err
    ! grep -E '(error|warning):' build-clang/tidy.log; count clang-tidy $?
    /usr/bin/python3 test/requirements.py --check; count "requirement table" $?
fi
if want unit; then
    step "unit tests, simulations, crash loops"
    meson_tests $B $B/unit.log -t 5
fi
if want tsan; then
    step "threads: core, log and net under TSan"
    [ -f build-tsan/build.ninja ] ||
        CC="ccache gcc" meson setup build-tsan -Db_sanitize=thread -Db_lundef=false -Dwerror=false >/dev/null
    ninja -C build-tsan --quiet; rc=$?; count "build with TSan" $rc
    [ $rc -eq 0 ] && meson_tests build-tsan build-tsan/tsan.log -t 5 $(make -s --no-print-directory tsan-tests)
fi
if want e2e; then
    step "end to end"
    # Most of the time these tests wait for something, so three go side by side: what needs gateways in
    # namespaces or packages of npm's in one run here, every other file in a network of its own, where ports
    # are nobody else's. Long ones first: those that say so, then by their length.
    here=$(grep -lE 'bng_lab|weftlab|node_modules|netns' test/e2e/test_*.py)
    # gRPC's threads belong to the process; those tests look at gRPC itself, and have one to themselves.
    grpc=test/e2e/test_net_grpc.py
    rest=$(printf '%s\n' test/e2e/test_*.py | grep -vxF "$here" | grep -vxF $grpc)
    pytest() { # `apart` or `here`, files
        local within=()
        [ "$1" = here ] || [ "$(id -u)" -ne 0 ] || within=(unshare -n sh -c 'ip link set lo up && exec "$@"' -)
        WEFT_BUILD=$B "${within[@]}" /usr/bin/python3 -m pytest -q --durations=8 -p no:cacheprovider "${@:2}" 2>&1
    }
    rm -rf $B/e2e && mkdir $B/e2e
    { grep -l '^# Takes minutes' $rest; wc -c $rest | sort -rn | sed -n 's/^ *[0-9]* \(test.*\)/\1/p'; } |
        awk '!seen[$0]++' >$B/e2e/queue
    take() { flock $B/e2e/lock sh -c 'sed -n 1p "$1"; sed -i 1d "$1"' - $B/e2e/queue; }
    worker() {
        local file log
        while file=$(take) && [ -n "$file" ]; do
            log=$B/e2e/$(basename "$file" .py).log
            pytest apart "$file" >"$log"
            printf '%s %s\n' "$file" "$(tail -n 1 "$log")"
        done
    }
    worker & worker &
    pytest here $here >$B/e2e/here.log
    tail -n 20 $B/e2e/here.log
    worker
    wait
    for log in $B/e2e/*.log; do
        ! tail -n 1 "$log" | grep -qE ' (failed|errors?)' || cat "$log"
        sums "$log"
    done
    pytest here $grpc | tee $B/grpc.log
    sums $B/grpc.log
fi
if want packages; then
    step "Debian packages: installed, upgraded, purged"
    /usr/bin/python3 -m pytest -q --durations=4 -p no:cacheprovider test/packages 2>&1 | tee $B/packages.log
    sums $B/packages.log
fi
if want tour; then
    step "the tour of make run, twice"
    for n in 1 2; do
        TOUR=once make --no-print-directory run >$B/tour-$n.log 2>&1
        rc=$?; count "tour $n" $rc
        [ $rc -eq 0 ] || tail -n 40 $B/tour-$n.log
    done
fi
if want fuzz; then
    step "fuzz targets, $FUZZ_SECONDS s each"
    fuzz/run.sh "$FUZZ_SECONDS" >$B/fuzz.log 2>&1
    cat $B/fuzz.log
    sums $B/fuzz.log
fi
close
