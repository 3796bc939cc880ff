// SPDX-License-Identifier: Apache-2.0
/* Says when somebody sets the time of the machine, or it slept: times of day before and after do
 * not fit together. Nothing of Weft depends on them but what is shown, and what people gave as a
 * date (docs/operate.md). */
#ifndef WEFTD_CLOCK_WATCH_H
#define WEFTD_CLOCK_WATCH_H

#include <stdint.h>

enum { CLOCK_WATCH_MS = 2000, CLOCK_WATCH_JUMP_S = 5 };

struct clock_watch {
    int64_t offset_ns; /* wall clock minus monotonic clock */
};

void clock_watch_init(struct clock_watch *w, int64_t wall_ns, int64_t mono_ns);
/* Whole seconds by which the clock was set since the last look, below zero: back; 0: less than
 * CLOCK_WATCH_JUMP_S. A clock that is slewed moves less than a thousandth between two looks. */
int64_t clock_watch_look(struct clock_watch *w, int64_t wall_ns, int64_t mono_ns);

#endif
