// SPDX-License-Identifier: Apache-2.0
/* What every log engine must do, as tests against log.h alone. An engine's own test program makes
 * a struct conformance_engine and calls log_conformance. */
#ifndef LOG_CONFORMANCE_H
#define LOG_CONFORMANCE_H

#include <stddef.h>

struct conformance_engine {
    const char *name;
    /* Puts the URL of a store that does not exist yet into `url`. */
    void (*fresh)(char *url, size_t size);
    /* Removes the store, which is closed. */
    void (*remove)(const char *url);
};

/* Runs all tests; returns the number that failed. */
int log_conformance(const struct conformance_engine *engine);

#endif
