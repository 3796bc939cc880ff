// SPDX-License-Identifier: Apache-2.0
/*
 * Time and timers. Engines never ask the operating system for the time: they hold a `struct clock`,
 * which is the real one or one that a test moves. `mono` (nanoseconds, never goes back) is for
 * intervals, `wall` (nanoseconds since 1970 UTC) for what is shown, stored or sent.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

struct clock {
    bool fake;
    int64_t fake_mono, fake_wall; /* only read when fake */
};

extern const struct clock clock_real;

int64_t clock_mono(const struct clock *c); /* ns */
int64_t clock_wall(const struct clock *c); /* ns since the epoch, UTC */
static inline int64_t clock_wall_s(const struct clock *c) {
    return clock_wall(c) / NS_PER_S;
}
static inline int64_t clock_mono_s(const struct clock *c) {
    return clock_mono(c) / NS_PER_S;
}
void clock_fake_init(struct clock *c, int64_t wall_ns);
void clock_fake_advance(struct clock *c, int64_t ns);

/* A set of timers over a clock: a binary heap of intrusive entries, due ones fired by timers_run.
 */
struct timer {
    int64_t due;  /* mono ns */
    uint64_t seq; /* order of arming: what is due at the same time fires in this order */
    size_t index; /* 1-based place in the heap; 0: not armed */
    void (*fire)(struct timer *t, void *arg);
    void *arg;
};

struct timers {
    const struct clock *clock;
    struct timer **heap; /* heap[1..count] */
    size_t count, cap;
    uint64_t seq; /* of the next that is armed */
};

void timers_init(struct timers *ts, const struct clock *clock);
void timers_free(struct timers *ts); /* the timers themselves belong to their owners */
void timer_arm(struct timers *ts, struct timer *t, int64_t after_ns); /* re-arms when armed */
void timer_disarm(struct timers *ts, struct timer *t);
static inline bool timer_armed(const struct timer *t) {
    return t->index != 0;
}
int64_t timers_next(const struct timers *ts); /* ns until the next is due, >= 0; -1 when none */
/* Fires all that are due now and returns how many. What is armed meanwhile waits for the next run,
 * even with a delay of 0: a timer that re-arms itself can't hold the loop. */
size_t timers_run(struct timers *ts);

/* ISO 8601 as APM-101 and RFC 3339 write it: YYYY-MM-DDThh:mm:ss[.f]Z or with +hh:mm / -hh:mm.
 * `offset_min` is the zone in minutes east of UTC (-1439..1439). `out` holds TIME_TEXT_MAX bytes.
 */
enum { TIME_TEXT_MAX = 40 };
char *time_format(int64_t unix_s, int offset_min, char *out);
bool time_parse(const char *s, int64_t *unix_s); /* fractions are accepted and dropped */

#endif
