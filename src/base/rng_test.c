// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"

static void seeded(void **state) {
    /* The published generators, xoshiro256** seeded by splitmix64(0). */
    struct rng a, b;
    rng_seed(&a, 0);
    assert_true(a.s[0] == 0xe220a8397b1dcdaf && a.s[1] == 0x6e789e6aa1b965f4);
    assert_true(rng_next(&a) == 0x99ec5f36cb75f2b4);
    rng_seed(&a, 42);
    rng_seed(&b, 42);
    for (int i = 0; i < 1000; i++) {
        assert_true(rng_next(&a) == rng_next(&b));
    }
    rng_seed(&b, 43);
    assert_true(rng_next(&a) != rng_next(&b));
}

static void below(void **state) {
    struct rng r;
    rng_seed(&r, 1);
    unsigned seen[7] = {0}, hits = 0;
    for (int i = 0; i < 70000; i++) {
        uint64_t n = rng_below(&r, 7);
        assert_true(n < 7);
        seen[n]++;
        hits += rng_chance(&r, 30);
        assert_int_equal(rng_below(&r, 1), 0);
        assert_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
    }
    for (int i = 0; i < 7; i++) {
        assert_in_range(seen[i], 9500, 10500);
    }
    assert_in_range(hits, 20000, 22000);
    for (int i = 0; i < 1000; i++) {
        assert_false(rng_chance(&r, 0));
        assert_true(rng_chance(&r, 100));
    }
}

static void secure(void **state) {
    uint8_t a[1000], b[1000];
    memset(a, 0, sizeof a);
    memset(b, 0, sizeof b);
    rng_secure(a, sizeof a);
    rng_secure(b, sizeof b);
    assert_memory_not_equal(a, b, sizeof a);
    rng_secure(a, 0);
    char t[65], u[65];
    rng_token(t, 64);
    rng_token(u, 64);
    assert_int_equal(strlen(t), 64);
    assert_int_equal(strspn(t, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
                     64);
    assert_string_not_equal(t, u);
}

static void constant_time(void **state) {
    char a[] = "secret", b[] = "secret";
    assert_true(mem_equal_ct(a, b, 6));
    for (size_t i = 0; i < 6; i++) {
        b[i] ^= 1;
        assert_false(mem_equal_ct(a, b, 6));
        b[i] ^= 1;
    }
    assert_true(mem_equal_ct(a, "x", 0));
    mem_wipe(a, sizeof a);
    for (size_t i = 0; i < sizeof a; i++) {
        assert_int_equal(a[i], 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seeded),
        cmocka_unit_test(below),
        cmocka_unit_test(secure),
        cmocka_unit_test(constant_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
