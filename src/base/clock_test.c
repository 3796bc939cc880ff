// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/rng.h"

/* ---- timers beside a list that is searched ---- */

enum { TIMERS = 60 };

static struct {
    struct timers set;
    struct clock clock;
    struct timer t[TIMERS];
    bool armed[TIMERS];
    int64_t due[TIMERS];
    uint64_t armed_at[TIMERS], arms;
    int fired[TIMERS * 2];
    size_t n_fired;
} w;

static void note(struct timer *t, void *arg) {
    int i = (int)(t - w.t);
    assert_ptr_equal(arg, &w.armed[i]);
    assert_false(timer_armed(t));
    w.fired[w.n_fired++] = i;
}

/* The one to fire next: earliest due, among equals the one armed first; -1. */
static int model_next(int64_t now) {
    int best = -1;
    for (int i = 0; i < TIMERS; i++) {
        if (w.armed[i] && w.due[i] <= now &&
            (best < 0 || w.due[i] < w.due[best] ||
             (w.due[i] == w.due[best] && w.armed_at[i] < w.armed_at[best]))) {
            best = i;
        }
    }
    return best;
}

static void timers_against_list(void **state) {
    struct rng r;
    rng_seed(&r, 3);
    clock_fake_init(&w.clock, 0);
    timers_init(&w.set, &w.clock);
    assert_int_equal(timers_next(&w.set), -1);
    for (int i = 0; i < TIMERS; i++) {
        w.t[i].fire = note;
        w.t[i].arg = &w.armed[i];
    }
    for (int step = 0; step < 20000; step++) {
        int i = (int)rng_below(&r, TIMERS);
        int64_t delay = (int64_t)rng_below(&r, 40) - 2;
        size_t n;
        switch (rng_below(&r, 4)) {
        case 0:
        case 1:
            timer_arm(&w.set, &w.t[i], delay);
            w.armed[i] = true;
            w.armed_at[i] = w.arms++;
            w.due[i] = w.clock.fake_mono + (delay > 0 ? delay : 0);
            break;
        case 2:
            timer_disarm(&w.set, &w.t[i]);
            w.armed[i] = false;
            break;
        default:
            clock_fake_advance(&w.clock, (int64_t)rng_below(&r, 10));
            w.n_fired = 0;
            n = timers_run(&w.set);
            assert_int_equal(n, w.n_fired);
            for (size_t k = 0; k < w.n_fired; k++) {
                int want = model_next(w.clock.fake_mono);
                assert_int_equal(w.fired[k], want);
                w.armed[want] = false;
            }
            assert_int_equal(model_next(w.clock.fake_mono), -1);
        }
        int next = model_next(INT64_MAX);
        int64_t left = next < 0 ? -1 : w.due[next] - w.clock.fake_mono;
        assert_true(timers_next(&w.set) == (next < 0 ? -1 : left > 0 ? left : 0));
        assert_int_equal(timer_armed(&w.t[i]), w.armed[i]);
    }
    timers_free(&w.set);
    for (int i = 0; i < TIMERS; i++) {
        assert_false(timer_armed(&w.t[i]));
    }
}

static int calls;

static void again(struct timer *t, void *arg) {
    calls++;
    timer_arm(arg, t, 0);
}

static void disarm_other(struct timer *t, void *arg) {
    calls++;
    timer_disarm(&w.set, arg);
}

/* A timer that re-arms itself can't hold the loop; one may disarm another that is due as well. */
static void inside_a_run(void **state) {
    clock_fake_init(&w.clock, 0);
    timers_init(&w.set, &w.clock);
    struct timer t = {.fire = again, .arg = &w.set}, u = {.fire = disarm_other};
    timer_arm(&w.set, &t, 0);
    calls = 0;
    assert_int_equal(timers_run(&w.set), 1);
    assert_int_equal(timers_run(&w.set), 1);
    assert_int_equal(calls, 2);
    timer_disarm(&w.set, &t);
    timer_disarm(&w.set, &t);
    u.arg = &t;
    timer_arm(&w.set, &u, 0);
    timer_arm(&w.set, &t, 0);
    assert_int_equal(timers_run(&w.set), 1);
    assert_false(timer_armed(&t));
    timer_arm(&w.set, &t, INT64_MAX); /* never, not a negative time */
    assert_true(timers_next(&w.set) > INT64_MAX / 2);
    assert_int_equal(timers_run(&w.set), 0);
    timers_free(&w.set);
}

/* ---- ISO 8601 ---- */

/* proves: APM-101 APM-102 */
static void same_instant(void **state) {
    static const struct {
        int offset;
        const char *text;
    } v[] = {{0, "2020-03-20T15:10:25Z"},
             {-300, "2020-03-20T10:10:25-05:00"},
             {60, "2020-03-20T16:10:25+01:00"},
             {480, "2020-03-20T23:10:25+08:00"}};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        char out[TIME_TEXT_MAX];
        int64_t t;
        assert_string_equal(time_format(1584717025, v[i].offset, out), v[i].text);
        assert_true(time_parse(v[i].text, &t));
        assert_int_equal(t, 1584717025);
    }
}

/* proves: APM-101 */
static void more_instants(void **state) {
    static const struct {
        const char *text;
        int64_t t;
    } v[] = {{"1970-01-01T00:00:00Z", 0},
             {"1969-12-31T23:59:59Z", -1},
             {"2024-02-29T12:00:00.25Z", 1709208000},
             {"2000-02-29T00:00:00+00:00", 951782400},
             {"2016-12-31T23:59:60Z", 1483228800}, /* a leap second */
             {"2020-01-01T00:30:00+01:00", 1577835000},
             {"9999-12-31T23:59:59Z", 253402300799},
             {"2026-01-01T00:00:00-23:59", 1767225600 + 23 * 3600 + 59 * 60}};
    for (size_t i = 0; i < sizeof v / sizeof *v; i++) {
        int64_t t = -77;
        assert_true(time_parse(v[i].text, &t));
        assert_true(t == v[i].t);
    }
    static const char *const bad[] = {
        "",
        "2020",
        "2020-03-20",
        "2020-03-20T15:10:25",
        "2020-03-20 15:10:25Z",
        "2020-3-20T15:10:25Z",
        "2020-13-01T00:00:00Z",
        "2020-00-01T00:00:00Z",
        "2020-02-30T00:00:00Z",
        "2021-02-29T00:00:00Z",
        "2020-01-32T00:00:00Z",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:60:00Z",
        "2020-01-01T00:00:61Z",
        "2020-01-01T00:00:00.Z",
        "2020-01-01T00:00:00+0100",
        "2020-01-01T00:00:00+01",
        "2020-01-01T00:00:00+24:00",
        "2020-01-01T00:00:00+01:60",
        "2020-01-01T00:00:00Zx",
        "2020-01-01T00:00:00+01:00x",
        "-020-01-01T00:00:00Z",
        "0000-01-01T00:00:00Z",
        " 2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00*01:00",
        "2020-01-01T00:00:00+",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t t = 5;
        if (time_parse(bad[i], &t)) {
            fail_msg("accepted \"%s\"", bad[i]);
        }
        assert_int_equal(t, 5);
    }
}

/* proves: APM-102 */
static void round_trip(void **state) {
    struct rng r;
    rng_seed(&r, 11);
    for (int i = 0; i < 20000; i++) {
        int64_t t = (int64_t)rng_below(&r, 253402300800), back;
        int offset = (int)rng_below(&r, 2 * 1439 + 1) - 1439;
        char out[TIME_TEXT_MAX];
        if (t + offset * 60 < 0 || t + offset * 60 >= 253402300800) {
            continue;
        }
        assert_true(time_parse(time_format(t, offset, out), &back));
        assert_true(back == t);
    }
    char out[TIME_TEXT_MAX];
    assert_string_equal(time_format(INT64_MAX, 1439, out), "-"); /* no such time */
    assert_string_equal(time_format(INT64_MIN, -1439, out), "-");
}

static void clocks(void **state) {
    struct clock c;
    clock_fake_init(&c, 1584717025 * NS_PER_S);
    assert_int_equal(clock_wall_s(&c), 1584717025);
    int64_t mono = clock_mono(&c);
    clock_fake_advance(&c, 2 * NS_PER_S + 5);
    assert_int_equal(clock_wall_s(&c), 1584717027);
    assert_int_equal(clock_mono(&c) - mono, 2 * NS_PER_S + 5);
    int64_t a = clock_mono(&clock_real), b = clock_mono(&clock_real);
    assert_true(b >= a && clock_wall_s(&clock_real) > 1600000000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_against_list), cmocka_unit_test(inside_a_run),
        cmocka_unit_test(same_instant),        cmocka_unit_test(more_instants),
        cmocka_unit_test(round_trip),          cmocka_unit_test(clocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
