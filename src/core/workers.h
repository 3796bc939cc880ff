// SPDX-License-Identifier: Apache-2.0
/*
 * A few threads for what would hold a loop: password hashes, parsing of large bodies, printing to
 * slow readers. Threads are made when they are needed, up to `threads`; what is waiting is bounded
 * by `queue`. A job may block, for a bounded time.
 */
#ifndef CORE_WORKERS_H
#define CORE_WORKERS_H

#include <stdbool.h>
#include <stddef.h>

struct workers;

struct workers *workers_new(const char *name, unsigned threads, size_t queue);
/* Waits for what runs and what is queued. NULL is allowed. */
void workers_free(struct workers *w);
/* From any thread. False when the queue is full: fn is not called. */
bool workers_run(struct workers *w, void (*fn)(void *arg), void *arg);
size_t workers_busy(struct workers *w);    /* jobs running or waiting now */
size_t workers_waiting(struct workers *w); /* those for which there is no thread yet */

#endif
