// SPDX-License-Identifier: Apache-2.0
/*
 * The gateway's side of openapmi as an engine without I/O: domains and their pools, thresholds,
 * alarms, drains, synchronisation, the local reserve. It is fed with messages of the manager, with
 * counts and confirmations of the back ends, and with the time; it answers through struct bng_host.
 *
 *   manager --message--> +--------+ --send----------> manager
 *   Kea ------counts---> | engine | --save, commit--> durable state
 *   back ends -applied-> +--------+ --changed-------> back ends, which look at the pools (level
 *                                                     triggered) and bring themselves in line
 *
 * A pool's way, and what each phase asks of the back ends (route: discard route and gateway
 * address; DHCP: the subnet in Kea):
 *
 *   ADD_ROUTE > ADD_DHCP > ACTIVE <> DRAIN_SET / UNDRAIN > DRAINING > DRAINED
 *                                          > REMOVE_DHCP > REMOVE_ROUTE > gone
 *
 * So an address is announced before it is given out, and no longer announced before the manager
 * hears that the prefix is free (APM-151). One thread.
 */
#ifndef BNG_ENGINE_H
#define BNG_ENGINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/ip.h"
#include "bng/profile.h"

enum {
    BNG_WINDOW = 48,       /* unanswered messages; P-07 allows 64 */
    BNG_WANTED_MAX = 16,   /* prefixes asked for in one alarm */
    BNG_ORDERS_KEPT = 256, /* results remembered, so that a repeated order does nothing twice */
    BNG_SYNC_PART = 400,   /* names or pools in one message: far below 1 MiB (P-07) */
    BNG_RESPONSE_TIMEOUT_S = 30,
    BNG_SETBACK_MAX_S = 60,   /* longest pause after answers that were of no use */
    BNG_REFUSED_RETRY_S = 60, /* a domain whose creation was refused asks again after */
    BNG_ID_MAX = 96,
    BNG_TEXT_MAX = 512,
};

enum bng_phase {
    BNG_ADD_ROUTE,
    BNG_ADD_DHCP,
    BNG_ACTIVE,
    BNG_DRAIN_SET, /* drain wanted, not yet in force in DHCP */
    BNG_UNDRAIN,   /* drain to be lifted, not yet */
    BNG_DRAINING,
    BNG_DRAINED, /* no address assigned, none can be */
    BNG_REMOVE_DHCP,
    BNG_REMOVE_ROUTE,
    BNG_PHASES
};

enum bng_alarm_kind { BNG_APPORTION, BNG_RECLAIM, BNG_POOL_DRAINED, BNG_ALARM_KINDS };

struct bng_alarm {
    bool raised, in_flight, pending; /* pending: the manager waits for its operator */
    char id[BNG_ID_MAX];
    uint32_t attempt;                 /* of the last one sent; 0: none yet */
    int64_t raised_at, retry_at;      /* UTC seconds */
    int64_t sent_mono;                /* ns */
    uint64_t free_sent;               /* free addresses when it was last sent */
    char pool[BNG_POOL_NAME_MAX + 1]; /* the candidate it was last sent with */
    unsigned reason;                  /* of the last NACK, enum Reason of the protocol */
    char text[BNG_TEXT_MAX];
};

struct bng_domain;

struct bng_pool {
    struct bng_domain *domain;
    char name[BNG_POOL_NAME_MAX + 1];
    struct ip_prefix prefix;
    uint32_t subnet_id; /* Kea's; never used twice */
    enum bng_phase phase;
    bool local;     /* from the reserve */
    bool unmanaged; /* the manager counts it but won't take it back */
    bool counted;   /* counts arrived since the last change of phase */
    uint64_t gen;   /* generation of the last change of phase */
    uint64_t total, used, cumulative;
    bool has_cumulative;
    char add_id[BNG_ID_MAX];    /* alarm whose answer brought it, until acknowledged */
    char refused[BNG_TEXT_MAX]; /* why DHCP can't take it; on its way out */
    char order_id[BNG_ID_MAX];  /* order to confirm when the phase is over */
};

struct bng_domain {
    struct bng_engine *engine;
    const struct bng_profile *profile;
    char name[BNG_DOMAIN_NAME_MAX + 1];
    enum { BNG_DOMAIN_NEW, BNG_DOMAIN_CREATING, BNG_DOMAIN_READY, BNG_DOMAIN_ABSENT } state;
    bool synced, in_step; /* in this session; in_step: its PoolSync was agreed */
    bool has_thresholds;
    uint64_t apportion, reclaim, revision;
    uint32_t hold_down_s;
    char refused[BNG_TEXT_MAX]; /* why the last thresholds or the creation were refused, or "" */
    int64_t retry_mono;         /* NEW: not before */
    unsigned setbacks;          /* answers and pools in a row that were of no use */
    int64_t quiet_mono;         /* because of them no new alarm before */
    struct bng_pool **pools;    /* in the order they were added (APM-036) */
    size_t n_pools;
    uint32_t local_seq;
    struct bng_alarm alarm[BNG_ALARM_KINDS];
    int64_t surplus_since; /* mono ns; -1: no surplus */
    double rate;           /* addresses set up per second, smoothed */
    int64_t rated_mono;
    bool stats_due;
    int64_t stats_mono; /* last sent */
    bool dirty;         /* to be saved */
    bool full_logged;
    bool emptied; /* its last pool was reclaimed */
    bool unsaid;  /* a pool went and there was no order to confirm: its PoolSync says it (P-14) */
    struct {
        uint64_t apportion_alarms, reclaim_alarms, drained_alarms, attempts, nacks, abatements;
        uint64_t allocations, reclamations, local_allocations;
    } count;
};

enum bng_session {
    BNG_DOWN,
    BNG_HELLO,   /* waiting for HelloAck */
    BNG_DOMAINS, /* DomainSync under way */
    BNG_POOLS,   /* PoolSync under way */
    BNG_DONE,    /* SyncDone sent */
    BNG_READY
};

struct bng_host {
    /* One packed EntityMsg for the session. */
    void (*send)(void *arg, const uint8_t *p, size_t n);
    void (*end_session)(void *arg, const char *why);
    /* Puts (NULL: deletes) the document under the key into the next commit; takes the reference. */
    void (*save)(void *arg, const char *key, json_t *doc);
    /* Makes everything saved durable. False: nothing of it was; the engine tries again. */
    bool (*commit)(void *arg);
    /* The pools are not what the back ends have. `urgent`: subscribers may be waiting. */
    void (*changed)(void *arg, bool urgent);
    /* P-24; may be NULL, both. Of several managers the session is with this one ("": there is one);
     * and is asked to go to that one. */
    void (*manager)(void *arg, const char *node);
    void (*move)(void *arg, const char *node);
    void *arg;
};

struct bng_settings {
    char system_id[46]; /* APM-041 */
    char software[64], address[64];
    uint32_t max_pools; /* the gateway's pool table, all domains together */
    bool routes;        /* a routing back end exists; without it ADD_ROUTE is passed at once */
    uint32_t first_subnet_id;
    const struct bng_profile *profiles; /* outlive the engine */
    size_t n_profiles;
    const struct bng_reserve *reserve;
};

struct bng_engine; /* opaque but for the accessors below */

struct bng_engine *bng_engine_new(const struct clock *clock, const struct bng_settings *settings,
                                  const struct bng_host *host);
void bng_engine_free(struct bng_engine *e);
/* Durable state, document by document, before bng_engine_start. ERR_INVALID names the place. */
enum err_code bng_engine_load(struct bng_engine *e, const char *key, const json_t *doc,
                              struct err *err);
/* Takes a new boot epoch and creates the domains of the profiles. ERR_IO: not durable. */
enum err_code bng_engine_start(struct bng_engine *e, struct err *err);

/* Session events. A message that breaks the protocol ends the session with its reason. */
void bng_engine_connected(struct bng_engine *e);
void bng_engine_message(struct bng_engine *e, const uint8_t *p, size_t n);
void bng_engine_disconnected(struct bng_engine *e);

/* Back ends: what they did stands for the pools as they were at `generation`. */
uint64_t bng_engine_generation(const struct bng_engine *e);
void bng_engine_routes_applied(struct bng_engine *e, uint64_t generation);
/* `family`: of the server, whose pools it is about. */
void bng_engine_dhcp_applied(struct bng_engine *e, unsigned family, uint64_t generation);
/* The same of several servers (pair.h): what is added counts up to one generation, drains and
 * removals up to another. */
void bng_engine_dhcp_reached(struct bng_engine *e, unsigned family, uint64_t added, uint64_t taken);
/* Routing does not come: pools to be added up to that generation go on without their route. */
void bng_engine_routes_late(struct bng_engine *e, uint64_t generation);
/* DHCP can't take this pool, ever: it is given back with the reason. */
void bng_engine_pool_refused(struct bng_engine *e, uint32_t subnet_id, const char *why);
/* Assigned addresses of a subnet, and how many were assigned since its server started (the rate is
 * taken from it). After the last one of a round: bng_engine_counted. */
void bng_engine_count(struct bng_engine *e, uint32_t subnet_id, uint64_t used, uint64_t cumulative);
void bng_engine_counted(struct bng_engine *e);
/* Subscribers ask on this interface and their domain was removed for being empty. */
void bng_engine_demand(struct bng_engine *e, unsigned family, const char *interface);
/* A subnet that existed before Weft becomes a pool of the domain (adoption). */
enum err_code bng_engine_adopt(struct bng_engine *e, const char *domain, uint32_t subnet_id,
                               const struct ip_prefix *prefix, struct err *err);

/* Does what is due; returns the nanoseconds until it wants to be called again. */
int64_t bng_engine_tick(struct bng_engine *e);

/* Looking. */
size_t bng_engine_domains(const struct bng_engine *e);
const struct bng_domain *bng_engine_domain(const struct bng_engine *e, size_t i);
const struct bng_domain *bng_engine_find(const struct bng_engine *e, const char *name);
const struct bng_pool *bng_engine_subnet(const struct bng_engine *e, uint32_t subnet_id);
enum bng_session bng_engine_session(const struct bng_engine *e);
bool bng_engine_local_mode(const struct bng_engine *e); /* apportioning from the reserve */
uint64_t bng_engine_boot_epoch(const struct bng_engine *e);
const char *bng_engine_system_id(const struct bng_engine *e);
/* Usable and not assigned: active pools; the reserve's count while there is no manager. */
uint64_t bng_domain_free(const struct bng_domain *d);
uint64_t bng_domain_total(const struct bng_domain *d);
const char *bng_pool_status(const struct bng_pool *p); /* "Active", as operators read it */
const char *bng_alarm_kind_name(enum bng_alarm_kind k);

static inline bool bng_pool_wants_route(const struct bng_pool *p) {
    return p->phase != BNG_REMOVE_ROUTE;
}
static inline bool bng_pool_wants_dhcp(const struct bng_pool *p) {
    return p->phase >= BNG_ADD_DHCP && p->phase <= BNG_DRAINED;
}
static inline bool bng_pool_wants_drain(const struct bng_pool *p) {
    return p->phase == BNG_DRAIN_SET || p->phase == BNG_DRAINING || p->phase == BNG_DRAINED;
}

#endif
