// SPDX-License-Identifier: Apache-2.0
/*
 * The state directory: the engine's record, whether bootstrapping is on (a value, so that it can be
 * switched off, PH-152), and what is downloaded. One process at a time.
 */
#ifndef PHONE_HOME_STATEDIR_H
#define PHONE_HOME_STATEDIR_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

enum { STATEDIR_RECORD_MAX = 64 << 20, STATEDIR_PATH_MAX = 255 };

struct statedir {
    char path[STATEDIR_PATH_MAX + 1];
    int lock; /* -1: not held */
};

/* Makes it where it is missing (mode 0700) and takes it; ERR_LOCKED with who has it. */
enum err_code statedir_open(const char *path, struct statedir *out, struct err *e);
void statedir_close(struct statedir *s);

/* Whole and durable, or as before. */
enum err_code statedir_save(const struct statedir *s, const void *record, size_t n, struct err *e);
/* ERR_OK with an empty buffer when there is none. */
enum err_code statedir_load(const struct statedir *s, struct buf *record, struct err *e);

/* On until it was switched off. Does not need the lock, only `path`. */
enum err_code statedir_enabled(const struct statedir *s, bool *on, struct err *e);
enum err_code statedir_enable(const struct statedir *s, bool on, struct err *e);

/* As when it was new: no record, nothing downloaded, bootstrapping on. */
enum err_code statedir_clear(const struct statedir *s, struct err *e);

#endif
