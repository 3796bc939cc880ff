// SPDX-License-Identifier: Apache-2.0
/* Between rpc.c, show.c and show_json.c: the same things as text for a terminal and as JSON. */
#ifndef POOLS_SHOW_H
#define POOLS_SHOW_H

#include "pools/internal.h"

enum {
    SHOW_PART_BYTES = 256 << 10, /* a long answer's part ends after this much text */
    SHOW_STATE_POOLS_MAX = 20000 /* beyond, the whole state leaves out the lists of pools */
};

/* In what zone times are shown (settings utc-offset). */
struct show {
    struct pools *p;
    int offset_min;
    int64_t now_s;
};
void show_init(struct show *sh, struct pools *p, struct txn *t);
/* Borrowed pointers in name order, NULL at the end; mem_free the array. */
struct entity **entities_sorted(const struct pools *p);
struct domain **domains_sorted(const struct entity *en);
struct partition **partitions_sorted(const struct pools *p);
const char *security_name(uint8_t security);
const char *alarm_name(enum alarm_type type);
uint64_t domain_pool_counts(const struct domain *d, uint64_t *used);
const char *block_state_name(const struct prefix_info *info);
uint32_t entities_reachable(const struct pools *p);
const struct profile *entity_profile(const struct pools *p, const struct entity *en,
                                     const char **name);

/* ---- JSON (RFC 7951) ---- */
void json_statistics(const struct show *sh, struct buf *b); /* members without braces */
/* `only` NULL: all domains. */
void json_entity(const struct show *sh, struct buf *b, const struct entity *en,
                 const struct domain *only, bool pools);
void json_domain(const struct show *sh, struct buf *b, const struct domain *d, bool pools);
/* Elements with commas between; `only` NULL: all entities. */
void json_alarms(const struct show *sh, struct buf *b, const struct entity *only);
void json_reclaim_events(const struct show *sh, struct buf *b);
void json_partition(const struct show *sh, struct buf *b, const struct partition *pt, bool tree);
/* Members (no braces) of one block: prefix, state and owner. */
void json_block(const struct show *sh, struct buf *b, const struct partition *pt,
                const struct prefix_info *info);

void json_drift(const struct show *sh, struct buf *b, const char *entity);
/* System ids, as JSON's strings with commas between. */
void json_unsynchronised(const struct show *sh, struct buf *b);

/* ---- text ---- */

/* Rows are gathered first, so that columns fit what is in them. */
enum { COLUMNS_MAX = 8 };
struct table {
    struct arena *arena;
    const char **cells; /* n_rows * n_columns */
    size_t n_rows, cap_rows, n_columns;
};
/* `head`: the columns' names, at most COLUMNS_MAX, kept. */
void table_start(struct table *tb, size_t columns, const char *const *head);
void table_row(struct table *tb, const char *const *cells); /* copied */
/* Writes it, or `none` when there is no row, and frees it. */
void table_end(struct table *tb, struct buf *b, const char *none);
/* `entity` NULL: of all. */
void text_drift(const struct show *sh, struct buf *b, const char *entity);
void text_entities(const struct show *sh, struct buf *b);
void text_entity_head(const struct show *sh, struct buf *b, const struct entity *en);
void text_domain(const struct show *sh, struct buf *b, const struct domain *d);
void text_alarms(const struct show *sh, struct buf *b, const struct entity *only);
void text_reclaim_events(const struct show *sh, struct buf *b);
void text_partition(const struct show *sh, struct buf *b, const struct partition *pt);
void text_partition_head(struct buf *b);
void text_statistics(const struct show *sh, struct buf *b);
/* One line of `tree`. */
void text_block(const struct show *sh, struct buf *b, const struct partition *pt,
                const struct prefix_info *info);
/* What planning counts in a block of the partition (APM-023); saturated. */
uint64_t block_units(const struct partition *pt, const struct ip_prefix *px);
void text_explain(const struct show *sh, struct buf *b, struct buf *json, struct domain *d);

/* Utilisation and forecast. */
struct forecast {
    bool known;         /* enough samples */
    int64_t observed_s; /* between the first and the last one */
    double per_day;     /* addresses more in pools after a day */
    double days;        /* to empty; < 0: never at this pace */
    uint64_t free;
};
void forecast_of(const struct partition *pt, int64_t now_s, struct forecast *out);
size_t samples_sorted(const struct partition *pt, int64_t now_s, struct sample out[POOLS_SAMPLES]);

/* The rpc rebalance. Before it is ordered, in the request's thread: ERR_REFUSED where there are not
 * two controllers that serve gateways; ERR_ABSENT: the one to be left out is not there. */
enum err_code rebalance_check(struct core *c, const struct call *cl, struct err *e);
enum err_code rebalance_call(struct show *sh, struct txn *t, struct call *cl, struct err *e);

#endif
