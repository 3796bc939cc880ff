// SPDX-License-Identifier: Apache-2.0
/*
 * A transaction: what a piece of work may read and write. Valid only inside the callback that was
 * given it, on the writer thread.
 */
#ifndef CORE_TXN_H
#define CORE_TXN_H

#include "core/core.h"

struct core *txn_core(struct txn *t);
const struct actor *txn_actor(struct txn *t);
int64_t txn_now_s(struct txn *t);  /* wall clock, UTC seconds, fixed for the transaction */
uint64_t txn_index(struct txn *t); /* the log index this work will get if it changes anything */
bool txn_force(struct txn *t);     /* the caller asked to pass guard rails */
struct timers *txn_timers(struct txn *t);   /* the writer's timers: also core_timers() */
struct timers *core_timers(struct core *c); /* writer thread (or unthreaded) only */

/* Configuration as this transaction sees it (its own writes included). Borrowed. */
const struct snap *txn_snap(struct txn *t);
const struct object *txn_get(struct txn *t, const char *path);
/* Calls fn with each object in which `leaf`, one that is marked weft:index, has this value (as
 * text, in canonical form; a default counts). In no order; fn must not change anything. */
void txn_lookup(struct txn *t, const struct node *leaf, const char *value,
                void (*fn)(const struct object *o, void *arg), void *arg);

/* The operations of the change at hand, in order; for complete, check and changed. */
struct txn_op {
    const struct object *old;  /* NULL: created */
    const struct object *new_; /* NULL: deleted */
};
size_t txn_n_ops(struct txn *t);
struct txn_op txn_op(struct txn *t, size_t i);

/* Made objects (design.md 3): `owner` is the path of the object that made them. */
enum err_code txn_put_object(struct txn *t, struct doc *doc, const char *owner, struct err *e);
enum err_code txn_delete_object(struct txn *t, const char *path, struct err *e);

/* State records; see service.h. The key must begin with the prefix of a registered service. */
void txn_put_state(struct txn *t, const char *key, size_t key_len, const void *value, size_t len);
void txn_delete_state(struct txn *t, const char *key, size_t key_len);

/* Runs fn on the writer once the outcome is known: committed true after durability, false when the
 * work was refused or the append failed. What leaves the process is sent from here. In order. */
void txn_after(struct txn *t, void (*fn)(void *arg, bool committed), void *arg);

/* An event for subscribers, sent after durability. `json` members "{...}" are copied. */
void txn_event(struct txn *t, const char *name, const char *json);
/* Those raised so far, in order; the commit's own is the first. For seal(). */
size_t txn_n_events(struct txn *t);
const char *txn_event_name(struct txn *t, size_t i);
const char *txn_event_json(struct txn *t, size_t i);
/* A line for the person who asked ("warning: ..."), kept in change.warnings. */
void txn_warn(struct txn *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
