// SPDX-License-Identifier: Apache-2.0
/*
 * `request apm reclaim all`: many pools reclaimed by a job (core/job.h). bulk.c chooses and judges
 * them and shows it dry; bulk_job.c is the job:
 *
 *     apm-reclaim         parts: looks for pools in the order of their domains' numbers, makes a
 *                         child for every BULK_PART_POOLS, and goes on when these have ended
 *                         sum: adds up what they did
 *     apm-reclaim-part    drain: orders drains, a few of each entity at a time; undo: takes them
 *                         back
 *                         reclaim: orders the removal of those that become empty; when the wait is
 *                         over, the others are active again
 *
 * A step's effect is a run: it hangs in pools.bulk_runs and is looked at once a second. Where a
 * pool stands is in its own record alone, so an effect that is repeated finds what was done.
 */
#ifndef POOLS_BULK_H
#define POOLS_BULK_H

#include <jansson.h>

#include "pools/internal.h"

enum {
    BULK_PART_POOLS = 256,   /* pools of a child ... */
    BULK_PART_BYTES = 12000, /* ... and about so much of its input */
    BULK_AT_ONCE = 8,        /* pools of one entity of which an order is unanswered */
    BULK_ABSENT_S = 120,     /* an entity that is away for so long has its pools left alone */
    BULK_WAIT_MIN_MAX = 1440 /* minutes */
};

/* Which pools an order means. Strings are borrowed; "": any. */
struct bulk_order {
    const char *entity, *domain, *partition;
    int unused; /* percent at least; -1: any */
    bool force;
    int64_t wait_s;
    int64_t before_s; /* UTC; pools that were given later are not meant */
};
json_t *bulk_order_json(const struct bulk_order *o);
/* False: not such a text. `tree` keeps the strings. */
bool bulk_order_parse(const json_t *tree, struct bulk_order *o);

/* Does the order mean this one? ACTIVE: to be drained first; GOING: an operator drains it already.
 */
enum bulk_meant { BULK_NOT_MEANT, BULK_ACTIVE, BULK_GOING };
bool bulk_means_domain(const struct bulk_order *o, const struct domain *d);
enum bulk_meant bulk_means(const struct bulk_order *o, const struct pool *po);
/* Is so much of it unused? What was not counted yet may be. */
bool bulk_unused(int percent, const struct pool *po);

/* What a domain has, drains that are under way being over: each further one is judged by that. */
struct bulk_sum {
    uint64_t free;   /* in active pools */
    uint64_t moving; /* used in pools that drain: they need addresses of the others */
};
struct bulk_sum bulk_sum_of(const struct domain *d);
void bulk_sum_drain(struct bulk_sum *s, const struct pool *po); /* as if this one drained too */
/* The safe-drain tests (APM-088). False: `why` has the numbers. */
bool bulk_safe(const struct pools *p, const struct domain *d, const struct pool *po,
               const struct bulk_sum *s, char why[256]);
/* Were the pool's addresses counted since the entity connected? */
bool bulk_counted(const struct domain *d, const struct pool *po);

/* Where the search for pools goes on. */
struct bulk_cursor {
    uint32_t domain, ordinal;
};
/* Makes inputs of up to `most` children from `at` on, and moves it. False: there are no more. */
bool bulk_parts(const struct pools *p, const struct bulk_order *o, struct bulk_cursor *at,
                size_t most, void (*part)(void *arg, const char *input, size_t pools), void *arg);

struct show;
/* The rpc reclaim-all. */
enum err_code bulk_call(struct show *sh, struct txn *t, struct call *cl, struct err *e);

/* bulk_job.c */
enum err_code bulk_job(struct txn *t, const struct bulk_order *o, uint64_t *id, struct err *e);
void bulk_start(struct pools *p);
void bulk_stop(struct pools *p); /* runs are forgotten; their jobs go on at the next start */
void bulk_tick(struct pools *p, struct txn *t);

#endif
