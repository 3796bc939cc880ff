// SPDX-License-Identifier: Apache-2.0
/*
 * Bytes from a worker to a connection on a loop, with back-pressure: when much waits, the worker
 * waits too, until the reader has caught up or is gone. So a long answer costs a bounded queue, and
 * a slow reader costs a worker for as long as its connection is given.
 */
#ifndef NORTH_FEED_H
#define NORTH_FEED_H

#include "base/err.h"
#include "net/loop.h"

enum { FEED_WAITING_MAX = 256 << 10 };

struct feed;
struct feed_ops {
    void (*take)(void *arg, const void *p, size_t n); /* on the loop */
    /* On the loop, once, after everything was taken: the worker is done, and the feed goes. */
    void (*end)(void *arg);
};
struct feed *feed_new(struct loop *l, const struct feed_ops *ops, void *arg);
/* Never used after all. */
void feed_free(struct feed *f);

/* The worker. A model_write: `arg` is the feed. ERR_TIMEOUT: the reader is gone. */
enum err_code feed_write(void *arg, const char *p, size_t n, struct err *e);
void feed_finish(struct feed *f); /* its last call */

/* The loop. */
void feed_full(struct feed *f, bool full); /* the connection's queue is full, or has room again */
void feed_gone(struct feed *f);            /* nobody reads any more; `end` still comes */

#endif
