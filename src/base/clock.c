// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/mem.h"

const struct clock clock_real = {.fake = false};

static int64_t read_clock(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t clock_mono(const struct clock *c) {
    return c->fake ? c->fake_mono : read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall(const struct clock *c) {
    return c->fake ? c->fake_wall : read_clock(CLOCK_REALTIME);
}

void clock_fake_init(struct clock *c, int64_t wall_ns) {
    *c = (struct clock){.fake = true, .fake_mono = NS_PER_S, .fake_wall = wall_ns};
}

void clock_fake_advance(struct clock *c, int64_t ns) {
    c->fake_mono += ns;
    c->fake_wall += ns;
}

void timers_init(struct timers *ts, const struct clock *clock) {
    *ts = (struct timers){.clock = clock};
}

void timers_free(struct timers *ts) {
    for (size_t i = 1; i <= ts->count; i++) {
        ts->heap[i]->index = 0;
    }
    mem_free(ts->heap);
    *ts = (struct timers){.clock = ts->clock};
}

static void place(struct timers *ts, size_t i, struct timer *t) {
    ts->heap[i] = t;
    t->index = i;
}

static bool before(const struct timer *a, const struct timer *b) {
    return a->due != b->due ? a->due < b->due : a->seq < b->seq;
}

static void sift_up(struct timers *ts, size_t i, struct timer *t) {
    for (; i > 1 && before(t, ts->heap[i / 2]); i /= 2) {
        place(ts, i, ts->heap[i / 2]);
    }
    place(ts, i, t);
}

static void sift_down(struct timers *ts, size_t i, struct timer *t) {
    for (size_t child; (child = 2 * i) <= ts->count; i = child) {
        if (child < ts->count && before(ts->heap[child + 1], ts->heap[child])) {
            child++;
        }
        if (before(t, ts->heap[child])) {
            break;
        }
        place(ts, i, ts->heap[child]);
    }
    place(ts, i, t);
}

void timer_disarm(struct timers *ts, struct timer *t) {
    size_t i = t->index;
    if (i == 0) {
        return;
    }
    t->index = 0;
    struct timer *last = ts->heap[ts->count--];
    if (last == t) {
        return;
    }
    if (i > 1 && before(last, ts->heap[i / 2])) {
        sift_up(ts, i, last);
    } else {
        sift_down(ts, i, last);
    }
}

void timer_arm(struct timers *ts, struct timer *t, int64_t after_ns) {
    timer_disarm(ts, t);
    if (__builtin_add_overflow(clock_mono(ts->clock), after_ns > 0 ? after_ns : 0, &t->due)) {
        t->due = INT64_MAX; /* never */
    }
    t->seq = ts->seq++;
    if (ts->count + 2 > ts->cap) {
        ts->cap = ts->cap ? ts->cap * 2 : 16;
        ts->heap = mem_array(ts->heap, ts->cap, sizeof *ts->heap);
    }
    sift_up(ts, ++ts->count, t);
}

int64_t timers_next(const struct timers *ts) {
    if (ts->count == 0) {
        return -1;
    }
    int64_t left = ts->heap[1]->due - clock_mono(ts->clock);
    return left > 0 ? left : 0;
}

size_t timers_run(struct timers *ts) {
    int64_t now = clock_mono(ts->clock);
    uint64_t seq = ts->seq;
    size_t fired = 0;
    while (ts->count > 0 && ts->heap[1]->due <= now && ts->heap[1]->seq < seq) {
        struct timer *t = ts->heap[1];
        timer_disarm(ts, t);
        t->fire(t, t->arg);
        fired++;
    }
    return fired;
}

char *time_format(int64_t unix_s, int offset_min, char *out) {
    time_t t;
    struct tm tm;
    if (__builtin_add_overflow(unix_s, (int64_t)offset_min * 60, &t) || gmtime_r(&t, &tm) == NULL) {
        snprintf(out, TIME_TEXT_MAX, "-");
        return out;
    }
    char text[TIME_TEXT_MAX];
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    if (offset_min == 0) {
        snprintf(text + n, sizeof text - n, "Z");
    } else {
        int a = abs(offset_min) % 1440;
        snprintf(text + n, sizeof text - n, "%c%02d:%02d", offset_min < 0 ? '-' : '+', a / 60,
                 a % 60);
    }
    memcpy(out, text, sizeof text);
    return out;
}

/* Reads exactly `n` digits within min..max. */
static bool digits(const char **s, int n, int min, int max, int *out) {
    int v = 0;
    for (int i = 0; i < n; i++, (*s)++) {
        if (**s < '0' || **s > '9') {
            return false;
        }
        v = v * 10 + (**s - '0');
    }
    *out = v;
    return v >= min && v <= max;
}

static bool expect(const char **s, char c) {
    return *(*s)++ == c;
}

static bool parse_zone(const char *s, int *offset_min) {
    *offset_min = 0;
    if (strcmp(s, "Z") == 0) {
        return true;
    }
    int sign = *s == '+' ? 1 : *s == '-' ? -1 : 0, h, m;
    s++;
    if (sign == 0 || !digits(&s, 2, 0, 23, &h) || !expect(&s, ':') || !digits(&s, 2, 0, 59, &m) ||
        *s != '\0') {
        return false;
    }
    *offset_min = sign * (h * 60 + m);
    return true;
}

bool time_parse(const char *s, int64_t *unix_s) {
    struct tm tm = {0};
    int year, offset;
    if (!digits(&s, 4, 1, 9999, &year) || !expect(&s, '-') || !digits(&s, 2, 1, 12, &tm.tm_mon) ||
        !expect(&s, '-') || !digits(&s, 2, 1, 31, &tm.tm_mday) || !expect(&s, 'T') ||
        !digits(&s, 2, 0, 23, &tm.tm_hour) || !expect(&s, ':') ||
        !digits(&s, 2, 0, 59, &tm.tm_min) || !expect(&s, ':') ||
        !digits(&s, 2, 0, 60, &tm.tm_sec)) {
        return false;
    }
    if (*s == '.') {
        for (s++; *s >= '0' && *s <= '9'; s++) {
        }
        if (s[-1] == '.') {
            return false;
        }
    }
    if (!parse_zone(s, &offset)) {
        return false;
    }
    tm.tm_year = year - 1900;
    tm.tm_mon--;
    int day = tm.tm_mday, leap = tm.tm_sec == 60;
    tm.tm_sec -= leap; /* 23:59:60 is the next day to timegm */
    time_t t = timegm(&tm) + leap;
    if (tm.tm_mday != day) { /* 31 February and the like were normalised away */
        return false;
    }
    *unix_s = (int64_t)t - (int64_t)offset * 60;
    return true;
}
