// SPDX-License-Identifier: Apache-2.0
/*
 * An event loop: one thread, many sockets, timers and messages from other threads. Everything that
 * belongs to a loop is touched from its thread only; loop_post() and loop_stop() are the two doors
 * for the others. Nothing may hold a loop for more than LOOP_SLOW_MS: the watchdog counts callbacks
 * that do, and says so in the log.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

enum { LOOP_SLOW_MS = 5 };

struct loop;
struct event_base;

struct loop_counters {
    _Atomic uint64_t callbacks;  /* events, timers and posts served */
    _Atomic uint64_t slow;       /* of them, longer than LOOP_SLOW_MS */
    _Atomic uint64_t slowest_ns; /* the longest so far */
    _Atomic uint64_t posted;     /* messages taken by loop_post */
    _Atomic uint64_t wakeups;    /* batches they arrived in */
};

struct loop *loop_new(const char *name); /* the name is for the log; copied */
/* Runs what was posted and not served yet (so nothing owned by a message is lost), then frees.
 * Timers, watches and streams of the loop must be gone. NULL is allowed. */
void loop_free(struct loop *l);
void loop_run(struct loop *l);  /* until loop_stop */
void loop_stop(struct loop *l); /* any thread; the loop returns after the event at hand */
/* Serves what is due now, waiting at most wait_ms for something to become so; for tests. */
void loop_poll(struct loop *l, int wait_ms);

typedef void loop_fn(void *arg);
/* Calls fn(arg) in the loop's thread. Any thread; messages of one sender keep their order; a batch
 * costs one wake-up. Never calls fn before it returns. */
void loop_post(struct loop *l, loop_fn *fn, void *arg);
bool loop_is_current(const struct loop *l); /* is this the thread in loop_run/loop_poll? */
int64_t loop_now(const struct loop *l);     /* monotonic ns, read at the start of the callback */
const struct loop_counters *loop_counters(const struct loop *l); /* readable from any thread */
struct event_base *loop_base(struct loop *l);                    /* for net/ itself */

/* A timer; it is off after loop_timer_new. Starting a running timer moves it. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *l, loop_fn *fn, void *arg);
void loop_timer_start(struct loop_timer *t, int64_t after_ms);   /* once */
void loop_timer_repeat(struct loop_timer *t, int64_t period_ms); /* until stopped; >= 1 */
void loop_timer_stop(struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* allowed in its own callback; NULL is allowed */

/* Level-triggered watch of a descriptor, which stays the caller's. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_watch;
typedef void loop_fd_fn(int fd, unsigned events, void *arg);
struct loop_watch *loop_watch_new(struct loop *l, int fd, unsigned events, loop_fd_fn *fn,
                                  void *arg);
void loop_watch_set(struct loop_watch *w, unsigned events); /* 0: none for now */
void loop_watch_free(struct loop_watch *w);                 /* before close(fd); NULL is allowed */

/* A signal, delivered in the loop's thread. Only one loop of a process may watch signals. */
struct loop_signal;
struct loop_signal *loop_signal_new(struct loop *l, int signo, loop_fn *fn, void *arg);
void loop_signal_free(struct loop_signal *s);

/* Work for the end of this turn of the loop: flushing, freeing what may still be on the stack.
 * Zero-initialise; arming twice is once. Loop's thread only. */
struct loop_deferred {
    struct list link;
    loop_fn *fn;
    void *arg;
};
void loop_defer(struct loop *l, struct loop_deferred *d);
void loop_defer_cancel(struct loop_deferred *d);

/* Watchdog brackets for code that takes libevent callbacks itself (net/ only). */
int64_t loop_enter(struct loop *l);
void loop_leave(struct loop *l, int64_t entered);

#endif
