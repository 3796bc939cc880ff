// SPDX-License-Identifier: Apache-2.0
/*
 * What the files of pools share with one another; nobody else includes this. docs/pools.md explains
 * the structures. All of it belongs to core's writer thread.
 *
 * Two kinds of memory, kept apart on purpose:
 *  - *durable*: exactly the fold of configuration and of state records. Written only by the fold_*
 *    and config_* functions, so undoing is folding what was there before.
 *  - *volatile*: sessions, counters, what entities report. Lost on restart; marked below.
 */
#ifndef POOLS_INTERNAL_H
#define POOLS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/ip.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/prefix_tree.h"
#include "core/service.h"
#include "core/target.h"
#include "core/txn.h"
#include "openapmi.pb-c.h"
#include "pools/pools.h"
#include "pools/window.h"

enum {
    POOLS_SYSTEM_ID_MAX = 45,     /* APM-041 */
    POOLS_NAME_MAX = 128,         /* of pools */
    POOLS_DOMAIN_NAME_MAX = 112,  /* leaves room for "-" and a number in a pool's */
    POOLS_DOMAINS_MAX = 65536,    /* of one entity */
    POOLS_PER_DOMAIN_MAX = 65536, /* pools */
    POOLS_WANTED_MAX = 64,        /* prefixes given in one answer */
    POOLS_ANSWERS_MAX = 262144,   /* stored answers, of all entities */
    POOLS_ANSWER_S = 3600,        /* P-05 */
    POOLS_RETRY_EMPTY_S = 900,    /* APM-052 */
    POOLS_RETRY_UNSAFE_S = 60,
    POOLS_RETRY_PENDING_S = 900,
    POOLS_ACK_S = 30,            /* P-04 */
    POOLS_ALARM_BURST_S = 4,     /* alarms of so many seconds may come at once */
    POOLS_RETRY_RATE_MAX_S = 60, /* what comes too fast comes again within */
    POOLS_REFUSED_S = 3600,      /* an entity is not offered again what it refused ... */
    POOLS_REFUSED_MAX = 64,      /* ... and so many prefixes of each are remembered */
    POOLS_DRIFT_MAX = 1024,      /* differences that are kept, of all entities ... */
    POOLS_DRIFT_LISTED = 100,    /* ... of one domain's synchronisation at most so many */
    POOLS_STATS_INTERVAL_S = 10,
    POOLS_EVENTS_PER_S = 20, /* about single pools */
    POOLS_SAMPLE_S = 300,    /* utilisation: one sample in 5 minutes ... */
    POOLS_SAMPLES = 288      /* ... for 24 hours */
};

/* google.rpc.Code, as far as it is used here. */
enum {
    CODE_OK = 0,
    CODE_INVALID_ARGUMENT = 3,
    CODE_NOT_FOUND = 5,
    CODE_PERMISSION_DENIED = 7,
    CODE_RESOURCE_EXHAUSTED = 8,
    CODE_FAILED_PRECONDITION = 9,
    CODE_ABORTED = 10,
    CODE_UNAVAILABLE = 14
};

struct apmi_session;

/* ---- configuration ------------------------------------------------------------------------- */

struct root_cfg {
    struct ip_prefix prefix;
    struct reservation_cfg {
        struct ip_prefix prefix;
        char *entity, *domain;
    } * reserved;
    size_t n_reserved;
};

struct partition_cfg {
    uint8_t family; /* 4 or 6 */
    uint8_t unit;   /* length of what is counted: 32, 128, or that of delegated prefixes */
    uint8_t min_len, max_len;
    uint8_t low_percent; /* 0: no warning */
    struct root_cfg *roots;
    size_t n_roots;
};

struct profile {
    char *name;
    uint32_t apportion, reclaim, hold_down_s;
    bool allow_larger;
    bool automatic; /* auto-reclamation is there */
    struct window window;
    uint32_t delay_s;
};

struct match {
    char *system_id;
    char *profile;
    uint32_t alarm_rate; /* per second */
};

/* Who a reservation is for; its address is the prefix_tag. Kept as long as the service lives. */
struct holder {
    char *entity, *domain;
};

struct sample {
    uint32_t time_s; /* 0: none */
    uint64_t total, allocated, used;
};

/* A partition that is configured, or that some domain names or some pool lies in. */
struct partition {
    char *name;
    struct partition_cfg *cfg; /* NULL: not configured */
    struct prefix_tree *tree;  /* NULL: neither configured nor anything allocated */
    uint8_t unit;              /* as configured last; 0: never, single addresses are counted */
    struct list retiring;      /* struct retiring: removed roots that still hold pools */
    size_t n_domains;          /* that name it */
    size_t n_pools;            /* in its tree */
    uint32_t skipped_roots;    /* APM-013: outside the limits */
    struct sample *samples;    /* ring by time slot; NULL until the first one */
    /* volatile */
    bool low;
    uint64_t low_crossings, recoveries;
    uint64_t used_reported;                /* addresses used, of all its domains */
    prefix_count free_seen, reserved_seen; /* a second ago: see space.c */
    uint64_t space_event;                  /* number of the last time that it got space; 0: never */
};

struct retiring {
    struct list link;
    struct ip_prefix prefix;
};

/* ---- state ----------------------------------------------------------------------------------- */

enum pool_state { /* stored: never renumber */
                  POOL_ALLOCATING = 1,
                  POOL_UNCERTAIN = 2,
                  POOL_ACTIVE = 3,
                  POOL_DRAIN = 4,
                  POOL_DRAIN_SET = 5,
                  POOL_DRAINED = 6,
                  POOL_REMOVING = 7,
                  POOL_UNMANAGED = 8,
                  POOL_CONFLICT = 9,
                  POOL_STATE_MAX = 9
};

enum {                    /* flags of a pool; stored */
       POOL_MANUAL = 1,   /* an operator ordered the drain */
       POOL_ADOPTED = 2,  /* found by synchronisation */
       POOL_CLEARING = 4, /* its drain was taken back, the entity has not confirmed */
};

#define SEQ_BARE    UINT32_MAX       /* the domain's own name */
#define SEQ_FOREIGN (UINT32_MAX - 1) /* a name in `extra` */

struct pool_extra {
    char *name; /* SEQ_FOREIGN */
    char *note; /* the conflict in a sentence */
};

/* 64 bytes: there may be a million. */
struct pool {
    uint64_t total, used;     /* volatile: as the entity reports */
    struct pool_extra *extra; /* NULL: nothing special */
    uint32_t ordinal;         /* place in the domain's order; names the record */
    uint32_t seq;
    uint32_t allocated_at, since; /* UTC seconds; `since`: of the state */
    struct ip_prefix prefix;
    uint8_t state, flags, code; /* code: 1..7 for C1..C7 */
};
_Static_assert(sizeof(struct pool) == 64, "a pool fills a cache line");

enum alarm_type { ALARM_APPORTION, ALARM_RECLAIM, ALARM_TYPES }; /* stored */

/* An outstanding alarm: at most one of each type in a domain (APM-059). */
struct alarm {
    char *id, *pool, *info; /* pool: the candidate, or "" */
    int64_t raised_at, first_s, last_s, retry_at;
    uint64_t free;
    uint32_t attempts;
    uint8_t result, reason; /* of the last answer, as in openapmi */
};

struct domain_stats { /* volatile (APM-100) */
    int64_t last_discovery, last_allocation, last_reclamation;
    uint32_t allocations, reclamations;
    uint32_t apportion_alarms, reclaim_alarms, drained_alarms, abatements;
};

struct domain {
    uint32_t id;
    struct entity *entity;
    char *name;
    struct partition *partition;
    char *profile, *group, *instance; /* the entity's own words; "" when not given */
    uint8_t family;                   /* 4 or 6 */
    uint8_t unit; /* length of what it gives to subscribers: 32, 128, or of delegated prefixes */
    uint8_t preferred_len;
    uint32_t next_seq, next_ordinal;
    int64_t created_s;
    struct pool *pools; /* by ordinal: the order in which they were given */
    uint32_t n_pools, cap_pools;
    uint32_t n_bare, n_unsettled; /* pools with the domain's own name; that wait for the entity */
    uint32_t n_drained;           /* pools in that state */
    uint32_t seq_end;             /* no pool has this number or one above */
    struct alarm *alarms[ALARM_TYPES];
    /* volatile */
    struct list waiting;  /* in pools.waiting while something is unanswered */
    int64_t wait_until_s; /* by the monotonic clock */
    bool synced, created_here, resync_asked;
    bool told; /* it was made or synchronised since the start */
    bool have_stats;
    uint64_t told_of;      /* the event of its partition that it was told of */
    uint32_t hint;         /* where the last look-up by name ended */
    uint64_t free, total;  /* as the entity reports */
    uint64_t used_counted; /* its part of partition.used_reported */
    uint32_t sent_apportion, sent_reclaim, sent_hold;    /* thresholds the entity confirmed */
    uint32_t asked_apportion, asked_reclaim, asked_hold; /* of the order in flight */
    bool thresholds_known;
    uint64_t thresholds_in_flight; /* revision of the unanswered order; 0: none */
    char *thresholds_refused;      /* why; NULL: not refused */
    bool thresholds_later;         /* only for now: they are sent again */
    struct domain_stats stats;
};

struct entity {
    uint32_t id;
    char *system_id, *address, *software;
    uint8_t kind, security, version;
    uint64_t boot_epoch;
    int64_t first_s;    /* connected for the first time */
    struct map domains; /* name -> struct domain */
    size_t n_answers;
    /* volatile */
    struct apmi_session *session; /* NULL: unreachable */
    int64_t since_s;              /* of reachable / unreachable */
    char *lost_why;
    struct target_session *target;
    uint64_t sending;   /* revision of thresholds under way; 0: none */
    uint32_t in_flight; /* domains with an unanswered order about thresholds */
    bool sync_pending;  /* these orders end its synchronisation */
    int64_t tokens;     /* alarms that it may raise now */
    int64_t tokens_at_s;
    int64_t turn_at_us;  /* when the next one that comes too fast may come again */
    struct list refused; /* prefixes that it could not take, see refused.c */
    size_t n_refused;
};

/* Targets outlive the record of their entity until the next tick: core may still hold them. */
struct target_holder {
    struct pools *pools;
    struct target_session *target;
    char system_id[POOLS_SYSTEM_ID_MAX + 1];
};

struct answer {       /* P-05; there may be many: see answer.c */
    struct list link; /* in pools.answers, oldest first */
    int64_t at_s;
    uint32_t entity, domain, attempt;
    uint32_t first, crc; /* ordinal of the first of the n_add pools; checksum of what was sent */
    uint16_t len;
    uint8_t type; /* AlarmType */
    uint8_t n_add;
    char alarm_id[]; /* NUL, then `len` bytes: an AlarmResponse without its id and pools */
};

static inline const uint8_t *answer_bytes(const struct answer *a) {
    return (const uint8_t *)a->alarm_id + strlen(a->alarm_id) + 1;
}

/* A difference that a synchronisation found, see drift.c. Both enums are stored: never renumber. */
enum drift_kind { DRIFT_ONLY_HERE = 1, DRIFT_ONLY_THERE, DRIFT_STATE, DRIFT_MORE, DRIFT_KINDS };
enum drift_outcome {
    DRIFT_FREED = 1, /* it was only here: the prefix is free again */
    DRIFT_ADOPTED,   /* it was only there: it is ours now */
    DRIFT_CONFLICT,  /* it was only there, and the prefix is somebody else's: drained */
    DRIFT_UNMANAGED, /* it was only there, and belongs to no partition */
    DRIFT_MOVED,     /* another domain of the same entity has it */
    DRIFT_FOLLOWED,  /* its state there is now the one here */
    DRIFT_ORDERED,   /* the entity was told again what its state shall be */
    DRIFT_COUNTED,   /* DRIFT_MORE */
    DRIFT_OUTCOMES
};
struct drift {
    uint64_t seq; /* from 1, ever higher */
    int64_t at_s;
    struct ip_prefix prefix; /* of length 0: DRIFT_MORE */
    uint32_t count;          /* DRIFT_MORE: how many are not listed */
    uint8_t kind, outcome, code;
    char *entity, *domain, *pool, *note; /* note: NULL or a sentence */
};
/* Of one domain's synchronisation. */
struct drift_tally {
    uint32_t n[DRIFT_KINDS], conflicts, listed, unlisted;
};

enum { SECURITY_CLEAR, SECURITY_TLS, SECURITY_MUTUAL };

struct pools_stats { /* volatile (APM-103) */
    int64_t since_s;
    uint64_t allocations, allocation_failures, reclamations;
    uint64_t apportion_alarms, reclaim_alarms, drained_alarms, abatements, retries;
    uint64_t conflicts, duplicates, rate_limited, store_unavailable, resyncs, refused_sessions;
    uint64_t syncs, digests_equal, drains_refused, timeouts;
};

struct pools {
    struct core *core;
    char node[64]; /* scratch of apmi_node */
    const struct clock *clock;
    /* durable */
    struct map partitions;    /* name -> struct partition */
    struct map profiles;      /* name -> struct profile */
    struct map matches;       /* system id -> struct match */
    struct map holders;       /* "entity\0domain" -> struct holder */
    struct entity **entities; /* by id; NULL: free */
    uint32_t n_entities, cap_entities, entity_count;
    struct map entity_by_id; /* system id -> struct entity */
    struct domain **domains; /* by id */
    uint32_t n_domains, cap_domains, domain_count;
    struct list answers;
    struct map answer_by_id; /* be32 entity + alarm id -> struct answer */
    size_t n_answers;
    uint64_t pool_count;
    struct drift **drift; /* by seq % POOLS_DRIFT_MAX; NULL until the first one */
    /* volatile */
    uint64_t drift_seq;  /* highest number given so far */
    struct map targets;  /* system id -> struct target_holder */
    struct list waiting; /* domains with something unanswered, soonest first */
    struct timer tick;
    bool tick_queued, started;
    uint64_t manager_epoch;
    uint64_t order_seq;
    struct pools_stats stats;
    int64_t last_sample_s;
    uint64_t space_events;
    bool reconfigured, space_untold; /* since the last tick; more domains wait to be told */
    int64_t told_s;                  /* the second (monotonic) in which n_told pools were told of */
    uint32_t n_told;
    uint64_t untold_added, untold_removed;
    struct rebalance *rebalance; /* under way; NULL: none */
    struct list bulk_runs;       /* struct bulk_run: see bulk.h */
};

/* ---- records.c: keys and values of state records ----------------------------------------------
 */

/* Keys: "pools/" and one letter, then what names the record. Letters are in the order in which
 * records must be folded at start. */
enum {
    REC_ENTITY = 'a',   /* be32 id */
    REC_DOMAIN = 'b',   /* be32 id */
    REC_RETIRING = 'c', /* partition name, 0, address of 4 or 16 bytes, length */
    REC_POOL = 'd',     /* be32 domain, be32 ordinal */
    REC_ALARM = 'e',    /* be32 domain, type */
    REC_ANSWER = 'f',   /* be32 entity, alarm id */
    REC_SAMPLE = 'g',   /* partition name, 0, be16 slot */
    REC_DRIFT = 'h',    /* be32 slot */
};
enum { REC_KEY_MAX = 6 + 1 + POOLS_NAME_MAX + 64 };
struct rec_key {
    char bytes[REC_KEY_MAX];
    size_t len;
};
struct rec_key rec_key_id(char letter, uint32_t id);
struct rec_key rec_key_pool(uint32_t domain, uint32_t ordinal);
struct rec_key rec_key_alarm(uint32_t domain, enum alarm_type type);
struct rec_key rec_key_answer(uint32_t entity, const char *alarm_id);
struct rec_key rec_key_retiring(const char *partition, const struct ip_prefix *p);
struct rec_key rec_key_sample(const char *partition, unsigned slot);

/* Values begin with a version byte; decoding refuses anything that does not fit exactly. */
struct entity_rec {
    char *system_id, *address, *software;
    uint8_t kind, security, version;
    uint64_t boot_epoch;
    int64_t first_s;
};
struct domain_rec {
    uint32_t entity;
    char *name, *partition, *profile, *group, *instance;
    uint8_t family, unit; /* as in struct domain */
    uint8_t preferred_len;
    uint32_t next_seq, next_ordinal;
    int64_t created_s;
};
struct pool_rec {
    struct ip_prefix prefix;
    uint32_t seq, allocated_at, since;
    uint8_t state, flags, code;
    char *name, *note; /* NULL unless SEQ_FOREIGN, or a conflict */
};
struct alarm_rec {
    struct alarm alarm;
};
struct answer_rec {
    int64_t at_s;
    uint32_t attempt, domain, first, crc;
    uint8_t type, n_add;
    bool whole;           /* version 1: `bytes` is all of the answer, and the only field of it */
    const uint8_t *bytes; /* borrowed */
    size_t len;
};
void entity_rec_encode(const struct entity_rec *r, struct buf *out);
void domain_rec_encode(const struct domain_rec *r, struct buf *out);
void pool_rec_encode(const struct pool_rec *r, struct buf *out);
void alarm_rec_encode(const struct alarm *a, struct buf *out);
void answer_rec_encode(const struct answer_rec *r, struct buf *out);
void sample_rec_encode(const struct sample *s, struct buf *out);
void drift_rec_encode(const struct drift *r, struct buf *out);
/* ERR_UNSUPPORTED: a newer version; ERR_MALFORMED. Nothing is left to free after an error. */
enum err_code entity_rec_decode(const void *p, size_t n, struct entity_rec *r, struct err *e);
enum err_code domain_rec_decode(const void *p, size_t n, struct domain_rec *r, struct err *e);
enum err_code pool_rec_decode(const void *p, size_t n, struct pool_rec *r, struct err *e);
enum err_code alarm_rec_decode(const void *p, size_t n, struct alarm *a, struct err *e);
enum err_code answer_rec_decode(const void *p, size_t n, struct answer_rec *r, struct err *e);
enum err_code sample_rec_decode(const void *p, size_t n, struct sample *s, struct err *e);
enum err_code drift_rec_decode(const void *p, size_t n, struct drift *r, struct err *e);
void entity_rec_free(struct entity_rec *r);
void domain_rec_free(struct domain_rec *r);
void pool_rec_free(struct pool_rec *r);
void alarm_clear(struct alarm *a);
void drift_rec_free(struct drift *r);

/* ---- fold.c: durable memory as the fold of records --------------------------------------------
 */

bool pools_state_encode(void *self, const char *key, size_t key_len, struct buf *out);
enum err_code pools_state_fold(void *self, const char *key, size_t key_len, const void *value,
                               size_t len, struct err *e);

/* ---- store.c: writing records ------------------------------------------------------------------
 * Each writes through the transaction, so memory has changed when it returns. */

struct entity *entity_put(struct pools *p, struct txn *t, const struct entity_rec *r,
                          uint32_t id); /* id UINT32_MAX: a new one */
void entity_delete(struct txn *t, struct entity *en);
struct domain *domain_put(struct pools *p, struct txn *t, const struct domain_rec *r, uint32_t id);
void domain_rec_of(const struct domain *d, struct domain_rec *out); /* borrows */
void entity_rec_of(const struct entity *en, struct entity_rec *out);
/* Deletes its pools (prefixes become free), alarms and itself. */
void domain_delete(struct pools *p, struct txn *t, struct domain *d);
/* The pool is found by ordinal; pointers into d->pools are stale afterwards. */
void pool_put(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal,
              const struct pool_rec *r);
void pool_rec_of(const struct pool *po, struct pool_rec *out); /* borrows */
void pool_set_state(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal,
                    enum pool_state state, int flags); /* flags < 0: as they are */
/* Frees the prefix when the pool was managed; removes an emptied retiring root. */
void pool_delete(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal);
void alarm_put(struct txn *t, struct domain *d, enum alarm_type type, const struct alarm *a);
/* When there is one: it is deleted, and subscribers are told, with `why` (a sentence's part). */
void alarm_over(struct txn *t, struct domain *d, enum alarm_type type, const char *why);
void answer_put(struct pools *p, struct txn *t, struct entity *en, const char *alarm_id,
                const struct answer_rec *r);
const struct answer *answer_find(struct pools *p, const struct entity *en, const char *alarm_id);
void answers_expire(struct pools *p, struct txn *t, int64_t now_s, size_t max);

/* ---- answer.c ----------------------------------------------------------------------------------
 */

struct offer { /* one pool of an ADD_POOLS, with what it points to */
    Openapmi__V1__Pool pool;
    Openapmi__V1__Prefix prefix;
    struct ip_addr addr;
    char name[POOLS_NAME_MAX + 16];
};
struct offers {
    struct offer *each;
    Openapmi__V1__Pool **add;
    size_t n;
};
void offers_make(struct offers *o, size_t most); /* room for so many */
void offers_free(struct offers *o);
void offers_add(struct offers *o, const struct domain *d, const struct pool *po);
/* In the transaction that does what it says, so that both or neither survive. `first`: ordinal of
 * the first of the pools it gives, which were made one after the other. */
void answer_keep(struct pools *p, struct txn *t, struct domain *d, const Openapmi__V1__Alarm *a,
                 const Openapmi__V1__AlarmResponse *r, uint32_t first, int64_t receipt_s);
/* Sends what was answered before; false: nothing, or it no longer holds. */
bool answer_again(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                  const Openapmi__V1__Alarm *a);
/* Without its id and its pools; free it with ..._free_unpacked. NULL: it is damaged. */
Openapmi__V1__AlarmResponse *answer_rest(const struct answer *a);
/* For the fold: puts it in its place; while starting, at the end, and answers_sort does it once. */
void answer_link(struct pools *p, struct answer *a);
void answers_sort(struct pools *p);
/* Makes of a record of version 1 what it would be now; its bytes are then in `rest`. False: it is
 * damaged. */
bool answer_upgrade(struct pools *p, struct answer_rec *r, struct buf *rest);

/* ---- partition.c -------------------------------------------------------------------------------
 */

struct partition *partition_get(struct pools *p, const char *name, bool make);
/* Drops a partition that nothing needs any more. */
void partition_drop_if_idle(struct pools *p, struct partition *pt);
void partition_free(void *partition);
void partition_cfg_free(struct partition_cfg *c);
void partition_configure(struct pools *p, struct partition *pt, struct partition_cfg *cfg);
enum err_code partition_restore(struct partition *pt, const struct ip_prefix *px,
                                prefix_owner owner, prefix_tag tag, struct err *e);
void partition_release(struct partition *pt, const struct ip_prefix *px);
void partition_retire_add(struct partition *pt, const struct ip_prefix *px);
void partition_retire_del(struct partition *pt, const struct ip_prefix *px);
struct retiring *partition_retiring(struct partition *pt, const struct ip_prefix *px);
unsigned partition_family(const struct partition *pt); /* 4 or 6 */
/* A number of single addresses as what the partition counts: addresses or delegated prefixes;
 * saturated. */
uint64_t partition_units(const struct partition *pt, prefix_count addresses);
/* Edge-triggered low-water warning (APM-016). `t` may be NULL: no event. */
void partition_check_low(struct pools *p, struct txn *t, struct partition *pt);
/* Tells the domains that wait for prefixes where there is space again (P-22); the clock's work. */
void space_tell(struct pools *p, struct txn *t, int64_t now_s);
prefix_tag pools_tag(struct pools *p, const char *entity, const char *domain, bool make);
struct domain *pools_owner_domain(struct pools *p, prefix_owner owner);
/* "bng1 domain x" */
void pools_owner_text(struct pools *p, prefix_owner owner, struct buf *out);
bool partition_owner_is_tag(void *pools_and_tag, prefix_owner owner);

/* ---- config.c: check, complete, fold of configuration ------------------------------------------
 */

enum err_code pools_complete(void *self, struct txn *t, struct err *e);
enum err_code pools_check(void *self, struct txn *t, struct err *e);
void pools_config(void *self, const struct object *old, const struct object *new_);
void pools_changed(void *self, struct txn *t);
void pools_config_free(struct pools *p);

/* The profile of an entity; NULL when it is not admitted. */
const struct profile *pools_profile_of(const struct pools *p, const struct entity *en);

/* ---- domain.c: names, look-ups, allocation ------------------------------------------------------
 */

static inline struct ip_prefix pool_prefix(const struct pool *po) {
    return po->prefix;
}
/* Does the partition hold what the domain gives to its subscribers? */
static inline bool domain_fits(const struct domain *d) {
    const struct partition_cfg *c = d->partition->cfg;
    return c != NULL && c->family == d->family && c->unit == d->unit;
}
/* "IPv4 addresses", "IPv6 addresses" or "IPv6 prefixes of length 56". */
enum { POOLS_UNIT_TEXT_MAX = 48 };
char *pools_unit_text(unsigned family, unsigned unit, char out[POOLS_UNIT_TEXT_MAX]);
/* What planning counts in a pool: addresses (APM-023), or delegated prefixes; saturated. */
uint64_t pool_units(const struct ip_prefix *px, unsigned unit);
/* Does its prefix take part in the partition's tree? */
static inline bool pool_state_managed(uint8_t state) {
    return state >= POOL_ALLOCATING && state <= POOL_REMOVING;
}
/* Is there something that the entity has yet to confirm? */
static inline bool pool_state_unsettled(uint8_t state) {
    return state == POOL_ALLOCATING || state == POOL_UNCERTAIN || state == POOL_DRAIN ||
           state == POOL_REMOVING;
}
static inline prefix_owner pool_owner(const struct domain *d, uint32_t ordinal) {
    return (uint64_t)d->id << 32 | ordinal;
}
void pool_name(const struct domain *d, const struct pool *po, char out[POOLS_NAME_MAX + 16]);
/* Which sequence number a name of this domain is: SEQ_BARE, a number, or SEQ_FOREIGN. */
uint32_t pool_name_seq(const char *domain, const char *name);
void pool_name_make(const char *domain, uint32_t seq, char out[POOLS_NAME_MAX + 16]);
struct pool *domain_pool(struct domain *d, uint32_t ordinal);
/* Index of the pool with this ordinal, or where it would stand. */
uint32_t domain_pool_index(const struct domain *d, uint32_t ordinal);
struct pool *domain_pool_named(struct domain *d, const char *name);
struct pool *domain_pool_prefix(struct domain *d, const struct ip_prefix *px);
bool entity_pool_name_taken(struct entity *en, const char *name, const struct domain *except);
struct domain *entity_domain(const struct entity *en, const char *name);
struct entity *pools_entity(const struct pools *p, const char *system_id);
const char *pool_state_name(uint8_t state); /* as in weft-apm */
/* Allocates one prefix and records the pool as `allocating`; NULL: none, *why says. */
struct pool *domain_apportion(struct pools *p, struct txn *t, struct domain *d, unsigned len,
                              struct prefix_conflict *why);
/* Would it get a prefix of the length it prefers? */
bool domain_could_get(struct pools *p, struct domain *d);
/* Length of the prefixes it wants; `asked`: as its alarm says, 0 when that doesn't. */
unsigned domain_wanted_length(const struct domain *d, uint32_t asked);
/* SHA-256 as proto/README.md defines it, over all pools but local ones. */
void domain_digest(const struct domain *d, uint8_t out[32]);
void domain_thresholds(const struct pools *p, const struct domain *d,
                       Openapmi__V1__Thresholds *out);
/* Removes a domain that has no pools left (APM-037). */
bool domain_remove_if_empty(struct pools *p, struct txn *t, struct domain *d, const char *why);
void domain_wait(struct pools *p, struct domain *d);
void domain_wait_done(struct domain *d); /* when nothing is unanswered any more */
void domain_set_usage(struct domain *d, uint64_t free, uint64_t total, uint64_t used);
void domain_free(struct domain *d);
void entity_free(struct entity *en);

/* ---- events.c ----------------------------------------------------------------------------------
 */

/* About d->alarms[type]; `why`: how it ended. */
void event_alarm_raised(struct txn *t, const struct domain *d, enum alarm_type type);
void event_alarm_cleared(struct txn *t, const struct domain *d, enum alarm_type type,
                         const char *why);
void event_drained_raised(struct txn *t, const struct domain *d, const struct pool *po);
void event_drained_cleared(struct txn *t, const struct domain *d, const struct pool *po,
                           const char *why);
/* The entity has it from now on, or has it no more; beyond POOLS_EVENTS_PER_S they are only
 * counted, and the clock tells how many there were. */
void event_pool(struct pools *p, struct txn *t, const struct domain *d, const struct pool *po,
                bool added);
void events_tick(struct pools *p, struct txn *t);

/* ---- refused.c: prefixes that an entity could not take ------------------------------------------
 */

void entity_refuses(struct entity *en, const struct ip_prefix *px, int64_t now_s);
void entity_refused_clear(struct entity *en);
/* Takes those that are free out of the tree while one is chosen for `tag`; how many. */
size_t entity_refused_hide(const struct entity *en, struct partition *pt, prefix_tag tag,
                           int64_t now_s, struct ip_prefix hidden[POOLS_REFUSED_MAX]);
void entity_refused_unhide(struct partition *pt, const struct ip_prefix *hidden, size_t n);
/* "192.0.2.0/26, 192.0.2.64/26": those of the partition that would be free for it; or nothing. */
void entity_refused_text(const struct entity *en, const struct partition *pt, int64_t now_s,
                         struct buf *out);

/* ---- rebalance.c -------------------------------------------------------------------------------
 */

void rebalance_start(struct pools *p);
void rebalance_stop(struct pools *p);
void rebalance_tick(struct pools *p);

/* ---- alarm.c, reclaim.c: what entities ask
 * --------------------------------------------------------
 */

/* The answer for `a`, received at receipt_s; everything it decides is in the transaction. */
void alarm_handle(struct pools *p, struct txn *t, struct apmi_session *s, uint64_t msg_id,
                  const Openapmi__V1__Alarm *a, int64_t receipt_s);
void alarm_answer(struct txn *t, struct apmi_session *s, uint64_t msg_id,
                  const Openapmi__V1__AlarmResponse *r);
void alarm_answer_noop(struct txn *t, struct apmi_session *s, uint64_t msg_id, const char *alarm_id,
                       Openapmi__V1__Reason reason, int64_t retry_at, const char *text);

struct decision { /* of a reclaim or pool-drained alarm */
    Openapmi__V1__AlarmResult result;
    Openapmi__V1__Action action;
    Openapmi__V1__Reason reason;
    int64_t retry_at;
    char pool[POOLS_NAME_MAX + 16];
    char text[256];
    bool outstanding; /* the alarm waits: for the window, for an operator */
};
void reclaim_decide(struct pools *p, struct txn *t, struct domain *d, const Openapmi__V1__Alarm *a,
                    int64_t receipt_s, struct decision *out);
void drained_decide(struct pools *p, struct txn *t, struct domain *d, const Openapmi__V1__Alarm *a,
                    int64_t receipt_s, struct decision *out);

/* Safe-drain tests of APM-088. False: `text` has the numbers. */
struct drain_numbers {
    uint64_t domain_free, pool_total, pool_used, apportion;
};
bool drain_is_safe(const struct drain_numbers *n, char text[256], bool *first_test);

/* A domain's only pool, idle: nobody needs it, and the domain goes with it (APM-037). */
bool sole_and_idle(const struct domain *d, const struct pool *po);

/* What an operator's drain, activate and reclaim do once they may: the record, and the order when
 * the entity is there (else the next synchronisation gives it). Pointers to pools are stale then.
 */
void pool_order_drain(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal);
void pool_order_activate(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal);
void pool_order_remove(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal);

/* Operators' orders (request apm ...). `text` gets what the terminal shows. */
enum err_code pools_drain(struct pools *p, struct txn *t, const char *entity, const char *domain,
                          const char *pool, bool force, struct buf *text, struct err *e);
enum err_code pools_activate(struct pools *p, struct txn *t, const char *entity, const char *domain,
                             const char *pool, struct buf *text, struct err *e);
enum err_code pools_reclaim(struct pools *p, struct txn *t, const char *entity, const char *domain,
                            const char *pool, bool force, struct buf *text, struct err *e);
enum err_code pools_release(struct pools *p, struct txn *t, const char *entity, uint32_t *prefixes,
                            struct buf *text, struct err *e);
void pools_clear_statistics(struct pools *p, int64_t now_s);
/* The profile lost auto-reclamation: automatic drains are taken back (APM-085). */
void reclaim_cancel_automatic(struct pools *p, struct txn *t, struct domain *d);

/* ---- sync.c -------------------------------------------------------------------------------------
 */

/* The entity's whole list of one domain against ours (APM-072..076). */
void sync_domain(struct pools *p, struct txn *t, struct apmi_session *s, struct domain *d,
                 Openapmi__V1__Pool **pools, size_t n, Openapmi__V1__PoolSyncResult *result,
                 struct arena *arena);
/* The digest said that both sides agree. */
void sync_domain_agreed(struct pools *p, struct txn *t, struct apmi_session *s, struct domain *d);
/* Orders that must stand after a synchronisation: drains and removals still under way. */
void sync_reissue(struct pools *p, struct txn *t, struct apmi_session *s, struct domain *d);

/* ---- drift.c: what a synchronisation found to differ ------------------------------------------
 */

/* Should the entity have this pool? Not an offer that may never have arrived, nor what it was told
 * to remove. */
static inline bool drift_expected(const struct pool *po) {
    return po->state >= POOL_ACTIVE && po->state <= POOL_DRAINED;
}
/* Records one difference of the domain, up to POOLS_DRIFT_LISTED, and counts it. Of `what` entity,
 * domain, number and time are filled in; all is copied. */
void drift_note(struct pools *p, struct txn *t, const struct domain *d, struct drift_tally *tally,
                const struct drift *what);
void drift_note_pool(struct pools *p, struct txn *t, const struct domain *d,
                     struct drift_tally *tally, const struct pool *po, enum drift_kind kind,
                     enum drift_outcome outcome);
/* The entity no longer has this domain, which is about to be deleted. */
void drift_domain_gone(struct pools *p, struct txn *t, const struct domain *d);
/* The domain's synchronisation is over: one warning and one event, when anything differed. */
void drift_end(struct pools *p, struct txn *t, const struct domain *d,
               const struct drift_tally *tally);
/* For the fold. v NULL: there is none any more. */
enum err_code drift_fold(struct pools *p, uint32_t slot, const void *v, size_t n, struct err *e);
const struct drift *drift_at(const struct pools *p, uint32_t slot); /* NULL: none */
void drift_clear(struct pools *p);                                  /* frees memory, at the end */

/* ---- order.c: orders and their results ---------------------------------------------------------
 */

void order_pool(struct pools *p, struct txn *t, struct domain *d, const struct pool *po,
                Openapmi__V1__OrderType type);
/* Asks for the list of a domain's pools; until it is here the domain's alarms are told to wait. */
void order_resync(struct pools *p, struct txn *t, struct domain *d);
void order_result(struct pools *p, struct txn *t, struct apmi_session *s,
                  const Openapmi__V1__OrderResult *r);
void stats_handle(struct pools *p, struct txn *t, struct apmi_session *s,
                  const Openapmi__V1__Stats *m);
/* Pools that were offered are there: the entity listed or confirmed them. */
void pool_confirmed(struct pools *p, struct txn *t, struct domain *d, uint32_t ordinal);
/* After the transaction: thresholds that changed meanwhile, then the target is in step. */
void entity_in_step(struct txn *t, struct apmi_session *s);
void thresholds_order(struct pools *p, struct domain *d, uint64_t revision);
extern const struct target_codec pools_target_codec;
void entity_target_start(struct pools *p, struct entity *en);
bool domain_thresholds_differ(const struct pools *p, const struct domain *d);

/* ---- apmi_session.c ---- */

/* The record of a session's entity went away (released, or its creation was undone). */
void apmi_entity_gone(struct entity *en);
/* The controller that the entity is connected to; "": there is only this one. Writer's thread;
 * valid until the next call. */
const char *apmi_node(struct pools *p, const struct apmi_session *s);
/* P-24. apmi_moving_to: "": it was not asked to. */
bool apmi_can_move(const struct apmi_session *s);
const char *apmi_moving_to(const struct apmi_session *s);
void apmi_move(struct apmi_session *s, const char *node);
/* Sends after durability; `m` is packed at once. in_reply_to stands in it. */
void apmi_send(struct txn *t, struct apmi_session *s, const Openapmi__V1__ManagerMsg *m);
/* Ends the session after durability. `code`: grpc-status. */
void apmi_end(struct txn *t, struct apmi_session *s, int code, const char *text);
/* At once: for what is sent after durability anyway. */
void apmi_send_now(struct apmi_session *s, const Openapmi__V1__ManagerMsg *m);
struct pools *apmi_pools(const struct apmi_session *s);
void apmi_hold(struct apmi_session *s);
void apmi_release(struct apmi_session *s);
/* Detaches the entity and ends the session. */
void apmi_dismiss(struct txn *t, struct apmi_session *s, int code, const char *why);
/* Dismisses a session that has been silent for longer than its transport allows. */
void apmi_check_silence(struct txn *t, struct apmi_session *s);
bool apmi_in_step(const struct apmi_session *s); /* its synchronisation is over */
struct entity *apmi_entity(const struct apmi_session *s);

/* ---- tick.c: what time does ---------------------------------------------------------------------
 */

void pools_tick_start(struct pools *p);
/* Everything that is due at now_s; called once a second inside work. */
void pools_tick(struct pools *p, struct txn *t, int64_t now_s);
void partition_sample(struct pools *p, struct txn *t, struct partition *pt, int64_t now_s);

/* ---- show.c, rpc.c
 * -------------------------------------------------------------------------------
 */

enum err_code pools_call(void *self, struct txn *t, struct call *cl, struct err *e);
enum err_code pools_look(void *self, struct txn *t, struct look *l, struct err *e);
void pools_values(void *self, struct txn *t, struct values *v);
void pools_metrics(void *self, struct buf *out);
int pools_utc_offset(struct txn *t); /* minutes east of UTC */
bool pools_percent_decode(char *s);

#endif
