// SPDX-License-Identifier: Apache-2.0
/* Shared by the engine's own files only. */
#ifndef BNG_ENGINE_INT_H
#define BNG_ENGINE_INT_H

#include "base/map.h"
#include "bng/engine.h"
#include "openapmi.pb-c.h"

enum bng_ask { /* what an unanswered message was */
               ASK_HELLO,
               ASK_DOMAIN_SYNC,
               ASK_POOL_SYNC,
               ASK_CREATE,
               ASK_ALARM,
               ASK_OTHER, /* answered by an Ack that needs no attention */
               ASK_SYNC_DONE,
};

struct queued {
    uint64_t msg_id;
    enum bng_ask ask;
    bool sent, last; /* last: DomainSync with more = false */
    char domain[BNG_DOMAIN_NAME_MAX + 1];
    uint8_t *data; /* NULL once sent */
    size_t len;
};

struct order_kept {
    char id[BNG_ID_MAX];
    bool done;
    uint32_t code;
    uint64_t revision;
    char text[BNG_TEXT_MAX];
};

struct bng_engine {
    const struct clock *clock;
    struct bng_settings settings;
    struct bng_host host;
    struct bng_domain **domains;
    size_t n_domains;
    struct map subnets; /* subnet id (4 bytes) -> struct bng_pool */
    uint64_t boot_epoch, generation, alarm_seq;
    uint32_t version; /* of the protocol in this session; 0: not agreed yet */
    uint32_t next_subnet_id;
    /* session */
    enum bng_session session;
    uint64_t msg_id, sync_epoch;
    uint32_t stats_interval_s;
    struct queued *queue; /* sent and unanswered first, then waiting ones */
    size_t n_queue, cap_queue, unanswered;
    struct order_kept orders[BNG_ORDERS_KEPT];
    size_t next_order;
    int64_t lost_mono;  /* when the session was lost (or the start) */
    int64_t ready_mono; /* when it became READY */
    int64_t pinged_mono;
    int64_t connected_mono; /* or the last synchronisation's start */
    unsigned pings_open;
    bool meta_dirty, uncommitted;
};

struct bng_domain *bng_find(struct bng_engine *e, const char *name);
struct bng_pool *bng_find_pool(struct bng_domain *d, const char *name);
struct bng_pool *bng_find_subnet(struct bng_engine *e, uint32_t subnet_id);
size_t bng_count_pools(const struct bng_engine *e);
struct bng_domain *bng_add_domain(struct bng_engine *e, const struct bng_profile *p);
/* Adds a pool in its first phase. NULL: refused, `why` filled in, `code` a google.rpc code. */
struct bng_pool *bng_add_pool(struct bng_domain *d, const char *name,
                              const struct ip_prefix *prefix, uint32_t subnet_id, bool local,
                              char why[BNG_TEXT_MAX], uint32_t *code);
void bng_drop_pool(struct bng_pool *p); /* out of the table, freed */
void bng_set_phase(struct bng_pool *p, enum bng_phase phase, bool urgent);
/* What the manager gave, or Kea was to take, was of no use: new alarms wait, longer each time, or
 * the two would ask and answer as fast as they can. A pool that comes into use ends it. */
void bng_setback(struct bng_domain *d);
void bng_clear_alarm(struct bng_domain *d, enum bng_alarm_kind k);
/* What a pool of the preferred length has to give. */
uint64_t bng_per_pool(const struct bng_profile *p);
/* Does the manager know domains of its family (P-23)? */
bool bng_speaks(const struct bng_domain *d);
uint64_t bng_incoming(const struct bng_domain *d); /* addresses of pools being added */
size_t bng_managed(const struct bng_domain *d);    /* pools the manager knows of */
bool bng_check_thresholds(const struct bng_domain *d, uint64_t apportion, uint64_t reclaim,
                          char why[BNG_TEXT_MAX]);
bool bng_persist(struct bng_engine *e); /* saves what is dirty and commits */

/* Shorter names for the generated types. */
typedef Openapmi__V1__EntityMsg entity_msg;
typedef Openapmi__V1__Pool wire_pool;
#define BODY(m, CASE) ((m).body_case = OPENAPMI__V1__ENTITY_MSG__BODY_##CASE)

/* Parts of a domain's pools, as arrays the generated code wants. */
struct part {
    wire_pool pools[BNG_SYNC_PART], *ptr[BNG_SYNC_PART];
    Openapmi__V1__Prefix prefixes[BNG_SYNC_PART];
    size_t n;
};

/* engine_send.c */
struct queued *bng_emit(struct bng_engine *e, entity_msg *m, enum bng_ask ask, const char *domain);
void bng_flush(struct bng_engine *e); /* sends what the window allows */
bool bng_answered(struct bng_engine *e, uint64_t msg_id, struct queued *out); /* false: not open */
void bng_drop_queue(struct bng_engine *e);
/* The next part of the domain's pools; *from counts on. mem_free. in_service: without those that
 * are still to be added, or were refused. */
struct part *bng_take_part(const struct bng_domain *d, size_t *from, bool in_service);
Openapmi__V1__AddressFamily bng_wire_family(const struct bng_profile *p);
void bng_wire_alarm(struct bng_domain *d, enum bng_alarm_kind k, bool abate);
void bng_wire_stats(struct bng_domain *d);
void bng_wire_result(struct bng_engine *e, const char *id, uint32_t code, const char *text,
                     const struct bng_pool *p, uint64_t revision);
void bng_wire_create(struct bng_domain *d);
void bng_wire_delete(struct bng_domain *d);
/* engine_wire.c */
void bng_wire_tick(struct bng_engine *e);
/* Tells of pools that went without an order to confirm, as soon as that is safe. */
void bng_wire_unsaid(struct bng_domain *d);
/* The phase a pool was ordered into is reached: confirm it. */
void bng_wire_reached(struct bng_pool *p);

/* engine_store.c */
json_t *bng_store_domain(const struct bng_domain *d);
json_t *bng_store_meta(const struct bng_engine *e);

#endif
