// SPDX-License-Identifier: Apache-2.0
#include "pools/window.h"

#include <string.h>

enum { DAY_S = 86400, DAY_MIN = 1440 };

static int two_digits(const char *s) {
    if (s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9') {
        return -1;
    }
    return (s[0] - '0') * 10 + (s[1] - '0');
}

bool window_parse(const char *start, unsigned duration_min, struct window *out) {
    *out = (struct window){.always = true};
    if (strcmp(start, "0") == 0) {
        return true;
    }
    if (strlen(start) != 10 || start[2] != ':' || (start[5] != '+' && start[5] != '-')) {
        return false;
    }
    int hour = two_digits(start), min = two_digits(start + 3);
    int off_hour = two_digits(start + 6), off_min = two_digits(start + 8);
    if (hour < 0 || hour > 23 || min < 0 || min > 59 || off_hour < 0 || off_min < 0 ||
        off_min > 59 || off_hour * 60 + off_min > 14 * 60) {
        return false;
    }
    if (duration_min == 0) {
        return true;
    }
    if (duration_min > DAY_MIN) {
        return false;
    }
    int offset = off_hour * 60 + off_min;
    int utc = hour * 60 + min - (start[5] == '+' ? offset : -offset);
    *out = (struct window){.start_min = (uint16_t)((utc + 2 * DAY_MIN) % DAY_MIN),
                           .duration_min = (uint16_t)duration_min};
    return true;
}

/* Seconds since the window last opened, 0..86399. */
static int64_t since_opening(const struct window *w, int64_t unix_s) {
    int64_t s = (unix_s - (int64_t)w->start_min * 60) % DAY_S;
    return s < 0 ? s + DAY_S : s;
}

bool window_open(const struct window *w, int64_t unix_s) {
    return w->always || since_opening(w, unix_s) < (int64_t)w->duration_min * 60;
}

int64_t window_next_open(const struct window *w, int64_t unix_s) {
    return w->always ? unix_s : unix_s + DAY_S - since_opening(w, unix_s);
}
