#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# All tests, in the order in which failures are cheapest. Ends with "N passed, N failed".
cd "$(dirname "$0")/.." || exit 1
B=${WEFT_TEST_BUILD:-build-test}
passed=0 failed=0
step() { printf '\n== %s\n' "$*"; }
count() { # name, exit status
    if [ "$2" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED: $1"; fi
}
close() {
    printf '\n%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

step "build (gcc, ASan + UBSan)"
[ -f $B/build.ninja ] || CC="ccache gcc" meson setup $B -Db_sanitize=address,undefined -Db_lundef=false >/dev/null
ninja -C $B --quiet; rc=$?; count build $rc
[ $rc -eq 0 ] || close

step "lint: format, layers, requirement table"
git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror; count clang-format $?

step "unit tests and simulations"
meson test -C $B --no-rebuild --print-errorlogs --num-processes 2 | tee $B/unit.log | tail -n 40
ok=$(sed -n 's/^Ok: *//p' $B/unit.log | tr -d ' '); bad=$(sed -n 's/^Fail: *//p' $B/unit.log | tr -d ' ')
to=$(sed -n 's/^Timeout: *//p' $B/unit.log | tr -d ' ')
passed=$((passed + ${ok:-0})); failed=$((failed + ${bad:-0} + ${to:-0}))
[ -n "$ok" ] || count "meson test" 1

step "end to end"
if ls test/e2e/test_*.py >/dev/null 2>&1; then
    WEFT_BUILD=$B ASAN_OPTIONS=detect_leaks=0 /usr/bin/python3 -m pytest -q -x --durations=5 -p no:cacheprovider test/e2e 2>&1 | tee $B/e2e.log
    n=$(grep -oE '[0-9]+ passed' $B/e2e.log | tail -1 | cut -d' ' -f1)
    f=$(grep -oE '[0-9]+ (failed|error)' $B/e2e.log | tail -2 | awk '{s+=$1} END {print s+0}')
    passed=$((passed + ${n:-0})); failed=$((failed + ${f:-0}))
    [ -n "$n" ] || count pytest 1
fi
close
