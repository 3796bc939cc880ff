// SPDX-License-Identifier: Apache-2.0
/*
 * What the engine's tests put around it: a manager with one partition of /24s and one domain, a
 * host whose disk may be full, and back ends that do at once what they are told. All under a fake
 * clock.
 */
#ifndef BNG_ENGINE_WORLD_H
#define BNG_ENGINE_WORLD_H

#include "base/map.h"
#include "bng/engine.h"
#include "openapmi.pb-c.h"

typedef Openapmi__V1__ManagerMsg manager_msg;

enum { BLOCKS = 64, LOG_MAX = 4096 };
#define T0 INT64_C(1790000000)

/* What one /24 of the manager's partition is. */
struct block {
    bool taken;
    char name[256];
};

struct world {
    struct clock clock;
    struct bng_profile profile[2];
    size_t n_profiles;
    struct bng_reserve reserve;
    struct bng_settings settings;
    struct bng_engine *e;
    struct map disk, pending; /* key -> json_t */
    bool disk_full;
    /* manager */
    bool up, answering;
    unsigned swallowed; /* messages of this session that nobody read */
    struct block block[BLOCKS];
    unsigned free_blocks; /* how many of them may be given out */
    char domain[256];     /* the one domain it knows; empty: none */
    unsigned seq;
    uint64_t apportion, reclaim, hold_down;
    bool auto_reclaim, digest_agrees, window_closed;
    bool useless; /* says yes and gives nothing */
    int64_t retry_at;
    manager_msg *out[LOG_MAX]; /* answers that wait to be delivered */
    size_t n_out;
    /* what was seen */
    uint64_t alarms[5], results;
    char last_id[BNG_ID_MAX], last_result_id[BNG_ID_MAX], last_result_text[BNG_TEXT_MAX];
    char last_candidate[256];
    uint32_t last_attempt, last_code, last_wanted, results_refused;
    uint64_t last_revision, last_alarm_free;
    unsigned digests, full_syncs, creates, deletes, stats;
    char verdict_conflict[256];
    char ended[512];
    /* back ends */
    bool auto_apply;
    unsigned changes, urgent;
    char events[LOG_MAX]; /* order of what happened, a letter each */
    size_t n_events;
};

#define REPLY(m, CASE) ((m).body_case = OPENAPMI__V1__MANAGER_MSG__BODY_##CASE)

/* A gateway of one domain, started, not connected. Free with world_free. */
struct world *world_new(void);
void world_free(struct world *w);
/* The engine begins with what the disk holds. */
void world_start(struct world *w);
/* Process gone, no last words, and started again. */
void world_kill(struct world *w);
void world_connect(struct world *w);
void world_disconnect(struct world *w);
/* The manager's message, as an answer to message `to` (0: unasked), waits to be delivered. */
void world_answer(struct world *w, uint64_t to, manager_msg *m);
void world_deliver(struct world *w);
/* The back ends have done everything they were told. */
void world_apply(struct world *w);
/* Everything that can happen at this instant. */
void world_settle(struct world *w);
void world_later(struct world *w, int64_t seconds);
const struct bng_domain *world_domain(struct world *w); /* the first one */
/* Makes `used` addresses of a pool of the first domain assigned. */
void world_use(struct world *w, size_t pool, uint64_t used);
/* An order of the manager about the first domain, delivered at once. */
void world_order(struct world *w, const char *id, Openapmi__V1__OrderType type, const char *pool,
                 uint64_t apportion, uint64_t reclaim, uint64_t revision);

#endif
