// SPDX-License-Identifier: Apache-2.0
/*
 * Target sessions: how desired state reaches what must act on it (a BNG, a vRouter, a device, a
 * VIM), written once. A target holds revisions only; what they mean is the codec's business.
 *
 *            touch(N)                     send(N)                       applied(N)
 *   commit N ---------> desired = N ----------------> in flight ------------------> in step
 *                          ^   back-off, rate limit      | refused(N, why): shown, commit N refused
 *                          +---- lost / connected: resync(N) sends all -----+
 *
 * Not stored: after a restart or a break every target is resynchronised as a whole, and what it
 * then applies stands for every earlier commit. Runs on the writer thread (or unthreaded).
 */
#ifndef CORE_TARGET_H
#define CORE_TARGET_H

#include "core/core.h"

struct target_session;

struct target_codec {
    const char *type; /* "bng" */
    /* Brings the target from revision `from` (0: unknown, send everything) to `to`. The answer
     * comes later by target_applied or target_refused. */
    void (*send)(struct target_session *t, void *arg, uint64_t from, uint64_t to);
};

enum target_state {
    TARGET_DOWN,    /* no session */
    TARGET_SYNCING, /* session up, first full exchange not over */
    TARGET_IN_STEP, /* applied == desired */
    TARGET_SENDING, /* in flight */
    TARGET_REFUSED, /* the newest revision was refused */
    TARGET_WAITING, /* back-off or rate limit */
    TARGET_HELD     /* an operator said: send nothing */
};

struct target_info {
    const char *name, *type;
    enum target_state state;
    uint64_t desired, applied, refused;
    const char *reason; /* of the last refusal, or "" */
    int64_t since_s;    /* of the state, UTC */
    uint32_t failures;  /* in a row */
};

struct target_session *target_new(struct core *c, const struct target_codec *codec,
                                  const char *name, void *arg);
void target_free(struct target_session *t);
/* The desired state of `t` differs from this transaction on. Counts for commit wait. `what`: one
 * line for dry runs ("domain x: thresholds 100/300"). On dry run or abort nothing is sent. */
void target_touch(struct target_session *t, struct txn *txn, const char *what);
void target_connected(
    struct target_session *t); /* session up; the codec's own full exchange begins */
void target_synced(
    struct target_session *t); /* full exchange done: all up to the head is applied */
void target_lost(struct target_session *t, const char *why);
void target_applied(struct target_session *t, uint64_t revision);
void target_refused(struct target_session *t, uint64_t revision, const char *why);
/* No answer in time or a failed send: tried again with back-off (1 s doubling to 60 s). */
void target_failed(struct target_session *t, uint64_t revision, const char *why);
/* The operator's switch, kept over restarts: while it is held nothing is sent. */
void target_hold(struct target_session *t, struct txn *txn, bool held);
void target_info(const struct target_session *t, struct target_info *out);
/* As in the model and in every show. */
const char *target_state_name(enum target_state s);
/* All of them in name order; mem_free the array. */
struct target_session **targets_sorted(struct core *c, size_t *n);
/* In name order; NULL ends. Looks at all each time: for a few. */
struct target_session *target_next(struct core *c, const struct target_session *after);

#endif
