// SPDX-License-Identifier: Apache-2.0
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "core/number_range.h"

static void checked(struct number_range *r) {
    struct err e;
    if (number_range_check(r, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
}

static uint64_t get(struct number_range *r, uint64_t at_least, bool wrap) {
    uint64_t n = 0;
    struct err e;
    if (number_range_allocate(r, at_least, wrap, &n, &e) != ERR_OK) {
        fail_msg("%s", e.text);
    }
    checked(r);
    return n;
}

static void vlans(void **state) {
    struct number_range *r = number_range_new();
    struct err e;
    uint64_t n;
    assert_int_equal(number_range_allocate(r, 0, true, &n, &e), ERR_LIMIT);
    assert_int_equal(number_range_add(r, 100, 50, &e), ERR_INVALID);
    assert_int_equal(number_range_add(r, 100, 199, &e), ERR_OK);
    assert_int_equal(number_range_add(r, 2, 10, &e), ERR_OK);
    assert_int_equal(number_range_add(r, 199, 300, &e), ERR_EXISTS);
    assert_non_null(strstr(e.text, "at 199"));
    assert_int_equal(number_range_add(r, 0, 5000, &e), ERR_EXISTS);
    assert_int_equal(number_range_add(r, 200, 299, &e), ERR_OK); /* beside: one run */
    struct number_stats s;
    number_range_stats(r, &s);
    assert_int_equal(s.runs, 2);
    assert_int_equal(s.total, 209);
    assert_int_equal(get(r, 0, false), 2);
    assert_int_equal(get(r, 0, false), 3);
    assert_int_equal(get(r, 11, false), 100);
    assert_int_equal(get(r, 299, false), 299);
    assert_int_equal(number_range_allocate(r, 299, false, &n, &e), ERR_LIMIT);
    assert_int_equal(get(r, 299, true), 4);
    assert_int_equal(number_range_release(r, 3, &e), ERR_OK);
    assert_int_equal(number_range_release(r, 3, &e), ERR_ABSENT);
    assert_int_equal(number_range_release(r, 11, &e), ERR_ABSENT);
    assert_int_equal(get(r, 0, false), 3);
    assert_int_equal(number_range_allocate_exact(r, 150, false, &e), ERR_OK);
    assert_int_equal(number_range_allocate_exact(r, 150, false, &e), ERR_IN_USE);
    assert_int_equal(number_range_allocate_exact(r, 400, false, &e), ERR_ABSENT);
    assert_int_equal(number_range_allocate_run(r, 0, 50, &n, &e), ERR_OK);
    assert_int_equal(n, 151);
    assert_int_equal(number_range_allocate_run(r, 0, 49, &n, &e), ERR_OK);
    assert_int_equal(n, 101);
    assert_int_equal(number_range_allocate_run(r, 0, 99, &n, &e), ERR_LIMIT);
    assert_int_equal(number_range_allocate_run(r, 0, 0, &n, &e), ERR_INVALID);
    assert_int_equal(number_range_release_run(r, 151, 200, &e), ERR_OK);
    assert_int_equal(number_range_release_run(r, 140, 160, &e), ERR_ABSENT);
    checked(r);
    assert_int_equal(number_range_remove(r, 2, 10, &e), ERR_IN_USE);
    assert_non_null(strstr(e.text, "2 is in use"));
    assert_int_equal(number_range_remove(r, 5, 11, &e), ERR_ABSENT);
    assert_int_equal(number_range_remove(r, 5, 9, &e), ERR_OK);
    checked(r);
    struct number_run run;
    assert_false(number_range_lookup(r, 7, &run));
    assert_true(number_range_lookup(r, 10, &run));
    assert_true(run.first == 10 && run.last == 10 && !run.allocated);
    assert_true(number_range_next(r, 5, &run));
    assert_int_equal(run.first, 10);
    number_range_free(r);
    number_range_free(NULL);
}

static void reserved(void **state) {
    struct number_range *r = number_range_new();
    struct err e;
    struct number_stats s;
    assert_int_equal(number_range_add(r, 1, 100, &e), ERR_OK);
    assert_int_equal(number_range_reserve(r, 1, 50, &e), ERR_OK);
    assert_int_equal(number_range_reserve(r, 90, 101, &e), ERR_ABSENT);
    assert_int_equal(get(r, 0, false), 51);
    assert_int_equal(number_range_allocate_exact(r, 7, false, &e), ERR_DENIED);
    assert_int_equal(number_range_allocate_exact(r, 7, true, &e), ERR_OK);
    checked(r);
    number_range_stats(r, &s);
    assert_true(s.total == 100 && s.free == 49 && s.allocated == 2 && s.reserved == 49);
    struct number_run run;
    assert_true(number_range_lookup(r, 7, &run) && run.allocated && run.reserved);
    assert_int_equal(number_range_release(r, 7, &e), ERR_OK); /* reserved again */
    assert_int_equal(number_range_allocate_exact(r, 7, false, &e), ERR_DENIED);
    assert_int_equal(number_range_reserve(r, 51, 60, &e), ERR_OK); /* 51 is in use and stays so */
    assert_int_equal(get(r, 0, false), 61);
    assert_int_equal(number_range_unreserve(r, 1, 100, &e), ERR_OK);
    checked(r);
    number_range_stats(r, &s);
    assert_true(s.free == 98 && s.allocated == 2 && s.reserved == 0);
    assert_int_equal(get(r, 0, false), 1);
    number_range_free(r);
}

static void ends_of_the_line(void **state) {
    struct number_range *r = number_range_new();
    struct err e;
    struct number_stats s;
    struct number_run run;
    uint64_t n;
    assert_int_equal(number_range_add(r, 0, UINT64_MAX, &e), ERR_OK);
    number_range_stats(r, &s);
    assert_true(s.total == UINT64_MAX && s.free == UINT64_MAX);
    assert_int_equal(get(r, 0, false), 0);
    assert_true(get(r, UINT64_MAX, false) == UINT64_MAX);
    assert_int_equal(number_range_allocate(r, UINT64_MAX, false, &n, &e), ERR_LIMIT);
    assert_int_equal(get(r, UINT64_MAX, true), 1);
    assert_int_equal(number_range_reserve(r, 0, UINT64_MAX, &e), ERR_OK);
    checked(r);
    assert_true(number_range_next(r, UINT64_MAX, &run));
    assert_true(run.first == UINT64_MAX && run.allocated && run.reserved);
    assert_int_equal(number_range_allocate_run(r, 0, UINT64_MAX, &n, &e), ERR_LIMIT);
    assert_int_equal(number_range_release(r, UINT64_MAX, &e), ERR_OK);
    assert_int_equal(number_range_release_run(r, 0, 1, &e), ERR_OK);
    assert_int_equal(number_range_unreserve(r, 0, UINT64_MAX, &e), ERR_OK);
    number_range_stats(r, &s);
    assert_int_equal(s.runs, 1);
    assert_int_equal(number_range_remove(r, 0, UINT64_MAX, &e), ERR_OK);
    assert_false(number_range_next(r, 0, &run));
    checked(r);
    number_range_free(r);
}

/* Random histories beside an array of states: every answer and the whole contents agree. */
enum { SPACE = 300, ABSENT = 0xff, A = 1, R = 2 };

static void against_model(uint64_t seed) {
    struct rng rng;
    rng_seed(&rng, seed);
    struct number_range *r = number_range_new();
    uint8_t model[SPACE];
    memset(model, ABSENT, sizeof model);
    for (int step = 0; step < 2000; step++) {
        uint64_t lo = rng_below(&rng, SPACE), hi = lo + rng_below(&rng, 12), n;
        hi = hi < SPACE ? hi : SPACE - 1;
        bool absent = false, present = false, used = false, idle = false;
        for (uint64_t i = lo; i <= hi; i++) {
            absent |= model[i] == ABSENT;
            present |= model[i] != ABSENT;
            used |= model[i] != ABSENT && (model[i] & A);
            idle |= model[i] != ABSENT && !(model[i] & A);
        }
        unsigned op = (unsigned)rng_below(&rng, 10);
        uint8_t set = 0, clear = 0;
        bool ok, want;
        switch (op) {
        case 0:
            ok = number_range_add(r, lo, hi, NULL) == ERR_OK;
            want = !present;
            for (uint64_t i = lo; i <= hi && ok; i++) {
                model[i] = 0;
            }
            break;
        case 1:
            ok = number_range_remove(r, lo, hi, NULL) == ERR_OK;
            want = !absent && !used;
            for (uint64_t i = lo; i <= hi && ok; i++) {
                model[i] = ABSENT;
            }
            break;
        case 2:
            ok = number_range_reserve(r, lo, hi, NULL) == ERR_OK;
            want = !absent;
            set = R;
            break;
        case 3:
            ok = number_range_unreserve(r, lo, hi, NULL) == ERR_OK;
            want = !absent;
            clear = R;
            break;
        case 4:
            ok = number_range_release_run(r, lo, hi, NULL) == ERR_OK;
            want = !absent && !idle;
            clear = A;
            break;
        case 5:
            hi = lo;
            ok = number_range_release(r, lo, NULL) == ERR_OK;
            want = model[lo] != ABSENT && (model[lo] & A);
            clear = A;
            break;
        case 6:
            hi = lo;
            ok = number_range_allocate_exact(r, lo, step & 1, NULL) == ERR_OK;
            want = model[lo] == 0 || (model[lo] == R && (step & 1));
            set = A;
            break;
        case 7:
            n = hi - lo + 1;
            ok = number_range_allocate_run(r, lo, n, &lo, NULL) == ERR_OK;
            hi = lo + n - 1;
            want = false;
            for (uint64_t i = hi + 1 - n, run = 0; i < SPACE && !want && !ok; i++) {
                run = model[i] == 0 ? run + 1 : 0;
                want = run == n;
            }
            for (uint64_t i = lo; ok && i <= hi; i++) {
                want = model[i] == 0;
            }
            set = A;
            break;
        default:
            ok = number_range_allocate(r, lo, step & 1, &n, NULL) == ERR_OK;
            want = false;
            for (uint64_t i = 0; i < SPACE && !want; i++) {
                uint64_t at = (lo + i) % SPACE;
                if (model[at] == 0 && (at >= lo || (step & 1))) {
                    want = true;
                    lo = hi = at;
                    assert_true(ok && n == at);
                }
            }
            set = A;
        }
        if (ok != want) {
            fail_msg("seed %" PRIu64 " step %d operation %u", seed, step, op);
        }
        for (uint64_t i = lo; ok && op > 1 && i <= hi; i++) {
            model[i] = (uint8_t)((model[i] | set) & ~clear);
        }
        struct err e;
        if (number_range_check(r, &e) != ERR_OK) {
            fail_msg("seed %" PRIu64 " step %d: %s", seed, step, e.text);
        }
        for (uint64_t i = 0; i < SPACE; i++) {
            struct number_run run;
            bool there = number_range_lookup(r, i, &run);
            if (there != (model[i] != ABSENT) || (there && (run.allocated != !!(model[i] & A) ||
                                                            run.reserved != !!(model[i] & R)))) {
                fail_msg("seed %" PRIu64 " step %d: number %" PRIu64, seed, step, i);
            }
        }
    }
    number_range_free(r);
}

static void property(void **state) {
    const char *given = getenv("WEFT_TEST_SEED");
    for (uint64_t i = 0; i < 30; i++) {
        against_model(given ? strtoull(given, NULL, 10) : 1000 + i);
    }
}

/* All labels of MPLS, in and out at random: balanced, and no memory left behind. */
static void many(void **state) {
    struct number_range *r = number_range_new();
    struct number_stats s;
    assert_int_equal(number_range_add(r, 16, (1 << 20) - 1, NULL), ERR_OK);
    for (uint64_t n, i = 0; i < 200000; i++) {
        assert_int_equal(number_range_allocate(r, 0, false, &n, NULL), ERR_OK);
        assert_int_equal(n, 16 + i);
    }
    for (uint64_t i = 0; i < 200000; i += 2) {
        assert_int_equal(number_range_release(r, 16 + i, NULL), ERR_OK);
    }
    checked(r);
    number_range_stats(r, &s);
    assert_int_equal(s.runs, 200001); /* the free rest is one */
    for (uint64_t i = 1; i < 200000; i += 2) {
        assert_int_equal(number_range_release(r, 16 + i, NULL), ERR_OK);
    }
    checked(r);
    number_range_stats(r, &s);
    assert_int_equal(s.runs, 1);
    assert_true(s.memory < 2000);
    number_range_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vlans),    cmocka_unit_test(reserved), cmocka_unit_test(ends_of_the_line),
        cmocka_unit_test(property), cmocka_unit_test(many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
