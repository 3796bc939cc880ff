// SPDX-License-Identifier: Apache-2.0
/*
 * A log engine for simulations: "shared:NAME" is one store in memory that several cores of one
 * process have open, each as a node (log_options.node) with a view of its own, as nodes have over a
 * network: what others append reaches it when the test says so. Nothing happens by itself and time
 * is the test's, so a run follows from its seed. One thread.
 *
 * It keeps the promises of log.h for several nodes as the etcd engine does: an append is one
 * compare-and-set on head and fence in the store, whatever its node believes; a lease is over when
 * the store's clock says so, and two fifths earlier for its holder.
 */
#ifndef SIM_SHARED_LOG_H
#define SIM_SHARED_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log/log.h"

struct shared_store;
struct shared_node;

struct shared_store *shared_store_new(const char *name); /* log_open finds it by its name */
void shared_store_free(struct shared_store *s);          /* after its nodes were closed */
void shared_pass(struct shared_store *s, int64_t ns);    /* of the store's own time */
uint64_t shared_head(const struct shared_store *s);
const char *shared_leader(const struct shared_store *s); /* whose lease lives; "": nobody's */
const struct log_entry *shared_entry(const struct shared_store *s, uint64_t index);

/* The node of that name that has the store open; NULL: none. Dead after its log_close. */
struct shared_node *shared_node(struct shared_store *s, const char *name);
void shared_cut(struct shared_node *n, bool cut); /* nothing comes or goes; appends are in doubt */
/* Up to `max` entries of others reach the node. False: it has everything already, or is cut off. */
bool shared_deliver(struct shared_node *n, size_t max);

/* What becomes of the node's next append. All but the first fail with the outcome in doubt. */
enum shared_fate {
    SHARED_DONE,
    SHARED_LOST,        /* the request never arrives */
    SHARED_ANSWER_LOST, /* it is done, nobody hears of it */
    SHARED_LATE,        /* it is under way until shared_arrive, and is then done or not */
    SHARED_FULL,        /* refused for want of room: nothing in doubt */
};
void shared_next_append(struct shared_node *n, enum shared_fate fate);
/* Appends under way arrive at the store. Returns how many came true. */
size_t shared_arrive(struct shared_store *s);

#endif
