// SPDX-License-Identifier: Apache-2.0
/*
 * The daily window in which reclamation may begin (APM-082, APM-083, spec 4.3): half-open,
 * [start, start + duration), in a literal offset from UTC, so summer time does not exist here.
 */
#ifndef POOLS_WINDOW_H
#define POOLS_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

struct window {
    bool always;           /* no window, or one of its values is 0 */
    uint16_t start_min;    /* minutes after midnight UTC, 0..1439 */
    uint16_t duration_min; /* 15..720 */
};

/* "HH:MM+hhmm" or "HH:MM-hhmm", or "0" (always). False: not of that form. */
bool window_parse(const char *start, unsigned duration_min, struct window *out);
bool window_open(const struct window *w, int64_t unix_s);
/* The first second after `unix_s` at which it opens; `unix_s` itself when it is always open. */
int64_t window_next_open(const struct window *w, int64_t unix_s);

#endif
