// SPDX-License-Identifier: Apache-2.0
/*
 * A simulated gateway: domains, pools and subscribers as counts, and the entity's end of openapmi.
 * What a gateway keeps on its disk (domains, pools, the counter of alarm ids) survives its crash;
 * the rest does not. Messages wait in two queues until the scheduler delivers them, one at a time,
 * so that a test can break anything between any two of them.
 *
 * The entity side is written from proto/README.md alone and shares no code with agents/bng.
 */
#ifndef SIM_BNG_H
#define SIM_BNG_H

#include "base/list.h"
#include "base/rng.h"
#include "pools/apmi.h"
#include "rig.h"

struct sim_pool {
    char name[POOLS_NAME_MAX + 16];
    struct ip_prefix prefix;
    uint64_t total, used;
    bool draining;
    /* volatile: the pool-drained alarm */
    char alarm[64];
    uint32_t attempt;
    int64_t retry_at; /* 0: not raised; INT64_MAX: raised, not answered */
};

enum { SIM_APPORTION, SIM_RECLAIM, SIM_ALARMS };

struct sim_domain {
    struct sim_bng *bng;
    char name[POOLS_NAME_MAX + 1], partition[64];
    unsigned preferred;
    unsigned family, delegated; /* delegated: length of the prefixes it delegates; 0: addresses */
    struct sim_pool **pools;
    size_t n_pools, cap_pools;
    uint64_t want_used; /* subscribers that want an address */
    uint64_t apportion, reclaim;
    bool known; /* the manager has said so in this session */
    bool creating, synced;
    bool refuse_thresholds;
    struct {
        char id[64];
        uint32_t attempt;
        int64_t retry_at; /* 0: not raised; INT64_MAX: not answered */
    } alarm[SIM_ALARMS];
};

enum sim_phase { SIM_DOWN, SIM_HELLO, SIM_DOMAINS, SIM_POOLS, SIM_DONE, SIM_IN_STEP };

struct sim_msg {
    struct list link;
    size_t n;
    uint8_t bytes[];
};

struct sim_conn; /* one connection; outlives its gateway's interest in it */

struct sim_world;

struct sim_bng {
    struct sim_world *world;
    char id[POOLS_SYSTEM_ID_MAX + 1];
    /* on its disk */
    uint64_t boot_epoch, alarm_counter;
    unsigned version; /* of openapmi, the newest it speaks */
    struct sim_domain **domains;
    size_t n_domains, cap_domains;
    /* volatile */
    struct sim_conn *conn; /* NULL: down */
    enum sim_phase phase;
    uint64_t msg_id, sync_done_id, hello_id;
    int64_t connect_at_s;
    bool digest; /* it synchronises by digest first */
};

struct sim_world {
    struct rig rig;
    const struct clock *clock; /* the gateways' own; NULL: the manager's */
    struct rig *manager;       /* whom gateways dial: `rig`, or the node of a cluster that leads */
    struct sim_bng **bngs;
    size_t n_bngs;
    struct map held; /* "address/len" of pools on all gateways -> struct sim_bng */
    uint64_t deliveries;
    uint64_t given, removed; /* pools that came to and went from gateways */
    bool quiet;
};

extern char sim_context[160]; /* printed with every failure */
void sim_open(struct sim_world *w, int64_t wall_s);
void sim_close(struct sim_world *w);
struct sim_bng *sim_add(struct sim_world *w, const char *id);
struct sim_domain *sim_add_domain(struct sim_bng *b, const char *name, const char *partition,
                                  unsigned preferred);
/* Of IPv6; the gateway speaks version 2 from its next session on. */
struct sim_domain *sim_add_domain6(struct sim_bng *b, const char *name, const char *partition,
                                   unsigned preferred, unsigned delegated);
struct sim_domain *sim_domain(struct sim_bng *b, const char *name);
void sim_subscribers(struct sim_domain *d, uint64_t n); /* how many want an address from now on */
void sim_stats(struct sim_domain *d);                   /* tells the manager how much is in use */
uint64_t sim_free(const struct sim_domain *d);
uint64_t sim_used(const struct sim_domain *d);

/* One gateway's turn: connects, raises and repeats alarms that are due. */
void sim_tick(struct sim_bng *b);
/* Delivers the oldest message in a direction; false: there is none. */
bool sim_deliver_up(struct sim_bng *b);   /* to the manager */
bool sim_deliver_down(struct sim_bng *b); /* to the gateway */
bool sim_up_empty(const struct sim_bng *b);
bool sim_down_empty(const struct sim_bng *b);
bool sim_idle(const struct sim_world *w); /* no message anywhere */

/* Whom it is connected to; NULL: nobody. */
const struct rig *sim_connected(const struct sim_bng *b);
void sim_break(struct sim_bng *b);           /* the connection; what was under way is lost */
void sim_crash_bng(struct sim_bng *b);       /* the gateway; its disk stays */
void sim_crash_manager(struct sim_world *w); /* what was durable stays */

/* Runs until nothing moves for `quiet_s` seconds; at most `max_s`. False: it did not come to rest.
 */
bool sim_settle(struct sim_world *w, int64_t quiet_s, int64_t max_s);
/* Nothing given twice, ever; with everything in step also: both ends hold the same. */
void sim_verify(struct sim_world *w, bool in_step);

#endif
